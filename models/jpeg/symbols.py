"""Coefficients as symbols, and back; see `units.py`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..model import Blocks, Code, Nibbles, Places, Turn
from .units import CLASS, CLASS_BITS, CLASSES, LAST, LESS, LOW, MORE, NEAR, NIBBLES, REMAINDER, TOKEN, ZIGZAG

Int32 = NDArray[np.int32]
FIRST, BITS, PIECES = np.array(CLASSES), np.array(CLASS_BITS), np.array(NIBBLES)
ORDER = np.array(ZIGZAG)


def zigzag(blocks: Blocks) -> NDArray[np.int16]:
    """Blocks (..., 8, 8) in zigzag order (..., 64)."""
    return np.ascontiguousarray(blocks.reshape(*blocks.shape[:-2], 64)[..., ORDER])


def unzigzag(values: NDArray[np.int16]) -> Blocks:
    """The inverse."""
    blocks = np.empty_like(values)
    blocks[..., ORDER] = values
    return blocks.reshape(*values.shape[:-1], 8, 8)


def last_places(values: NDArray[np.int16]) -> NDArray[np.int64]:
    """The zigzag place of the last coefficient of AC that is not 0, or 0; (...) of values (..., 64)."""
    return ((values != 0) * np.arange(64)).max(-1)


def tokens(differences: Int32) -> Int32:
    """What stands for differences from `near`."""
    return (differences + NEAR + 1).clip(LESS, MORE)


def far(difference: Int32) -> tuple[Int32, Int32]:
    """Class and remainder of differences that are beyond NEAR."""
    beyond = np.abs(difference) - NEAR - 1
    kind = np.searchsorted(FIRST, beyond, "right") - 1
    return kind.astype(np.int32), (beyond - FIRST[kind]).astype(np.int32)


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
            return (last & ((1 << LOW) - 1) if turn.half else last >> LOW).astype(np.int32)
        values = self._values[turn.at].astype(np.int32)
        difference = values if turn.near is None else values - turn.near
        if turn.channel == TOKEN:
            return tokens(difference)
        kind, remainder = far(difference)
        return kind if turn.channel == CLASS else (remainder >> (4 * turn.half)) & 15


def pull_far(
    code: Code, weights: NDArray[np.float32], at: Places, less: NDArray[np.bool_], near: Int32, bounds: Places, share: float
) -> Int32:
    """Values (n) beyond NEAR of `near`, below it where it says `less`: their classes, then their remainders.

    weights: (n, 16) of the classes. at, bounds: as a `Turn` has them. Raises ValueError for values that are no int16.
    """
    kind = np.asarray(code(Turn(CLASS, 0, at, bounds, share, near=near), weights), np.int64)
    beyond = FIRST[kind]
    for half in range(int(PIECES[kind].max(initial=0)) - 1, -1, -1):
        rows = np.flatnonzero(PIECES[kind] > half)
        width = np.minimum(BITS[kind[rows]] - 4 * half, 4)
        even = (np.arange(16) < (1 << width)[:, None]).astype(np.float32)
        turn = Turn(REMAINDER, half, at[rows], np.searchsorted(rows, bounds), share, near=near[rows])
        beyond[rows] += np.asarray(code(turn, even), np.int64) << (4 * half)
    values = near + np.where(less, -1, 1) * (beyond + NEAR + 1)
    return values.astype(np.int32)
