"""Trees become archives and come back: everything that is in them, after kills, changes and damage."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import archive_stress
import numpy as np
import pytest
from archive_stress import compare, lines_in, make
from conftest import noise
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from killed import fatal_task
from PIL import Image

import presage
from presage.codec import api
from presage.codec.archive import cluster, form, keeping, manifest, names, runners, sample, work
from presage.codec.archive.manifest import FILES, NAME, Entry, Manifest
from presage.codec.archive.tally import Tally
from presage.codec.archive.work import Done, Job, Task
from presage.codec.errors import DamagedFile, PresageError

FAST: dict[str, Any] = {"model": "tiny", "jobs": 1}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a file of every kind."""
    folder = tmp_path_factory.mktemp("tree") / "tree"
    make(folder, 28, None)
    return folder


@pytest.fixture(scope="module")
def archived(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its archive, which tests copy before they change it."""
    os.environ["PRESAGE_MODELS"] = str(archive_stress.ROOT / "tests" / "data")
    target = tmp_path_factory.mktemp("archive") / "archive"
    tally = presage.archive(tree, target, **FAST)
    assert (tally.exit_code, tally.done, tally.notes) == (0, 29, [])
    assert tally.codec_seconds <= tally.worker_seconds
    return target


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A tree with three pictures and a text."""
    folder = tmp_path / "small"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.bmp", "below/c.png")):
        Image.fromarray(noise(40, 48, number)).save(folder / name)
    (folder / "text").write_text("no picture")
    return folder


def lines(archive: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (archive / NAME).read_text().splitlines()[1:]]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


# ------------------------------------------------------------------------------------------------------------ there and back


def test_everything_comes_back(tree: Path, archived: Path, tmp_path: Path) -> None:
    before = contents(archived)
    again = presage.archive(tree, archived, **FAST)
    assert (again.files, again.unchanged, contents(archived)) == (0, 29, before)
    assert presage.restore(archived, None, jobs=1).exit_code == 0
    for unchanged in (0, 29):
        tally = presage.restore(archived, tmp_path / "back", jobs=1)
        assert (tally.done, tally.unchanged, tally.failures) == (29, unchanged, [])
    same = compare(tree, tmp_path / "back", archived / NAME)
    assert same["pixels"] >= 5
    assert same["bytes"] >= 15
    assert contents(archived) == before
    by_suffix = {path.partition(".")[2]: line for line in lines(archived) if "." in (path := line["path"].rpartition("/")[2])}
    assert {by_suffix[kind]["promise"] for kind in ("png", "text.png", "lossless.webp", "alpha.png")} == {"pixels"}
    assert {(by_suffix[kind]["result"], by_suffix[kind]["promise"]) for kind in ("bmp", "ppm", "tif", "jpg")} == {("coded", "bytes")}
    assert by_suffix["no.jpg"]["result"] == by_suffix["txt"]["result"] == by_suffix["broken.png"]["result"] == "copied"


def test_names_in_the_archive_are_distinct_everywhere(archived: Path) -> None:
    stored = [line["stored"] for line in lines(archived) if line["kind"] == "file"]
    assert len({names.key(path) for path in stored}) == len(stored) == 29
    assert {str(p.relative_to(archived / FILES)) for p in (archived / FILES).rglob("*") if p.is_file()} == set(stored)
    for path in stored:
        assert path.encode().decode() == path
        assert max(len(part.encode()) for part in path.split("/")) < 250


def test_exact(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "archive"
    presage.archive(small, target, **FAST)
    assert {line["path"]: line["promise"] for line in lines(target) if line["kind"] == "file"} == {
        "a.png": "pixels", "b.bmp": "bytes", "below/c.png": "pixels", "text": "bytes",
    }  # fmt: skip
    tally = presage.archive(small, target, exact=True, **FAST)
    assert (tally.files, tally.unchanged) == (2, 2)
    assert presage.restore(target, tmp_path / "back", jobs=1).exit_code == 0
    assert contents(tmp_path / "back") == contents(small)


def test_what_does_not_come_back_is_copied(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = api.decode
    monkeypatch.setattr(api, "decode", lambda data, **options: real(data, **options).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    tally = presage.archive(small, tmp_path / "archive", **FAST)
    assert [path for path, _ in tally.notes] == ["a.png", "b.bmp", "below/c.png"]
    assert (tally.coded, tally.exit_code) == (0, 0)
    monkeypatch.undo()
    assert presage.restore(tmp_path / "archive", tmp_path / "back", jobs=1).exit_code == 0
    assert contents(tmp_path / "back") == contents(small)


@given(
    mode=st.sampled_from(["1", "L", "P", "RGB", "RGBA", "LA", "I;16"]),
    suffix=st.sampled_from([".bmp", ".ppm", ".tif", ".png", ".webp"]),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=100)
def test_forms(tmp_path_factory: pytest.TempPathFactory, mode: str, suffix: str, size: tuple[int, int], seed: int) -> None:
    """Where a form is found, file and pixels come back; of pixels that are not compressed the very file."""
    path = tmp_path_factory.getbasetemp() / f"form{suffix}"
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 4), np.uint8)
    image = Image.fromarray(pixels[..., 0].astype(np.uint16) * 251) if mode == "I;16" else Image.fromarray(pixels).convert(mode)
    try:
        image.save(path, lossless=suffix == ".webp")
    except (OSError, KeyError):
        return
    source = path.read_bytes()
    with Image.open(path) as opened:
        opened.load()
        found = form.find(source, opened)
        if found is None:
            assert suffix not in (".png", ".webp")
            return
        assert form.parse(found.text()) == found
        try:
            made = form.file(opened, found)
        except DamagedFile:
            assert not found.exact
            return
        assert not found.exact or made == source
        path.write_bytes(made)
        with Image.open(path) as again:
            assert keeping.pixels_of(again) == keeping.pixels_of(opened)


# ------------------------------------------------------------------------------------------------------------------- changes


def test_changes_are_noticed(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "archive"
    presage.archive(small, target, **FAST)
    first = {line["path"]: line for line in lines(target)}
    os.utime(small / "a.png", ns=(0, 1))  # another time, the same bytes
    os.chmod(small / "text", 0o600)
    about = (small / "b.bmp").stat()
    other = bytearray((small / "b.bmp").read_bytes())
    other[-1] ^= 1
    (small / "b.bmp").write_bytes(other)  # other bytes, as many
    os.utime(small / "b.bmp", ns=(0, about.st_mtime_ns + 1))
    tally = presage.archive(small, target, **FAST)
    assert (tally.files, tally.unchanged, tally.coded) == (3, 1 + 2, 1)
    last = {line["path"]: line for line in lines(target)}
    assert last["a.png"] | {"mtime_ns": 0, "crc": ""} == first["a.png"] | {"mtime_ns": 0, "crc": ""}
    assert last["b.bmp"]["sha256"] != first["b.bmp"]["sha256"]
    assert len(list((target / FILES).rglob("*.psg"))) == 3  # the old version is gone
    assert presage.restore(target, tmp_path / "back", jobs=1).exit_code == 0
    back = contents(tmp_path / "back")
    assert back["b.bmp"] == bytes(other)
    assert (tmp_path / "back" / "a.png").stat().st_mtime_ns == 1
    assert (tmp_path / "back" / "text").stat().st_mode & 0o777 == 0o600


def test_what_is_gone_stays_until_it_is_to_be_forgotten(small: Path, tmp_path: Path) -> None:
    target = tmp_path / "archive"
    presage.archive(small, target, **FAST)
    (small / "a.png").unlink()
    assert presage.archive(small, target, **FAST).missing == ["a.png"]
    assert Manifest(target).read().entries.keys() == {"a.png", "b.bmp", "below", "below/c.png", "text"}
    tally = presage.archive(small, target, forget=True, **FAST)
    assert (tally.missing, tally.files) == ([], 0)
    assert not (target / FILES / "a.png.psg").exists()
    shutil.rmtree(small / "below")
    (small / "below").write_text("a file now")
    (small / "text").unlink()
    (small / "text").mkdir()
    (small / "text" / "more").write_text("more")
    presage.archive(small, target, **FAST)  # a folder that became a file, and the other way round
    assert presage.restore(target, tmp_path / "back", jobs=1).exit_code == 0
    assert contents(tmp_path / "back") == contents(small)
    assert not list((target / FILES).rglob("*.png.psg"))


def test_lost_files_of_the_archive_are_made_again(small: Path, tmp_path: Path) -> None:
    presage.archive(small, tmp_path / "archive", **FAST)
    before = contents(tmp_path / "archive" / FILES)
    (tmp_path / "archive" / FILES / "a.png.psg").unlink()
    assert presage.archive(small, tmp_path / "archive", **FAST).files == 1
    assert contents(tmp_path / "archive" / FILES) == before


def test_failures_are_told(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(small / "pipe")
    real = keeping.coded

    def changing(source: bytes, name: str, *rest: Any) -> Any:
        if name == "a.png":
            (small / "a.png").write_bytes(source + b"!")
        return real(source, name, *rest)

    monkeypatch.setattr(keeping, "coded", changing)
    tally = presage.archive(small, tmp_path / "archive", **FAST)
    assert [(path, code) for path, _, code in tally.failures] == [("pipe", 1), ("a.png", 1)]
    assert "changed while" in tally.failures[1][1]
    monkeypatch.undo()
    assert presage.archive(small, tmp_path / "archive", **FAST).done == 1  # only that one
    with pytest.raises(PresageError, match="no model"):
        raise PresageError(presage.archive(small, tmp_path / "other", model="no-such", jobs=1).failures[1][1].lower())


# --------------------------------------------------------------------------------------------------------- kills and crashes


class Crash(BaseException):
    """The end of a process."""


def test_a_crash_at_any_moment_loses_nothing(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before each system call that names or writes something, and gone on with, an archive is what it would have been."""
    presage.archive(small, tmp_path / "whole", **FAST)
    wanted = contents(tmp_path / "whole" / FILES)
    calls, at = 0, 0
    for at in range(1, 200):
        calls, target = 0, tmp_path / "crashed"
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
                presage.archive(small, target, **FAST)
            except Crash:
                pass
            else:
                break
        assert presage.archive(small, target, **FAST).exit_code == 0
        assert contents(target / FILES) == wanted
        assert sorted(line["path"] for line in lines(target)) == ["a.png", "b.bmp", "below", "below/c.png", "text"]
        shutil.rmtree(target)
    assert at > 12


def test_torn_lines(small: Path, tmp_path: Path) -> None:
    """Cut anywhere, even in its head, a manifest is gone on with, and nothing is in it twice."""
    target = tmp_path / "archive"
    presage.archive(small, target, **FAST)
    whole = (target / NAME).read_bytes()
    for cut in [0, 1, 30, *range(60, len(whole), 211), len(whole) - 1]:
        (target / NAME).write_bytes(whole[:cut])
        presage.archive(small, target, **FAST)
        assert sorted(line["path"] for line in lines(target)) == ["a.png", "b.bmp", "below", "below/c.png", "text"]
    assert presage.restore(target, None, jobs=1).exit_code == 0


def test_killed(small: Path, tmp_path: Path) -> None:
    """The command itself, by SIGKILL, when some of its work is done."""
    options = ["-m", "tiny", "-j", "1"]
    seen = archive_stress.archive_killed(small, tmp_path / "archive", 1, options, random.Random(3), at_most=100)
    assert seen[0] <= seen[1] == 6
    assert presage.restore(tmp_path / "archive", tmp_path / "back", jobs=1).exit_code == 0
    compare(small, tmp_path / "back", tmp_path / "archive" / NAME)


def test_only_one_at_a_time(small: Path, tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with Manifest(tmp_path / "archive").open(), pytest.raises(PresageError, match="another process"):
        presage.archive(small, tmp_path / "archive", **FAST)


def test_a_full_disk(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    tally = presage.archive(small, tmp_path / "archive", **FAST)
    assert {message for _, message, _ in tally.failures} == {"No space left on device"}
    assert not contents(tmp_path / "archive" / FILES)
    monkeypatch.undo()
    assert presage.archive(small, tmp_path / "archive", **FAST).done == 4


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


def test_killed_workers_of_a_cluster(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed costs nothing; a task that always kills its worker is given up; an archive is made there."""
    ray = pytest.importorskip("ray", reason="Ray is not installed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(archive_stress.ROOT), str(archive_stress.ROOT / "tests")]))
    monkeypatch.setattr(cluster, "RETRIES", 1)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR", object_store_memory=80 << 20,
             runtime_env={"env_vars": {name: os.environ[name] for name in ("PYTHONPATH", "PRESAGE_MODELS")}})  # fmt: skip
    try:
        (tmp_path / NAME).touch()
        job = Job("", str(tmp_path), str(tmp_path / "met"), checking=True)
        results = [r for r in cluster.machines("", 1)(fatal_task, job, tasks("a", "once", "kill", "b")) if r is not None]
        assert {task.entry.path: done is None for task, done in results} == {"a": False, "once": False, "kill": True, "b": False}
        tally = presage.archive(small, tmp_path / "archive", model="tiny", ray="")
        assert (tally.done, tally.failures) == (4, [])
    finally:
        ray.shutdown()
    presage.archive(small, tmp_path / "alone", **FAST)
    assert contents(tmp_path / "archive" / FILES) == contents(tmp_path / "alone" / FILES)


def test_without_ray(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PresageError, match=r"presage\[cluster\]"):
        presage.archive(small, tmp_path / "archive", ray="")


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


def test_existing_files_are_not_replaced(small: Path, tmp_path: Path) -> None:
    presage.archive(small, tmp_path / "archive", **FAST)
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


def test_damage_is_found(small: Path, tmp_path: Path) -> None:
    """Any byte of the manifest or of a kept file."""
    archive = tmp_path / "archive"
    presage.archive(small, archive, **FAST)
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


# --------------------------------------------------------------------------------------------------------------- commands


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(archive_stress.command(*arguments), capture_output=True, text=True, cwd=archive_stress.ROOT)


def test_commands(small: Path, tmp_path: Path) -> None:
    """In pipes: lines for people on stderr, events on stdout, codes."""
    made = program("archive", small, "-o", tmp_path / "archive", "-m", "tiny", "-j", "1", "--json")
    events = [json.loads(line) for line in made.stdout.splitlines()]
    assert (made.returncode, [event["event"] for event in events]) == (0, ["start", *["file"] * 4, "end"])
    assert events[-1]["coded"] == 3
    assert "4 files archived" in made.stderr
    assert "\r" not in made.stderr
    (tmp_path / "archive" / FILES / "text").write_text("altered!!!")
    checked = program("restore", tmp_path / "archive", "--check", "-j", "1")
    assert (checked.returncode, checked.stdout) == (3, "")
    assert "text: " in checked.stderr


def test_commands_refuse(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from presage.codec.cli.main import main

    def code(*arguments: object) -> Any:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        return ended.value.code

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert code("archive", small, "-o", tmp_path / "full") == 1
    assert code("archive", small, "-o", small / "inside") == 1
    assert code("archive", small / "inside", "-o", tmp_path) == 1
    assert code("archive", tmp_path / "none", "-o", tmp_path / "archive") == 1
    assert code("restore", tmp_path / "none", "--check") == 1
    assert code("restore", tmp_path / "full", "-o", tmp_path / "back", "--check") == 2
    (tmp_path / "full" / NAME).write_text("some other file")
    assert code("archive", small, "-o", tmp_path / "full") == 3
    assert code("restore", tmp_path / "full", "--check") == 3
    assert (tmp_path / "full" / NAME).read_text() == "some other file"
    capsys.readouterr()
    assert code("archive", small, "-o", tmp_path / "dry", "--dry-run", "-m", "tiny", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], told["sampled"], (tmp_path / "dry").exists()) == (4, 4, False)


def test_a_dry_run_tells_what_it_will_be(small: Path, tmp_path: Path) -> None:
    expected = sample.expected(small, tmp_path / "archive", model="tiny")
    tally = presage.archive(small, tmp_path / "archive", **FAST)
    assert abs(expected.stored - tally.stored) <= 0.15 * tally.stored
    assert expected.bytes == tally.bytes
    assert expected.memory > 10**8
    assert sample.expected(small, tmp_path / "archive", model="tiny").files == 0


def test_progress(small: Path, tmp_path: Path) -> None:
    from presage.codec.cli.archives import duration, progress_line, size

    shown: list[str] = []
    presage.archive(small, tmp_path / "archive", listener=lambda tally, _: shown.append(progress_line(tally)), **FAST)
    assert shown[0].split() == ["0%", "0/4", "files"]
    assert "4/4 files" in shown[-1]
    assert "saved" in shown[-1]
    assert "MP/s" in shown[-1]
    assert any("left" in line for line in shown)
    assert [duration(seconds) for seconds in (5, 3661, 300_000)] == ["0:05", "1:01:01", "3.5 days"]
    assert [size(count) for count in (7, 12_345, -2_000_000)] == ["7 B", "12.3 kB", "-2.0 MB"]
    assert Tally().share == 1
    assert lines_in(tmp_path / "archive" / NAME) == 6
