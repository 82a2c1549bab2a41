"""The compiled loops of `pixelcnn` against its torch form: the same integers, and the same pixels evaluated, for any guesses."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import HERE, arrays, noise
from hypothesis import example, given, reject, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from presage.codec.paths import groups
from presage.codec.predictive.schedule import Schedule
from presage.models import units
from presage.models.frequencies import Categories, Distribution, DistributionTables, Mixtures, category_table
from presage.models.kernels import jit
from presage.models.model import Evaluator, Halved
from presage.models.pixelcnn import network as pixelcnn
from presage.models.pixelcnn.compiled import CompiledEvaluator
from presage.models.pixelcnn.distributions import CompiledCategories, CompiledMixtures
from presage.models.pixelcnn.exact import ExactPixelCNN
from presage.models.pixelcnn.export import pixelcnn_tensors
from presage.models.tensors import mixture_tables, part_of

pytestmark = pytest.mark.skipif(not jit.available(), reason="numba is not installed, or switched off")
SEEDS = st.integers(0, 1 << 32)
TABLES = DistributionTables(**{name.removeprefix("tables."): table for name, table in mixture_tables().items()})


def same(ours: Any, theirs: Any, symbols: np.ndarray, quantiles: np.ndarray) -> None:
    """Two distributions give the same symbols and intervals."""
    for a, b in zip((*ours.find(quantiles), *ours.intervals(symbols)), (*theirs.find(quantiles), *theirs.intervals(symbols)), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(ours.table(), theirs.table())
    found, low, size = ours.find(quantiles)
    assert ((low <= quantiles) & (quantiles < low + size)).all()
    assert np.array_equal(ours.intervals(found), (low, size))


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 40), st.integers(1, 7), st.sampled_from([16, 32, 256]), st.sampled_from([30, 1000, 1 << 22]))
def test_quantiles_of_mixtures(seed: int, count: int, components: int, levels: int, reach: int) -> None:
    random = np.random.default_rng(seed)
    outputs = random.integers(-reach, reach + 1, (count, 3 * components), dtype=np.int32)
    centres = random.choice([0, 255 * units.GREY, *random.integers(0, 255 * units.GREY, 3)], count).astype(np.int32)
    tables = [table.numpy() for table in (TABLES.inverse, TABLES.sigmoid, TABLES.share)]
    theirs = Mixtures(Distribution(torch.from_numpy(outputs), torch.from_numpy(centres), TABLES), levels, 16)
    wide = np.pad(outputs, ((0, 0), (0, 5)), constant_values=99)  # what fills up a tile is not looked at
    ours = CompiledMixtures(wide, tables, levels, 16, centres, components)
    quantiles = random.choice([0, (1 << 16) - 1, *random.integers(0, 1 << 16, 9)], count)
    same(ours, theirs, random.integers(0, levels, count), quantiles)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 40), st.sampled_from([2, 5, 128, 256]), st.sampled_from([12, 16]), st.sampled_from([30, 1000, 1 << 22]))
def test_quantiles_of_categories(seed: int, count: int, levels: int, precision: int, reach: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.integers(-reach, reach + 1, (count, levels), dtype=np.int32)
    theirs = Categories(torch.from_numpy(logits), category_table(), precision)
    ours = CompiledCategories(np.pad(logits, ((0, 0), (0, 3)), constant_values=reach), [category_table().numpy()], levels, precision)
    quantiles = random.choice([0, (1 << precision) - 1, *random.integers(0, 1 << precision, 9)], count)
    same(ours, theirs, random.integers(0, levels, count), quantiles)


# ------------------------------------------------------------------------------------------------------------ evaluators


def random_tensors(seed: int, config: pixelcnn.PixelCNNConfig, extreme: bool) -> dict[str, np.ndarray]:
    """A network's arrays; extreme: its streams, gates and activations go to their limits."""
    torch.manual_seed(seed)
    trained = pixelcnn.PixelCNN(config)
    for out in trained.outs:
        out.weight.data *= 8
    top = 256 if config.context == "relative" else config.levels
    trained.quantise(torch.randint(top, (4, 8, 8, config.channels), dtype=torch.uint8))
    try:
        tensors = arrays(pixelcnn_tensors(trained))
    except ValueError:  # its export is refused: a head that says next to nothing
        reject()
    if extreme:
        for i in range(config.blocks):
            for stack in ("up", "left"):
                tensors[f"{stack}.{i}.shift"] = np.repeat(np.array([1, 0], np.int32), config.width)
        for bits in ("up_bits", "left_bits"):
            tensors[bits] = np.zeros_like(tensors[bits])
    return tensors


def play(fronts: tuple[Evaluator, Evaluator], model: ExactPixelCNN, seed: int, random: np.random.Generator) -> None:
    """Guess, evaluate and guess again, as predictive decoding does, and compare everything that comes out."""
    pixels = np.concatenate(list(fronts[0].pixels))
    assert np.array_equal(pixels, np.concatenate(list(fronts[1].pixels)))
    depth, levels = model.depth, model.levels
    first = np.zeros((len(pixels), depth), np.uint8)
    known = dict.fromkeys(pixels.tolist(), np.zeros(depth, np.uint8))
    for front in fronts:
        front.put(pixels, first, watch=False)
    for _ in range(4):
        chosen = pixels[np.sort(random.permutation(len(pixels))[: random.integers(1, len(pixels) + 1)])]
        opened = pixels[random.random(len(pixels)) < 0.1]
        for front in fronts:
            front.open(opened)
        ours, theirs = (front.evaluate(chosen) for front in fronts)
        assert np.array_equal(ours, theirs)
        if len(ours):
            symbols = np.stack([known[row] for row in ours.tolist()])
            sums = [front.head_sums(ours) for front in fronts]
            for channel in range(depth):
                a, b = (front.distribution(s, ours, channel, symbols, 16) for front, s in zip(fronts, sums, strict=True))
                same(a, b, symbols[:, channel], random.integers(0, 1 << 16, len(ours)))
        moved = pixels[random.random(len(pixels)) < 0.3]
        guesses = random.integers(0, levels, (len(moved), depth)).astype(np.uint8)
        for front in fronts:
            front.put(moved, guesses)
        known |= dict(zip(moved.tolist(), guesses, strict=True))


@settings(deadline=None, max_examples=12)
@given(SEEDS, st.integers(1, 3), st.sampled_from([2, 5, 16]), st.integers(0, 3), st.integers(0, 2), st.booleans())
@example(13949, 3, 2, 0, 1, False)  # whose export is refused
def test_any_guesses(seed: int, channels: int, levels: int, slope: int, blocks: int, extreme: bool) -> None:
    config = pixelcnn.PixelCNNConfig(channels=channels, levels=levels, slope=slope, width=8, blocks=blocks, head=7, embedding=3)
    tensors = random_tensors(seed % 1000, config, extreme)
    model, reference = ExactPixelCNN(tensors), ExactPixelCNN(tensors, "float64")
    sizes = [(5, 4), (1, 7), (6, 6)]
    play((model.evaluator(sizes), reference.evaluator(sizes)), model, seed, np.random.default_rng(seed))


@settings(deadline=None, max_examples=8)
@given(SEEDS, st.sampled_from([32, 256]), st.integers(0, 2), st.booleans())
def test_any_guesses_with_relative_contexts(seed: int, levels: int, blocks: int, extreme: bool) -> None:
    config = pixelcnn.PixelCNNConfig(levels=levels, context="relative", output="mixture", width=8, blocks=blocks, head=8, mixtures=3)
    tensors = random_tensors(seed % 1000, config, extreme)
    model, reference = ExactPixelCNN(tensors), ExactPixelCNN(tensors, "float64")
    sizes = [(5, 6), (2, 9)]
    play((model.evaluator(sizes), reference.evaluator(sizes)), model, seed, np.random.default_rng(seed))


def test_extreme_networks_reach_the_limits() -> None:
    """What the tests above are told is extreme is so."""
    config = pixelcnn.PixelCNNConfig(channels=2, levels=16, width=8, blocks=2, head=8, embedding=3)
    front = ExactPixelCNN(random_tensors(1, config, True)).evaluator([(9, 9)])
    assert isinstance(front, CompiledEvaluator)
    symbols = np.random.default_rng(1).integers(0, 16, (81, 2)).astype(np.uint8)
    front.put(front.pixels[0], symbols, watch=False)
    front.evaluate(front.pixels[0])
    assert int(np.abs(front.streams.astype(np.int64)).max()) == units.STREAM_LIMIT
    assert int(np.abs(front.activations.astype(np.int64)).max()) == 127


@pytest.mark.parametrize("quality", [0, 100, 255])
def test_a_prior_s_nibbles(quality: int) -> None:
    tensors = part_of(load_file(HERE / "data" / "tiny-latent-1.safetensors"), "prior.")
    forms = [ExactPixelCNN(tensors, arithmetic).at_quality(quality) for arithmetic in (None, "float64")]
    random, size = np.random.default_rng(quality), (6, 11)
    symbols = random.integers(0, 256, (66, forms[0].depth)).astype(np.uint8)
    seen: list[list[np.ndarray]] = []
    for form in forms:
        front, weights = form.evaluator([size]), []
        rows = front.pixels[0]
        front.put(rows, symbols, watch=False)
        front.evaluate(rows, watch=False)
        sums = front.head_sums(rows)
        for channel in range(form.depth):
            distribution: Halved = front.distribution(sums, rows, channel, symbols, 0)  # type: ignore[assignment]
            above = (symbols[:, channel] >> 4).astype(np.int32)
            weights += [distribution.nibbles(), distribution.nibbles(above)]
        seen.append(weights)
    assert all(np.array_equal(a, b) for a, b in zip(*seen, strict=True))
    assert len({part.tobytes() for part in seen[0]}) > form.depth  # they are not all the same


@pytest.mark.parametrize("name", ["tiny-chain-1", "tiny-bits-1"])
def test_calls_are_counted_alike(name: str) -> None:
    """Which pixels are evaluated, and what is guessed wrong, does not depend on who evaluates."""
    tensors = load_file(HERE / "data" / f"{name}.safetensors")
    forms = [ExactPixelCNN(tensors), ExactPixelCNN(tensors, "float32")]
    images = [noise(4, 7, 1), noise(5, 3, 2)]
    if forms[0].levels == 2:
        images = [(image[..., :1] > 128).astype(np.uint8) * np.uint8(255) for image in images]
    coded, precision, together = groups.encode_tiles(forms[0], images, 1, lambda _: None)
    names = ["ancestral", "fixed-point", "last", "argmax", "forecast", *(["wavefront"] if forms[0].slope else [])]
    for schedule in [*(Schedule(n, in_turn=t) for n in names for t in (True, False)), Schedule("fixed-point", window=3)]:
        counted = []
        for form in forms:
            sizes = [image.shape[:2] for image in images]
            _, statistics = groups.decode_groups(form, coded, sizes, precision, together, schedule, 1, lambda _: None)
            counted.append([(s.calls, s.heads, s.mistakes.tolist(), s.converged.tolist()) for s in statistics])
        assert counted[0] == counted[1], schedule
