"""No probability may depend on its own symbol or a later one; and the float network that is trained is the integer one that is used."""

import numpy as np
import torch
from conftest import arrays, noise
from numpy.typing import NDArray

from presage.models import units
from presage.models.model import Nibbles, Span, Turn, Walkable
from presage.models.photo import network as photo

H, W = 7, 10


def record(network: Walkable, pixels: NDArray[np.uint8]) -> dict[tuple[int, int, int], NDArray[np.float32]]:
    """Weights of every nibble of tiles (n, H, W, 3): {(step, channel, half): (n, rows, 16)}."""
    answers = network.answers(list(pixels))
    seen: dict[tuple[int, int, int], NDArray[np.float32]] = {}

    def spy(turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
        y, x = divmod(int(turn.at[0]), W)
        step = x + units.SLOPE * y
        seen[step, turn.channel, turn.half] = weights.reshape(len(pixels), -1, 16).copy()
        return answers(turn, weights)

    network.walk([(H, W)] * len(pixels), [Span.FULL] * 3, 0, spy)
    return seen


def test_changing_a_symbol_changes_no_equal_or_earlier_weight(network: Walkable) -> None:
    base = noise(H, W)
    places = [(y, x, c) for y in range(H) for x in range(W) for c in range(3)]
    variants = np.repeat(base[None], len(places) + 1, axis=0)
    for i, (y, x, c) in enumerate(places, 1):
        variants[i, y, x, units.TO_CODED[c]] ^= 0xFF
    seen = record(network, variants)
    later = 0
    for i, (y, x, c) in enumerate(places, 1):
        step = x + units.SLOPE * y
        for (s, channel, half), weights in seen.items():
            rows = np.arange(max(0, -(-(s - W + 1) // units.SLOPE)), max(0, -(-(s - W + 1) // units.SLOPE)) + weights.shape[1])
            earlier = (s, channel, half) <= (step, c, 0) if s <= step else False
            for row, (before, after) in zip(rows, zip(weights[0], weights[i], strict=True), strict=True):
                same_pixel = s == step and row == y
                if earlier or (s == step and not same_pixel) or (same_pixel and (channel, half) <= (c, 0)):
                    assert np.array_equal(before, after), f"({y},{x},{c}) is seen at step {s} row {row} channel {channel}"
                elif s > step:
                    later += not np.array_equal(before, after)
    assert later > len(places)  # the test can fail: what comes later does change


def test_first_pixel_knows_nothing(network: Walkable) -> None:
    seen = record(network, np.stack([noise(H, W, seed) for seed in range(4)]))
    first = seen[0, 0, 0]
    assert (first == first[:1]).all()


def test_no_gradient_from_later_pixels() -> None:
    """The float network is causal too: its loss at a pixel has no dependence on what comes later."""
    network = photo.Photo(photo.PhotoConfig(hidden=8, width=16, blocks=1, head=8, mixtures=2))
    pixels = torch.from_numpy(noise(H, W)[None])
    changed = pixels.clone()
    changed[0, 3, 4] = 255 - changed[0, 3, 4]
    with torch.no_grad():
        before, after = network(pixels)[:, 0], network(changed)[:, 0]
    step = torch.arange(W)[None] + units.SLOPE * torch.arange(H)[:, None]
    same = (before == after).all(0)
    mask = step <= 4 + units.SLOPE * 3
    mask[3, 4] = False
    assert bool(same[mask].all())
    assert not bool(same.all())


def test_float_network_is_the_integer_one() -> None:
    """Trained form (masked slices, bfloat16) against exact form: nearly the same bits."""
    from presage.models.photo.exact import ExactPhoto
    from presage.models.photo.export import photo_tensors

    torch.manual_seed(3)
    trained = photo.Photo(photo.PhotoConfig(hidden=16, width=32, blocks=2, head=16, mixtures=3))
    for head in trained.outs:
        head.weight.data *= 2
    pixels = np.stack([noise(40, 50, seed) for seed in range(3)])
    sample = torch.from_numpy(pixels)
    trained.quantise(sample)
    with torch.no_grad():
        expected = float(trained(sample).mean()) / np.log(2)
    exact = ExactPhoto(arrays(photo_tensors(trained)))
    bits = ideal_bits(exact, pixels)
    assert abs(bits - expected) < 0.005 * expected


def ideal_bits(network: Walkable, pixels: NDArray[np.uint8]) -> float:
    """Code length of the integer frequencies, bits a symbol."""
    answers = network.answers(list(pixels))
    total = 0.0

    def count(turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
        nonlocal total
        nibbles = answers(turn, weights)
        for first, last in turn.bounds.tolist():
            n, w = nibbles[first:last], weights[first:last].astype(np.float64)
            total -= float(np.log2(w[np.arange(len(n)), n] / w.sum(1)).sum())
        return nibbles

    network.walk([tile.shape[:2] for tile in pixels], [Span.FULL] * 3, 0, count)
    return total / pixels.size
