"""Ordered codes from the command line: encode, truncate, decode, info, verify and sample."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import HERE
from PIL import Image
from test_command_line import ENVIRONMENT
from test_command_line import run as start

import presage
from presage.codec.cli.main import main

GOLDEN = HERE / "golden"
FILE = GOLDEN / "ordered.psg"
DATA = FILE.read_bytes()


def run(*arguments: object, source: bytes | None = None) -> Result:
    """A command in this process; `start` has one of its own."""
    return CliRunner().invoke(main, [str(a) for a in arguments], input=source)


def facts_of(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    facts: dict[str, Any] = json.loads(result.stdout)
    return facts


def test_pipes(tmp_path: Path) -> None:
    """Encode, cut, decode: real processes, one after the other."""
    encoded = start("encode", "-m", "tiny-ordered", "--lossy", "-", input=(GOLDEN / "rgb.png").read_bytes())
    assert encoded.returncode == 0, encoded.stderr
    assert presage.info(encoded.stdout)["coding"] == "ordered"
    cut = start("truncate", "-", "--bytes", "190", "-o", "-", input=encoded.stdout)
    assert cut.returncode == 0, cut.stderr
    assert cut.stdout == presage.truncate(encoded.stdout, 190)
    decoded = start("decode", "-", "-o", "-", input=cut.stdout)
    assert decoded.returncode == 0
    assert b"the file is cut" in decoded.stderr
    (tmp_path / "x.png").write_bytes(decoded.stdout)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "x.png")), np.asarray(presage.decode(cut.stdout)))


def test_truncate_needs_neither_torch_nor_numpy(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom presage.codec.cli.main import main\n"
        f"sys.argv[1:] = ['truncate', {str(FILE)!r}, '--fraction', '0.9', '-o', {str(tmp_path / 'x.psg')!r}]\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "bad = {'torch', 'numpy', 'PIL', 'constriction'} & set(sys.modules)\nassert not bad, bad\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, env=ENVIRONMENT, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.psg").read_bytes() == presage.truncate(DATA, fraction=0.9)


def test_truncate(tmp_path: Path) -> None:
    target = tmp_path / "x.psg"
    facts = facts_of(run("truncate", FILE, "-o", target, "--bpp", "0.3", "--json"))
    assert target.read_bytes() == presage.truncate(DATA, bpp=0.3)
    assert (facts["bytes"], facts["source_bytes"], facts["cut"]) == (target.stat().st_size, len(DATA), True)
    done = run("truncate", FILE, "-o", target, "--bytes", "10000")
    assert (done.exit_code, "-f" in done.stderr) == (1, True)
    done = run("truncate", FILE, "-o", target, "--bytes", "10000", "-f")
    assert done.exit_code == 0
    assert "bits/pixel" in done.stderr
    assert target.read_bytes() == DATA
    assert not run("truncate", FILE, "-o", target, "--bytes", "10000", "-f", "-q").stderr


def test_exit_codes_of_truncate(tmp_path: Path) -> None:
    target = tmp_path / "x.psg"
    assert run("truncate", FILE, "-o", target, "--bytes", "20").exit_code == 1
    assert run("truncate", GOLDEN / "rgb.psg", "-o", target, "--bytes", "2000").exit_code == 1
    assert run("truncate", tmp_path / "none.psg", "-o", target, "--bytes", "2000").exit_code == 1
    for wrong in ([], ["--bytes", "200", "--bpp", "1"], ["--fraction", "1.5"], ["--bpp", "-1"], ["--bytes", "0"]):
        assert run("truncate", FILE, "-o", target, *wrong).exit_code == 2
    assert run("truncate", FILE, "-o", "-", "--bytes", "200", "--json").exit_code == 2
    (tmp_path / "bad.psg").write_bytes(DATA[:60])
    done = run("truncate", tmp_path / "bad.psg", "-o", target, "--bytes", "60", "--json")
    assert (done.exit_code, json.loads(done.stdout)["exit_code"]) == (3, 3)
    (tmp_path / "bad.psg").write_bytes(DATA[:-20] + bytes(20))
    assert run("truncate", tmp_path / "bad.psg", "-o", target, "--fraction", "1").exit_code == 3
    assert not target.exists()


def test_decode_some_codes(tmp_path: Path) -> None:
    target = tmp_path / "x.png"
    assert run("decode", FILE, "--codes", "2", "-o", target).exit_code == 0
    assert Image.open(target).tobytes() == presage.decode(DATA, codes=2).tobytes()
    assert run("decode", FILE, "--codes", "-1", "-o", target, "-f").exit_code == 2
    assert run("decode", GOLDEN / "lossy.psg", "--codes", "2", "-o", target, "-f").exit_code == 1
    assert run("decode", FILE, "--crop", "3,4,50,20", "-o", target, "-f").exit_code == 0
    assert Image.open(target).tobytes() == presage.decode(DATA).crop((3, 4, 53, 24)).tobytes()


def test_decode_progressive(tmp_path: Path) -> None:
    facts = facts_of(run("decode", FILE, "--progressive", tmp_path / "steps", "--json"))
    assert [Path(path).name for path in facts["outputs"]][-1] == "ordered-100.png"
    assert len(facts["outputs"]) == len(facts["sizes"])
    for path, size in zip(facts["outputs"], facts["sizes"], strict=True):
        shown = presage.decode(DATA[: max(size, len(DATA) - presage.info(DATA)["sections"]["CODE"])])
        assert Image.open(path).tobytes() == shown.tobytes()
    assert run("decode", FILE, "--progressive", tmp_path / "steps").exit_code == 1  # they exist
    assert run("decode", GOLDEN / "lossy.psg", "--progressive", tmp_path / "more").exit_code == 1
    assert not (tmp_path / "more").exists()
    assert run("decode", FILE, "--progressive", tmp_path / "more", "-o", tmp_path / "x.png").exit_code == 2


def test_cut_and_damaged_files(tmp_path: Path) -> None:
    cut, damaged = tmp_path / "cut.psg", tmp_path / "damaged.psg"
    cut.write_bytes(DATA[:-5])
    damaged.write_bytes(DATA[:-6] + bytes([DATA[-6] ^ 1]) + DATA[-5:])
    done = run("decode", cut, "--json")
    facts = facts_of(done)
    assert (facts["cut"], facts["chunks"], facts["layers"]) == (True, 1, 8)
    assert 0 < facts["layers_there"] < 8
    assert facts["codes"] == presage.info(DATA[:-5])["codes"]
    assert f"the file is cut: {len(DATA) - 5:,} of {len(DATA):,} bytes" in done.stderr
    assert "codes of every patch" in done.stderr
    assert not run("decode", cut, "-f", "-q").stderr
    assert "is cut" not in run("decode", FILE, "-o", tmp_path / "whole.png").stderr
    done = run("verify", cut, FILE)
    assert done.exit_code == 0
    assert done.stderr.count("ok, 83x61 RGB") == 2
    assert done.stderr.count("the file is cut") == 1
    assert run("verify", damaged, FILE).exit_code == 3
    assert run("decode", damaged).exit_code == 3
    assert not (tmp_path / "damaged.png").exists()
    done = run("decode", damaged, "--recover")
    assert done.exit_code == 0
    assert "lost 83x61 pixels" in done.stderr
    assert Image.open(tmp_path / "damaged.png").tobytes() == presage.decode(DATA[:-5]).tobytes()


def test_info(tmp_path: Path) -> None:
    (tmp_path / "cut.psg").write_bytes(DATA[:-1])
    whole, cut = (json.loads(line) for line in run("info", "--json", FILE, tmp_path / "cut.psg").stdout.splitlines())
    assert (whole["coding"], whole["model"]) == ("ordered", "tiny-ordered-1")
    assert (whole["codes"], whole["layers"], whole["layers_there"], whole["cut"]) == (210, 8, 8.0, False)
    assert cut["codes"] < whole["codes"] == cut["codes_of_whole_file"]
    assert (cut["cut"], cut["bytes"], cut["bytes_of_whole_file"]) == (True, len(DATA) - 1, len(DATA))
    assert 0 < cut["layers_there"] < 8
    (tmp_path / "bad.psg").write_bytes(DATA + b"\0")
    assert run("info", tmp_path / "bad.psg").exit_code == 3


def test_encode_to_a_size(tmp_path: Path) -> None:
    facts = facts_of(
        run("encode", "-m", "tiny-ordered", "--lossy", "--bytes", "190", GOLDEN / "rgb.png", "-o", tmp_path / "x.psg", "--json")
    )
    assert facts["bytes"] == (tmp_path / "x.psg").stat().st_size <= 190
    assert facts["cut"]
    assert run("encode", "-m", "tiny-ordered", GOLDEN / "rgb.png", "-o", tmp_path / "y.psg").exit_code == 1
    assert run("encode", "-m", "tiny-ordered", "--lossy", "--tile", "64", GOLDEN / "rgb.png", "-o", tmp_path / "y.psg").exit_code == 1
    assert run("encode", "-m", "tiny-ordered", "--lossy", GOLDEN / "palette.png", "-o", tmp_path / "y.psg").exit_code == 1
    assert not (tmp_path / "y.psg").exists()


@pytest.mark.parametrize("model", ["tiny-ordered", "tiny-codes"])
def test_samples(model: str, tmp_path: Path) -> None:
    def draw(name: str, *more: object) -> Result:
        return run("sample", "-m", model, "-n", "2", "--size", "40x24", "-o", tmp_path / name, "--json", *more)

    facts = facts_of(draw("a.png", "--seed", "3"))
    assert (facts["codes"], facts["of"], facts["seed"]) == (8, 8, 3)
    assert facts_of(draw("b.png", "--seed", "3", "--threads", "1", "--arithmetic", "float64", "--codes", "99"))["codes"] == 8
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert facts_of(draw("c.png", "--codes", "2"))["codes"] == 2
    assert facts_of(draw("d.png", "--seconds", "0"))["codes"] == 0
    assert Image.open(tmp_path / "c.png").size == Image.open(tmp_path / "a.png").size
    assert draw("a.png").exit_code == 1  # it exists
    assert draw("e.png", "--mistakes", tmp_path / "m.png").exit_code == 1
    assert draw("e.png", "--codes", "-1").exit_code == 2
    done = run("sample", "-m", "tiny-chain", "-n", "1", "--size", "4x4", "--codes", "1", "-o", tmp_path / "e.png")
    assert (done.exit_code, "ordered codes" in done.stderr) == (1, True)
