"""Coefficients as symbols, and back; see `units.py`."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model import Blocks, Nibbles, Turn
from .units import CLASS, CLASS_BITS, CLASSES, LAST, LESS, LOW, MORE, NEAR, PER_GROUP, TOKEN, ZIGZAG

Int32 = NDArray[np.int32]
FIRST, BITS = np.array(CLASSES), np.array(CLASS_BITS)
NIBBLES = (BITS + 3) // 4
ORDER = np.array(ZIGZAG)
BACK = np.argsort(ORDER)


def zigzag(blocks: Blocks) -> NDArray[np.int16]:
    """Blocks (..., 8, 8) in zigzag order (..., 64)."""
    return blocks.reshape(*blocks.shape[:-2], 64).take(ORDER, axis=-1)


def unzigzag(values: NDArray[np.int16]) -> Blocks:
    """The inverse."""
    return values.take(BACK, axis=-1).reshape(*values.shape[:-1], 8, 8)


def last_places(values: NDArray[np.int16]) -> NDArray[np.int64]:
    """The zigzag place of the last coefficient of AC that is not 0, or 0; (...) of values (..., 64)."""
    last: NDArray[np.int64] = ((values != 0) * np.arange(64)).max(-1)
    return last


def tokens(differences: Int32) -> Int32:
    """What stands for differences from `near`."""
    return (differences + NEAR + 1).clip(LESS, MORE)


def far(difference: Int32) -> tuple[Int32, Int32]:
    """Class and remainder of differences that are beyond NEAR."""
    beyond = np.abs(difference) - NEAR - 1
    kind = np.searchsorted(FIRST, beyond, "right") - 1
    return kind.astype(np.int32), (beyond - FIRST[kind]).astype(np.int32)


class Coded(NamedTuple):
    """The coefficients of a group that are coded: rows among the blocks of the group and places in it, both (m); what their tokens are
    counted from, int32 (m); where 0 is impossible, uint8 (m)."""

    row: NDArray[np.int64]
    place: NDArray[np.int64]
    near: Int32
    none: NDArray[np.uint8]


class Known:
    """The code that answers with known coefficients."""

    def __init__(self, tiles: Sequence[Blocks]) -> None:
        height, width = (max(tile.shape[i] for tile in tiles) for i in (0, 1))
        self._values = np.zeros((len(tiles), height, width, 64), np.int16)
        for i, tile in enumerate(tiles):
            self._values[i, : tile.shape[0], : tile.shape[1]] = zigzag(tile)
        self._last = last_places(self._values).ravel()
        self._values = self._values.ravel()

    def __call__(self, turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
        if turn.channel == LAST:
            last = self._last[turn.at >> 6]
            symbols: Nibbles = (last & ((1 << LOW) - 1) if turn.half else last >> LOW).astype(np.int32)
            return symbols
        asked = (turn.channel - 1) % PER_GROUP
        values = self._values[turn.at].astype(np.int32)
        difference = values if turn.near is None else values - turn.near
        if asked == TOKEN:
            return tokens(difference)
        kind, remainder = far(difference)
        return kind if asked == CLASS else (remainder >> (4 * (PER_GROUP - 1 - asked))) & 15
