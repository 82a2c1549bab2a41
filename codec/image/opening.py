"""Opening image files with Pillow: only the formats that are promised, and without limits and plugins of the host."""

import io
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from PIL import BmpImagePlugin as _bmp
from PIL import GifImagePlugin as _gif
from PIL import Image, UnidentifiedImageError
from PIL import JpegImagePlugin as _jpeg
from PIL import PngImagePlugin as _png
from PIL import PpmImagePlugin as _ppm
from PIL import TiffImagePlugin as _tiff
from PIL import WebPImagePlugin as _webp

from ..format.container import MAX_PIXELS

PLUGINS = (_png, _webp, _tiff, _bmp, _ppm, _gif, _jpeg)  # which are registered by being imported
FORMATS = ("PNG", "WEBP", "TIFF", "BMP", "DIB", "PPM", "GIF", "JPEG")
STORED = ("PNG", "WEBP")
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_KINDS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")  # in this order


_lock = threading.Lock()


def opened(data: bytes, formats: Sequence[str] = FORMATS, most: int = MAX_PIXELS) -> Image.Image:
    """An image that is not loaded yet. Raises UnidentifiedImageError, and whatever Pillow raises for bytes that are damaged.

    `Image.open` refuses pictures above a number of pixels that is one for the whole process, and warns of smaller ones; Presage's own
    limits are checked instead. most: pixels of WebP files, of which Pillow makes the canvas at once.
    """
    for name in formats:
        factory = Image.OPEN[name][0]
        if _accepts(name, data[:16]):
            try:
                size = _webp_size(data) if name == "WEBP" else (0, 0)
                if size[0] * size[1] > most:
                    raise ValueError(f"{size[0]} x {size[1]} pixels are too many")
                with unlimited(size):
                    return factory(io.BytesIO(data), "")
            except (SyntaxError, IndexError, TypeError, struct.error):  # those by which a plugin says that it is another format
                continue
    raise UnidentifiedImageError("none of " + ", ".join(formats))


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas of a WebP file, by the first of its chunks. Raises ValueError."""
    kind, head = data[12:16], data[20:30].ljust(10, b"\0")
    if kind == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF
    raise ValueError("a WebP file of no known kind")


@contextmanager
def unlimited(size: tuple[int, int]) -> Iterator[None]:
    """Without Pillow's limit for the process, if the size is above it: some of its plugins ask for it on their own."""
    if Image.MAX_IMAGE_PIXELS is None or size[0] * size[1] <= Image.MAX_IMAGE_PIXELS:
        yield
        return
    with _lock:
        most, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = most


def cropped(image: Image.Image, area: tuple[int, int, int, int]) -> Image.Image:
    """An area (left, top, right, bottom) inside an image; unlike `Image.crop` of any size."""
    if area == (0, 0, *image.size):
        return image
    return image.resize((area[2] - area[0], area[3] - area[1]), Image.Resampling.NEAREST, area)


def check_canonical(data: bytes) -> None:
    """That a PNG or WebP file is nothing but its pixels: no other chunks, no bytes after its end. Raises ValueError."""
    if data.startswith(PNG_START):
        kinds: list[bytes] = []
        at = len(PNG_START)
        while at + 12 <= len(data):
            length, kind = struct.unpack_from(">I4s", data, at)
            at += 12 + length
            if not kinds or kind != b"IDAT" or kinds[-1] != kind:
                kinds.append(kind)
        if at != len(data) or kinds[:1] + kinds[-2:] != [b"IHDR", b"IDAT", b"IEND"] or [k for k in PNG_KINDS if k in kinds] != kinds:
            raise ValueError("a PNG file with more than its pixels")
    elif data[:4] != b"RIFF" or len(data) < 20 or data[12:16] != b"VP8L":
        raise ValueError("a WebP file with more than its pixels")
    else:
        size, length = struct.unpack_from("<I", data, 4)[0], struct.unpack_from("<I", data, 16)[0]
        if size + 8 != len(data) or 20 + length + length % 2 != len(data):
            raise ValueError("a WebP file with more than its pixels")


def format_of(head: bytes) -> str:
    """The format of a file of which the first 16 bytes or more are given, as far as these say; empty if it is none that is read."""
    return next((name for name in FORMATS if _accepts(name, head[:16])), "")


def _accepts(name: str, head: bytes) -> bool:
    """Whether a file that begins so may be of a format."""
    accept = Image.OPEN[name][1]
    try:
        return accept is None or accept(head) is True
    except (IndexError, struct.error):  # it is too short
        return False
