"""Predictive decoding: the bitstream is the noise (Wiggers and Hoogeboom 2020, algorithms 1 and 2).

The quantiles of a block of symbols are known before any probability is (`chain.py`), so a symbol is a function of the symbols
before it. Guess them all, evaluate the model once at all of them, and everything up to and including the first wrong guess is
right; guess again. A *schedule* says how far ahead to guess and what: it decides how often the model is called, never what
is decoded.

Every image of a batch goes at its own pace, and groups go on to their next blocks as soon as theirs stand: an image that is
finished, or waits for its group, costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...models.model import Predictable, Quantiles, Size, Symbols
from ..errors import PresageError
from ..settings import Progress
from . import forecasters, loops
from .forecasters import Call
from .noise import Gumbel, Source
from .schedule import SURE, Schedule
from .statistics import Statistics

REACH = {"ancestral": loops.ANCESTRAL, "wavefront": loops.WAVEFRONT}
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Members:
    """A group: its source of noise, the images that it is for, and the coding order of their symbols, as indices into the
    symbols image by image; by default these themselves."""

    source: Source
    images: range
    sequence: NDArray[np.int64] | None = None


class _Group:
    """Which symbols of a group are being decoded."""

    def __init__(self, members: Members, starts: NDArray[np.int64]) -> None:
        """starts: where the symbols of every image begin, and the last one ends."""
        self.source = members.source
        self.images = slice(members.images.start, members.images.stop)
        own = starts[self.images.start : self.images.stop + 1]
        sequence = np.arange(own[-1] - own[0]) if members.sequence is None else members.sequence
        self.sequence = sequence + own[0]  # of its symbols, as places in those of the batch
        self.owners = np.searchsorted(own, self.sequence, side="right") - 1  # their images, counted in the group
        self.begin = self.end = 0  # the block, in the group's symbols
        self.finished = False


class PredictiveDecoder:
    """Decodes groups of images in lockstep as one batch."""

    def __init__(
        self,
        model: Predictable,
        sizes: Sequence[Size],
        groups: Sequence[Members],
        precision: int,
        schedule: Schedule,
        gumbel: Gumbel | None = None,
    ) -> None:
        """sizes: of every image's symbols. groups: in the order of their images, which are all in one of them."""
        self.model, self.sizes, self.precision = model, sizes, precision
        # symbols of two levels take few bits: a group's block holds few of its images, and they are easy to guess
        few_calls = model.levels == 2 and any(len(group.images) > 1 for group in groups)
        self.schedule = schedule.decided(model.slope, few_calls)
        self.front = model.evaluator(sizes)
        self._gumbel = gumbel
        self._sure = self.schedule.name in SURE
        self._watch = not (self._sure and model.slope)
        self._channels = c = model.depth
        self._order: Rows = np.concatenate(list(self.front.pixels))
        pixels = [len(p) for p in self.front.pixels]
        images, rows = len(sizes), self.front.rows
        self._start = np.concatenate([[0], np.cumsum(pixels)]).astype(np.int64)  # of every image in _order
        self._groups = [_Group(members, self._start * c) for members in groups]
        self._bounds = [group.images.start for group in self._groups]
        self.image, self.rank = np.zeros((2, rows), np.int64)
        self.image[self._order] = np.repeat(np.arange(images), pixels)
        self.rank[self._order] = np.arange(len(self._order)) - np.repeat(self._start[:-1], pixels)
        # pixels of a row's image that are coded before the end of its wavefront step; without a slope a pixel is a step
        self._after = self.rank + 1
        if model.slope:
            ends = {size: _step_ends(model.steps(*size)) for size in set(sizes)}
            self._after[self._order] = np.concatenate([ends[size] for size in sizes])
        self.symbols = np.zeros((rows, c), np.uint8)
        self.given = np.zeros((rows, c), np.uint8)  # what the model gave last time
        self.quantiles, self._low = np.zeros((2, rows, c), np.int64)
        self._size = np.ones((rows, c), np.int64)
        # of every image: the first symbol that may still change, the end of the block, and that of the window
        self._first, self._end, self._limit = np.zeros((3, images), np.int64)
        self._known, self._scratch = np.zeros((2, images), np.int64)
        self._calls, self._heads = np.zeros((2, images), np.int64)
        self._mistakes, self._converged = np.zeros((2, len(self._order), c), np.int32)
        self._rows, self._changed = np.zeros((2, len(self._order)), np.int64)
        self.probable = np.zeros((rows if self.schedule.name == "argmax" else 0, c), np.uint8)
        self._forecast = forecasters.make(self)
        self.statistics = [Statistics(n * c, n) for n in pixels]
        self._begun = 0  # symbols before the blocks

    def run(self, progress: Progress) -> list[Symbols]:
        """Decode everything; uint8 (height, width, channels) of every image in raster order. Raises DamagedFile."""
        if self._watch:
            self.front.put(self._order, self.symbols[self._order], watch=False)  # the first guess
        for group in self._groups:
            self._next_block(group)
        while any(not group.finished for group in self._groups):
            self._call()
            waiting = np.logical_or.reduceat(self._first < self._end, self._bounds)
            for group, waits in zip(self._groups, waiting.tolist(), strict=True):
                if not waits and not group.finished:
                    self._next_block(group)
            progress(self._begun * self._channels / self._mistakes.size)
        for i, statistics in enumerate(self.statistics):
            own = slice(self._start[i], self._start[i + 1])
            statistics.calls, statistics.heads = int(self._calls[i]), int(self._heads[i])
            statistics.mistakes, statistics.converged = self._mistakes[own].ravel(), self._converged[own].ravel()
        return [self._picture(i) for i in range(len(self.sizes))]

    def _picture(self, image: int) -> Symbols:
        height, width = self.sizes[image]
        symbols = np.empty((height * width, self._channels), np.uint8)
        symbols[self.model.order(height, width)] = self.symbols[self.front.pixels[image]]
        return symbols.reshape(height, width, -1)

    def _next_block(self, group: _Group) -> None:
        """Give back what the block did not use and open the next one."""
        if group.end > group.begin:
            places = self._places(group)
            group.source.give_back(self._low[places], self._size[places])
        block = group.source.next_block()
        self._begun += group.end - group.begin
        group.begin, group.end = group.end, group.end + len(block)
        group.finished = not len(block)
        if group.finished:
            return
        rows, channels = self._places(group)
        self.front.open(rows[:1])  # the block before may have ended within this pixel
        self.quantiles[rows, channels] = block
        owners = group.owners[group.begin : group.end]
        self._first[group.images] = self._end[group.images]
        self._end[group.images] += np.bincount(owners, minlength=group.images.stop - group.images.start)

    def _places(self, group: _Group) -> tuple[Rows, Rows]:
        """Rows and channels of the block's symbols."""
        pixels, channels = np.divmod(group.sequence[group.begin : group.end], self._channels)
        return self._order[pixels], channels

    def _call(self) -> None:
        """Evaluate the model once in the windows of all unfinished images, and guess again."""
        pixels, reach = (self.rank, self.image, self._after), REACH.get(self.schedule.name, loops.WINDOW)
        ranges = (self._first, self._limit)
        count = loops.windows(
            self._first, self._end, self._order, self._start, self._after, self._channels, reach, self.schedule.window, self._limit,
            self._calls, self._rows,
        )  # fmt: skip
        rows = self._rows[:count]
        if self._sure:
            self.front.open(rows)  # it may be the turn of another channel
        self._give(self.front.evaluate(rows, watch=self._watch))
        guess = np.empty((count, self._channels), np.uint8)
        loops.judge(
            rows, self.given, self.symbols, *pixels, self._start, *ranges, self.schedule.in_turn, guess, self._scratch, self._known,
            self._mistakes,
        )  # fmt: skip
        if self._sure:
            self._known[:] = self._limit
        elif self._forecast is not None:
            position = self.rank[rows][:, None] * self._channels + np.arange(self._channels)
            guess = self._forecast(self, Call(rows, guess, self.symbols[rows], position, self.image[rows], self._known))
        other = loops.settle(
            rows, guess, not self._watch, *pixels[:2], self._start, *ranges, self._calls, self.symbols, self._converged, self._changed
        )
        if other:
            changed = self._changed[:other]
            self.front.put(rows[changed], guess[changed], watch=self._watch)
        np.copyto(self._first, self._known, where=self._limit > 0)

    def _give(self, due: Rows) -> None:
        """What the model gives for pixels that are due: symbols and intervals."""
        if not len(due):
            return
        fed = self.symbols[due]
        inside, wanted = np.empty_like(fed), np.empty(self._channels, np.int64)
        loops.opened(due, self.rank, self.image, self._first, self._limit, self._heads, inside, wanted)
        head_sums = self.front.head_sums(due)
        new = fed.copy()
        seen = new if self.schedule.in_turn else fed
        for channel in np.flatnonzero(wanted).tolist():
            distribution = self.front.distribution(head_sums, due, channel, seen, self.precision)
            found = self._symbols(distribution, due, channel)
            loops.keep(due, channel, inside, *found, new, self._low, self._size)
            if len(self.probable):
                self.probable[due, channel] = distribution.table().argmax(1)
        self.given[due] = new

    def _symbols(self, distribution: Quantiles, due: Rows, channel: int) -> tuple[Rows, Rows, Rows]:
        if self._gumbel is None:
            return distribution.find(self.quantiles[due, channel])
        symbols = self._gumbel.choose(distribution, self.number(due, channel))
        return symbols, np.zeros_like(symbols), np.ones_like(symbols)

    def number(self, rows: Rows, channel: int) -> Rows:
        """The places of symbols of pixels of any shape in the coding order of the whole batch."""
        return (self._start[self.image[rows]] + self.rank[rows]) * self._channels + channel

    def noise(self, symbols: Rows) -> NDArray[np.float32]:
        """Gumbel noise of all categories of symbols, by their places in the batch. Raises PresageError if there is none."""
        if self._gumbel is None:
            raise PresageError("this forecasting module wants Gumbel noise")
        return self._gumbel.noise(symbols)

    @property
    def has_noise(self) -> bool:
        """Whether symbols are drawn by Gumbel noise."""
        return self._gumbel is not None


def _step_ends(steps: Rows) -> Rows:
    """For the ascending steps of an image's pixels, how many pixels there are up to the end of each one's step."""
    return np.searchsorted(steps, steps, side="right")
