"""Digits of latents: in what rounds they come, and what is known of a latent before each. For the network in training and in integers.

A latent is an integer; its digits are the bits of its magnitude from the highest plane down, and its sign beside the first bit that is
not 0. A *round* has the digits of one plane, of some channels, at all places or at some of every 4 x 4. All digits of a round are
predicted at once, given those of all rounds before it at all places around.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Int16 = NDArray[np.int16]
Int64 = NDArray[np.int64]
NOTHING, PLUS, MINUS = 0, 1, 2
"""Digits of a latent that was 0 so far: still 0, or its first bit with the sign. Later digits are the bits 0 and 1."""
DIGITS = 3
CELL = 4  # patterns of places repeat after so many rows and columns
FINER, HALVES, ALL = (0, 1, 2, 3, 4), (5, 4), 6
"""Patterns that follow one another, those between which half of the places lie, and all of them."""
STEPS = (4, 2, 2, 1, 1, 1, 1)  # how far away a head looks, by the pattern: where places are whose digits are known already
PLANES = 8  # at most
FARTHEST = (1 << (PLANES + 1)) - 1  # magnitude of twice a middle, at most
COMPAND_BITS = 4  # a doubled distance is 16 steps of the companded inputs
LINEAR_BITS = 3  # a unit of the plane is 16 steps of the linear inputs: twice a middle counts 8
PARTS = 3  # of a network's answer for a latent: is it 0 no more, is it positive, is the next bit 1
KINDS = 3  # of intervals that have points of their own: the first one beside 0, the second, all others
LOCAL = 17  # inputs of a head: 3 x 3 middles of its own channel, and magnitudes of the eight around


@dataclass(frozen=True)
class Round:
    """Digits that are predicted together: of a plane, of some channels, at places of a pattern."""

    plane: int
    channels: tuple[int, ...]
    places: int


@dataclass(frozen=True)
class ProgressiveConfig:
    """tops: planes of every channel; larger latents are clamped. order: the channels, the largest first; sizes: of the groups that it
    is cut into. The first group comes in parts: from the plane `smooth` on in those of FINER, below in HALVES."""

    tops: tuple[int, ...]
    order: tuple[int, ...]
    sizes: tuple[int, ...]
    quality: int = 255  # of the latents
    smooth: int = 3
    width: int = 64
    narrow: int = 32
    head: int = 32
    late: int = 0  # logit, in 1/64, of what comes as late as digits of latents that are not 0
    stage: str = "digits"  # what is trained: the network of digits, or the `decoder` of cut latents
    transforms: dict[str, Any] = field(default_factory=dict)  # settings of encoder and decoder, see `latent.LatentConfig`

    def __post_init__(self) -> None:
        for name in ("tops", "order", "sizes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.stage not in ("digits", "decoder"):
            raise ValueError("stage is `digits` or `decoder`")
        if sorted(self.order) != list(range(len(self.tops))) or sum(self.sizes) != len(self.order) or min(self.sizes) < 1:
            raise ValueError("the order is not one of all channels in groups")
        if not all(1 <= top <= PLANES for top in self.tops):
            raise ValueError(f"a latent has 1 to {PLANES} planes")

    @property
    def channels(self) -> int:
        return len(self.tops)

    def rounds(self) -> list[Round]:
        """All rounds in their order."""
        found = []
        for plane in range(PLANES - 1, -1, -1):
            first = 0
            for group, size in enumerate(self.sizes):
                channels = tuple(c for c in self.order[first : first + size] if self.tops[c] > plane)
                first += size
                if channels:
                    patterns = (ALL,) if group else FINER if plane >= self.smooth else HALVES
                    found += [Round(plane, channels, places) for places in patterns]
        return found

    def depths(self) -> NDArray[np.int16]:
        """Planes that are not known yet before each round and after the last, by `cells`: (rounds + 1, CELL^2, channels)."""
        depth = np.tile(np.array(self.tops, np.int16), (CELL**2, 1))
        found = [depth.copy()]
        for one in self.rounds():
            depth[np.ix_(places_of(one.places, CELL, CELL), np.array(one.channels))] = one.plane
            found.append(depth.copy())
        return np.stack(found)


def compand_table() -> NDArray[np.int8]:
    """Inputs of the network by the plane and by twice the middle of a latent, int8 (PLANES, FARTHEST + 1)."""
    middles = np.arange(FARTHEST + 1) / (2.0 * 2.0 ** np.arange(PLANES)[:, None])
    table: NDArray[np.int8] = np.minimum(np.rint(np.log2(1 + middles) * (1 << COMPAND_BITS)), 127).astype(np.int8)
    return table


def cells(height: int, width: int) -> Int64:
    """Where places are in their CELL x CELL places, row by row; (height, width)."""
    found: Int64 = np.add.outer(CELL * (np.arange(height) % CELL), np.arange(width) % CELL)
    return found


def in_pattern(pattern: int, height: int, width: int) -> NDArray[np.bool_]:
    """Which places of a map belong to a pattern, (height, width)."""
    row, column = np.arange(height)[:, None], np.arange(width)[None]
    even, odd = (row % 2 == 0) & (column % 2 == 0), (row % 2 == 1) & (column % 2 == 1)
    crossed = (row + column) % 2 == 1
    quarter = even & (row % CELL == 0) & (column % CELL == 0)
    between = even & (row % CELL != 0) & (column % CELL != 0)
    found: NDArray[np.bool_] = (quarter, between, even & ~quarter & ~between, odd, crossed, even | odd, even | odd | crossed)[pattern]
    return found


def places_of(pattern: int, height: int, width: int) -> Int64:
    """The places of a pattern in a map, row by row."""
    return np.flatnonzero(in_pattern(pattern, height, width))


class Latents:
    """What is known of the latents of a map (height, width, channels).

    magnitudes: the bits so far, int16; negative: bool. depth: planes that are missing, int16.
    """

    def __init__(self, config: ProgressiveConfig, height: int, width: int) -> None:
        shape = height * width, config.channels
        self.magnitudes, self.negative = np.zeros(shape, np.int16), np.zeros(shape, np.bool_)
        self.depth = np.tile(np.array(config.tops, np.int16), (shape[0], 1))
        self.size = height, width

    def middles(self) -> Int16:
        """Twice the middles of the intervals in which latents are, 0 for those that may be 0; int16 (height, width, channels)."""
        doubled = np.where(self.magnitudes > 0, ((2 * self.magnitudes + 1) << self.depth) - 1, 0)
        return np.where(self.negative, -doubled, doubled).astype(np.int16).reshape(*self.size, -1)

    def take(self, one: Round, at: Int64, digits: NDArray[Any]) -> None:
        """The digits of a round of some latents, which are given as place x channels + channel."""
        k = self.magnitudes.reshape(-1)
        new = k[at] == 0
        k[at] = 2 * k[at] + (digits != NOTHING)
        self.negative.reshape(-1)[at[new]] = digits[new] == MINUS
        self.depth.reshape(-1)[at] = one.plane


def digits_of(values: NDArray[Any], one: Round, at: Int64) -> NDArray[np.int32]:
    """The digits of a round of latents, whose values (n) are at `at` of a flat array."""
    value = values[at].astype(np.int32)
    magnitude = np.abs(value)
    bit = magnitude >> one.plane & 1
    return np.where((magnitude >> one.plane == 1) & (value < 0), MINUS, bit).astype(np.int32)


def clamped(values: NDArray[Any], tops: Sequence[int]) -> NDArray[np.int16]:
    """Latents (..., channels) within their planes."""
    most = (1 << np.array(tops)) - 1
    found: NDArray[np.int16] = np.clip(values, -most, most).astype(np.int16)
    return found
