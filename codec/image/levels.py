"""Channels that have not all of their levels: stretched contrast, few colours. Coded are places in the list of those that there are.

After JPEG XL's and FLIF's channel palettes.
"""

import numpy as np
from numpy.typing import NDArray

from ..errors import DamagedFile

Bytes = NDArray[np.uint8]
Kept = NDArray[np.bool_]
"""Which of 256 levels each channel has, (channels, 256)."""
ENOUGH = 1 << 14  # pixels; of fewer also an ordinary picture misses levels
ENDS = 0.005  # share of pixels at each end of a channel whose levels do not count
MISSED = 0.05  # share of the levels between that are missing
SIZE = 32  # bytes of a channel's levels


def find(pixels: Bytes) -> Kept | None:
    """Levels that channels of pixels (H, W, channels) have, if one misses some inside its range; of the others all. None if none does."""
    if pixels.shape[0] * pixels.shape[1] < ENOUGH:
        return None
    kept = np.stack([_kept(channel) for channel in np.moveaxis(pixels, -1, 0)])
    return None if kept.all() else kept


def _kept(channel: Bytes) -> Kept:
    counts = np.bincount(channel.ravel(), minlength=256)
    below = counts.cumsum()
    low, high = np.searchsorted(below, (ENDS * below[-1], (1 - ENDS) * below[-1]))
    there: Kept = counts > 0
    return there if (~there[low : high + 1]).mean() >= MISSED else np.ones(256, np.bool_)


def places(pixels: Bytes, kept: Kept) -> Bytes:
    """What is coded of pixels (H, W, channels)."""
    tables = (kept.cumsum(1) - 1).clip(0).astype(np.uint8)
    return np.stack([table[pixels[..., channel]] for channel, table in enumerate(tables)], -1)


def restore(coded: Bytes, kept: Kept) -> Bytes:
    """The pixels of what was coded. What is past the last level is the last level."""
    pixels = np.empty_like(coded)
    for channel, there in enumerate(kept):
        levels = np.flatnonzero(there)
        table = levels[np.minimum(np.arange(256), len(levels) - 1)].astype(np.uint8)
        pixels[..., channel] = table[coded[..., channel]]
    return pixels


def pack(kept: Kept) -> bytes:
    """The section: of each channel 256 bits, level 0 first."""
    return np.packbits(kept, axis=1, bitorder="little").tobytes()


def unpack(content: bytes, channels: int) -> Kept:
    """The inverse. Raises DamagedFile."""
    if len(content) != SIZE * channels:
        raise DamagedFile("the levels of a picture are of another number of channels")
    bits = np.unpackbits(np.frombuffer(content, np.uint8).reshape(channels, SIZE), axis=1, bitorder="little")
    if not bits.any(1).all():
        raise DamagedFile("a channel of a picture has no levels")
    return bits.astype(np.bool_)
