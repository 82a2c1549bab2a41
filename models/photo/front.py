"""Where the wavefront of `photo` stands in a batch of tiles; what computes it is `compiled.py` or, in torch, `reference.py`.

Pixel (y, x) of a tile belongs to step x + 2 y: everything its distribution depends on was decoded in earlier steps, and all pixels of a
step, in all tiles, are evaluated together.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..model import Code, Size, Span, Symbols, Turn
from ..units import SLOPE


class Front(ABC):
    """The walk through a batch of tiles, for encoder and decoder alike.

    A step evaluates the rows `low` to `low + rows - 1` of every tile, `count` pixels tile by tile; of these the tiles really have those
    that `bounds` (tiles, 2) says, and what is said of the others is ignored.
    """

    def __init__(self, sizes: Sequence[Size]) -> None:
        """sizes: height and width of every tile."""
        self._sizes = np.array(sizes, np.int64)
        self.height, self.width = self._sizes.max(0).tolist()
        self.tiles = len(sizes)
        self.steps = self.width + SLOPE * (self.height - 1)
        steps = np.arange(self.steps)[:, None]
        first = np.maximum(0, -(-(steps - self._sizes[:, 1] + 1) // SLOPE))
        last = np.minimum(self._sizes[:, 0] - 1, steps // SLOPE) + 1
        low, rows = first.min(1), last.max(1) - first.min(1)
        starts = np.arange(self.tiles) * rows[:, None] - low[:, None]
        self._bounds = np.stack([starts + first, starts + np.maximum(first, last)], 2)
        self._lows, self._rows = low.tolist(), rows.tolist()

    def go_to(self, step: int) -> bool:
        """Find out who belongs to a step. False if no pixel does."""
        self.step = step
        self.low, self.rows, self.bounds = self._lows[step], self._rows[step], self._bounds[step]
        self.count = self.tiles * self.rows
        return bool(self.rows > 0)

    def walk(self, spans: Sequence[Span], code: Code) -> Symbols:
        """Go through all steps, in each channel after channel, of each the high nibbles of all rows first; (tiles, height, width, spans).

        spans: what each channel holds, FULL or SAME. Pixels that the code does not come to are 0.
        """
        decoded = np.zeros((self.tiles, self.height, self.width, len(spans)), np.uint8)
        start = np.arange(self.tiles)[:, None] * self.height * self.width
        symbols = np.empty(0, np.uint8)
        for step in range(self.steps):
            there = self.go_to(step)
            self.advance()
            if not there:
                continue
            self.look()
            rows = np.arange(self.low, self.low + self.rows)
            columns = step - SLOPE * rows
            at, share = (start + rows * self.width + columns).ravel(), (step + 1) / self.steps
            for channel, span in enumerate(spans):
                if span != Span.SAME:
                    self.begin(channel)
                    high = code(Turn(channel, 0, at, self.bounds, share), self.weights()).astype(np.int32, copy=False)
                    if len(high) < self.count:
                        return decoded
                    low = code(Turn(channel, 1, at, self.bounds, share), self.weights(high))
                    symbols = (high * 16 + low).astype(np.uint8)
                self.put(channel, symbols)
                decoded[:, rows, columns, channel] = symbols.reshape(self.tiles, -1)
            self.finish()
        return decoded

    @abstractmethod
    def advance(self) -> None:
        """Make room for the step in what is remembered."""

    @abstractmethod
    def look(self) -> None:
        """Evaluate the network up to its heads at all pixels of the step."""

    @abstractmethod
    def begin(self, channel: int) -> None:
        """Go on to a channel (0, 1, 2 = G, R, B) of the step."""

    @abstractmethod
    def weights(self, above: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        """Weights (count, 16) of the channel's high nibbles, or of the low ones under the high nibbles `above`."""

    @abstractmethod
    def put(self, channel: int, symbols: NDArray[np.uint8]) -> None:
        """The step's symbols (count) of a channel; what is outside a tile is ignored."""

    @abstractmethod
    def finish(self) -> None:
        """Remember the step's pixels for their neighbours."""
