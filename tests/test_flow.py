"""Integer flows: what goes through the layers comes back, the exact form is the network's, and nothing in a file is taken on trust."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import TINY, arrays, noise, unpack
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file

import presage
from presage.codec import weights
from presage.codec.cli.main import main
from presage.codec.errors import DamagedFile, ImageRefused
from presage.codec.format import container
from presage.codec.image import files as images
from presage.codec.paths import flows, sets
from presage.codec.paths.tiles import TiledEncoding
from presage.codec.predictive import sampling
from presage.codec.settings import Settings
from presage.codec.weights import Loaded
from presage.models import schema
from presage.models.flow.exact import ExactFlow
from presage.models.flow.export import flow_tensors
from presage.models.flow.network import Flow
from presage.models.flow.plan import FlowConfig, packed, steps, unpacked
from presage.models.model import Tiled, Turn

SETTINGS = Settings(threads=1)
ARRAYS = load_file(TINY / "tiny-flow-1.safetensors")
CONFIGS = {
    "random": FlowConfig(3, "random", False, [12, 8], [1, 0], [8, 8], [0, 1], 8, 2),
    "ordered": FlowConfig(4, "ordered", True, [12, 8], [0, 1], [8, 8], [1, 0], 8, 2),
}


def model(**options: Any) -> ExactFlow:
    return cast(ExactFlow, weights.load("tiny-flow", Settings(**options)).model)


def quantised(config: FlowConfig) -> Flow:
    """A network on its grids whose couplings do something."""
    torch.manual_seed(0)
    network = Flow(config)
    for step, layer in zip(network.steps, network.layers, strict=True):
        if not step.codes:
            torch.nn.init.normal_(layer.out.weight, std=0.3)
    network.quantise(torch.from_numpy(pictures(4)))
    return network.eval()


def pictures(count: int, side: int = 16) -> NDArray[np.uint8]:
    return np.stack([noise(side, side, seed) for seed in range(count)])


class Counting:
    """A code that answers, and counts the bits of the exact model."""

    def __init__(self, answers: Any) -> None:
        self.answers, self.bits = answers, 0.0

    def __call__(self, turn: Turn, weights: NDArray[np.float32]) -> Any:
        nibbles = self.answers(turn, weights)
        self.bits -= float(np.log2(weights[np.arange(len(nibbles)), nibbles] / weights.sum(1)).sum())
        return nibbles


def coded(network: ExactFlow, tiles: Sequence[NDArray[np.uint8]]) -> float:
    """Bits of tiles, which must come back."""
    code = Counting(network.answers(tiles))
    back = network.walk([tile.shape[:2] for tile in tiles], [], 0, code)
    assert all(np.array_equal(a, b) for a, b in zip(back, tiles, strict=True))
    return code.bits


@pytest.mark.parametrize("name", CONFIGS)
def test_the_exact_network_is_the_trained_one(name: str) -> None:
    network, pixels = quantised(CONFIGS[name]), pictures(6)
    tensors = arrays(flow_tensors(network))
    schema.check("flow", tensors)
    with torch.no_grad():
        bits = float(network(torch.from_numpy(pixels)).sum()) / math.log(2)
    assert coded(ExactFlow(tensors), list(pixels)) == pytest.approx(bits, rel=5e-3)


@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.integers(1, 13), st.integers(1, 13)), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_any_pixels_come_back(seed: int, sizes: list[tuple[int, int]]) -> None:
    random = np.random.default_rng(seed)
    coded(model(), [random.choice(np.array([0, 1, 128, 254, 255], np.uint8), (*size, 3)) for size in sizes])


def test_float_couplings_are_undone_whatever_they_say() -> None:
    changed = dict(ARRAYS)
    for name, array in ARRAYS.items():
        if name.endswith(".out.bias"):
            changed[name] = np.full_like(array, 1 << 22)  # far beyond what shifts are clamped to
    coded(ExactFlow(changed), list(pictures(2)))


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_in_a_weights_file(name: str) -> None:
    plan, _ = steps(CONFIGS[name])
    assert unpacked(packed(plan)) == plan
    assert [step.scale for step in plan if step.first] == [0, 1]
    assert sum(len(step.changed) for step in plan if step.codes and step.scale == 0) == 9


@pytest.mark.parametrize("name", CONFIGS)
def test_training_makes_files_smaller(name: str) -> None:
    torch.manual_seed(0)
    network, batch = Flow(CONFIGS[name]), torch.from_numpy(pictures(2))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    losses = []
    for _ in range(12):
        loss = network(batch).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] - 0.3 * math.log(2)
    couplings = [layer for step, layer in zip(network.steps, network.layers, strict=True) if not step.codes]
    assert all(bool(layer.out.weight.abs().sum() > 0) for layer in couplings)  # gradients pass the rounding


def test_hostile_layers() -> None:
    good = ARRAYS["plan"]
    for row, column, value in ((0, 0, 2), (0, 1, 0), (0, 1, 12), (0, 2, 12), (0, 2, int(good[0, 3])), (0, 13, -2), (len(good) - 1, 0, 0)):
        bad = good.copy()
        bad[row, column] = value
        with pytest.raises(ValueError, match="layers"):
            schema.check("flow", ARRAYS | {"plan": bad})
    with pytest.raises(ValueError, match="layers"):
        schema.check("flow", ARRAYS | {"plan": good[:-1]})
    with pytest.raises(ValueError, match="layers"):
        schema.check("flow", ARRAYS | {"plan": np.concatenate([good, good[:1]])})
    with pytest.raises(ValueError, match="no table"):
        schema.check("flow", ARRAYS | {"plan": good.astype(np.int32)})
    with pytest.raises(ValueError, match=r"layers\.0"):
        schema.check("flow", ARRAYS | {"layers.0.first.weight": ARRAYS["layers.0.first.weight"][:, :-1].copy()})


def test_same_bytes_whoever_multiplies_and_with_any_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    tiles = [noise(12, 12, i) for i in range(150)]
    streams = flows.encode_tiles(model(), tiles, 1, lambda _: None)
    assert len(streams) == 3
    for options in ({"arithmetic": "float64"}, {"arithmetic": "float32"}):
        assert flows.encode_tiles(model(**options), tiles, 2, lambda _: None) == streams
    monkeypatch.setenv("PRESAGE_KERNELS", "torch")
    weights._model.cache_clear()
    assert flows.encode_tiles(model(), tiles, 1, lambda _: None) == streams
    weights._model.cache_clear()


@pytest.mark.parametrize("size", [(1, 1), (5, 33), (40, 70), (64, 64)])
def test_pictures(size: tuple[int, int]) -> None:
    for mode in ("RGB", "RGBA", "L", "LA"):
        pixels = np.dstack([noise(*size), noise(*size, 9)[..., :1]])
        image = Image.fromarray(pixels[..., :3]).convert("L") if mode[0] == "L" else Image.fromarray(pixels[..., : len(mode)])
        if mode == "LA":
            image = Image.merge("LA", (image, image))
        loaded = cast("Loaded[Tiled]", weights.load("tiny-flow", SETTINGS))
        data = TiledEncoding(images.from_pillow(image), loaded, 0, SETTINGS).file(0)
        assert presage.decode(data).tobytes() == image.tobytes()


def by_model(pixels: NDArray[np.uint8], tile: int) -> bytes:
    """A file in which the model codes the pixels, though the stored form may be smaller."""
    loaded = cast("Loaded[Tiled]", weights.load("tiny-flow", SETTINGS))
    return TiledEncoding(images.from_pillow(Image.fromarray(pixels)), loaded, tile, SETTINGS).file(0)


def test_parts_of_a_picture() -> None:
    pixels = noise(100, 70)
    data = by_model(pixels, 8)
    assert presage.info(data)["coding"] == "flow"
    assert np.array_equal(np.asarray(presage.decode(data, crop=(9, 50, 30, 41))), pixels[50:91, 9:39])
    section = container.read_header(data).section(container.Tag.TILES)
    assert section is not None
    broken = data[: section.offset + 5] + bytes([data[section.offset + 5] ^ 1]) + data[section.offset + 6 :]
    with pytest.raises(DamagedFile):
        presage.decode(broken)
    image, lost = presage.recover(broken)
    assert len(lost) == container.STREAM_TILES
    assert np.array_equal(np.asarray(image)[72:], pixels[72:])


def named(count: int) -> list[tuple[str, images.Picture]]:
    return [(f"{i}.png", images.from_pillow(Image.fromarray(noise(9 + i % 3, 12, i)))) for i in range(count)]


def test_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    data = sets.pack_pictures(named(70), "tiny-flow", 0, Settings(threads=1, verify=True))
    assert presage.info(data)["coding"] == "flow set"
    statistics: list[Any] = []
    found, lost = unpack(data, None, False, Settings(threads=2, statistics=statistics))
    assert [(n, i.tobytes()) for n, i in found] == [(n, p.image.tobytes()) for n, p in named(70)]
    assert not lost
    assert {s.calls for s in statistics} == {model().calls}
    assert [n for n, _ in unpack(data, ["66.png"], False, SETTINGS)[0]] == ["66.png"]
    header = container.read_header(data)
    section = header.section(container.Tag.TILES)
    assert section is not None
    broken = data[: section.offset] + bytes(4) + data[section.offset + 4 :]
    found, lost = unpack(broken, None, True, SETTINGS)
    assert [n for n, _ in found] == [f"{i}.png" for i in range(64, 70)]
    assert len(lost) == 64
    with pytest.raises(ImageRefused):
        sets.pack_pictures([("a.png", images.from_pillow(Image.fromarray(noise(5, 5)).convert("1")))], "tiny-flow", 0, SETTINGS)


def test_every_cut_and_flip_is_reported() -> None:
    data = by_model(noise(24, 24), 8)
    random = np.random.default_rng(0)
    for at in random.integers(0, len(data), 60).tolist():
        for hostile in (data[:at], data[:at] + bytes([data[at] ^ 1 << int(random.integers(8))]) + data[at + 1 :]):
            with pytest.raises((presage.PresageError,)):
                presage.decode(hostile)


def test_streams_that_are_no_code_of_tiles() -> None:
    network, size = model(), [[(8, 8)] * 3]
    for words in (b"\1\2\3\4\5", bytes(8), np.arange(1, 400, dtype="<u4").tobytes()):
        with pytest.raises(DamagedFile):
            flows.decode_tiles(network, [words], size, 1, lambda _: None)


def test_samples_do_not_depend_on_batch_and_threads() -> None:
    drawn = sampling.draw_pictures(model(), 5, (11, 9), 3, SETTINGS).pictures
    assert {picture.shape for picture in drawn} == {(11, 9, 3)}
    again = sampling.draw_pictures(model(), 2, (11, 9), 3, Settings(threads=2)).pictures
    assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=False))
    assert len({picture.tobytes() for picture in drawn}) == 5


def test_the_commands(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(noise(16, 16, i)).save(folder / f"{i}.png")

    def run(*arguments: Any) -> str:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    run("pack", folder, "-m", "tiny-flow", "-o", tmp_path / "set.psg", "--verify")
    assert f"{model().calls}.0 calls" in run("unpack", tmp_path / "set.psg", "--out-dir", tmp_path / "out", "--stats")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "out" / "1.png")), noise(16, 16, 1))
    assert "flow set" in run("info", tmp_path / "set.psg")
    run("sample", "-m", "tiny-flow", "-n", "4", "--size", "16x16", "-o", tmp_path / "grid.png")
