"""Models of stages: exactness, what a distribution may depend on, schedules of calls."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from conftest import HERE, arrays, noise
from safetensors.numpy import load_file

from presage.models import schema
from presage.models.ardm import schedule
from presage.models.ardm.exact import ExactArdm
from presage.models.ardm.export import ardm_tensors
from presage.models.ardm.network import Ardm
from presage.models.ardm.stages import ArdmConfig, View, inputs
from presage.models.model import Turn

NAMES = ["tiny-ardm", "tiny-upscale"]
SMALL = {"width": 8, "head": 8, "steps": [1, 2], "mixtures": 3, "side": 8}


def model_of(name: str, arithmetic: str | None = None) -> ExactArdm:
    return ExactArdm(load_file(HERE / "data" / f"{name}-1.safetensors"), arithmetic)


def walked(model: ExactArdm, tiles: list[np.ndarray], calls: int) -> tuple[list[np.ndarray], list[tuple[Turn, np.ndarray]]]:
    """What comes of tiles that are walked through, and all turns with their weights."""
    said: list[tuple[Turn, np.ndarray]] = []
    answers = model.answers(tiles)

    def code(turn: Turn, weights: np.ndarray) -> np.ndarray:
        said.append((turn, weights))
        return answers(turn, weights)

    known = [np.zeros_like(tile) for tile in tiles]
    for stage in range(len(model.stages)):
        known, counts = model.walk(known, stage, calls, code)
        assert max(counts) <= calls
    return known, said


def quantised(stages: list[int]) -> Ardm:
    torch.manual_seed(0)
    network = Ardm(ArdmConfig(stages=stages, **SMALL)).train()  # type: ignore[arg-type]
    network.out.weight.data.mul_(4)
    crops = torch.from_numpy(np.stack([noise(8, 8, i) for i in range(12)]))
    network(crops).mean().backward()  # takes down losses
    network.quantise(crops)
    return network.eval()


@pytest.mark.parametrize("name", NAMES)
def test_all_arithmetics_and_batches_agree(name: str) -> None:
    tiles = [noise(16, 16, 1), noise(7, 5, 2), noise(16, 16, 3), noise(1, 1, 4)]
    first, said = walked(model_of(name), tiles, 20)
    assert all(np.array_equal(a, b) for a, b in zip(first, tiles, strict=True))
    assert all(weights.min() >= 1 and float(weights.sum(1).max()) < 1 << 24 for _, weights in said)
    for arithmetic in ("float32", "int8"):
        _, others = walked(model_of(name, arithmetic), tiles, 20)
        assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(said, others, strict=True))
    _, alone = walked(model_of(name), tiles[:1], 20)
    mine = np.concatenate([weights[slice(*turn.bounds[0])] for turn, weights in said if turn.bounds[0, 1]])
    assert np.array_equal(np.concatenate([weights for _, weights in alone]), mine)


@pytest.mark.parametrize("stages", [[8], [2, 2, 2, 2], [5, 3]])
def test_the_exact_model_is_the_network(stages: list[int]) -> None:
    """Bits of one step of each picture, by both: the same values are known."""
    network = quantised(stages)
    tensors = arrays(ardm_tensors(network))
    schema.check("ardm", tensors)
    model = ExactArdm(tensors)
    c, signed = network.config, tensors["tables.signed"]
    pixels = np.stack([noise(8, 8, 20 + i) for i in range(6)])
    for stage in range(len(stages)):
        before, after = c.missing[stage : stage + 2]
        known = np.random.default_rng(stage).random(pixels.shape) < np.linspace(0.1, 0.9, 6)[:, None, None, None]
        view = View.of(pixels, known, before, after)
        seen, nearest = inputs(view, stage, c, signed)
        with torch.no_grad():
            numbers = torch.full((6,), stage)
            floats, centres, low, size = network.seen(
                torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.from_numpy(known).permute(0, 3, 1, 2), numbers
            )
            outputs = network.outputs(floats)
            fine = 2.0**after
            start = torch.from_numpy(pixels).permute(0, 3, 1, 2).div(fine, rounding_mode="floor") * fine
            nats = network._nats(outputs, start, start + fine, centres) - network._nats(outputs, low, low + size, centres)
        assert np.abs(seen.transpose(0, 3, 1, 2) - floats.numpy() * 32).max() <= 1  # where a quotient is rounded
        places = np.arange(6 * 16)
        found = model.network.outputs(seen, places).reshape(6, 4, 4, 3, 2, 2, -1).transpose(0, 1, 4, 2, 5, 3, 6).reshape(6 * 192, -1)
        bits = np.zeros(6 * 192)
        digits = (pixels.ravel() >> after).astype(np.int32)
        at, left = view.low.ravel(), before - after
        while left:
            part = min(4, left)
            left -= part
            weights = model.network.weights(found, nearest.ravel() * 4, at, 1 << (after + left), 1 << part).astype(np.float64)
            symbol = (digits >> left) & ((1 << part) - 1)
            bits -= np.log2(weights[np.arange(len(at)), symbol] / weights.sum(1))
            at = at + (symbol << (after + left)).astype(np.int32)
        unknown = ~known.ravel()
        float_bits = nats.permute(0, 2, 3, 1).numpy().ravel()[unknown].mean() / math.log(2)
        assert bits[unknown].mean() == pytest.approx(float_bits, rel=0.005)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_depends_on_what_is_not_known(name: str) -> None:
    """Other bits that come in this call or later change no weights of this call."""
    model = model_of(name)
    tile = noise(16, 16, 5)
    _, said = walked(model, [tile], 20)
    _, others = walked(model, [255 - tile], 20)
    assert np.array_equal(said[0][1], others[0][1])  # nothing is known
    chosen = next(i for i in range(len(said) // 2, len(said)) if said[i][0].half == 0)
    there = np.zeros(tile.size, int)  # bits of every value that are known then
    for turn, _ in said[:chosen]:
        there[turn.at] = 8 - model.config.missing[turn.channel + 1]
    free = 255 >> there
    changed = (tile.ravel() & ~free | np.random.default_rng(0).integers(0, 256, tile.size) & free).astype(np.uint8)
    _, third = walked(model, [changed.reshape(tile.shape)], 20)
    assert all(np.array_equal(a, b) for (_, a), (_, b) in zip(said[: chosen + 1], third[: chosen + 1], strict=True))
    assert not all(np.array_equal(a, b) for (_, a), (_, b) in zip(said, third, strict=True))


def test_turns_cover_every_value_once() -> None:
    for name in NAMES:
        model = model_of(name)
        tiles = [noise(16, 16, 6), noise(9, 3, 7)]
        _, said = walked(model, tiles, 50)
        for stage in range(len(model.stages)):
            at = np.concatenate([turn.at for turn, _ in said if turn.channel == stage and turn.half == 0])
            assert np.array_equal(np.sort(at), np.arange(sum(tile.size for tile in tiles)))


def test_best_calls_are_best() -> None:
    """As a plain search over all ends finds them."""
    random = np.random.default_rng(3)
    costs = np.sort(random.exponential(size=30))[::-1].copy()
    found = schedule.best_calls(costs, (1, 4, 30, 99))
    assert [len(found[budget]) for budget in (1, 4, 30, 99)] == [1, 4, 30, 30]
    least = np.full((5, 31), np.inf)
    least[0, 0] = 0
    for calls in range(1, 5):
        for end in range(1, 31):
            least[calls, end] = min(least[calls - 1, start] + (end - start) * costs[start] for start in range(end))
    ends = [0, *found[4].tolist()]
    assert sum((b - a) * costs[a] for a, b in pairwise(ends)) == pytest.approx(least[4, 30])
    assert found[30].tolist() == list(range(1, 31))


def test_components_never_rise() -> None:
    values, weights = np.array([5.0, 4.0, 4.5, 3.0, 3.0, 3.5, 1.0]), np.array([1.0, 1.0, 3.0, 1.0, 1.0, 2.0, 1.0])
    falling = schedule.falling(values, weights)
    assert (np.diff(falling) <= 1e-12).all()
    assert (falling * weights).sum() == pytest.approx((values * weights).sum())
    costs = schedule.interpolated(falling, 200)
    assert (np.diff(costs) <= 1e-9).all()
    assert len(costs) == 200


@pytest.mark.parametrize("change", ["order", "calls", "stages", "side"])
def test_weights_that_are_none_are_refused(change: str) -> None:
    tensors = dict(load_file(HERE / "data" / "tiny-ardm-1.safetensors"))
    if change == "order":
        tensors["order"] = np.zeros_like(tensors["order"])
    elif change == "calls":
        tensors["calls.20"] = tensors["calls.20"][:, ::-1].copy()
    else:
        text = tensors["config"].tobytes().decode()
        new = text.replace('"stages": [8]', '"stages": [9]') if change == "stages" else text.replace('"side": 16', '"side": 15')
        assert new != text
        tensors["config"] = np.frombuffer(new.encode(), np.uint8)
    with pytest.raises(ValueError, match=r"order|schedule|stages"):
        schema.check("ardm", tensors)


def test_tiles_larger_than_the_model_s_are_refused() -> None:
    model = model_of("tiny-ardm")
    large = np.zeros((model.tile + 1, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="at most 16"):
        model.walk([large], 0, model.budgets[0], model.answers([large]))
