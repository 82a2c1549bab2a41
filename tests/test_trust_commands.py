"""Nothing that a host, a file or a full disk does loses a picture: the commands."""

import errno
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import HERE, noise
from killed import fatal
from PIL import Image

import presage
from presage.codec import output
from presage.codec.cli import files, work
from presage.codec.cli.files import FileProblem, Item
from presage.codec.cli.main import main
from presage.codec.format import container
from presage.codec.format.container import Tag

GOLDEN = HERE / "golden"
SET = (GOLDEN / "set-colour.psg").read_bytes()


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def set_named(names: Sequence[object]) -> bytes:
    """The golden set of three images, by other names."""
    header = container.read_header(SET)
    sections = {s.tag: SET[s.offset : s.offset + s.size] for s in header.sections}
    listed = json.loads(zlib.decompress(sections[Tag.LIST])) | {"names": names}
    return container.write(header, sections | {Tag.LIST: zlib.compress(json.dumps(listed).encode())})


# --------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("failing", ["write", "fsync", "replace", "link"])
def test_a_full_disk_leaves_the_old_file(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"precious")
    if failing == "write":
        monkeypatch.setattr(output, "open", lambda *a, **k: _Full(), raising=False)
    elif failing == "link":
        monkeypatch.setattr(os, "link", full)
        monkeypatch.setattr(os, "replace", full)
    else:
        monkeypatch.setattr(os, failing, full)
    for path, force in ((old, True), (new, False)):
        if failing == "replace" and path == new:
            continue
        with pytest.raises(FileProblem, match="No space left"):
            files.write(path, b"later", force)
    monkeypatch.undo()
    assert old.read_bytes() == b"precious"
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".partial")] == ["old"]


class _Full:
    """A file on a full disk."""

    def __enter__(self) -> "_Full":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, _: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_file_systems_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT has no hard links, and still nothing is replaced without being asked."""

    def none(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    files.write(tmp_path / "x.psg", b"one", False)
    with pytest.raises(FileProblem, match="exists"):
        files.write(tmp_path / "x.psg", b"two", False)
    files.write(tmp_path / "x.psg", b"three", True)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.psg", b"three")]


def test_several_writers_on_one_name(tmp_path: Path) -> None:
    target, contents = tmp_path / "x", [bytes([i]) * 100_000 for i in range(8)]
    refused: list[object] = []

    def write(content: bytes, force: bool) -> None:
        try:
            files.write(target, content, force)
        except FileProblem as problem:
            refused.append(problem)

    for force in (False, True):
        threads = [threading.Thread(target=write, args=(content, force)) for content in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert target.read_bytes() in contents
        assert len(refused) == 7  # all but the first, and with force nobody
    assert list(tmp_path.iterdir()) == [target]


def test_names_reach_the_disk_with_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []

    def watched(handle: int) -> None:
        synced.append(os.path.isdir(f"/proc/self/fd/{handle}"))

    monkeypatch.setattr(os, "fsync", watched)
    files.write(tmp_path / "x", b"content", False)
    assert synced == [False, True]


def test_modes_links_and_long_names_are_kept(tmp_path: Path) -> None:
    target, link, long = tmp_path / "x", tmp_path / "link", tmp_path / ("n" * 250)
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    files.write(link, b"new", True)
    assert link.is_symlink()
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o640)
    files.write(long, b"long", False)
    assert long.read_bytes() == b"long"
    with pytest.raises(FileProblem, match="too long"):
        files.write(tmp_path / ("n" * 300), b"", False)


def test_killed_unpacking_leaves_whole_pictures(tmp_path: Path) -> None:
    pictures = {f"{i:03}.png": noise(16, 16, i) for i in range(60)}
    (tmp_path / "set.psg").write_bytes(presage.pack(pictures, model="tiny-chain"))
    command = [sys.executable, "-m", "presage", "unpack", "set.psg", "--out-dir", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(HERE.parent)}, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None and len(list(tmp_path.glob("out/*.png"))) < 3:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    written = list(tmp_path.glob("out/*.png"))
    assert written
    for path in written:
        assert np.array_equal(np.asarray(Image.open(path)), pictures[path.name])


# --------------------------------------------------------------------------------------------------------- what is lost


def test_a_result_never_takes_the_place_of_an_input(tmp_path: Path) -> None:
    source = tmp_path / "a.png"
    Image.fromarray(noise(9, 9)).save(source)
    before = source.read_bytes()
    (tmp_path / "b.psg").symlink_to(source)
    for arguments in (
        ["encode", "-m", "tiny", source, "-o", source, "-f"],
        ["encode", "-m", "tiny", source, "-o", tmp_path / "b.psg", "-f"],
        ["pack", "-m", "tiny-chain", source, "-o", source, "-f"],
    ):
        result = run(*arguments)
        assert result.exit_code in (1, 2)
        assert "is an input" in result.output
    assert source.read_bytes() == before


def test_two_names_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "part-08.png").write_bytes(b"old")
    (tmp_path / "part-09.png").symlink_to(tmp_path / "part-08.png")
    (tmp_path / "set.psg").write_bytes(SET)
    result = run("unpack", tmp_path / "set.psg", "--out-dir", tmp_path, "-f")
    assert result.exit_code == 1
    assert "both be written" in result.output
    assert (tmp_path / "part-08.png").read_bytes() == b"old"


def test_a_folder_is_encoded_again(tmp_path: Path) -> None:
    Image.fromarray(noise(9, 9)).save(tmp_path / "a.png")
    for more in ([], ["-f"]):
        assert run("encode", "-m", "tiny", tmp_path, *more).exit_code == 0
    assert run("encode", "-m", "tiny", tmp_path).exit_code == 1


def test_what_was_written_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(noise(9, 9)).save(tmp_path / "a.png")
    assert run("encode", "-m", "tiny", "--verify", tmp_path / "a.png").exit_code == 0
    assert run("pack", "-m", "tiny-chain", "--verify", tmp_path / "a.png", "-o", tmp_path / "set.psg").exit_code == 0
    whole = container.write
    monkeypatch.setattr(container, "write", lambda header, sections: whole(header, sections)[:-1] + b"?")
    for arguments in (["encode", "-m", "tiny", "-o", "b.psg"], ["pack", "-m", "tiny-chain", "-o", "c.psg"]):
        target = tmp_path / arguments[-1]
        result = run(*arguments[:-1], target, tmp_path / "a.png", "--verify")
        assert (result.exit_code, target.exists()) == (1, False)
        assert "does not decode" in result.output


def test_sixteen_bits_come_out_only_where_they_belong(tmp_path: Path) -> None:
    """A source file beside tiles is not written as if it were the picture."""
    header = container.read_header(data := (GOLDEN / "rgb.psg").read_bytes())
    sections = {s.tag: data[s.offset : s.offset + s.size] for s in header.sections}
    forged = container.write(header, sections | {Tag.SOURCE: (GOLDEN / "gray.png").read_bytes()})
    (tmp_path / "x.psg").write_bytes(forged)
    assert run("decode", tmp_path / "x.psg").exit_code == 3
    assert run("verify", tmp_path / "x.psg").exit_code == 3
    assert not (tmp_path / "x.png").exists()


# ------------------------------------------------------------------------------------------------ hostile names and files


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([".", "b", "c"], 3), (["a", "a", "c"], 3), (["a", "\ud800", "c"], 3), (["x" * 2000, "b", "c"], 1), (["x" * 300, "b", "c"], 1),
        (["a/" * 1500 + "a", "b", "c"], 1), ([["a/" * 30000, 0, 1, "", 3]], 1), (["a", "./a.jpg", "c"], 1),
    ],
)  # fmt: skip
def test_hostile_names(names: list[object], code: int, tmp_path: Path) -> None:
    (tmp_path / "set.psg").write_bytes(set_named(names))
    result = run("unpack", tmp_path / "set.psg", "--out-dir", tmp_path / "out", "-f")
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert {path.name for path in tmp_path.iterdir()} <= {"set.psg", "out"}


def test_control_characters_never_reach_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "bad\x1b[31m\nname.psg"
    path.write_bytes(set_named(["a\x1b]0;title\x07", "b\rc", "c\x9b1m"]))
    for arguments in (["info", path], ["verify", path], ["decode", path], ["unpack", path, "-n", "\x1b[2J"], ["info", f"{path}.not"]):
        result = run(*arguments)
        assert not {letter for letter in result.output if not letter.isprintable()} - {"\n"}, result.output
    assert "\\x1b]0;title" in run("info", path).output
    assert run("unpack", path, "--out-dir", tmp_path / "out").exit_code == 0
    assert len(list((tmp_path / "out").iterdir())) == 3
    assert os.fsencode(tmp_path / "\udcff.psg")  # a name that is no text
    assert run("info", tmp_path / "\udcff.psg").exit_code == 1


def test_one_hostile_file_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it runs into, the others are done, and the worst exit code is the last word."""
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.psg").write_bytes((GOLDEN / "one.psg").read_bytes())
    (tmp_path / "d.psg").write_bytes(b"damaged")
    real = files.write
    monkeypatch.setattr(files, "write", lambda path, *rest: 1 / 0 if path.name == "b.png" else real(path, *rest))
    result = run("decode", *sorted(tmp_path.glob("*.psg")))
    assert result.exit_code == 3
    assert "ZeroDivisionError" in result.output
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["a.png", "c.png"]


def test_a_killed_process_costs_only_its_input() -> None:
    items = [Item(Path(name)) for name in ("a", "kill", "b", "c")]
    outcomes = list(work._in_processes(items, fatal, 2))
    assert [outcome.code for outcome in outcomes] == [0, 1, 0, 0]
    assert [outcome.facts.get("name") for outcome in outcomes] == ["a", None, "b", "c"]
    assert "killed" in outcomes[1].message


def test_pipes_are_read(tmp_path: Path) -> None:
    pipe, data = tmp_path / "pipe", (GOLDEN / "rgb.psg").read_bytes()
    os.mkfifo(pipe)
    for arguments in (["decode", pipe, "-o", tmp_path / "x.png"], ["verify", pipe]):
        writer = threading.Thread(target=pipe.write_bytes, args=(data,))
        writer.start()
        assert run(*arguments).exit_code == 0
        writer.join()
    assert Image.open(tmp_path / "x.png").tobytes() == Image.open(GOLDEN / "rgb.png").tobytes()


# ------------------------------------------------------------------------------------------------------ limits, estimates


def test_limits_and_estimates(tmp_path: Path) -> None:
    source = GOLDEN / "rgb.psg"
    for option, value in (("pixels", 100), ("memory", 1000), ("seconds", 0.000001)):
        result = run("decode", source, "-o", tmp_path / "x.png", f"--limit-{option}", value)
        assert (result.exit_code, f"--limit-{option}" in result.output) == (1, True)
        assert run("encode", "-m", "tiny", GOLDEN / "rgb.png", "-o", tmp_path / "x.psg", f"--limit-{option}", value).exit_code == 1
    for option in ("images", "name"):
        assert run("info", GOLDEN / "set-colour.psg", f"--limit-{option}", 2).exit_code == 1
    assert run("decode", source, "-o", "-", "--limit-pixels", "0").exit_code == 2
    assert not list(tmp_path.iterdir())
    facts = json.loads(run("info", "--estimate", "--json", source).output)
    assert 10**8 < facts["memory_to_decode"] < 10**9
    assert 0 <= facts["seconds_to_decode"] < 10
    assert "memory to decode" in run("info", "--estimate", GOLDEN / "set-colour.psg").output


def test_much_work_is_announced(tmp_path: Path) -> None:
    """A file that asks for gigabytes is said to, before it turns out to be damaged."""
    data = (GOLDEN / "rgb.psg").read_bytes()
    head = bytearray(data[: struct.unpack_from("<H", data, 10)[0] - 4])
    struct.pack_into("<II", head, 12, 16384, 8192)
    (tmp_path / "x.psg").write_bytes(bytes(head) + struct.pack("<I", zlib.crc32(head)) + data[len(head) + 4 :])
    result = run("decode", tmp_path / "x.psg")
    assert result.exit_code == 3
    assert "GB of memory" in result.output
    assert "GB of memory" not in run("decode", GOLDEN / "rgb.psg", "-o", tmp_path / "y.png").output
