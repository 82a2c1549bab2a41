"""What the documents show: their Python runs, their commands exist, their links lead somewhere, their figures are those recorded."""

import re
import runpy
import shlex
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import click
import numpy as np
import pytest
import results
from conftest import HERE
from PIL import Image

import presage
from presage.codec.cli.main import main

ROOT = HERE.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "FORMAT.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
PATH = re.compile(r"`((?:codec|models|bench|tests|docs|examples|samples)/[\w./*-]+)`")
NOT_DISTRIBUTED = ("models/checkpoints",)


def python_blocks() -> list[tuple[str, str]]:
    return [(page.name, text) for page in PAGES for kind, text in FENCED.findall(page.read_text()) if kind == "python"]


def commands() -> list[tuple[str, str]]:
    """Lines of code blocks, and code within lines, that call `presage`, with the name of their page."""
    found = []
    for page in PAGES:
        text = page.read_text()
        spans = re.findall(r"`(presage [^`]+)`", FENCED.sub("", text))
        blocks = [line for kind, block in FENCED.findall(text) if kind == "sh" for line in block.splitlines()]
        found += [(page.name, line) for line in [*blocks, *spans] if "presage" in line]
    return found


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with small pictures named as the documents do."""
    with Image.open(ROOT / "samples" / "kodim23.png") as image:
        image.crop((400, 100, 496, 164)).save(tmp_path / "photo.png")
        for i, name in enumerate(("a.png", "b.png")):
            image.crop((450 + 32 * i, 100, 482 + 32 * i, 132)).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.parametrize(("page", "block"), python_blocks(), ids=lambda text: text.splitlines()[0])
def test_python_runs(page: str, block: str, pictures: Path) -> None:
    exec(compile(block, page, "exec"), {})


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda text: text[:40])
def test_commands_exist(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    assert words[0] in ("presage", "head"), line
    if words[0] == "head":
        return
    command: click.Command = main
    words = words[1:]
    while isinstance(command, click.Group) and words:
        if words[0].isupper() or words[0].startswith("-"):
            return
        assert words[0] in command.commands, line
        command = command.commands[words.pop(0)]
    context = click.Context(command)
    given, _, _ = command.make_parser(context).parse_args(words)
    for option in command.params:
        value = given.get(option.name)
        if value and not isinstance(option.type, click.Path) and not str(value).isupper():
            option.type_cast_value(context, value)


def test_the_check_of_commands_finds_wrong_ones() -> None:
    with pytest.raises(click.UsageError):
        test_commands_exist("", "presage encode --no-such-option photo.png")
    with pytest.raises(click.UsageError):
        test_commands_exist("", "presage encode --lossy --quality 101 photo.png")
    with pytest.raises(AssertionError):
        test_commands_exist("", "presage nothing photo.png")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target, anchor in LINK.findall(FENCED.sub("", text)):
        if target.startswith(("http://", "https://")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}, f"{target}#{anchor}"
    for name in PATH.findall(text):
        if not name.startswith(NOT_DISTRIBUTED):
            assert list(ROOT.glob(name.rstrip("/"))), name


def test_examples_are_short() -> None:
    assert len(EXAMPLES) >= 5
    for path in EXAMPLES:
        assert len(path.read_text().splitlines()) < 40, path
        assert f"python examples/{path.name}" in path.read_text(), path


def start(name: str, *arguments: object) -> None:
    """Run an example in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")


def test_folder_to_archive(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (pictures / "below").mkdir()
    (pictures / "photo.png").rename(pictures / "below" / "photo.png")
    (pictures / "notes.txt").write_text("no picture")
    start("folder_to_archive.py", pictures, pictures / "archive")
    assert "3 of 4 files" in capsys.readouterr().out
    decoded = presage.decode((pictures / "archive" / "below" / "photo.png.psg").read_bytes())
    assert decoded.tobytes() == Image.open(pictures / "below" / "photo.png").tobytes()


def test_pillow_plugin(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start("pillow_plugin.py", "photo.png", "out")
    whole, small = capsys.readouterr().out.splitlines()
    assert whole.endswith("equal")
    assert small.endswith("with loss")


def test_web_handler(pictures: Path) -> None:
    pixels = np.asarray(Image.open("photo.png"))
    server = runpy.run_path(str(ROOT / "examples" / "web_handler.py"))["server_of"](pixels)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}/image.psg"
        with urllib.request.urlopen(address) as answer:
            assert answer.headers["Content-Type"] == "image/x-presage"
            assert np.array_equal(np.asarray(presage.decode(answer.read())), pixels)
        with urllib.request.urlopen(f"{address}?bpp=1") as answer:
            data = answer.read()
        assert len(data) <= pixels[..., 0].size // 8
        assert presage.decode(data).size == (96, 64)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(f"{address}?bpp=none")
    finally:
        server.shutdown()
        server.server_close()


def test_draw_samples(pictures: Path) -> None:
    start("draw_samples.py", "mnist", "drawn", "3", "--count", "2")
    assert Image.open(pictures / "drawn" / "mnist-3.png").width >= 56


def test_truncate_stream(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start("truncate_stream.py", "photo.png", "cuts", "0.3", "1")
    decibels = [float(line.split()[-2]) for line in capsys.readouterr().out.splitlines()]
    assert decibels[0] < decibels[1]
    assert Image.open(pictures / "cuts" / "photo-30.png").size == (96, 64)


def test_tables_are_those_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["--check", "--folder", str(ROOT)]) == 0, capsys.readouterr().out


def test_stale_and_wrong_tables_are_found() -> None:
    page = (ROOT / "README.md").read_text()
    stale = results.BLOCK.sub(r"\1| old |\n\3", page)
    assert stale != page == results.filled(stale)
    with pytest.raises(ValueError, match="nothing"):
        results.filled("<!-- results: begin nothing -->\n<!-- results: end -->\n")
    with pytest.raises(ValueError, match="end"):
        results.filled("<!-- results: begin models -->\n")


def test_what_is_not_recorded_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = results.summary()
    monkeypatch.setattr(results, "RECORDED", tmp_path)
    for name, block in results.BLOCKS.items():
        assert block().endswith("\n"), name
    (tmp_path / "kodak-lossy.json").write_bytes((ROOT / "bench" / "recorded" / "kodak-lossy.json").read_bytes())
    part = results.summary()
    assert "AVIF" in part
    assert "FLIF |" in full
    assert "FLIF |" not in part
