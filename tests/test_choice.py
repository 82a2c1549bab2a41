"""What multiplies, and what people are told of it: compiling, `presage models --verbose`, PRESAGE_ARITHMETIC."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import HERE, noise
from PIL import Image
from safetensors.numpy import load_file

from presage.codec.cli import compiling
from presage.codec.cli.main import main
from presage.codec.cli.work import COMPILING, Work
from presage.models import back_ends, catalogue, choice
from presage.models.integer import Shape
from presage.models.kernels import jit

SHAPES = [Shape(40, 24), Shape(8, 16)]


def presage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "presage", *arguments]
    environment = os.environ | {"PRESAGE_MODELS": str(HERE / "data")} | environment
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=HERE.parent, check=True)


@pytest.mark.skipif(not jit.available(), reason="numba is not installed, or switched off")
def test_compiling_is_announced_once(tmp_path: Path) -> None:
    Image.fromarray(noise(20, 30)).save(tmp_path / "a.png")
    encode = ("encode", str(tmp_path / "a.png"), "-f", "-m", "tiny")
    empty = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    first, second = presage(*encode, **empty), presage(*encode, **empty)
    assert first.stderr.splitlines()[0] == COMPILING
    assert first.stderr.count(COMPILING) == 1
    assert COMPILING not in second.stderr
    assert any((tmp_path / "cache").rglob("*.nbi"))


def test_quiet_work_is_helped_without_a_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    notices: list[Callable[[], None]] = []
    helped: list[bool] = []
    monkeypatch.setattr(jit, "on_compiling", notices.append)
    monkeypatch.setattr(compiling, "help_compiling", lambda: helped.append(True))
    for quiet in (True, False):
        Work(quiet=quiet, as_json=False).announce()
        notices[-1]()
        assert (COMPILING in capsys.readouterr().err) != quiet
    assert helped == [True, True]


def test_models_say_what_multiplies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copy(HERE / "data" / "tiny-1.safetensors", tmp_path)
    monkeypatch.setattr(catalogue, "PACKAGED", tmp_path)
    monkeypatch.delenv("PRESAGE_MODELS", raising=False)
    lines = [json.loads(line) for line in CliRunner().invoke(main, ["models", "--verbose", "--json"]).stdout.splitlines()]
    tiny = next(line for line in lines if line["name"] == "tiny-1")
    assert set(tiny["products"]) == set(back_ends.BACK_ENDS)
    assert tiny["products"][tiny["arithmetic"]]["right"]
    assert tiny["products"][tiny["arithmetic"]]["gmacs"] > 0
    assert tiny["arithmetic"] == (jit.ARITHMETIC if jit.available() else tiny["arithmetic"])
    text = CliRunner().invoke(main, ["models", "--verbose"]).stdout
    assert f"processor: {choice.described()}" in text
    assert f"    {tiny['arithmetic']}: {tiny['why']}" in text


@pytest.mark.parametrize("name", ["float64", "float32"])
def test_the_environment_chooses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(jit.ASKED, name)
    assert back_ends.choose(None, SHAPES, choice.CPU, (1, 3)).name == name
    assert back_ends.choose("int16" if jit.available() else "float64", SHAPES, choice.CPU, (1, 3)).name != "float32"
    assert not jit.wanted(None)
    assert jit.wanted("int16") == jit.available()
    found = choice.choice(SHAPES)
    assert (found.taken, found.why) == (name, "asked for")
    monkeypatch.setenv(jit.ASKED, "no such thing")
    with pytest.raises(ValueError, match="no arithmetic called"):
        choice.choice(SHAPES)


def test_without_kernels_the_fastest_of_the_right_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(jit.KERNELS, "torch")
    monkeypatch.delenv(jit.ASKED, raising=False)
    found = choice.choice(SHAPES)
    assert found.taken != jit.ARITHMETIC
    assert found.taken in [speed.name for speed in found.speeds if speed.right]
    assert jit.KERNELS in found.why or not jit.INSTALLED


def test_a_wrong_product_is_called_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = type(back_ends.BACK_ENDS["float64"])
    right = kind.product
    monkeypatch.setattr(kind, "product", lambda self, x, prepared: right(self, x, prepared) + (self.name == "float32"))
    speeds = {name: choice.speed(name, SHAPES) for name in ("float32", "float64")}
    assert (speeds["float32"].right, speeds["float64"].right) == (False, True)
    assert "float32" in choice.lines(choice.Choice("float64", "asked for", list(speeds.values())))[1]
    assert choice.lines(choice.Choice("float64", "", list(speeds.values())))[1].count("(not right)") == 1


def test_shapes_are_those_of_the_file() -> None:
    arrays = load_file(HERE / "data" / "tiny-1.safetensors")
    shapes = choice.shapes_of(arrays)
    weights = {tuple(reversed(array.shape)) for name, array in arrays.items() if name.endswith(".weight") and array.dtype == np.int8}
    assert {shape[:2] for shape in shapes} == weights
