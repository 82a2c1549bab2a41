"""What a file with loss should be, and the search for the quality that gives it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

from ...models.model import Model
from ..errors import ImageRefused
from ..weights import Loaded
from .encoding import Encoding
from .refinement import GROWN_DB, GROWN_SIZE, RefinedEncoding
from .tiles import TiledEncoding
from .truncate import bytes_of

SCALE = 100  # qualities are given as 0..SCALE
NEAR_SIZE = -math.log(0.975)  # a file of so much of the wanted size is near enough
NEAR_DB = 0.05
EFFORTS, DEFAULT_EFFORT = range(1, 10), 5
TRIES = 3  # qualities that are refined, at most


@dataclass(frozen=True)
class Target:
    """A quality 0..100, or the best of at most so many bytes or bits a pixel, or the smallest of at least so many decibels (PSNR over
    R, G and B). If nothing is said: the quality 50, and of ordered codes all.

    effort: 1..9, how long to work on a better file of the same quality or size; None: what suits the model."""

    quality: float | None = None
    bpp: float | None = None
    size: int | None = None
    psnr: float | None = None
    effort: int | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.quality, self.bpp, self.size, self.psnr) if value is not None]
        if len(given) > 1:
            raise ImageRefused("one of quality, bits a pixel, bytes and decibels says what a file should be")
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in given):
            raise ImageRefused(f"{given[0]!r} is no number that says what a file should be")
        if any(value < 0 for value in given) or (self.quality is not None and self.quality > SCALE):
            raise ImageRefused(f"qualities are 0 to {SCALE}, and nothing else is below 0")
        if self.effort is not None and (type(self.effort) is not int or self.effort not in EFFORTS):
            raise ImageRefused(f"efforts are {EFFORTS[0]} to {EFFORTS[-1]}, not {self.effort!r}")

    def check(self, loaded: Loaded[Model]) -> None:
        """Raises ImageRefused for what a model cannot do."""
        if self.effort not in (None, 1) and not loaded.model.refines:
            raise ImageRefused(f"the model {loaded.name} knows no effort but 1; leave out --effort")

    def leaving(self, share: float) -> Target:
        """The same, with this share of a largest size left for something else."""
        size = None if self.size is None else int(self.size * (1 - share))
        return Target(self.quality, None if self.bpp is None else self.bpp * (1 - share), size, self.psnr)

    def file(self, encoding: Encoding) -> bytes:
        """The file of a picture that is asked for. Raises ImageRefused if there is none."""
        effort = self.effort or (DEFAULT_EFFORT if encoding.loaded.model.refines else 1)
        return (effort > 1 and self._refined(cast(TiledEncoding, encoding), effort)) or encoding.file(self._quality(encoding))

    def _refined(self, encoding: TiledEncoding, effort: int) -> bytes | None:
        """The file of a refined picture, if what is asked for is reached.

        The quality is that of a file before refinement that then grows to what is asked for; where it grows otherwise, by so much that the
        last choice between integers cannot make up for it, another quality is refined.
        """
        limit, last = self._limit(encoding), encoding.qualities - 1
        grown = replace(self, psnr=self.psnr and max(0.0, self.psnr - GROWN_DB), size=limit and int(limit / math.exp(GROWN_SIZE)), bpp=None)
        quality = grown._nearest(encoding)
        for _ in range(TRIES):
            refined = RefinedEncoding(encoding, quality, effort)
            found = self._nearest(refined)
            if limit is not None:
                short = (math.log(max(1, limit)) - math.log(len(refined.file(found)))) / encoding.growth[0]
                near = 0 <= short <= NEAR_SIZE / encoding.growth[0] or (short > 0 and found < refined.qualities - 1)
            elif self.psnr is not None:
                short = (self.psnr - refined.psnr(found)) / encoding.growth[1]
                near = 0 <= -short <= NEAR_DB / encoding.growth[1] or (short < 0 and found > 0)
            else:
                return refined.file(refined.default)
            other = min(max(quality + round(short * last) + (1 if short > 0 else -1), 0), last)
            if near or other == quality:
                break
            quality = other
        reached = len(refined.file(found)) <= limit if limit is not None else refined.psnr(found) >= (self.psnr or 0)
        return refined.file(found) if reached else None

    def _limit(self, encoding: Encoding) -> int | None:
        """The most bytes."""
        height, width = encoding.size
        return bytes_of(self.bpp, width, height) if self.bpp is not None else self.size

    def _quality(self, encoding: Encoding) -> int:
        """The quality of the file that is asked for. Raises ImageRefused if there is none."""
        quality, limit = self._nearest(encoding), self._limit(encoding)
        if self.psnr is not None and encoding.psnr(quality) < self.psnr:
            name, best = encoding.loaded.name, encoding.psnr(encoding.qualities - 1)
            raise ImageRefused(f"{self.psnr} dB is beyond the best quality of {name}, which is {best:.2f} dB here")
        if limit is not None and len(encoding.file(quality)) > limit:
            what, size = "file" if encoding.approximate else "cut", len(encoding.file(0))
            raise ImageRefused(f"the smallest {what} of this picture has {size:,} bytes, more than {limit:,}")
        return quality

    def _nearest(self, encoding: Encoding) -> int:
        """The same, or the quality that comes nearest to it."""
        last, limit = encoding.qualities - 1, self._limit(encoding)
        near = [(near, slope / encoding.qualities) for near, slope in zip((NEAR_SIZE, NEAR_DB), encoding.growth, strict=True)]
        of_size, of_db = near if encoding.approximate else (None, None)
        if self.psnr is not None:
            return last - _last(last + 1, lambda q: -encoding.psnr(last - q), -self.psnr, of_db)
        if limit is not None:
            return _last(last + 1, lambda q: math.log(len(encoding.file(q))), math.log(max(1, limit)), of_size)
        return encoding.default if self.quality is None else round(self.quality * last / SCALE)


def _last(count: int, value: Callable[[int], float], target: float, rough: tuple[float, float] | None) -> int:
    """The last of range(count) whose increasing value is not above the target; 0 if all are above.

    rough: (near, slope) if one whose value is nearer than `near` will do, and the value grows by about `slope` from one to the next.
    """
    low, high = -1, count  # value(low) <= target < value(high)
    known: dict[int, float] = {}
    at = (low + high + 1) // 2
    while high - low > 1:
        known[at] = value(at)
        if known[at] <= target:
            low = at
            if rough and target - known[at] <= rough[0]:
                break
        else:
            high = at
        guess = (low + high) // 2
        if rough:
            near, slope = rough
            rise = (known[high] - known[low]) / (high - low) if low in known and high in known else slope
            guess = at + round((target - near / 3 - known[at]) / max(rise, slope / 8))
        at = min(max(guess, low + 1), high - 1)
    return max(low, 0)
