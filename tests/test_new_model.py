"""A kind of model that the codec has never heard of: an order-0 model of bytes, registered by one call."""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import noise
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

import presage
from presage.codec import weights
from presage.codec.cli.main import main
from presage.models.frequencies import Categories, category_table
from presage.models.integer import Tensors
from presage.models.model import Lossless, Places, Quantiles, Size, Symbols

# ------------------------------------------------------------------------------------------------------------ the model


class Histogram:
    """Every pixel has the same distributions, whatever the others are."""

    def __init__(self, logits: Tensor, sizes: Sequence[Size]) -> None:
        bounds = np.cumsum([0, *(height * width for height, width in sizes)])
        self.pixels: Sequence[Places] = [np.arange(a, b) for a, b in pairwise(bounds)]
        self.rows = int(bounds[-1])
        self._logits, self._open = logits, np.ones(self.rows, bool)

    def put(self, pixels: Places, symbols: Symbols, watch: bool = True) -> None:
        """Nothing depends on them."""

    def open(self, pixels: Places) -> None:
        self._open[pixels] = True

    def evaluate(self, pixels: Places, watch: bool = True) -> Places:
        due = pixels[self._open[pixels]]
        self._open[due] = False
        return due

    def head_sums(self, pixels: Places) -> Tensor:
        return self._logits

    def distribution(self, head_sums: Tensor, pixels: Places, channel: int, symbols: Symbols, precision: int) -> Quantiles:
        return Categories(head_sums[channel].expand(len(pixels), -1), category_table(), precision)


class Order0(Lossless):
    """`logits`: int32 (3, 256), in 1/64 nat."""

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        self.logits = torch.from_numpy(tensors["logits"])

    def evaluator(self, sizes: Sequence[Size]) -> Histogram:
        return Histogram(self.logits, sizes)


# ------------------------------------------------------------------------------------------------------------ its use


@pytest.fixture
def name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    counts = torch.stack([torch.bincount(torch.from_numpy(noise(200, 200)[..., c].ravel()).long(), minlength=256) for c in range(3)])
    save_file({"logits": (64 * (counts + 0.01).log()).round().int()}, tmp_path / "bytes-1.safetensors", {"model": "order-0", "side": "16"})
    monkeypatch.setenv("PRESAGE_MODELS", str(tmp_path))
    presage.register_model("order-0", Order0)
    yield "bytes"
    weights._registered.pop("order-0")


def test_a_registered_kind_works_everywhere(name: str, tmp_path: Path) -> None:
    pixels = noise(150, 170)  # enough that nothing else is tried
    data = presage.encode(pixels, model=name)
    assert np.array_equal(np.asarray(presage.decode(data)), pixels)
    assert np.array_equal(np.asarray(presage.decode(data, crop=(40, 50, 60, 70))), pixels[50:120, 40:100])
    assert presage.info(data)["model"] == "bytes-1"
    assert 3 < presage.info(data)["bits_per_sample"] < 8
    named = {f"{i}.png": noise(20, 30 + i, i) for i in range(4)}
    packed = presage.pack(named, model=name)
    assert all(np.array_equal(np.asarray(image), named[key]) for key, image in presage.unpack(packed).items())
    source, coded, back, drawn = (tmp_path / n for n in ("a.png", "a.psg", "b.png", "c.png"))
    Image.fromarray(pixels).save(source)
    for command in (["encode", "-m", name, source], ["verify", coded], ["info", coded], ["decode", coded, "-o", back]):
        result = CliRunner().invoke(main, [*map(str, command)])
        assert result.exit_code == 0, result.output
    assert np.array_equal(np.asarray(Image.open(back)), pixels)
    result = CliRunner().invoke(main, ["sample", "-m", name, "-n", "4", "-o", str(drawn), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["model"] == "bytes-1"
    assert Image.open(drawn).size == ((16 + 2 + 16) * 4, (16 + 2 + 16) * 4)
    image = Image.open(io.BytesIO(source.read_bytes()))
    assert presage.encode(image, model=name, threads=1, schedule=presage.Schedule("fixed-point")) == data


def test_an_unknown_kind_is_named(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "odd-1.safetensors", {"model": "nobody's"})
    with pytest.raises(presage.WeightsError, match="nobody's"):
        presage.encode(noise(8, 8), model="odd", model_path=[tmp_path])


def test_the_model_is_short() -> None:
    lines = Path(sys.modules[__name__].__file__ or "").read_text().splitlines()
    first, last = (next(i for i, line in enumerate(lines) if marker in line) for marker in ("the model", "its use"))
    assert last - first < 60
