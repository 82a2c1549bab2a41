"""The model of JPEG coefficients: every int16 comes back, kernels and torch agree, and integers give what was trained."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from conftest import HERE, arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from presage.codec.coders.turns import Pull, Record
from presage.models import schema
from presage.models.jpeg import features, symbols, units
from presage.models.jpeg.exact import ExactJpeg
from presage.models.jpeg.export import jpeg_tensors
from presage.models.jpeg.network import KINDS, Jpeg, JpegConfig
from presage.models.kernels import jit
from presage.models.model import Blocks, Box, Plane
from presage.models.training import jpeg as training
from presage.models.training import loop

SEEDS = st.integers(0, 1 << 32)
compiled = pytest.mark.skipif(not jit.available(), reason="numba is not installed, or switched off")


def natural(random: np.random.Generator, rows: int, columns: int, size: float = 30) -> Blocks:
    """Coefficients that fall with frequency."""
    v, u = np.mgrid[:8, :8]
    values = random.laplace(0, size / (1 + v + u) ** 1.3, (rows, columns, 8, 8))
    values[..., 0, 0] += np.add.outer(np.arange(rows), np.arange(columns)) * 3
    return np.rint(values).astype(np.int16)


def extreme(random: np.random.Generator, rows: int, columns: int) -> Blocks:
    """Any int16, many of them 0, some as far away as can be."""
    values = random.integers(-32768, 32768, (rows, columns, 8, 8)) >> random.integers(0, 16, (rows, columns, 1, 1))
    values = np.where(random.random(values.shape) < 0.1, random.choice([-32768, 32767], values.shape), values)
    return (values * (random.random(values.shape) < random.random((rows, columns, 1, 1)))).astype(np.int16)


def plane(blocks: Blocks, sampling: tuple[int, int] = (1, 1), step: int = 4) -> Plane:
    steps = (step + np.add.outer(np.arange(8), np.arange(8)) * (step > 1)).astype(np.uint16)
    return Plane(sampling, steps, features.profile(blocks), blocks)


def picture(random: np.random.Generator, make: Any = natural, step: int = 4) -> list[Plane]:
    """Luma, chroma halved both ways, and chroma of another sampling."""
    return [plane(make(random, 12, 10), (2, 2), step), plane(make(random, 6, 5), (1, 1), step), plane(make(random, 6, 10), (1, 2), step)]


@pytest.fixture(scope="module")
def network() -> Jpeg:
    """A small network on its grids."""
    torch.manual_seed(0)
    net, random = Jpeg(JpegConfig(told=8, width=24, blocks=1, head=20)), np.random.default_rng(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.03 * torch.randn_like(parameter))
    net.quantise(batches([plane(natural(random, 40, 40, 300)) for _ in range(3)]))
    return net.eval()


def batches(planes: list[Plane]) -> dict[str, dict[str, torch.Tensor]]:
    """What a network is told in training of all blocks of a picture."""
    kinds = {kind: training.Blocks(kind == "later") for kind in KINDS}
    training.JpegBlocks._add(kinds, planes, 0)
    for blocks in kinds.values():
        blocks.seal()
    return {kind: blocks.batch(np.arange(blocks.count), features.Tables.make()) for kind, blocks in kinds.items()}


@pytest.fixture(scope="module")
def model(network: Jpeg) -> ExactJpeg:
    return ExactJpeg(arrays(jpeg_tensors(network)))


def boxes_of(part: Plane, side: int) -> list[Box]:
    rows, columns = part.blocks.shape[:2]
    return [(x, y, min(x + side, columns), min(y + side, rows)) for y in range(0, rows, side) for x in range(0, columns, side)]


def cut(part: Plane, boxes: list[Box]) -> list[Blocks]:
    return [part.blocks[top:bottom, left:right] for left, top, right, bottom in boxes]


def encode(model: ExactJpeg, planes: list[Plane], side: int, at_once: bool) -> list[list[bytes]]:
    streams = []
    for i, part in enumerate(planes):
        boxes = boxes_of(part, side)
        tiles = cut(part, boxes)
        record = Record(model.answers(tiles), len(tiles))
        given_back = model.walk(part, planes[:i], boxes, record, tiles if at_once else None)
        assert all(np.array_equal(a, b) for a, b in zip(given_back, tiles, strict=True))
        streams.append(record.streams())
    return streams


def decode(model: ExactJpeg, planes: list[Plane], side: int, streams: list[list[bytes]]) -> None:
    for i, (part, own) in enumerate(zip(planes, streams, strict=True)):
        boxes, pull = boxes_of(part, side), Pull(own)
        blank = Plane(part.sampling, part.steps, part.profile, np.zeros_like(part.blocks))
        for tile, expected in zip(model.walk(blank, planes[:i], boxes, pull), cut(part, boxes), strict=True):
            assert np.array_equal(tile, expected)
        pull.check()


@settings(deadline=None, max_examples=12)
@given(SEEDS, st.sampled_from([3, 5, 64]), st.sampled_from([1, 40, 60000]), st.booleans())
def test_every_coefficient_comes_back(model: ExactJpeg, seed: int, side: int, step: int, wild: bool) -> None:
    planes = picture(np.random.default_rng(seed), extreme if wild else natural, step)
    streams = encode(model, planes, side, at_once=False)
    assert encode(model, planes, side, at_once=True) == streams
    decode(model, planes, side, streams)


@compiled
@settings(deadline=None, max_examples=4)
@given(SEEDS, st.sampled_from([1, 7, 60000]), st.booleans())
def test_kernels_and_torch_give_the_same_streams(network: Jpeg, model: ExactJpeg, seed: int, step: int, wild: bool) -> None:
    reference = ExactJpeg(arrays(jpeg_tensors(network)), "float32")
    assert (reference.arithmetic, model.arithmetic) == ("float32", jit.ARITHMETIC)
    planes = picture(np.random.default_rng(seed), extreme if wild else natural, step)
    assert encode(reference, planes, 7, at_once=True) == encode(model, planes, 7, at_once=False)


def test_tiles_do_not_depend_on_those_that_are_coded_with_them(model: ExactJpeg) -> None:
    random = np.random.default_rng(3)
    part = plane(natural(random, 11, 9))
    boxes = boxes_of(part, 4)
    together = encode(model, [part], 4, at_once=True)[0]
    for i in (0, 2, 5, 8):
        tiles = cut(part, boxes[i : i + 1])
        record = Record(model.answers(tiles), 1)
        model.walk(part, [], boxes[i : i + 1], record, tiles)
        assert record.streams() == together[i : i + 1]


@compiled
def test_integers_cost_what_the_network_says(network: Jpeg, model: ExactJpeg) -> None:
    random = np.random.default_rng(4)
    planes = [plane(natural(random, 30, 30), (1, 1)) for _ in range(3)]
    with torch.no_grad():
        nats = float(network(batches(planes)).double().sum())
    streams = encode(model, planes, training.TILE, at_once=True)
    assert sum(len(stream) for part in streams for stream in part) == pytest.approx(nats / np.log(2) / 8, rel=0.01)


@pytest.mark.skipif(not jit.available(), reason="the same in this process")
def test_without_kernels_streams_are_the_same(model: ExactJpeg, network: Jpeg, tmp_path: Any) -> None:
    planes = picture(np.random.default_rng(5))
    expected = encode(model, planes, 5, at_once=True)
    tensors: dict[str, Any] = arrays(jpeg_tensors(network))
    np.savez(tmp_path / "tensors.npz", **tensors)
    code = (
        "import sys, numpy as np, test_jpeg_model as t\n"
        f"model = t.ExactJpeg(dict(np.load({str(tmp_path / 'tensors.npz')!r})))\n"
        "planes = t.picture(np.random.default_rng(5))\n"
        "print([[s.hex() for s in part] for part in t.encode(model, planes, 5, False)])\n"
    )
    environment = os.environ | {jit.KERNELS: "torch", "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)])}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert run.stdout.strip() == str([[stream.hex() for stream in part] for part in expected])


def test_a_profile_of_another_length_is_refused(model: ExactJpeg) -> None:
    part = plane(natural(np.random.default_rng(6), 4, 4))
    with pytest.raises(ValueError, match="profile"):
        model.walk(Plane(part.sampling, part.steps, b"\0" * 63, part.blocks), [], [(0, 0, 4, 4)], model.answers([part.blocks]))


def test_weights_of_another_shape_are_refused(network: Jpeg) -> None:
    tensors: dict[str, NDArray[Any]] = arrays(jpeg_tensors(network))
    schema.check("jpeg", tensors)
    for name, wrong in (
        ("first.trunk.weight", tensors["first.trunk.weight"][:, 1:]),
        ("later.heads.3.weight", tensors["later.heads.3.weight"][:-1]),
        ("tables.initial", -tensors["tables.initial"]),
        ("tables.mean", tensors["tables.mean"][:-1]),
    ):
        with pytest.raises(ValueError, match=name):
            schema.check("jpeg", tensors | {name: wrong})


@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_far_values(values: list[int]) -> None:
    """Class and remainder say a difference, and every class is as large as its bits say."""
    difference = np.array(values, np.int32)
    difference = difference[np.abs(difference) > units.NEAR]
    kind, remainder = symbols.far(difference)
    assert np.array_equal(symbols.FIRST[kind] + remainder + units.NEAR + 1, np.abs(difference))
    assert (remainder >> symbols.BITS[kind] == 0).all()


def test_predictions_continue_a_gradient() -> None:
    """A picture whose levels rise evenly from block to block is foretold by edges to within a few levels."""
    y, x = np.mgrid[:32, :32].astype(np.float64)
    k, i = np.mgrid[:8, :8]
    basis = np.cos((2 * i + 1) * k * np.pi / 16) * np.where(k == 0, np.sqrt(1 / 8), 0.5)
    levels = (2 * x + 3 * y - 80).reshape(4, 8, 4, 8).swapaxes(1, 2)
    blocks = np.rint(basis @ levels @ basis.T).astype(np.int16)
    values = symbols.zigzag(blocks).astype(np.float64)
    edges = (values[:-1, 1:] @ features.BESIDE_MATRIX[1] + values[1:, :-1] @ features.BESIDE_MATRIX[0]) / (1 << units.BASIS_BITS)
    own = values[1:, 1:].copy()
    own[..., 0] = 0
    foretold = edges + own @ features.OWN_MATRIX / (1 << units.BASIS_BITS)
    assert np.abs(foretold[..., [0, 8]] - values[1:, 1:, :1]).max() < 0.05 * np.abs(np.diff(values[..., 0], axis=0)).max()


@compiled
def test_a_run_from_files_to_weights(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run file trains, and what is exported codes."""
    random = np.random.default_rng(7)
    for i in range(6):
        (tmp_path / f"{i}.jpg").touch()
    parts = [plane(natural(random, 34, 30, 300)) for _ in range(3)]
    monkeypatch.setattr(training, "read_planes", lambda path: parts)
    run = HERE.parent / "models" / "runs" / "jpeg.toml"
    small = ["model.told=8", "model.width=16", "model.head=16", "run.steps=8", "run.batch=4096", "run.report_every=1"]
    changes = [*small, f'data.folder="{tmp_path}"', 'data.pictures=""']
    lines: list[str] = []
    loop.run(run, changes, tmp_path, False, "cpu", lines.append)
    assert "bits/block" in "".join(lines)
    weights = loop.export(run, changes, tmp_path)
    assert weights is not None
    tensors = load_file(weights)
    schema.check("jpeg", tensors)
    coded = ExactJpeg(tensors)
    decode(coded, parts, 9, encode(coded, parts, 9, at_once=True))
