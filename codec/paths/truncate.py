"""Cutting files of ordered codes, digits or stages, which any cut leaves whole pictures. Standard library only."""

from __future__ import annotations

import math
from mmap import mmap

from ..errors import ImageRefused
from ..format import container
from ..format.container import CUT, STAGED, ChunkStream
from ..format.stages import StageStreams

ROUNDING = 1e-6  # bytes: what a quotient of whole numbers may have lost


def truncate(
    data: bytes | bytearray | memoryview | mmap, size: int | None = None, *, bpp: float | None = None, fraction: float | None = None
) -> bytes:
    """The beginning of a file that may be cut: at most so many bytes, bits a pixel, or a fraction 0..1 of its bytes.

    It ends with a whole chunk, so that no byte is idle. Raises ImageRefused for other files and for less than the file's header.
    """
    if [size, bpp, fraction].count(None) != 2:
        raise ImageRefused("one of bytes, bits a pixel and fraction says where to cut")
    wanted = next(value for value in (size, bpp, fraction) if value is not None)
    if not isinstance(wanted, int | float) or not math.isfinite(wanted) or wanted < 0 or (size is not None and not isinstance(size, int)):
        raise ImageRefused(f"{wanted!r} does not say where to cut")
    data = container.octets(data)
    header = container.read_header(data)
    if header.coding not in (*CUT, *STAGED):
        raise ImageRefused("only files of digits, ordered codes or stages may be cut (encode --lossy --progressive)")
    limit = len(data) if size is None else size
    if bpp is not None:
        limit = bytes_of(bpp, header.width, header.height)
    elif fraction is not None:
        limit = int(fraction * len(data) + ROUNDING)
    if header.coding in STAGED:
        staged = StageStreams(data, header)
        _check(limit, staged.least)
        return data[: staged.end(limit)]
    stream = ChunkStream(data, header)
    _check(limit, stream.start)
    return data[: stream.end(stream.within(limit))]


def _check(limit: int, least: int) -> None:
    """Raises ImageRefused for a cut that nothing can be decoded of."""
    if limit < least:
        raise ImageRefused(f"the smallest cut of this file has {least:,} bytes, more than {limit:,}")


def bytes_of(bpp: float, width: int, height: int) -> int:
    """The most bytes that so many bits a pixel are."""
    return int(bpp * width * height / 8 + ROUNDING)
