"""What a file with loss should be, and the search for the quality that gives it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import ImageRefused
from .encoding import Encoding
from .truncate import bytes_of

SCALE = 100  # qualities are given as 0..SCALE
NEAR_SIZE = -math.log(0.975)  # a file of so much of the wanted size is near enough
NEAR_DB = 0.05
SLOPE_SIZE, SLOPE_DB = 2.5, 9.0  # growth from the worst quality to the best: of the logarithm of the size, and in decibels; about


@dataclass(frozen=True)
class Target:
    """A quality 0..100, or the best of at most so many bytes or bits a pixel, or the smallest of at least so many decibels (PSNR over
    R, G and B). If nothing is said: the quality 50, and of ordered codes all."""

    quality: float | None = None
    bpp: float | None = None
    size: int | None = None
    psnr: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.quality, self.bpp, self.size, self.psnr) if value is not None]
        if len(given) > 1:
            raise ImageRefused("one of quality, bits a pixel, bytes and decibels says what a file should be")
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in given):
            raise ImageRefused(f"{given[0]!r} is no number that says what a file should be")
        if any(value < 0 for value in given) or (self.quality is not None and self.quality > SCALE):
            raise ImageRefused(f"qualities are 0 to {SCALE}, and nothing else is below 0")

    def leaving(self, share: float) -> Target:
        """The same, with this share of a largest size left for something else."""
        size = None if self.size is None else int(self.size * (1 - share))
        return Target(self.quality, None if self.bpp is None else self.bpp * (1 - share), size, self.psnr)

    def file(self, encoding: Encoding) -> bytes:
        """The file of a picture that is asked for. Raises ImageRefused if there is none."""
        last = encoding.qualities - 1
        if self.psnr is not None:
            return encoding.file(self._with_decibels(encoding, self.psnr, last))
        if self.size is not None or self.bpp is not None:
            height, width = encoding.size
            limit = self.size if self.size is not None else bytes_of(self.bpp or 0, width, height)
            return encoding.file(self._within(encoding, limit, last))
        return encoding.file(encoding.default if self.quality is None else round(self.quality * last / SCALE))

    @staticmethod
    def _with_decibels(encoding: Encoding, wanted: float, last: int) -> int:
        rough = (NEAR_DB, SLOPE_DB / encoding.qualities) if encoding.approximate else None
        quality = last - _last(last + 1, lambda q: -encoding.psnr(last - q), -wanted, rough)
        if encoding.psnr(quality) < wanted:
            name, best = encoding.loaded.name, encoding.psnr(last)
            raise ImageRefused(f"{wanted} dB is beyond the best quality of {name}, which is {best:.2f} dB here")
        return quality

    @staticmethod
    def _within(encoding: Encoding, limit: int, last: int) -> int:
        rough = (NEAR_SIZE, SLOPE_SIZE / encoding.qualities) if encoding.approximate else None
        quality = _last(last + 1, lambda q: math.log(len(encoding.file(q))), math.log(max(1, limit)), rough)
        if len(encoding.file(quality)) > limit:
            what, size = "file" if encoding.approximate else "cut", len(encoding.file(0))
            raise ImageRefused(f"the smallest {what} of this picture has {size:,} bytes, more than {limit:,}")
        return quality


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
