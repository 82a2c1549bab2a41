"""What a file has around its pixels, kept byte for byte, and the file made again of both.

Of uncompressed files (BMP, PPM, many TIFF files) the pixels lie in the file as they are, between a head and a tail: the very file
comes back. Of PNG files head and tail are all chunks but the compressed pixels (IDAT), of lossless WebP files all chunks but VP8L:
these are compressed anew, so that a file comes back with the same pixels and everything else that the old one had.
"""

from __future__ import annotations

import base64
import binascii
import io
import struct
import zlib
from dataclasses import dataclass

from PIL import Image

from ..errors import DamagedFile
from ..image.opening import PNG_START

MOST = 1 << 18  # bytes of head and tail
RAW = {  # Pillow's raw mode, bytes to which rows are filled up, and direction, by layout and mode
    "rows": ({mode: mode for mode in ("1", "L", "P", "LA", "RGB", "RGBA", "I;16", "CMYK")}, 1, 1),
    "swapped": ({"I;16": "I;16B"}, 1, 1),
    "inverted": ({"1": "1;I"}, 1, 1),
    "upward": ({"L": "L", "P": "P", "RGB": "BGR", "RGBA": "BGRA"}, 4, -1),
}
LAYOUTS = (*RAW, "png", "webp")
BITS = {"1": 1, "L": 8, "P": 8, "LA": 16, "RGB": 24, "RGBA": 32, "I;16": 16, "CMYK": 32}
FAST, SMALL = 1, 6  # levels of compression
DEEP = "deep"  # the text of PNG files in colour with 16 bits a channel, which their .psg files give back by themselves


@dataclass(frozen=True)
class Form:
    """How the pixels lie in a file, and the bytes before and after them."""

    layout: str
    head: bytes
    tail: bytes

    @property
    def exact(self) -> bool:
        """Whether the very file comes back."""
        return self.layout in RAW

    def text(self) -> str:
        """As a field of the manifest."""
        packed = base64.b64encode(zlib.compress(self.head + self.tail, 9)).decode()
        return f"{self.layout}:{len(self.head)}:{packed}"


def parse(text: str) -> Form:
    """The inverse of `Form.text`. Raises DamagedFile."""
    try:
        layout, size, packed = text.split(":")
        unpacker = zlib.decompressobj()
        both = unpacker.decompress(base64.b64decode(packed, validate=True), MOST)
        if layout not in LAYOUTS or not unpacker.eof or not size.isdecimal() or int(size) > len(both):
            raise ValueError
        return Form(layout, both[: int(size)], both[int(size) :])
    except (ValueError, zlib.error, binascii.Error):
        raise DamagedFile("the manifest does not say what the file has around its pixels") from None


def find(source: bytes, image: Image.Image) -> Form | None:
    """What a file has around the pixels of its image; None if that is not known, or too much."""
    found = _png(source) if source.startswith(PNG_START) else _webp(source) if source[:4] == b"RIFF" else _raw(source, image)
    return found if found and len(found.head) + len(found.tail) <= MOST else None


def file(image: Image.Image, form: Form, level: int = SMALL) -> bytes:
    """The file of an image. level: 1 to 9, of compression. Raises DamagedFile if image and form do not go together."""
    if form.layout == "png":
        return form.head + _idat(image, form.head, level) + form.tail
    if form.layout == "webp":
        body = form.head + _vp8l(image, level) + form.tail
        return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    rows = _rows(image, form.layout)
    if rows is None:
        raise DamagedFile("the picture is not of the kind that its file was")
    return form.head + rows + form.tail


def _raw(source: bytes, image: Image.Image) -> Form | None:
    for layout in RAW:
        body = _rows(image, layout)
        at = source.find(body) if body else -1
        if body and at >= 0:
            return Form(layout, source[:at], source[at + len(body) :])
    return None


def _rows(image: Image.Image, layout: str) -> bytes | None:
    """The pixels as they lie in an uncompressed file; None for modes that no such file has."""
    modes, multiple, direction = RAW[layout]
    if image.mode not in modes:
        return None
    stride = -(-(image.width * BITS[image.mode]) // 8)
    return image.tobytes("raw", modes[image.mode], -(-stride // multiple) * multiple, direction)


# ------------------------------------------------------------------------------------------------------------------ PNG


def _chunks(data: bytes) -> list[tuple[bytes, int, int]]:
    """(kind, start, end) of the chunks of a PNG file, as far as they are whole."""
    found, at = [], len(PNG_START)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            break
        found.append((kind, at, at + 12 + length))
        at += 12 + length
    return found


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(source: bytes) -> Form | None:
    chunks = _chunks(source)
    pixels = [i for i, (kind, _, _) in enumerate(chunks) if kind == b"IDAT"]
    if not pixels or chunks[0][0] != b"IHDR" or pixels != list(range(pixels[0], pixels[-1] + 1)):
        return None
    (_, start, end), first, last = chunks[0], chunks[pixels[0]][1], chunks[pixels[-1]][2]
    straight = _chunk(b"IHDR", source[start + 8 : end - 5] + b"\0")  # not interlaced
    return Form("png", source[:start] + straight + source[end:first], source[last:])


def _idat(image: Image.Image, head: bytes, level: int) -> bytes:
    """The pixels as a chunk of a PNG file with a head. Raises DamagedFile."""
    bare = image.copy()
    bare.info = {}
    options = {"bits": head[24]} if image.mode == "P" and len(head) > 24 else {}
    buffer = io.BytesIO()
    bare.save(buffer, "PNG", compress_level=level, **options)
    made = buffer.getvalue()
    if made[24:26] != head[24:26]:  # bits and kind of colour
        raise DamagedFile("the picture is not of the kind that its PNG file was")
    return _chunk(b"IDAT", b"".join(made[start + 8 : end - 4] for kind, start, end in _chunks(made) if kind == b"IDAT"))


# ----------------------------------------------------------------------------------------------------------------- WebP


def _riff(data: bytes) -> list[tuple[bytes, int, int]]:
    """(kind, start, end) of the chunks of a WebP file, if they are all of it."""
    found, at = [], 12
    while at + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, at)
        end = at + 8 + length + length % 2
        found.append((kind, at, end))
        at = end
    return found if at == len(data) == struct.unpack_from("<I", data, 4)[0] + 8 else []


def _webp(source: bytes) -> Form | None:
    pixels = [(start, end) for kind, start, end in _riff(source) if kind == b"VP8L"]
    if len(pixels) != 1:
        return None
    return Form("webp", source[12 : pixels[0][0]], source[pixels[0][1] :])


def _vp8l(image: Image.Image, level: int) -> bytes:
    """The pixels as a chunk of a lossless WebP file. Raises DamagedFile."""
    bare = image.copy()
    bare.info = {}
    buffer = io.BytesIO()
    if image.mode in ("RGB", "RGBA"):
        bare.save(buffer, "WEBP", lossless=True, exact=True, quality=0 if level == FAST else 80, method=0 if level == FAST else 4)
    for kind, start, end in _riff(buffer.getvalue()) if buffer.getbuffer() else []:
        if kind == b"VP8L":
            return buffer.getvalue()[start:end]
    raise DamagedFile("the picture is not of the kind that its WebP file was")
