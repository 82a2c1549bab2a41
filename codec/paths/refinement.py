"""Refined pictures: latents that were moved for this picture, window by window, and the last choice between integers.

The search for a quality goes through files that are not refined, which is fast. What refinement makes of the one that it finds is a little
larger and a good deal better; what is then missing to the size or the decibels that are asked for, the weight of errors in the last choice
between integers makes up for.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...models.model import Symbols
from ...models.refinable import Refinable, Refined
from ...models.windows import windows
from ..parallel import part_of, spread
from ..settings import Progress
from .encoding import Encoding
from .tiles import TiledEncoding

BOLD = 2.0  # the error that a move is foretold to add to that of its gradient, which moves all together fall short of
STEPS = 24  # weights of errors below that of the quality, and as many above
WIDEST = 3.0  # the largest of them, relative to the quality's; its inverse is the smallest
GROWN_SIZE, GROWN_DB = 0.04, 0.55  # what refinement adds: to the logarithm of the size, and in decibels; about


class RefinedEncoding(Encoding):
    """A picture whose latents were refined at one quality. Its own qualities are weights of errors in the last choice between integers."""

    approximate = True
    growth = 0.25, 1.5

    def __init__(self, source: TiledEncoding, quality: int, effort: int) -> None:
        self.source, self.picture, self.loaded, self.size = source, source.picture, source.loaded, source.size
        self.settings, self.pixels, self._quality = source.settings, source.pixels, quality
        self.qualities, self.default = 2 * STEPS + 1, STEPS
        self._psnr: dict[int, float] = {}
        self._refined = _refined(source, quality, effort)
        self._chosen: dict[int, Symbols] = {}
        self._files: dict[int, bytes] = {}

    def file(self, quality: int) -> bytes:
        if quality not in self._files:
            self._files[quality] = self.source.file_of(self._symbols(quality), self._quality)
        return self._files[quality]

    def received(self, quality: int) -> Any:
        return self.source.model.dequantise(self._symbols(quality)[None], self._quality)

    def _symbols(self, quality: int) -> Symbols:
        """The latents (h, w, channels) under a weight of errors."""
        if quality not in self._chosen:
            self._chosen[quality] = chosen(self._refined, WIDEST ** ((quality - STEPS) / STEPS), self.source.model.blank)
        return self._chosen[quality]


def chosen(refined: Refined, weight: float, blank: int) -> Symbols:
    """The latents (h, w, channels) of the first picture: of each the integer at hand or one of its neighbours, where bits + weight * error
    is least; but whole channels `blank`, which take no bits, where that is less still."""
    symbols, bits, slope = refined.symbols[0], refined.bits[:, 0], refined.slope[0]
    bend = BOLD / 2 * refined.curvature
    least, move = bits[1].copy(), np.zeros(symbols.shape, np.int16)
    for step, cost in ((-1, bits[0]), (1, bits[2])):
        cost = cost + weight * (step * slope + bend)
        better = (cost < least) & (symbols + np.int16(step) >= 0) & (symbols + np.int16(step) < 256)
        least, move = np.where(better, cost, least), np.where(better, np.int16(step), move)
    away = (np.float32(blank) - symbols).astype(np.float32)
    without = weight * (away * slope + bend * np.square(away)).sum((0, 1), dtype=np.float64)
    kept = least.sum((0, 1), dtype=np.float64) < without
    return np.where(kept, symbols + move, blank).astype(np.uint8)


def _refined(source: TiledEncoding, quality: int, effort: int) -> Refined:
    """All latents of a picture, window by window."""
    model, settings = cast(Refinable, source.model), source.settings
    height, width = model.size(*source.size)
    every = windows(height, width)
    symbols = np.empty((1, height, width, model.channels), np.uint8)
    bits, slope = np.empty((3, *symbols.shape), np.float32), np.empty(symbols.shape, np.float32)

    def work(part: slice, report: Progress) -> list[NDArray[np.float32]]:
        curvatures = []
        for number, (a, b, c, d) in enumerate(every[part]):
            told = part_of(report, number, 1, part.stop - part.start)
            found = model.refine(source.pixels[None], source.features, quality, (a, b, c, d), effort, told)
            symbols[:, a:b, c:d], bits[:, :, a:b, c:d], slope[:, a:b, c:d] = found.symbols, found.bits, found.slope
            curvatures.append(found.curvature)
        return curvatures

    curvatures = spread(work, len(every), 1, settings.workers, settings.progress)
    return Refined(symbols, bits, slope, np.mean(curvatures, axis=0, dtype=np.float32))
