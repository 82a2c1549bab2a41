"""Trees become archives and come back: everything that is in them, after kills, changes and damage."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import archive_stress
import numpy as np
import pytest
from archive_stress import compare, contents, lines, lines_in, make
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import presage
from presage.codec import api
from presage.codec.archive import form, keeping, names, sample
from presage.codec.archive.manifest import FILES, NAME, Manifest
from presage.codec.archive.tally import Tally
from presage.codec.errors import DamagedFile, PresageError
from presage.codec.image import files

FAST: dict[str, Any] = {"model": "tiny", "jobs": 1}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with a file of every kind."""
    folder = tmp_path_factory.mktemp("tree") / "tree"
    make(folder, 29, None)
    return folder


@pytest.fixture(scope="module")
def archived(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its archive, which tests copy before they change it."""
    os.environ["PRESAGE_MODELS"] = str(archive_stress.ROOT / "tests" / "data")
    target = tmp_path_factory.mktemp("archive") / "archive"
    tally = presage.archive(tree, target, **FAST)
    assert (tally.exit_code, tally.done, tally.notes) == (0, 30, [])
    assert tally.codec_seconds <= tally.worker_seconds
    return target


# ------------------------------------------------------------------------------------------------------------ there and back


def test_everything_comes_back(tree: Path, archived: Path, tmp_path: Path) -> None:
    before = contents(archived)
    again = presage.archive(tree, archived, **FAST)
    assert (again.files, again.unchanged, contents(archived)) == (0, 30, before)
    assert presage.restore(archived, None, jobs=1).exit_code == 0
    for unchanged in (0, 30):
        tally = presage.restore(archived, tmp_path / "back", jobs=1)
        assert (tally.done, tally.unchanged, tally.failures) == (30, unchanged, [])
    same = compare(tree, tmp_path / "back", archived)
    assert same["pixels"] >= 5
    assert same["bytes"] >= 15
    assert contents(archived) == before
    names_of = {line["path"].rpartition("/")[2].replace("dots..", "dots"): line for line in lines(archived)}
    by_suffix = {name.partition(".")[2]: line for name, line in names_of.items() if "." in name}
    assert {by_suffix[kind]["promise"] for kind in ("png", "text.png", "lossless.webp", "alpha.png", "colour16.png")} == {"pixels"}
    assert {(by_suffix[kind]["result"], by_suffix[kind]["promise"]) for kind in ("bmp", "ppm", "tif", "jpg")} == {("coded", "bytes")}
    assert by_suffix["no.jpg"]["result"] == by_suffix["txt"]["result"] == by_suffix["broken.png"]["result"] == "copied"


def test_names_in_the_archive_are_distinct_everywhere(archived: Path) -> None:
    stored = [line["stored"] for line in lines(archived) if line["kind"] == "file"]
    assert len({names.key(path) for path in stored}) == len(stored) == 30
    assert {str(p.relative_to(archived / FILES)) for p in (archived / FILES).rglob("*") if p.is_file()} == set(stored)
    for path in stored:
        assert path.encode().decode() == path
        assert max(len(part.encode()) for part in path.split("/")) < 250


def test_exact(small_tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "archive"
    presage.archive(small_tree, target, **FAST)
    assert {line["path"]: line["promise"] for line in lines(target) if line["kind"] == "file"} == {
        "a.png": "pixels", "b.bmp": "bytes", "below/c.png": "pixels", "text": "bytes",
    }  # fmt: skip
    tally = presage.archive(small_tree, target, exact=True, **FAST)
    assert (tally.files, tally.unchanged) == (2, 2)
    assert presage.restore(target, tmp_path / "back", jobs=1).exit_code == 0
    assert contents(tmp_path / "back") == contents(small_tree)


def test_what_does_not_come_back_is_copied(small_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = api.decode
    monkeypatch.setattr(api, "decode", lambda data, **options: real(data, **options).transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    tally = presage.archive(small_tree, tmp_path / "archive", **FAST)
    assert [path for path, _ in tally.notes] == ["a.png", "b.bmp", "below/c.png"]
    assert (tally.coded, tally.exit_code) == (0, 0)
    monkeypatch.undo()
    assert presage.restore(tmp_path / "archive", tmp_path / "back", jobs=1).exit_code == 0
    assert contents(tmp_path / "back") == contents(small_tree)


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
            assert keeping.pixels_of(files.from_pillow(again)) == keeping.pixels_of(files.from_pillow(opened))


# ------------------------------------------------------------------------------------------------------------------- changes


def test_changes_are_noticed(small_tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "archive"
    presage.archive(small_tree, target, **FAST)
    first = {line["path"]: line for line in lines(target)}
    os.utime(small_tree / "a.png", ns=(0, 1))  # another time, the same bytes
    os.chmod(small_tree / "text", 0o600)
    about = (small_tree / "b.bmp").stat()
    other = bytearray((small_tree / "b.bmp").read_bytes())
    other[-1] ^= 1
    (small_tree / "b.bmp").write_bytes(other)  # other bytes, as many
    os.utime(small_tree / "b.bmp", ns=(0, about.st_mtime_ns + 1))
    tally = presage.archive(small_tree, target, **FAST)
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


def test_what_is_gone_stays_until_it_is_to_be_forgotten(small_tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "archive"
    presage.archive(small_tree, target, **FAST)
    (small_tree / "a.png").unlink()
    assert presage.archive(small_tree, target, **FAST).missing == ["a.png"]
    assert Manifest(target).read().entries.keys() == {"a.png", "b.bmp", "below", "below/c.png", "text"}
    tally = presage.archive(small_tree, target, forget=True, **FAST)
    assert (tally.missing, tally.files) == ([], 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(PresageError, match="empty"):  # a disk that is not there
        presage.archive(tmp_path / "empty", target, forget=True, **FAST)
    assert not (target / FILES / "a.png.psg").exists()
    shutil.rmtree(small_tree / "below")
    (small_tree / "below").write_text("a file now")
    (small_tree / "text").unlink()
    (small_tree / "text").mkdir()
    (small_tree / "text" / "more").write_text("more")
    presage.archive(small_tree, target, **FAST)  # a folder that became a file, and the other way round
    assert presage.restore(target, tmp_path / "back", jobs=1).exit_code == 0
    assert contents(tmp_path / "back") == contents(small_tree)
    assert not list((target / FILES).rglob("*.png.psg"))


def test_lost_files_of_the_archive_are_made_again(small_tree: Path, tmp_path: Path) -> None:
    presage.archive(small_tree, tmp_path / "archive", **FAST)
    before = contents(tmp_path / "archive" / FILES)
    (tmp_path / "archive" / FILES / "a.png.psg").unlink()
    assert presage.archive(small_tree, tmp_path / "archive", **FAST).files == 1
    assert contents(tmp_path / "archive" / FILES) == before


def test_failures_are_told(small_tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(small_tree / "pipe")
    real = keeping.coded

    def changing(source: bytes, name: str, *rest: Any) -> Any:
        if name == "a.png":
            (small_tree / "a.png").write_bytes(source + b"!")
        return real(source, name, *rest)

    monkeypatch.setattr(keeping, "coded", changing)
    tally = presage.archive(small_tree, tmp_path / "archive", **FAST)
    assert [(path, code) for path, _, code in tally.failures] == [("pipe", 1), ("a.png", 1)]
    assert "changed while" in tally.failures[1][1]
    monkeypatch.undo()
    assert presage.archive(small_tree, tmp_path / "archive", **FAST).done == 1  # only that one
    with pytest.raises(PresageError, match="no model"):
        raise PresageError(presage.archive(small_tree, tmp_path / "other", model="no-such", jobs=1).failures[1][1].lower())


# --------------------------------------------------------------------------------------------------------------- commands


def program(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(archive_stress.command(*arguments), capture_output=True, text=True, cwd=archive_stress.ROOT)


def test_commands(small_tree: Path, tmp_path: Path) -> None:
    """In pipes: lines for people on stderr, events on stdout, codes."""
    made = program("archive", small_tree, "-o", tmp_path / "archive", "-m", "tiny", "-j", "1", "--json")
    events = [json.loads(line) for line in made.stdout.splitlines()]
    assert (made.returncode, [event["event"] for event in events]) == (0, ["start", *["file"] * 4, "end"])
    assert events[-1]["coded"] == 3
    assert "4 files archived" in made.stderr
    assert "\r" not in made.stderr
    (tmp_path / "archive" / FILES / "text").write_text("altered!!!")
    checked = program("restore", tmp_path / "archive", "--check", "-j", "1")
    assert (checked.returncode, checked.stdout) == (3, "")
    assert "text: " in checked.stderr


def test_commands_refuse(small_tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from presage.codec.cli.main import main

    def code(*arguments: object) -> Any:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        return ended.value.code

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert code("archive", small_tree, "-o", tmp_path / "full") == 1
    assert code("archive", small_tree, "-o", small_tree / "inside") == 1
    assert code("archive", small_tree / "inside", "-o", tmp_path) == 1
    assert code("archive", tmp_path / "none", "-o", tmp_path / "archive") == 1
    assert code("restore", tmp_path / "none", "--check") == 1
    assert code("restore", tmp_path / "full", "-o", tmp_path / "back", "--check") == 2
    (tmp_path / "full" / NAME).write_text("some other file")
    assert code("archive", small_tree, "-o", tmp_path / "full") == 3
    assert code("restore", tmp_path / "full", "--check") == 3
    assert (tmp_path / "full" / NAME).read_text() == "some other file"
    capsys.readouterr()
    assert code("archive", small_tree, "-o", tmp_path / "dry", "--dry-run", "-m", "tiny", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["files"], told["sampled"], (tmp_path / "dry").exists()) == (4, 4, False)


def test_a_dry_run_tells_what_it_will_be(small_tree: Path, tmp_path: Path) -> None:
    expected = sample.expected(small_tree, tmp_path / "archive", model="tiny")
    tally = presage.archive(small_tree, tmp_path / "archive", **FAST)
    assert abs(expected.stored - tally.stored) <= 0.15 * tally.stored
    assert expected.bytes == tally.bytes
    assert expected.memory > 10**8
    assert sample.expected(small_tree, tmp_path / "archive", model="tiny").files == 0


def test_progress(small_tree: Path, tmp_path: Path) -> None:
    from presage.codec.cli.archives import duration, progress_line, size

    shown: list[str] = []
    presage.archive(small_tree, tmp_path / "archive", listener=lambda tally, _: shown.append(progress_line(tally)), **FAST)
    assert shown[0].split() == ["0%", "0/4", "files"]
    assert "4/4 files" in shown[-1]
    assert "saved" in shown[-1]
    assert "MP/s" in shown[-1]
    assert any("left" in line for line in shown)
    assert [duration(seconds) for seconds in (5, 3661, 300_000)] == ["0:05", "1:01:01", "3.5 days"]
    assert [size(count) for count in (7, 12_345, -2_000_000)] == ["7 B", "12.3 kB", "-2.0 MB"]
    assert Tally().share == 1
    assert lines_in(tmp_path / "archive" / NAME) == 6
