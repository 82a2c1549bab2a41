"""How chroma planes were brought to the size of luma: rules in exact integers, with the phase of their grid."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.int16]
Axis = NDArray[np.int64]
"""For every place along an axis: nearer cell, farther cell, their weights, and the parity; int64 (n, 5)."""


class Rule(IntEnum):
    """What lies between the cells of the chroma grid along an axis."""

    WHOLE = 0  # nothing: a cell for every place
    SAME = 1  # two places have the cell's value
    BETWEEN = 2  # the cell's value, then the mean of it and the next
    TRIANGLE = 3  # a quarter of the cell before or after is mixed in


REACH = {Rule.WHOLE: (0, 0), Rule.SAME: (0, 1), Rule.BETWEEN: (-1, 1), Rule.TRIANGLE: (-1, 2)}
"""First and last place, relative to its first own one, that a cell has a part in."""
_WEIGHTS = {Rule.WHOLE: ((1, 0), (1, 0)), Rule.SAME: ((1, 0), (1, 0)), Rule.BETWEEN: ((2, 0), (1, 1)), Rule.TRIANGLE: ((3, 1), (3, 1))}
_TOTAL = {Rule.WHOLE: 0, Rule.SAME: 0, Rule.BETWEEN: 1, Rule.TRIANGLE: 2}  # logarithms of the sums of weights


@dataclass(frozen=True)
class Sampling:
    """The rules of rows and columns. phase: places of the first cell that lie outside the picture, 0 or 1, for rows and columns."""

    rows: Rule
    columns: Rule
    phase: tuple[int, int] = (0, 0)

    def cells(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the chroma planes of a picture."""
        return _cells(self.rows, self.phase[0], height), _cells(self.columns, self.phase[1], width)

    @property
    def shift(self) -> int:
        return _TOTAL[self.rows] + _TOTAL[self.columns]

    @property
    def bias(self) -> NDArray[np.int64]:
        """What is added before the shift, by the parity of row and column; int64 (2, 2). That of triangles is libjpeg's (jdsample.c)."""
        if self.shift == 0:
            return np.zeros((2, 2), np.int64)
        if self.columns == Rule.TRIANGLE:
            return np.array([[8, 7]] * 2 if self.rows == Rule.TRIANGLE else [[1, 2]] * 2, np.int64)
        if self.rows == Rule.TRIANGLE:
            return np.array([[1, 1], [2, 2]], np.int64)
        return np.full((2, 2), 1 << (self.shift - 1), np.int64)

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:
        """The cells and weights of rows and of columns."""
        return _axis(self.rows, self.phase[0], height), _axis(self.columns, self.phase[1], width)


def _cells(rule: Rule, phase: int, size: int) -> int:
    return size if rule == Rule.WHOLE else (size - 1 + phase) // 2 + 1


def _axis(rule: Rule, phase: int, size: int) -> Axis:
    place = np.arange(size) + (phase if rule != Rule.WHOLE else 0)
    parity = place & 1 if rule != Rule.WHOLE else np.zeros_like(place)
    near = place >> 1 if rule != Rule.WHOLE else place
    far = near + (np.where(parity == 0, -1, 1) if rule == Rule.TRIANGLE else parity)
    weights = np.array(_WEIGHTS[rule], np.int64)[parity]
    return np.column_stack([near, np.clip(far, 0, _cells(rule, phase, size) - 1), weights, parity]).astype(np.int64)


def upsample(cells: Plane, rows: Axis, columns: Axis, bias: NDArray[np.int64], shift: int) -> Plane:
    """A chroma plane (h, w) at places of luma, int16 (rows, columns)."""
    near, far = (cells[rows[:, i]].astype(np.int32) for i in (0, 1))
    mixed = near * rows[:, 2:3].astype(np.int32) + far * rows[:, 3:4].astype(np.int32)
    across = mixed[:, columns[:, 0]] * columns[:, 2].astype(np.int32) + mixed[:, columns[:, 1]] * columns[:, 3].astype(np.int32)
    return np.ascontiguousarray((across + bias[rows[:, 4]][:, columns[:, 4]]) >> shift, np.int16)


def chroma(cells: Plane | NDArray[np.uint8], sampling: Sampling, size: tuple[int, int]) -> Plane:
    """The same, by the rules of a sampling, of the whole picture (height, width)."""
    return upsample(cells.astype(np.int16), *sampling.axes(*size), sampling.bias, sampling.shift)
