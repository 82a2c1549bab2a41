"""Nothing loses or misplaces a file of an archive: kills and crashes at any moment, damage, hostile manifests."""

import errno
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archive_stress
import pytest
from archive_stress import compare, contents, lines
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killed import fatal_task

import presage
from presage.codec.archive import cluster, manifest, names, runners, work
from presage.codec.archive.manifest import FILES, NAME, Entry, Manifest
from presage.codec.archive.work import Done, Job, Task
from presage.codec.errors import DamagedFile, PresageError

FAST: dict[str, Any] = {"model": "tiny", "jobs": 1}


# --------------------------------------------------------------------------------------------------------- kills and crashes


class Crash(BaseException):
    """The end of a process."""


def test_a_crash_at_any_moment_loses_nothing(small_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before each system call that names or writes something, and gone on with, an archive is what it would have been."""
    target, old = tmp_path / "crashed", tmp_path / "old"
    shutil.copytree(small_tree, old)
    for name in ("a.png", "text"):
        (old / name).unlink()
    shutil.copy(old / "below" / "c.png", old / "b.bmp")  # an older version of it
    presage.archive(old, tmp_path / "first", **FAST)
    calls, at = 0, 0
    for at in range(1, 200):
        calls = 0
        shutil.copytree(tmp_path / "first", target)
        with monkeypatch.context() as patch:
            for name in ("replace", "write", "unlink"):
                real = getattr(os, name)

                def counted(*arguments: Any, real: Any = real, last: int = at, **options: Any) -> Any:
                    nonlocal calls
                    calls += 1
                    if calls == last:
                        raise Crash
                    return real(*arguments, **options)

                patch.setattr(os, name, counted)
            try:
                presage.archive(small_tree, target, **FAST)
            except Crash:
                pass
            else:
                break
        assert presage.restore(target, None, jobs=1).exit_code == 0  # at any moment
        assert presage.archive(small_tree, target, **FAST).exit_code == 0
        assert sorted(line["path"] for line in lines(target)) == ["a.png", "b.bmp", "b.bmp", "below", "below/c.png", "text"]
        stored = {line["path"]: line.get("stored") for line in lines(target)}
        assert contents(target / FILES).keys() == set(stored.values()) - {None}
        shutil.rmtree(target)
    assert at > 10


def test_torn_lines(small_tree: Path, tmp_path: Path) -> None:
    """Cut anywhere, even in its head, a manifest is gone on with, and nothing is in it twice."""
    target = tmp_path / "archive"
    presage.archive(small_tree, target, **FAST)
    whole = (target / NAME).read_bytes()
    for cut in [0, 1, 30, *range(60, len(whole), 211), len(whole) - 1]:
        (target / NAME).write_bytes(whole[:cut])
        presage.archive(small_tree, target, **FAST)
        assert sorted(line["path"] for line in lines(target)) == ["a.png", "b.bmp", "below", "below/c.png", "text"]
    assert presage.restore(target, None, jobs=1).exit_code == 0


def test_killed(small_tree: Path, tmp_path: Path) -> None:
    """The command itself, by SIGKILL, when some of its work is done."""
    options = ["-m", "tiny", "-j", "1"]
    seen = archive_stress.archive_killed(small_tree, tmp_path / "archive", 1, options, random.Random(3), at_most=100)
    assert seen[0] <= seen[1] == 6
    assert presage.restore(tmp_path / "archive", tmp_path / "back", jobs=1).exit_code == 0
    compare(small_tree, tmp_path / "back", tmp_path / "archive")


def test_only_one_at_a_time(small_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with Manifest(tmp_path / "archive").open(), pytest.raises(PresageError, match="another process"):
        presage.archive(small_tree, tmp_path / "archive", **FAST)


def test_a_full_disk(small_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        tally = presage.archive(small_tree, tmp_path / "archive", **FAST)
    assert {message for _, message, _ in tally.failures} == {"No space left on device"}
    assert not contents(tmp_path / "archive" / FILES)
    assert presage.archive(small_tree, tmp_path / "archive", **FAST).done == 4


def tasks(*paths: str) -> Iterator[Task]:
    return (Task(Entry(path, "file")) for path in paths)


def outcomes(run: runners.Runner, tmp_path: Path) -> dict[str, Done | None]:
    """What becomes of tasks of which one kills whoever works on it, and one does so once."""
    job = Job("", "", str(tmp_path / "met"), checking=True)
    found = [result for result in run(fatal_task, job, tasks("a", "kill", "b", "once", "c")) if result is not None]
    assert len(found) == 5
    return {task.entry.path: done for task, done in found}


def test_killed_processes(tmp_path: Path) -> None:
    found = outcomes(runners.processes(2), tmp_path)
    assert {path for path, done in found.items() if done is None} == {"kill"}


def test_threads_end_when_they_are_left(tmp_path: Path) -> None:
    found = runners.threads(2)(lambda job, task: Done(task.entry), Job("", "", ""), tasks(*map(str, range(100))))
    assert next(found) is not None
    found.close()  # type: ignore[attr-defined]
    assert not work.stopping.is_set()


def test_killed_workers_of_a_cluster(small_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed costs nothing; a task that always kills its worker is given up; an archive is made there."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(archive_stress.ROOT), str(archive_stress.ROOT / "tests")]))
    monkeypatch.setattr(cluster, "RETRIES", 1)
    ray.init("local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=80 << 20,
             runtime_env={"env_vars": {name: os.environ[name] for name in ("PYTHONPATH", "PRESAGE_MODELS")}})  # fmt: skip
    try:
        (tmp_path / NAME).touch()
        job = Job("", str(tmp_path), str(tmp_path / "met"), checking=True)
        results = [r for r in cluster.machines("", 1)(fatal_task, job, tasks("a", "once", "kill", "b")) if r is not None]
        assert {task.entry.path: done is None for task, done in results} == {"a": False, "once": False, "kill": True, "b": False}
        tally = presage.archive(small_tree, tmp_path / "archive", model="tiny", ray="")
        assert (tally.done, tally.failures) == (4, [])
    finally:
        ray.shutdown()
    presage.archive(small_tree, tmp_path / "alone", **FAST)
    assert contents(tmp_path / "archive" / FILES) == contents(tmp_path / "alone" / FILES)


def test_without_ray(small_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PresageError, match=r"presage\[cluster\]"):
        presage.archive(small_tree, tmp_path / "archive", ray="")


# ---------------------------------------------------------------------------------------------------------------- hostile


def hostile(folder: Path, *entries: Entry) -> Path:
    """An archive with some more lines."""
    (folder / FILES).mkdir(parents=True, exist_ok=True)
    with Manifest(folder).open() as written:
        for entry in entries:
            written._write(manifest.line_of(entry))
    return folder


def copied(path: str, stored: str, content: bytes = b"x") -> Entry:
    digest = __import__("hashlib").sha256(content).hexdigest()
    return Entry(path, "file", 0o644, 1, "", len(content), digest, "copied", "bytes", "", stored, len(content), digest)


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "", ".", "a//b", "a/", "x\0y", "a/./b"])
def test_paths_that_lead_elsewhere(path: str, tmp_path: Path) -> None:
    archive = hostile(tmp_path / "archive", copied(path, "x"), copied("fine", "x"), copied("other", path))
    (archive / FILES / "x").write_bytes(b"x")
    tally = presage.restore(archive, tmp_path / "back", jobs=1)
    assert (tally.exit_code, tally.done) == (3, 1)
    assert {p.name for p in tmp_path.iterdir()} == {"archive", "back"}
    assert contents(tmp_path / "back") == {"fine": b"x"}


def test_nothing_is_written_or_read_through_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"x")
    archive = hostile(
        tmp_path / "archive", Entry("out", "link", target=str(outside)), copied("out/new", "x"), copied("a", "s"), copied("b", "l/secret"),
        Entry("out2", "link", target=str(outside)),
    )  # fmt: skip
    (archive / FILES / "x").write_bytes(b"x")
    (archive / FILES / "s").symlink_to(outside / "secret")
    (archive / FILES / "l").symlink_to(outside)
    back = tmp_path / "back"
    for _ in range(2):
        tally = presage.restore(archive, back, jobs=1)
        assert tally.failures
        assert list(outside.iterdir()) == [outside / "secret"]
        assert not (back / "a").exists()
        assert not (back / "b").exists()
    (archive / NAME).unlink()
    hostile(archive, copied("out2/new", "x"))  # another manifest for the same folder, which has the link by now
    assert (back / "out2").is_symlink()
    assert presage.restore(archive, back, jobs=1).failures
    assert list(outside.iterdir()) == [outside / "secret"]


def test_an_archive_is_not_written_or_emptied_through_links(small_tree: Path, tmp_path: Path) -> None:
    """Of an archive from elsewhere that is brought up to date."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_bytes(b"x")
    archive = hostile(tmp_path / "archive", copied("old", "link/precious"), Entry("old", "gone"))
    (archive / FILES / "link").symlink_to(outside)
    (archive / FILES / "below").symlink_to(outside)
    tally = presage.archive(small_tree, archive, **FAST)
    assert [path for path, _, _ in tally.failures] == ["below/c.png"]
    assert [path.name for path in outside.iterdir()] == ["precious"]


def test_places_of_lost_files_are_used_again(small_tree: Path, tmp_path: Path) -> None:
    """By whoever comes first; what is in use is never removed as an older version."""
    archive = tmp_path / "archive"
    shutil.copy(small_tree / "a.png", small_tree / "A.png")
    presage.archive(small_tree, archive, **FAST)
    for path in (archive / FILES).glob("[aA]*"):
        path.unlink()
    (small_tree / "A.PNG").write_bytes((small_tree / "a.png").read_bytes())
    for _ in range(2):
        presage.archive(small_tree, archive, **FAST)
        assert presage.restore(archive, None, jobs=1).exit_code == 0
        last = {line["path"]: line["stored"] for line in lines(archive) if "stored" in line}
        assert contents(archive / FILES).keys() == set(last.values())
        assert len(last) == 6


def test_a_file_system_that_does_not_tell_names_apart(small_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second of two names is reported, even with force, and not written over the first."""
    (small_tree / "A.png").write_bytes((small_tree / "b.bmp").read_bytes())
    presage.archive(small_tree, tmp_path / "archive", **FAST)
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path, **options: path.name == "\u00c4" or real(path, **options))
    tally = presage.restore(tmp_path / "archive", tmp_path / "back", jobs=1, force=True)
    assert [path for path, _, _ in tally.failures] in (["a.png"], ["A.png"])
    assert tally.done == 4


def test_existing_files_are_not_replaced(small_tree: Path, tmp_path: Path) -> None:
    presage.archive(small_tree, tmp_path / "archive", **FAST)
    back = tmp_path / "back"
    back.mkdir()
    (back / "text").write_text("precious")
    (back / "a.png").symlink_to(tmp_path / "elsewhere")
    tally = presage.restore(tmp_path / "archive", back, jobs=1)
    assert (tally.done, len(tally.failures)) == (2, 2)
    tally = presage.restore(tmp_path / "archive", back, jobs=1, force=True)
    assert [path for path, _, _ in tally.failures] == ["a.png"]
    assert (back / "text").read_text() == "no picture"
    assert not (tmp_path / "elsewhere").exists()


def test_damage_is_found(small_tree: Path, tmp_path: Path) -> None:
    """Any byte of the manifest or of a kept file."""
    archive = tmp_path / "archive"
    presage.archive(small_tree, archive, **FAST)
    chance = random.Random(0)
    for path in [archive / NAME, *sorted(p for p in (archive / FILES).rglob("*") if p.is_file())]:
        whole = path.read_bytes()
        for at in chance.sample(range(len(whole)), min(len(whole), 10 if path.name == NAME else 2)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
            try:
                assert presage.restore(archive, None, jobs=1).exit_code == 3, (path, at)
            except DamagedFile:
                assert path.name == NAME
        path.write_bytes(whole)
    assert presage.restore(archive, None, jobs=1).exit_code == 0


@given(
    st.dictionaries(
        st.sampled_from([*Entry.__dataclass_fields__, "x"]), st.none() | st.booleans() | st.integers() | st.text() | st.floats()
    )
)
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_any_object_is_an_entry_or_damage(said: dict[str, Any]) -> None:
    try:
        found = manifest.entry(manifest._line({"path": "a", "kind": "folder"} | said))
    except DamagedFile:
        return
    assert all(getattr(found, name) == value for name, value in said.items() if name in Entry.__dataclass_fields__)


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=12), min_size=1, max_size=30, unique=True)
)
def test_places_never_collide(paths: list[str]) -> None:
    given_out = names.Names()
    folders = [path for path in paths if path not in (".", "..")]
    every = [f"{a}/{b}" if i % 2 else a for i, (a, b) in enumerate(zip(folders, reversed(folders), strict=True))]
    places = [given_out.place(path) for path in dict.fromkeys(every)]
    keys = [names.key(place) for place in places]
    assert len(set(keys)) == len(keys)
    kept = {names.key(place + ending) for place in places for ending in ("", ".psg")}
    above = {names.key(place.rpartition("/")[0]) for place in places if "/" in place}
    assert not kept & above
    for place in places:
        names.check(place, windows=True)
