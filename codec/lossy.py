"""Pictures with loss as a library: what is asked for. How it is done is in `latents.py`, which needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ImageRefused

if TYPE_CHECKING:
    from . import api

DEFAULT_MODEL = "latent"
SCALE = 100  # qualities are given as 0..SCALE


@dataclass(frozen=True)
class Target:
    """What a file should be: a quality 0..100, or the best of at most so many bytes or bits a pixel, or the smallest of at least
    so many decibels (PSNR over R, G and B)."""

    quality: float | None = None
    bpp: float | None = None
    size: int | None = None
    psnr: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.quality, self.bpp, self.size, self.psnr) if value is not None]
        if len(given) != 1:
            raise ImageRefused("one of quality, bits a pixel, bytes and decibels says what a file should be")
        if given[0] < 0 or (self.quality is not None and self.quality > SCALE):
            raise ImageRefused(f"qualities are 0 to {SCALE}, and nothing else is below 0")


def encode_lossy(
    image: api.Source,
    *,
    quality: float | None = None,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    model: str = DEFAULT_MODEL,
    tile: int = 0,
    **settings: Any,
) -> bytes:
    """Compress an image with loss; returns the .psg file. `presage.decode` reads it.

    image: as `presage.encode` takes it; gray or colour with 8 bits, alpha is kept without loss. One of: quality, 0..100 (50
    if nothing is given); bpp or size, the largest number of bits a pixel or bytes of the whole file; psnr, the least number of
    decibels. tile: the side of the independent tiles in latents. settings: see `Settings`. Raises ImageRefused and WeightsError.
    """
    from . import api, latents, networks

    if (quality, bpp, size, psnr) == (None, None, None, None):
        quality = SCALE / 2
    target = Target(quality, bpp, size, psnr)
    return latents.encode_picture(api.picture_of(image), model, target, tile, networks.Settings(**settings))
