"""Pictures with loss as a library: what is asked for, and files that may be cut. How they are coded is in `latents.py` and
`ordered.py`, which need torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import ImageRefused
from ..format import container
from ..format.container import ChunkStream, Coding
from ..isolation import isolated

if TYPE_CHECKING:
    from mmap import mmap

    from .. import api
    from .. import weights as networks
    from ..image.files import Picture

DEFAULT_MODEL = "latent"
SCALE = 100  # qualities are given as 0..SCALE
ROUNDING = 1e-6  # bytes: what a quotient of whole numbers may have lost


@dataclass(frozen=True)
class Target:
    """What a file should be: a quality 0..100, or the best of at most so many bytes or bits a pixel, or the smallest of at least
    so many decibels (PSNR over R, G and B). If nothing is said: the quality 50, and of ordered codes all."""

    quality: float | None = None
    bpp: float | None = None
    size: int | None = None
    psnr: float | None = None

    def __post_init__(self) -> None:
        given = [value for value in (self.quality, self.bpp, self.size, self.psnr) if value is not None]
        if len(given) > 1:
            raise ImageRefused("one of quality, bits a pixel, bytes and decibels says what a file should be")
        if any(value < 0 for value in given) or (self.quality is not None and self.quality > SCALE):
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
    if nothing is given, and of ordered codes all); bpp or size, the largest number of bits a pixel or bytes of the whole file; psnr,
    the least number of decibels. tile: the side of the independent tiles in latents. settings: see `Settings`. Raises ImageRefused
    and WeightsError.
    """
    from .. import api
    from .. import weights as networks

    target = Target(quality, bpp, size, psnr)
    return encode_picture(api.picture_of(image), model, target, tile, networks.Settings(**settings))


@isolated()
def encode_picture(picture: Picture, model: str, target: Target, tile: int, settings: networks.Settings) -> bytes:
    """The .psg file of a checked picture, by whatever kind of model. Raises ImageRefused and WeightsError."""
    from .. import weights as networks
    from . import latents, ordered

    if networks.find_weights(model, settings).metadata.get("model") != "ordered":
        return latents.encode_picture(picture, model, target, tile, settings)
    if tile:
        raise ImageRefused("ordered codes have no tiles; leave out --tile")
    return ordered.encode_picture(picture, model, target, settings)


def truncate(data: bytes | mmap, size: int | None = None, *, bpp: float | None = None, fraction: float | None = None) -> bytes:
    """The beginning of a file of ordered codes: at most so many bytes, bits a pixel, or a fraction 0..1 of its bytes.

    It ends with a whole chunk, so that no byte is idle. Raises ImageRefused for other files and for less than the file's header.
    """
    if [size, bpp, fraction].count(None) != 2:
        raise ImageRefused("one of bytes, bits a pixel and fraction says where to cut")
    header = container.read_header(data)
    if header.coding != Coding.ORDERED:
        raise ImageRefused("only files of ordered codes may be cut (encode --lossy -m ordered)")
    limit = len(data) if size is None else size
    if bpp is not None:
        limit = int(bpp * header.width * header.height / 8 + ROUNDING)
    elif fraction is not None:
        limit = int(fraction * len(data) + ROUNDING)
    stream = ChunkStream(data, header)
    if limit < stream.start:
        raise ImageRefused(f"the smallest cut of this file has {stream.start:,} bytes, more than {limit:,}")
    return data[: stream.end(stream.within(limit))]
