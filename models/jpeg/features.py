"""What the network is told of a block, in integers: its neighbours, its edges, and the components before its own.

Coefficients are in zigzag order throughout. Tables compand them to -127..127.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..model import Blocks, Box, Plane
from . import units
from .symbols import ORDER, zigzag
from .units import CLAMP, DEAD, EDGE_LIMIT, GROUPS, MAGNITUDE, MEAN_UNIT, OTHER_SIGNED, SHRINK, SIDE_SIGNED

Values = NDArray[np.int16]
"""(..., 64) in zigzag order."""
Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Places = NDArray[np.int64]

OWN_EDGE = (
    (0, 0, 0, 0, 0, 0, 0, 0),
    (-369, -269, -141, -69, -36, -15, -15, -10),
    (-387, -315, -197, -125, -79, -54, -41, -26),
    (-417, -294, -146, -77, -33, -13, -10, 0),
    (-461, -358, -207, -120, -79, -49, -36, -18),
    (-463, -335, -174, -79, -33, -18, -5, -3),
    (-323, -379, -233, -120, -69, -44, -10, 0),
    (-369, -230, -125, -44, -20, -20, -10, -3),
)
"""[v][u]: what a step of the coefficient (v, u) of a block adds to the prediction of its coefficient (0, u), in 1 / 2^BASIS_BITS."""
NEXT_EDGE = (
    (256, 220, 151, 108, 79, 61, 87, 113),
    (-369, -287, -172, -97, -64, -44, -38, -31),
    (387, 297, 172, 95, 61, 36, 31, 23),
    (-420, -310, -182, -92, -54, -31, -20, -13),
    (458, 346, 189, 100, 59, 33, 18, 13),
    (-463, -348, -205, -100, -59, -23, -10, -5),
    (328, 356, 187, 95, 49, 23, 10, 5),
    (-340, -248, -141, -59, -20, -8, 0, 0),
)
"""The same of the block above. Columns of the block to the left predict (v, 0) in the same way. Least absolute errors on photographs."""


def _edge_matrices() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What coefficients (64) of the block itself add to its 16 predictions, top and left, and those of the blocks W and N: (2, 64, 16)."""
    own, beside = np.zeros((64, 16)), np.zeros((2, 64, 16))
    for place, at in enumerate(units.ZIGZAG):
        v, u = divmod(at, 8)
        own[place, u] += OWN_EDGE[v][u]
        own[place, 8 + v] += OWN_EDGE[u][v]
        beside[1, place, u] = NEXT_EDGE[v][u]
        beside[0, place, 8 + v] = NEXT_EDGE[u][v]
    return own, beside


OWN_MATRIX, BESIDE_MATRIX = _edge_matrices()
EDGE_PLACES = np.array([units.ZIGZAG.index(u) for u in range(8)] + [units.ZIGZAG.index(8 * v) for v in range(8)])
"""Zigzag places of what the 16 predictions are of."""


@dataclass(frozen=True)
class Tables:
    """signed: int8 of -MAGNITUDE..MAGNITUDE. mean: int8 of means 0..32767. edge: int8 of predictions -EDGE_LIMIT..EDGE_LIMIT.
    initial: int16 of bytes of profiles, the mean they stand for."""

    signed: Int8
    mean: Int8
    edge: Int8
    initial: NDArray[np.int16]

    @staticmethod
    def make() -> "Tables":
        x = np.arange(-MAGNITUDE, MAGNITUDE + 1)
        signed = np.sign(x) * np.minimum(127, np.round(12.7 * np.log2(1 + np.abs(x))))
        mean = np.round(10 * np.log2(1 + np.arange(32768) / 8))
        y = np.arange(-EDGE_LIMIT, EDGE_LIMIT + 1)
        edge = np.sign(y) * np.round(10.6 * np.log2(1 + np.abs(y) / 2))
        initial = np.minimum(np.round(2 ** (np.arange(128) / 6) - 1), MAGNITUDE * MEAN_UNIT)
        return Tables(signed.astype(np.int8), mean.astype(np.int8), edge.astype(np.int8), initial.astype(np.int16))

    def of_signed(self, x: NDArray[np.integer]) -> Int8:
        found: Int8 = self.signed[x.clip(-MAGNITUDE, MAGNITUDE) + MAGNITUDE]
        return found

    def of_edge(self, x: NDArray[np.integer]) -> Int8:
        found: Int8 = self.edge[x.clip(-EDGE_LIMIT, EDGE_LIMIT) + EDGE_LIMIT]
        return found


def profile(blocks: Blocks) -> bytes:
    """The mean magnitude of every coefficient in zigzag order, on a logarithmic scale; of DC that of its difference to the block before."""
    values = zigzag(blocks).astype(np.float64)
    values[:, 1:, 0] -= values[:, :-1, 0].copy()
    values[:, :1, 0] = 0
    mean = np.abs(values).mean((0, 1)) if values.size else np.zeros(64)
    return np.minimum(127, np.round(6 * np.log2(1 + MEAN_UNIT * mean))).astype(np.uint8).tobytes()


def logarithms(steps: NDArray[np.uint16]) -> NDArray[np.int64]:
    """8 log2 of steps, linear between powers of two, 0..127; (64) in zigzag order."""
    flat = np.maximum(steps.reshape(64)[ORDER].astype(np.int64), 1)
    power = np.frexp(flat.astype(np.float64))[1] - 1
    logarithm: NDArray[np.int64] = 8 * power + ((flat << 3) >> power) - 8
    return logarithm


def condition(plane: Plane, index: int, first: Plane | None) -> Int8:
    """What is told of a component as a whole: profile, steps, flags; (CONDITION)."""
    told = np.frombuffer(plane.profile, np.uint8)
    if len(told) != 64:
        raise ValueError("a profile of another length")
    v, h = plane.sampling if first is None else (first.sampling[0] // plane.sampling[0], first.sampling[1] // plane.sampling[1])
    flags = [index == 0, index == 1, index >= 2, index >= 3, v >= 2 and index > 0, h >= 2 and index > 0, 0, 0]
    return np.concatenate([np.minimum(told, 127), logarithms(plane.steps).clip(0, 127), np.array(flags) * 64]).astype(np.int8)


def beside(plane: Plane, other: Plane, box: Box) -> Box:
    """The blocks of a component that lie where a box of blocks of another one lies."""
    (v, h), (over_v, over_h) = plane.sampling, other.sampling
    rows, columns = other.blocks.shape[:2]
    left, top, right, bottom = box
    return (
        min(columns, left * over_h // h),
        min(rows, top * over_v // v),
        min(columns, max(left * over_h // h + 1, right * over_h // h)),
        min(rows, max(top * over_v // v + 1, bottom * over_v // v)),
    )


@dataclass(frozen=True)
class Side:
    """What earlier components hold at each block: of the first one mean magnitudes (n, 64), signed means (n, 11), differences of DC in the
    place (n, 3); of the second one its coefficients (n, 64), 0 if there is none."""

    mean: NDArray[np.int16]
    signed: NDArray[np.int16]
    slopes: NDArray[np.int16]
    other: Values


def side(plane: Plane, first: Values, first_sampling: tuple[int, int], second: Values | None, second_sampling: tuple[int, int]) -> Side:
    """Of all blocks of a component (rows columns, ...), given the coefficients (rows, columns, 64) of the first one and of the second."""
    rows, columns = plane.blocks.shape[:2]
    (v, h), (over_v, over_h) = plane.sampling, first_sampling
    high, wide = max(1, over_v // v), max(1, over_h // h)
    y, x = np.arange(rows) * over_v // v, np.arange(columns) * over_h // h
    sums, signed = np.zeros((rows, columns, 64), np.int32), np.zeros((rows, columns, SIDE_SIGNED), np.int32)
    slopes = np.zeros((rows, columns, 3), np.int32)
    for i in range(high):
        for j in range(wide):
            there = first[(y + i).clip(0, first.shape[0] - 1)[:, None], (x + j).clip(0, first.shape[1] - 1)]
            sums += np.minimum(np.abs(there.astype(np.int32)), MAGNITUDE)
            signed += there[..., :SIDE_SIGNED]
            dc = there[..., 0].astype(np.int32)
            below, right = (1 if 2 * i >= high else -1) * (high > 1), (1 if 2 * j >= wide else -1) * (wide > 1)
            slopes += np.stack([below * dc, right * dc, below * right * dc], -1)
    count = high * wide
    slopes = (slopes // count).clip(-32767, 32767)
    other = np.zeros((rows, columns, 64), np.int16)
    if second is not None:
        y, x = np.arange(rows) * second_sampling[0] // v, np.arange(columns) * second_sampling[1] // h
        other = second[y.clip(0, second.shape[0] - 1)[:, None], x.clip(0, second.shape[1] - 1)]
    parts = [(sums * MEAN_UNIT // count).astype(np.int16), (signed // count).astype(np.int16), slopes.astype(np.int16), other]
    return Side(*(part.reshape(rows * columns, -1) for part in parts))


def mean_before(around: NDArray[np.int16]) -> Int32:
    """The mean magnitudes (n, 64) before blocks, given those (n, 6, 64) of their neighbours."""
    m = around.astype(np.int32)
    return (3 * m[:, 0] + 3 * m[:, 1] + m[:, 2] + m[:, 3]) >> 3


def mean_after(before: Int32, values: Values) -> NDArray[np.int16]:
    """The same with the block itself."""
    magnitudes = np.minimum(np.abs(values.astype(np.int32)), MAGNITUDE) * MEAN_UNIT
    return (before + ((magnitudes - before) >> units.MEAN_RATE)).astype(np.int16)


def own_inputs(around: Values, there: NDArray[np.bool_], means: Int32, edges: Int32, tables: Tables) -> Int8:
    """(n, OWN), given neighbours (n, 6, 64), 0 outside; which of them there are (n, 6); means (n, 64); predictions in 1/8 step (n, 16)."""
    west, north, corner, east, west2, north2 = np.moveaxis(around.astype(np.int32), 1, 0)
    w, n, nw, ne, ww, nn = there.T
    dc = [
        (west[:, 0] - north[:, 0]) * (w & n),
        (west[:, 0] - corner[:, 0]) * (w & nw),
        (north[:, 0] - corner[:, 0]) * (n & nw),
        (east[:, 0] - north[:, 0]) * (n & ne),
        (west[:, 0] - west2[:, 0]) * (w & ww),
        (north[:, 0] - north2[:, 0]) * (n & nn),
    ]
    seen, corners = slice(1, 1 + units.SIGNED_SEEN), slice(1, 1 + units.SIGNED_CORNER)
    far = np.abs(corner) + np.abs(east), np.abs(west2) + np.abs(north2)
    signed = [np.stack(dc, 1), west[:, seen], north[:, seen], corner[:, corners], east[:, corners]]
    magnitudes = [np.abs(part)[:, 1:] for part in (west, north, *far)]
    mean = tables.mean[means[:, 1:]]
    return np.concatenate(
        [tables.of_signed(np.concatenate(signed + magnitudes, 1)), mean, tables.of_edge(edges), (there * 64).astype(np.int8)], 1
    )


def side_inputs(here: Side, before: Int32, tables: Tables) -> Int8:
    """(n, SIDE). before: DC of the first component and of the second one (n, 2) that neighbours have."""
    signed = here.signed.astype(np.int32)
    signed[:, 0] -= before[:, 0]
    other = here.other.astype(np.int32)
    magnitudes = np.abs(other[:, 1:])
    other = other[:, :OTHER_SIGNED].copy()
    other[:, 0] -= before[:, 1]
    return np.concatenate([tables.mean[here.mean[:, 1:]], tables.of_signed(np.concatenate([signed, here.slopes, other, magnitudes], 1))], 1)


def dequantised(values: Values, steps: NDArray[np.int64]) -> Int32:
    return (values.astype(np.int64) * steps).clip(-CLAMP, CLAMP).astype(np.int32)


def in_steps(edges: Int32, steps: NDArray[np.int64]) -> Int32:
    """Predictions (..., 16) in 1 / 2^BASIS_BITS of a level as multiples of 1/8 step, given the steps of what they predict."""
    return (edges // (steps << (units.BASIS_BITS - 3))).clip(-EDGE_LIMIT, EDGE_LIMIT).astype(np.int32)


def near_of(prediction: Int32) -> Int32:
    """What tokens are counted from, given a prediction in 1/8 step."""
    magnitude = np.abs(prediction)
    near = np.where(magnitude <= DEAD, 0, (magnitude - SHRINK + 4) >> 3)
    return (np.sign(prediction) * near).astype(np.int32)


def balanced(edges: Int32, there: NDArray[np.bool_]) -> Int32:
    """Predictions (n, 16) of which the first and the ninth are of DC: as far as DC is not coded their difference, and nothing."""
    result = edges.copy()
    result[:, 0] = (edges[:, 0] - edges[:, 8]) * (there[:, 0] & there[:, 1])
    result[:, 8] = 0
    return result


def dc_near(edges: Int32, there: NDArray[np.bool_]) -> Int32:
    """What DC is counted from, (n), in 1/8 step: the mean of both predictions, or one of them."""
    return np.where(there[:, 0] & there[:, 1], (edges[:, 0] + edges[:, 8]) >> 1, edges[:, 0] + edges[:, 8])


def group_edges(edges: Int32, there: NDArray[np.bool_], group: int, tables: Tables) -> tuple[Int8, Int32]:
    """What the head of a group is told of edges (n, EDGES), and what its coefficients are counted from (n, size).

    edges: predictions in 1/8 step (n, 16), from all that is known.
    """
    first, last = GROUPS[group]
    near = np.zeros((len(edges), last - first), np.int32)
    extra = np.zeros((len(edges), 2), np.int32)
    d = units.DIAGONALS[group]
    if d == 0:
        middle = dc_near(edges, there)
        near[:, 0] = (middle + 4) >> 3
        told = edges.copy()
        told[:, [0, 8]] -= (near[:, :1] * 8) * there[:, [1, 0]]
        extra[:, 0] = middle - 8 * near[:, 0]
    else:
        told = balanced(edges, there)
        if d < 8:
            for i, at in enumerate((d, 8 + d)):
                place = EDGE_PLACES[at] - first
                near[:, place] = near_of(edges[:, at])
                extra[:, i] = edges[:, at] - 8 * near[:, place]
    return np.concatenate([tables.of_edge(told), (2 * extra).clip(-127, 127).astype(np.int8)], 1), near


def last_inputs(last: NDArray[np.int64]) -> Int8:
    """What heads are told of the last place, (n, LAST_SEEN)."""
    return np.concatenate([(last[:, None] >= 4 * np.arange(1, 16)) * 64, 2 * last[:, None]], 1).astype(np.int8)
