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
from ...models.refinable import Refinable, Refined, chosen
from ...models.windows import windows
from ..parallel import part_of, spread
from ..settings import Progress
from .encoding import Encoding
from .tiles import TiledEncoding

STEPS = 24  # weights of errors below that of the quality, and as many above
WIDEST = 6.0  # the largest of them, relative to the quality's; its inverse is the smallest
GROWN_SIZE, GROWN_DB = 0.03, 0.4  # what refinement adds: to the logarithm of the size, and in decibels; about


class RefinedEncoding(Encoding):
    """A picture whose latents were refined at one quality. Its own qualities are weights of errors in the last choice between integers."""

    approximate = True
    growth = 0.3, 2.0

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
            self._chosen[quality] = chosen(self._refined, WIDEST ** ((quality - STEPS) / STEPS), self.source.model.blank)[0]
        return self._chosen[quality]


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
