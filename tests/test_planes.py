"""The network of planes: what it may know, and that its integers give what was trained."""

import math

import numpy as np
import pytest
import torch

from presage.codec.coders.turns import Pull, Record
from presage.models.planes import network
from presage.models.planes.exact import ExactPlanes
from presage.models.planes.export import planes_tensors


def smooth(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Three planes (height, width, 3) that have something to do with one another."""
    y, x = np.mgrid[:height, :width]
    base = 100 + 60 * np.sin(x / 9) * np.cos(y / 7)
    planes = np.stack([base, 128 + base / 8, 140 - base / 9], -1) + random.normal(0, 3, (height, width, 3))
    return planes.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def quantised() -> network.Planes:
    torch.manual_seed(0)
    net = network.Planes(network.Config(hidden=16, width=32, blocks=2, head=16, mixtures=3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    net.quantise(torch.from_numpy(smooth(np.random.default_rng(0), 40, 40))[None])
    return net.eval()


def test_only_side_planes_are_seen_ahead(quantised: network.Planes) -> None:
    """No sample's probability depends on itself or on later ones of its plane; on side planes ahead it does."""
    planes = torch.from_numpy(smooth(np.random.default_rng(1), 12, 14))[None]
    changed = planes.clone()
    changed[0, 6, 5, 0] ^= 64
    with torch.no_grad():
        before, after = quantised(planes)[0], quantised(changed)[0]
    y, x = np.mgrid[:12, :14]
    earlier = torch.from_numpy((x + 2 * y < 5 + 12) | ((x + 2 * y == 17) & (y != 6)))
    assert torch.equal(before[earlier], after[earlier])
    changed = planes.clone()
    changed[0, 6, 5, 1] ^= 64
    with torch.no_grad():
        assert not torch.equal(before[6, 4], quantised(changed)[0, 6, 4])


def test_integers_give_what_the_network_gives_and_decode(quantised: network.Planes) -> None:
    exact = ExactPlanes(planes_tensors(quantised))
    random = np.random.default_rng(2)
    tiles = [smooth(random, h, w) for h, w in ((33, 29), (40, 40), (1, 1), (3, 17))]
    sides = [np.ascontiguousarray(tile[..., 1:]) for tile in tiles]
    record = Record(exact.answers([tile[..., :1] for tile in tiles]), len(tiles))
    exact.walk(sides, record)
    streams = record.streams()
    with torch.no_grad():
        ideal = sum(float(quantised(torch.from_numpy(tile)[None]).sum()) for tile in tiles) / math.log(2)
    assert 8 * sum(map(len, streams)) < 1.005 * ideal + 128 * len(tiles)
    pull = Pull(streams)
    decoded = exact.walk(sides, pull)
    pull.check()
    assert all(np.array_equal(a, b[..., :1]) for a, b in zip(decoded, tiles, strict=True))
    alone = Record(exact.answers([tiles[0][..., :1]]), 1)
    exact.walk(sides[:1], alone)
    assert alone.streams() == streams[:1]


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_streams_do_not_depend_on_the_arithmetic(quantised: network.Planes, arithmetic: str) -> None:
    """Compiled loops and torch: tiles of several sizes at once, and places of several steps."""
    tensors, random = planes_tensors(quantised), np.random.default_rng(3)
    tiles = [smooth(random, h, w) for h, w in ((20, 31), (31, 20), (1, 9), (40, 90))]
    streams = []
    for exact in (ExactPlanes(tensors), ExactPlanes(tensors, arithmetic)):
        record = Record(exact.answers([tile[..., :1] for tile in tiles]), len(tiles))
        exact.walk([np.ascontiguousarray(tile[..., 1:]) for tile in tiles], record)
        streams.append(record.streams())
    assert streams[0] == streams[1]
