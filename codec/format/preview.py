"""The small picture in front of a file's other sections, as bytes. Standard library only."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from mmap import mmap

from ..errors import DamagedFile
from . import container
from .container import CRC, ENTRY, FIXED, Header, Tag

LONGEST = 256  # pixels of a side
SHARE = 0.015  # of a file's bytes, that a preview with its entry in the table takes at most
UPRIGHT = 1
KINDS = ([b"VP8 "], [b"VP8X", b"ALPH", b"VP8 "])  # chunks of the WebP file: without and with alpha


@dataclass(frozen=True)
class Preview:
    """orientation: 1 to 8, as EXIF counts the ways to turn and mirror a picture that is shown. size: (width, height) of the WebP file."""

    orientation: int
    webp: bytes
    size: tuple[int, int]

    @property
    def content(self) -> bytes:
        """The bytes of the section."""
        return bytes([self.orientation]) + self.webp


def read(data: bytes | mmap, header: Header) -> Preview | None:
    """The preview of a file that has one. Raises DamagedFile."""
    content = None if header.cut_before(data, Tag.PREVIEW) else container.read_section(data, header, Tag.PREVIEW)
    if content is None:
        return None
    orientation, webp = content[:1], content[1:]
    size = size_of(webp)
    if size is None or not 1 <= max(size) <= LONGEST or not 1 <= orientation[0] <= 8:
        raise DamagedFile("the section PREV is not what this format allows")
    return Preview(orientation[0], webp, size)


def size_of(webp: bytes) -> tuple[int, int] | None:
    """Width and height of a WebP file with loss that has nothing beside its pixels; None for all other bytes."""
    chunks: list[tuple[bytes, bytes]] = []
    if webp[:4] != b"RIFF" or webp[8:12] != b"WEBP" or int.from_bytes(webp[4:8], "little") + 8 != len(webp):
        return None
    at = 12
    while at + 8 <= len(webp):
        length = int.from_bytes(webp[at + 4 : at + 8], "little")
        chunks.append((webp[at : at + 4], webp[at + 8 : at + 8 + min(length, 10)]))
        at += 8 + length + length % 2
    if at != len(webp) or [kind for kind, _ in chunks] not in KINDS:
        return None
    frame = chunks[-1][1]
    if len(frame) < 10 or frame[3:6] != b"\x9d\x01\x2a":
        return None
    size = int.from_bytes(frame[6:8], "little") & 0x3FFF, int.from_bytes(frame[8:10], "little") & 0x3FFF
    canvas = chunks[0][1]
    if len(chunks) > 1 and (int.from_bytes(canvas[4:7], "little") + 1, int.from_bytes(canvas[7:10], "little") + 1) != size:
        return None
    return size


def room(data: bytes) -> int:
    """Bytes that the section of a file's preview may have."""
    return int(SHARE * len(data)) - ENTRY.size


def put(data: bytes, preview: Preview) -> bytes:
    """The file with a preview in front of its sections, which stay as they are, also where the file is cut. Raises DamagedFile."""
    header, content = container.read_header(data), preview.content
    names = FIXED.size + len(header.model.encode())
    fields = list(FIXED.unpack_from(data))
    fields[2], fields[9] = fields[2] + ENTRY.size, fields[9] + 1  # bytes of the header, sections
    entry, table_end = ENTRY.pack(Tag.PREVIEW, len(content), zlib.crc32(content)), fields[2] - ENTRY.size - CRC.size
    head = FIXED.pack(*fields) + data[FIXED.size : names] + entry + data[names:table_end]
    return b"".join([head, CRC.pack(zlib.crc32(head)), content, data[table_end + CRC.size :]])
