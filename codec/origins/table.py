"""The table of origins: how the RGB values of a picture came from luma and chroma, in exact integers.

A channel is clamp((luma Y + offset) >> shift, 0, 255), where the offset is a table's entry at C2 for red, at C1 for blue, and the sum of
two entries for green. Published formulas are brought to this form; `tests/test_origins.py` compares the two over all values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.int64]
Bytes = NDArray[np.uint8]
"""Offsets of red (by C2), green by C1, green by C2, and blue (by C1): int64 (4, 256)."""
Levels = NDArray[np.integer[Any]]
LEVELS = range(256)


@dataclass(frozen=True)
class Origin:
    """number: in files. luma: what a step of Y adds to a channel, in units of 2^-shift."""

    number: int
    name: str
    luma: int
    shift: int
    offsets: Table

    @property
    def forward(self) -> tuple[Table, int, int]:
        """What the loops of `kernels.py` want."""
        return self.offsets, self.luma, self.shift

    def to_rgb(self, luma: Levels, first: Levels, second: Levels) -> NDArray[np.uint8]:
        """Pixels (..., 3) of Y, C1 and C2 (...), each 0..255."""
        light = self.luma * luma.astype(np.int64)
        red, from_blue, from_red, blue = self.offsets
        channels = (light + red[second], light + (from_blue[first] + from_red[second]), light + blue[first])
        return np.stack([(channel >> self.shift).clip(0, 255).astype(np.uint8) for channel in channels], -1)


def _photo_cd() -> Origin:
    """Photo CD YCC in scans of 256 levels: with a = C1 - 156, b = C2 - 137, L = 1.3584 Y,

    R = floor(L + 1.8215 b), B = floor(L + 2.2179 a), G = floor(L - 0.194 floor(2.2179 a) - 0.509 floor(1.8215 b)).
    Factors are rounded up: values are multiples of 1e-4, and what that adds is less.
    """
    shift, unit = 24, 1 << 24

    def units(value: int) -> int:
        """Ten-thousandths in units, rounded up."""
        return -(-value * unit // 10_000)

    blue = [units(22179 * (c - 156)) for c in LEVELS]
    red = [units(18215 * (c - 137)) for c in LEVELS]
    from_blue = [units(-1940 * (22179 * (c - 156) // 10_000)) for c in LEVELS]
    from_red = [units(-5090 * (18215 * (c - 137) // 10_000)) for c in LEVELS]
    return Origin(1, "Photo CD", units(13584), shift, np.array([red, from_blue, from_red, blue], np.int64))


def _jpeg() -> Origin:
    """JFIF as libjpeg converts it (jdcolor.c): factors in 16 bits; red and blue are rounded before Y is added."""
    half = 1 << 15
    red = [(91881 * (c - 128) + half) >> 16 << 16 for c in LEVELS]
    blue = [(116130 * (c - 128) + half) >> 16 << 16 for c in LEVELS]
    return Origin(
        2, "JPEG", 1 << 16, 16,
        np.array([red, [half - 22554 * (c - 128) for c in LEVELS], [-46802 * (c - 128) for c in LEVELS], blue], np.int64),
    )  # fmt: skip


def _video(number: int, name: str, red: float, blue: float, luma_range: int, chroma_range: int) -> Origin:
    """ITU-R BT.601 and BT.709, rounded to the nearest level: the luma weights of red and blue say all.

    R = (Y - black) 255 / luma_range + 2 (1 - red) (C2 - 128) 255 / chroma_range, B likewise, and G from Y = red R + green G + blue B.
    """
    shift = 20
    unit, green = 1 << shift, 1 - red - blue
    black = 16 if luma_range < 255 else 0
    luma = round(255 / luma_range * unit)
    start = unit // 2 - black * luma
    to_red, to_blue = 2 * (1 - red) * 255 / chroma_range, 2 * (1 - blue) * 255 / chroma_range
    factors = (to_red, -to_blue * blue / green, -to_red * red / green, to_blue)
    starts = (start, start, 0, start)
    offsets = [[s + round(f * unit) * (c - 128) for c in LEVELS] for f, s in zip(factors, starts, strict=True)]
    return Origin(number, name, luma, shift, np.array(offsets, np.int64))


ORIGINS = (
    _photo_cd(),
    _jpeg(),
    _video(3, "BT.601", 0.299, 0.114, 219, 224),
    _video(4, "BT.709", 0.2126, 0.0722, 219, 224),
    _video(5, "BT.709, full range", 0.2126, 0.0722, 255, 255),
)
BY_NUMBER = {origin.number: origin for origin in ORIGINS}
