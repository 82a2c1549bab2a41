"""The entries for file managers: the standard tools take them, and what they run makes a thumbnail."""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HERE
from PIL import Image

from presage.codec.format.container import MAGIC

CONTRIB = HERE.parent / "contrib"
MIME = "image/x-presage"


def tool(name: str) -> str:
    """Where a program is; skips the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_mime_type_is_xml() -> None:
    subprocess.run([tool("xmllint"), "--noout", str(CONTRIB / "presage.xml")], check=True)


def test_mime_type_is_registered(tmp_path: Path) -> None:
    (tmp_path / "packages").mkdir()
    shutil.copy(CONTRIB / "presage.xml", tmp_path / "packages")
    subprocess.run([tool("update-mime-database"), str(tmp_path)], check=True, capture_output=True)
    assert f"{MIME}:*.psg" in (tmp_path / "globs").read_text()
    assert MAGIC in (tmp_path / "magic").read_bytes()


def entry() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(CONTRIB / "presage.thumbnailer")
    assert parser.sections() == ["Thumbnailer Entry"]
    return parser["Thumbnailer Entry"]


def test_thumbnailer_makes_a_thumbnail(tmp_path: Path) -> None:
    """The command line of the entry, filled in as file managers do it: the output is a file that exists, of any name."""
    fields = entry()
    assert fields["TryExec"] == "presage"
    assert fields["MimeType"] == f"{MIME};"
    places = {"%s": "32", "%i": str(HERE / "golden" / "palette.psg"), "%o": str(tmp_path / ".thumbnail.AB12CD")}
    Path(places["%o"]).touch()
    command = [places.get(word, word) for word in shlex.split(fields["Exec"])]
    assert command[0] == "presage"
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    subprocess.run([sys.executable, "-m", *command], check=True, env=environment, cwd=tmp_path)
    with Image.open(places["%o"]) as image:
        assert image.format == "PNG"
        assert max(image.size) == 32


def test_entry_is_a_key_file(tmp_path: Path) -> None:
    """desktop-file-validate knows no thumbnailers: the same keys as an application's say whether they are well formed."""
    fields = entry()
    lines = ["[Desktop Entry]", "Type=Application", "Name=Presage", "Exec=presage preview %f"]
    lines += [f"{key}={fields[key]}" for key in ("TryExec", "MimeType")]
    (tmp_path / "presage.desktop").write_text("\n".join(lines) + "\n")
    subprocess.run([tool("desktop-file-validate"), str(tmp_path / "presage.desktop")], check=True)
