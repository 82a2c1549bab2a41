"""Predictive decoding: every schedule decodes the same file to the same pixels, of shipped, tiny and random models."""

import numpy as np
import pytest
import torch
from conftest import HERE, arrays, noise, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors.numpy import load_file

from presage.codec.coders import chain
from presage.codec.errors import DamagedFile, PresageError
from presage.codec.format import container
from presage.codec.image.pixels import coarser
from presage.codec.paths import groups as chains
from presage.codec.predictive import sampling
from presage.codec.predictive.decoder import Members, PredictiveDecoder
from presage.codec.predictive.schedule import Schedule
from presage.models import catalogue
from presage.models.pixelcnn import network as pixelcnn
from presage.models.pixelcnn.exact import ExactPixelCNN
from presage.models.pixelcnn.export import pixelcnn_tensors

NAMES = ("ancestral", "wavefront", "fixed-point", "zeros", "last", "argmax", "forecast")


@pytest.fixture(scope="module", params=["tiny-chain-1", "tiny-bits-1"])
def network(request: pytest.FixtureRequest) -> ExactPixelCNN:
    return ExactPixelCNN(load_file(HERE / "data" / f"{request.param}.safetensors"))


def pictures(network: ExactPixelCNN) -> list[np.ndarray]:
    """A few pictures of different, odd sizes that the model takes."""
    sizes = [(9, 7), (5, 12), (1, 1), (8, 8)]
    images = [noise(h, w, seed) for seed, (h, w) in enumerate(sizes)]
    if network.config.levels == 2:
        return [(image[..., :1] > 128).astype(np.uint8) * np.uint8(255) for image in images]
    return images


def schedules(network: ExactPixelCNN) -> list[Schedule]:
    names = [name for name in NAMES if name != "wavefront" or network.config.slope]
    found = [Schedule(name, in_turn=in_turn) for name in names for in_turn in (True, False)]
    found += [Schedule("fixed-point", window=3), Schedule("auto")]
    return found + [Schedule("forecast", module=kind, steps=4) for kind in network.config.forecasters if kind != "h+gumbel"]


@pytest.mark.parametrize("together", [False, True])
def test_all_schedules_decode_the_same(network: ExactPixelCNN, together: bool) -> None:
    images = pictures(network)
    groups = [g for part in (images[:2], images[2:]) for g in chains.encode_tiles(network, part, 1, lambda _: None, together)[0]]
    precision = 12 if network.config.levels == 2 else 16
    sizes = [image.shape[:2] for image in images]
    calls = {}
    for schedule in schedules(network):
        found, statistics = chains.decode_groups(network, groups, sizes, precision, together, schedule, 1, lambda _: None)
        assert all(np.array_equal(a, b) for a, b in zip(found, images, strict=True)), schedule
        calls[schedule] = [s.share for s in statistics]
        assert all(0 < share <= 1 for share in calls[schedule])
    assert set(calls[Schedule("ancestral")]) == {1.0}
    at_once = [sum(calls[Schedule(name, in_turn=False)]) for name in ("fixed-point", "zeros")]
    assert at_once[0] < at_once[1]


def test_batches_and_threads(network: ExactPixelCNN, monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(network) * 3
    monkeypatch.setattr(chains, "GROUP_BITS", 300)
    monkeypatch.setattr(chains, "GROUP_BITS_IN_TURN", 60)
    groups, precision, together = chains.encode_tiles(network, images, 1, lambda _: None)
    assert len(groups) > 2
    assert chains.encode_tiles(network, images, 2, lambda _: None) == (groups, precision, together)
    for threads, lockstep in ((1, 1), (2, 3), (1, 128)):
        monkeypatch.setattr(chains, "LOCKSTEP", lockstep)
        found, _ = chains.decode_groups(
            network, groups, [i.shape[:2] for i in images], precision, together, Schedule(), threads, lambda _: None
        )
        assert all(np.array_equal(a, b) for a, b in zip(found, images, strict=True))


@pytest.mark.parametrize("arithmetic", ["int8", "float32", "float64"])
def test_arithmetic(network: ExactPixelCNN, arithmetic: str) -> None:
    other = ExactPixelCNN(network.tensors, arithmetic)
    images = pictures(network)
    assert chains.encode_tiles(other, images, 1, lambda _: None) == chains.encode_tiles(network, images, 1, lambda _: None)


def test_bits_are_the_models_own(network: ExactPixelCNN) -> None:
    images = pictures(network) * 4
    groups, precision, _ = chains.encode_tiles(network, images, 1, lambda _: None)
    ideal = sum((precision - np.log2(part[1])).sum() for part in chains.intervals(network, images, precision))
    assert sum(8 * len(g.stream) for g in groups) <= ideal + 24 * len(groups)


def test_wrong_bits_are_reported(network: ExactPixelCNN) -> None:
    images = pictures(network)
    (group,), precision, together = chains.encode_tiles(network, images, 1, lambda _: None)
    sizes = [image.shape[:2] for image in images]
    for i in range(0, len(group.stream), max(1, len(group.stream) // 8)):
        wrong = bytearray(group.stream)
        wrong[i] ^= 0x10
        changed = container.Group(bytes(wrong), group.tiles, group.first)
        try:
            found, _ = chains.decode_groups(network, [changed], sizes, precision, together, Schedule(), 1, lambda _: None)
        except DamagedFile:
            continue
        assert not all(np.array_equal(a, b) for a, b in zip(found, images, strict=True))  # the file's checksums are there for this


def test_samples_do_not_depend_on_how_they_are_drawn(network: ExactPixelCNN) -> None:
    size = (20, 20) if network.config.levels == 2 else (4, 6)
    reference = [s.pixels for s in sampling.draw(network, 5, size, 7, Schedule("ancestral"))]
    for schedule in schedules(network):
        drawn = sampling.draw(network, 5, size, 7, schedule, threads=2, batch=2)
        assert all(np.array_equal(s.pixels, r) for s, r in zip(drawn, reference, strict=True)), schedule
        assert all(s.mistakes.shape == s.converged.shape == size for s in drawn)
    assert not all(np.array_equal(a, b.pixels) for a, b in zip(reference, sampling.draw(network, 5, size, 8, Schedule()), strict=True))


def test_gumbel_samples(network: ExactPixelCNN) -> None:
    reference = [s.pixels for s in sampling.draw(network, 3, (6, 4), 7, Schedule("ancestral"), gumbel=True)]
    modules = [Schedule("forecast", module="h+gumbel")] if "h+gumbel" in network.config.forecasters else []
    for schedule in (Schedule("fixed-point"), Schedule("fixed-point", in_turn=False), Schedule("last"), *modules):
        drawn = sampling.draw(network, 3, (6, 4), 7, schedule, gumbel=True, batch=2)
        assert all(np.array_equal(s.pixels, r) for s, r in zip(drawn, reference, strict=True))


def test_what_a_model_cannot_do_is_said(network: ExactPixelCNN) -> None:
    with pytest.raises(PresageError, match="no schedule"):
        Schedule("backwards").decided(2, False)
    with pytest.raises(PresageError, match="no wavefront"):
        Schedule("wavefront").decided(0, False)
    with pytest.raises(PresageError, match="no forecasting module"):
        sampling.draw(network, 1, (4, 4), 0, Schedule("forecast", module="tea leaves"))


# ---------------------------------------------------------------------------------------------------- random models


def random_network(seed: int, channels: int, levels: int, slope: int, blocks: int) -> ExactPixelCNN:
    torch.manual_seed(seed)
    config = pixelcnn.PixelCNNConfig(channels=channels, levels=levels, slope=slope, width=8, blocks=blocks, head=8, embedding=3)
    trained = pixelcnn.PixelCNN(config)
    for out in trained.outs:
        out.weight.data *= 8  # opinions strong enough to matter
    trained.quantise(torch.randint(levels, (4, 8, 8, channels), dtype=torch.uint8))
    return ExactPixelCNN(arrays(pixelcnn_tensors(trained)))


def record(network: ExactPixelCNN, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals of all symbols of images (n, h, w, channels), in coding order; (n * h * w, channels) each."""
    n, height, width, channels = symbols.shape
    front = network.evaluator([(height, width)] * n)
    rows = np.concatenate(list(front.pixels))
    known = symbols.reshape(n, -1, channels)[:, network.order(height, width)].reshape(-1, channels)
    front.put(rows, known, watch=False)
    front.evaluate(rows)
    head_sums = front.head_sums(rows)
    parts = [front.distribution(head_sums, rows, c, known, 16).intervals(known[:, c]) for c in range(channels)]
    low, size = (np.stack([part[i] for part in parts], 1) for i in (0, 1))
    return low, size


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 999),
    channels=st.integers(1, 4),
    levels=st.sampled_from([2, 5, 16, 128]),
    slope=st.integers(0, 3),
    blocks=st.integers(0, 2),
    height=st.integers(1, 6),
    width=st.integers(1, 7),
)
def test_random_models(seed: int, channels: int, levels: int, slope: int, blocks: int, height: int, width: int) -> None:
    network = random_network(seed, channels, levels, slope, blocks)
    images = np.random.default_rng(seed).integers(0, levels, (3, height, width, channels)).astype(np.uint8)
    low, size = record(network, images)
    state, first = chain.encode(low.ravel(), size.ravel(), 16)
    for name in ("ancestral", "fixed-point", "last", *(["wavefront"] if slope else [])):
        for in_turn in (True, False):
            source = chain.ChainDecoder(state, first, images.size, 16)
            decoder = PredictiveDecoder(network, [(height, width)] * 3, [Members(source, range(3))], 16, Schedule(name, in_turn))
            assert all(np.array_equal(a, b) for a, b in zip(decoder.run(lambda _: None), images, strict=True)), (name, in_turn)


@pytest.mark.parametrize("slope", [0, 1, 2, 3])
def test_no_probability_depends_on_its_own_or_a_later_symbol(slope: int) -> None:
    height, width, channels, levels = 4, 6, 2, 5
    network = random_network(slope, channels, levels, slope, 2)
    base = np.random.default_rng(slope).integers(0, levels, (1, height, width, channels)).astype(np.uint8)
    order = network.order(height, width)
    count = height * width * channels
    variants = base.repeat(count + 1, 0)
    for i, (pixel, channel) in enumerate(((p, c) for p in order for c in range(channels)), 1):
        variants[i, pixel // width, pixel % width, channel] += 1
        variants[i] %= levels
    low, size = (part.reshape(count + 1, count) for part in record(network, variants))
    later = 0
    for i in range(count):
        assert np.array_equal(low[i + 1, :i], low[0, :i])
        assert np.array_equal(size[i + 1, :i], size[0, :i])
        later += not np.array_equal(low[i + 1, i + 1 :], low[0, i + 1 :])
    assert later > count // 2  # the test can fail: what comes later does change


def test_a_slope_makes_the_pixels_of_a_step_independent() -> None:
    height, width = 6, 9
    for slope in (1, 2, 3):
        network = random_network(10 + slope, 1, 5, slope, 2)
        base = np.random.default_rng(slope).integers(0, 5, (1, height, width, 1)).astype(np.uint8)
        order = network.order(height, width)
        step = order % width + slope * (order // width)
        variants = base.repeat(height * width + 1, 0)
        for i, pixel in enumerate(order, 1):
            variants[i, pixel // width, pixel % width] = (base[0, pixel // width, pixel % width] + 1) % 5
        low, _ = (part.reshape(len(variants), -1) for part in record(network, variants))
        for i in range(len(order)):
            same = (step <= step[i]) & (np.arange(len(order)) != i)
            assert np.array_equal(low[i + 1, same], low[0, same])


@pytest.mark.parametrize(("context", "slope"), [("embedded", 0), ("embedded", 2), ("relative", 2)])
def test_float_network_is_the_integer_one(context: str, slope: int) -> None:
    torch.manual_seed(3)
    output, levels = ("mixture", 256) if context == "relative" else ("categorical", 16)
    config = pixelcnn.PixelCNNConfig(context=context, output=output, levels=levels, slope=slope, width=16, blocks=2, head=16)
    trained = pixelcnn.PixelCNN(config).eval()
    for out in trained.outs:
        out.weight.data *= 3
    pixels = np.stack([noise(16, 20, seed) for seed in range(3)]) // np.uint8(trained.config.step)
    trained.quantise(torch.from_numpy(pixels))
    with torch.no_grad():
        expected = float(trained(torch.from_numpy(pixels)).mean()) / np.log(2)
    network = ExactPixelCNN(arrays(pixelcnn_tensors(trained)))
    coded = pixels[..., [1, 0, 2]] if context == "relative" else pixels
    _, size = record(network, np.ascontiguousarray(coded))
    assert abs((16 - np.log2(size)).mean() - expected) < 0.005 * expected


SHIPPED = [w for w in map(catalogue.read, sorted(catalogue.PACKAGED.glob("*.safetensors"))) if w.metadata["model"] == "pixelcnn"]


@pytest.mark.parametrize("weights", SHIPPED, ids=lambda w: w.name)
def test_shipped_models(weights: catalogue.WeightsFile) -> None:
    assert weights.size < 4 << 20
    network = ExactPixelCNN(load_file(weights.path))
    name, side = ("cifar10-test-0.webp", 32) if network.relative else ("mnist-test-0.webp", 28)
    mosaic = np.asarray(Image.open(shared(name)).convert("RGB"))[:side, : 2 * side]
    image = mosaic if network.relative else mosaic[..., :1]
    image = coarser(image, network.grey_levels)
    tiles = [image[:, :side], image[:, side:]]
    groups, precision, together = chains.encode_tiles(network, tiles, 2, lambda _: None)
    for schedule in ("auto", "fixed-point"):
        found, statistics = chains.decode_groups(
            network, groups, [(side, side)] * 2, precision, together, Schedule(schedule), 2, lambda _: None
        )
        assert all(np.array_equal(a, b) for a, b in zip(found, tiles, strict=True))
        assert all(s.share < 0.5 for s in statistics)
