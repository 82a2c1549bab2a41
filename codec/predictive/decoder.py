"""Predictive decoding: the bitstream is the noise (Wiggers and Hoogeboom 2020, algorithms 1 and 2).

The quantiles of a block of symbols are known before any probability is (`chain.py`), so a symbol is a function of the symbols
before it. Guess them all, evaluate the model once at all of them, and everything up to and including the first wrong guess is
right; guess again. A *schedule* says how far ahead to guess and what: it decides how often the model is called, never what
is decoded.

Every image of a batch goes at its own pace, and groups go on to their next blocks as soon as theirs stand: an image that is
finished, or waits for its group, costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.frequencies import Quantiles
from ...models.model import Predictable, Size, Symbols
from ..errors import PresageError
from ..settings import Progress
from . import forecasters
from .forecasters import Call
from .noise import Gumbel, Source
from .schedule import SURE, Schedule

BEYOND = 1 << 40  # more symbols than there are


@dataclass
class Statistics:
    """What decoding an image took.

    calls: passes of the model in which any of its pixels was evaluated; an ancestral decoder makes one for every symbol.
    heads: of how many pixels the distributions were evaluated, all calls together. mistakes, converged: for every symbol
    (pixels in coding order, their channels), how often it was among the first wrong guesses of a call (those of one wavefront
    step), and the call in which it took its final value.
    """

    symbols: int
    pixels: int
    calls: int = 0
    heads: int = 0
    mistakes: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    converged: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))

    @property
    def share(self) -> float:
        """Calls as a share of the ancestral loop's."""
        return self.calls / self.symbols


@dataclass(frozen=True)
class Members:
    """A group: its source of noise, the images that it is for, and the coding order of their symbols, as indices into the
    symbols image by image; by default these themselves."""

    source: Source
    images: range
    sequence: NDArray[np.int64] | None = None


class _Group:
    """Which symbols of a group are being decoded."""

    def __init__(self, members: Members, counts: Sequence[int]) -> None:
        self.source, self.images = members.source, members.images
        bounds = np.concatenate([[0], np.cumsum([counts[i] for i in self.images])])
        self.sequence = np.arange(bounds[-1]) if members.sequence is None else members.sequence
        places = np.empty_like(self.sequence)
        places[self.sequence] = np.arange(len(places))
        self.places = [places[a:b] for a, b in pairwise(bounds)]  # of every image's symbols in the group's sequence
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
        """sizes: of every image's symbols. groups: all images are in one of them."""
        self.model, self.sizes, self.precision = model, sizes, precision
        # symbols of two levels take few bits: a group's block holds few of its images, and they are easy to guess
        few_calls = model.levels == 2 and any(len(group.images) > 1 for group in groups)
        self.schedule = schedule.decided(model.slope, few_calls)
        self.front = model.evaluator(sizes)
        self._gumbel = gumbel
        self._sure = self.schedule.name in SURE
        self._watch = not (self._sure and model.slope)
        self._channels = c = model.depth
        device = model.device
        pixels = [len(p) for p in self.front.pixels]
        counts = [n * c for n in pixels]
        self._groups = [_Group(members, counts) for members in groups]
        rows = len(self.front.symbols)
        self._order = torch.cat(list(self.front.pixels))
        self._start = np.concatenate([[0], np.cumsum(pixels)])  # of every image in _order
        self.image = torch.zeros(rows, dtype=torch.int64, device=device)
        self.image[self._order] = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(pixels)).to(device)
        self.rank = torch.zeros(rows, dtype=torch.int64, device=device)
        self.rank[self._order] = torch.cat([torch.arange(n) for n in pixels]).to(device)
        # pixels of a row's image that are coded before the end of its wavefront step; without a slope a pixel is a step
        self._after = self.rank + 1
        if model.slope:
            self._after[self._order] = torch.cat([_step_ends(model.steps(h, w)) for h, w in sizes]).to(device)
        self.quantiles = torch.zeros((rows, c), dtype=torch.int64, device=device)
        self._low = torch.zeros((rows, c), dtype=torch.int64, device=device)
        self._size = torch.ones((rows, c), dtype=torch.int64, device=device)
        self.given = torch.zeros((rows, c), dtype=torch.uint8, device=device)  # what the model gave last time
        # of every image: the first symbol that may still change, and the end of the block
        self._first = torch.zeros(len(sizes), dtype=torch.int64, device=device)
        self._end = torch.zeros(len(sizes), dtype=torch.int64, device=device)
        self._ends = self._after[self._order].tolist() if self.schedule.name == "wavefront" else []
        self.probable = torch.zeros((rows if self.schedule.name == "argmax" else 0, c), dtype=torch.uint8, device=device)
        self._forecast = forecasters.make(self)
        self.statistics = [Statistics(n, n // c, mistakes=np.zeros(n, np.int32), converged=np.zeros(n, np.int32)) for n in counts]
        self._total = sum(counts)

    def run(self, progress: Progress) -> list[Symbols]:
        """Decode everything; uint8 (height, width, channels) of every image in raster order. Raises DamagedFile."""
        if self._watch:
            self.front.put(self._order, self.front.symbols[self._order], watch=False)  # the first guess
        for group in self._groups:
            self._next_block(group)
        while any(not group.finished for group in self._groups):
            windows = self._windows()
            self._call(windows)
            first = self._first.tolist()
            end = self._end.tolist()
            for group in self._groups:
                if not group.finished and all(first[i] >= end[i] for i in group.images):
                    self._next_block(group)
            progress(sum(group.begin for group in self._groups) / self._total)
        return [self._picture(i) for i in range(len(self.sizes))]

    def _picture(self, image: int) -> Symbols:
        height, width = self.sizes[image]
        symbols = torch.empty((height * width, self._channels), dtype=torch.uint8)
        symbols[self.model.order(height, width)] = self.front.symbols[self.front.pixels[image]].cpu()
        return symbols.view(height, width, -1).numpy()

    def _next_block(self, group: _Group) -> None:
        """Give back what the block did not use and open the next one."""
        if group.end > group.begin:
            places = self._places(group)
            group.source.give_back(self._low[places].cpu().numpy(), self._size[places].cpu().numpy())
        block = group.source.next_block()
        group.begin, group.end = group.end, group.end + len(block)
        group.finished = not len(block)
        if group.finished:
            return
        rows, channels = self._places(group)
        self.front.open(rows[:1])  # the block before may have ended within this pixel
        self.quantiles[rows, channels] = torch.from_numpy(block).to(self.model.device)
        for image, own in zip(group.images, group.places, strict=True):
            self._first[image], self._end[image] = np.searchsorted(own, (group.begin, group.end)).tolist()

    def _places(self, group: _Group) -> tuple[Tensor, Tensor]:
        """Rows and channels of the block's symbols."""
        symbols = torch.from_numpy(group.sequence[group.begin : group.end]).to(self.model.device)
        pixels = symbols // self._channels + int(self._start[group.images.start])
        return self._order[pixels], symbols % self._channels

    def _windows(self) -> list[tuple[int, int, int]]:
        """(image, first symbol, end) of what every unfinished image evaluates next."""
        windows = []
        for image, (first, end) in enumerate(zip(self._first.tolist(), self._end.tolist(), strict=True)):
            if first >= end:
                continue
            if self.schedule.name == "ancestral":
                end = first + 1
            elif self.schedule.name == "wavefront":
                end = min(end, self._ends[self._start[image] + first // self._channels] * self._channels)
            elif self.schedule.window:
                end = min(end, first - first % self._channels + self.schedule.window * self._channels)
            windows.append((image, first, end))
        return windows

    def _call(self, windows: list[tuple[int, int, int]]) -> None:
        """Evaluate the model once in all windows, and guess again."""
        c, sure = self._channels, self._sure
        pieces = [self._order[self._start[i] + first // c : self._start[i] - (-end // c)] for i, first, end in windows]
        rows = torch.cat(pieces)
        if self._sure:
            self.front.open(rows)  # it may be the turn of another channel
        due = self.front.evaluate(rows, watch=self._watch)
        images = [i for i, _, _ in windows]
        limit = torch.zeros_like(self._end)
        limit[images] = torch.tensor([end for _, _, end in windows], device=limit.device)
        self._give(due, limit)
        for i in images:
            self.statistics[i].calls += 1
        for i, n in zip(*torch.unique(self.image[due], return_counts=True), strict=True):
            self.statistics[int(i)].heads += int(n)
        fed, given = self.front.symbols[rows], self.given[rows]
        position = self.rank[rows].unsqueeze(1) * c + torch.arange(c, device=rows.device)
        image = self.image[rows]
        open_ = (position >= self._first[image].unsqueeze(1)) & (position < limit[image].unsqueeze(1))
        given = torch.where(open_, given, fed)
        wrong = given != fed
        after = torch.where(wrong.any(1), self._after[rows], BEYOND)
        after = torch.full_like(self._first, BEYOND).scatter_reduce_(0, image, after, "amin")  # the step of an image's first mistake
        if self.schedule.in_turn:
            known = after * c  # all pixels of that step are right now
        else:
            mistake = torch.where(wrong, position, BEYOND).amin(1)
            known = torch.full_like(self._first, BEYOND).scatter_reduce_(0, image, mistake, "amin") + 1
        known = torch.minimum(known, limit)  # nothing before this changes any more
        if sure:
            guess, known = given, limit
        else:
            guess = self._forecast(self, Call(rows, given, fed, position, image, known))
            guess = torch.where(open_, guess, fed)
        first_wrong = wrong & (wrong.cumsum(1) == 1) & (self._after[rows] == after[image]).unsqueeze(1)
        self._count(first_wrong, position, guess != fed, image)
        changed = (guess != fed).any(1) if self._watch else torch.ones_like(rows, dtype=torch.bool)
        self.front.put(rows[changed], guess[changed], watch=self._watch)
        self._first[images] = known[images]

    def _give(self, due: Tensor, limit: Tensor) -> None:
        """What the model gives for pixels that are due: symbols and intervals."""
        if not len(due):
            return
        c = self._channels
        head_sums = self.front.head_sums(due)
        fed = self.front.symbols[due]
        new = fed.clone()
        rank, image = self.rank[due], self.image[due]
        first, end = self._first[image], limit[image]
        for channel in range(c):
            position = rank * c + channel
            open_ = (position >= first) & (position < end)
            if not bool(open_.any()):
                continue
            seen = new if self.schedule.in_turn else fed
            distribution = self.front.distribution(head_sums, due, channel, seen, self.precision)
            symbols, low, size = self._symbols(distribution, due, channel)
            new[:, channel] = torch.where(open_, symbols.to(torch.uint8), fed[:, channel])
            if len(self.probable):
                self.probable[due, channel] = distribution.table().argmax(1).to(torch.uint8)
            self._low[due, channel] = torch.where(open_, low, self._low[due, channel])
            self._size[due, channel] = torch.where(open_, size, self._size[due, channel])
        self.given[due] = new

    def _symbols(self, distribution: Quantiles, due: Tensor, channel: int) -> tuple[Tensor, Tensor, Tensor]:
        if self._gumbel is None:
            interval: tuple[Tensor, Tensor, Tensor] = distribution.find(self.quantiles[due, channel])
            return interval
        symbols = self._gumbel.choose(distribution, self._number(due, channel))
        return symbols, torch.zeros_like(symbols), torch.ones_like(symbols)

    def _number(self, rows: Tensor, channel: int) -> Tensor:
        """The places of symbols in the coding order of the whole batch."""
        start = torch.from_numpy(self._start).to(rows.device)[self.image[rows]]
        return (start + self.rank[rows]) * self._channels + channel

    # ------------------------------------------------------------------------------------------- for the forecasters

    def index_of(self, rows: Tensor) -> Tensor:
        """A table from rows to their index in `rows`, -1 for the others."""
        index = torch.full_like(self.rank, -1)
        index[rows] = torch.arange(len(rows), device=rows.device)
        return index

    def gumbel_at(self, rows: Tensor) -> Tensor:
        """Gumbel noise of all categories of the symbols of pixels (n, steps); float32 (n, steps, channels, levels)."""
        if self._gumbel is None:
            raise PresageError("this forecasting module wants Gumbel noise")
        return torch.stack([self._gumbel.noise(self._number(rows, c)) for c in range(self._channels)], dim=2)

    def draw(self, tables: Tensor, rows: Tensor) -> Tensor:
        """Symbols for probabilities (n, steps, channels, levels) of pixels (n, steps), with the noise that they will get."""
        if self._gumbel is not None:
            return (tables.clamp(min=1e-9).log() + self.gumbel_at(rows)).argmax(-1)
        quantiles = (self.quantiles[rows] + 0.5) / (1 << self.precision)
        return (tables.cumsum(-1)[..., :-1] <= quantiles.unsqueeze(-1)).sum(-1)

    def _count(self, mistakes: Tensor, position: Tensor, changed: Tensor, image: Tensor) -> None:
        """Note which symbols were the first that were wrong, and which have changed in this call."""
        for name, mask in (("mistakes", mistakes), ("converged", changed)):
            where, channel = mask.nonzero(as_tuple=True)
            positions, owners = position[where, channel].cpu().numpy(), image[where].cpu().numpy()
            for i in np.unique(owners):
                statistics = self.statistics[i]
                if name == "mistakes":
                    statistics.mistakes[positions[owners == i]] += 1
                else:
                    statistics.converged[positions[owners == i]] = statistics.calls


def _step_ends(steps: Tensor) -> Tensor:
    """For the ascending steps of an image's pixels, how many pixels there are up to the end of each one's step."""
    return torch.searchsorted(steps, steps, right=True)
