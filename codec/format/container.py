"""The .psg file, byte for byte: the only place that knows offsets. FORMAT.md is its description in words.

Standard library only, so that a file can be looked at without numpy, torch or any weights.
"""

import binascii
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, pairwise
from mmap import mmap

from ..errors import DamagedFile, ImageRefused
from .kinds import ALPHA_MODES as ALPHA_MODES
from .kinds import CODED_MODES as CODED_MODES
from .kinds import CUT as CUT
from .kinds import LOSSY as LOSSY
from .kinds import PIL_MODES as PIL_MODES
from .kinds import SETS as SETS
from .kinds import STAGED as STAGED
from .kinds import Coding as Coding
from .kinds import Mode as Mode
from .kinds import Tag as Tag
from .kinds import belongs

MAGIC = b"\x8ePSG\r\n\x1a\n"  # not text, and broken by any newline conversion, as PNG's
VERSION = 1
MAX_SIDE = 1 << 20
MAX_PIXELS = 1 << 28
TILE_SIDES = range(8, 1025)
MAX_SECTIONS = 64
MAX_LAYERS = 4096  # of ordered codes
STREAM_TILES = 64  # that share a stream of a flow, at most
PRECISIONS = range(9, 25)
FIXED = struct.Struct("<8sHHIIBBHIB16sB")
"""magic, version, header bytes, width, height, mode, coding, tile side, pixel CRC, sections, weights, model name bytes"""
ENTRY = struct.Struct("<4sQI")
"""tag, bytes, CRC-32"""
TILE_ENTRY = struct.Struct("<II")
"""bytes, CRC-32"""
GROUP_HEAD = struct.Struct("<BB")
"""precision, whether the tiles of a group go side by side"""
GROUP_ENTRY = struct.Struct("<IIII")
"""bytes, CRC-32 of the stream, tiles, symbols in the first block"""
LAYERS_ENTRY = struct.Struct("<HB")
"""side of a patch in pixels, layers"""
CHUNK_HEAD = struct.Struct("<HHB")
"""check, codes: the lower 16 bits, the upper 8"""
CHUNK_WORDS = range(15, 127)  # of a chunk: two more in each, until it has CHUNK_WORDS.stop - 1
MAX_CHUNK_CODES = (1 << 24) - 1
MAX_RUN = 255  # layers of a LAYERS_ENTRY
CRC = struct.Struct("<I")


@dataclass(frozen=True)
class Section:
    """A piece of the payload and its place in the file."""

    tag: bytes
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class Header:
    """All that a file says before its payload."""

    width: int  # of a set: 0
    height: int
    mode: Mode
    coding: Coding
    pixel_crc: int  # of the decoded pixels as Pillow's Image.tobytes() gives them; with loss: of the latents; of a JPEG file: of its bytes
    tile: int = 0  # side of a tile, with loss in latents, of JPEG files in blocks
    model: str = ""
    weights: bytes = bytes(16)  # start of the SHA-256 of the model's tensors
    sections: tuple[Section, ...] = ()
    size: int = 0  # of the whole file

    def section(self, tag: bytes) -> Section | None:
        """The section of that name, or None."""
        return next((s for s in self.sections if s.tag == tag), None)

    def cut_before(self, data: bytes | mmap, tag: bytes) -> bool:
        """Whether the file is cut so short that the end of a section is missing."""
        section = self.section(tag)
        return section is not None and section.offset + section.size > len(data)


Box = tuple[int, int, int, int]


def tile_boxes(width: int, height: int, side: int) -> list[Box]:
    """(left, top, right, bottom) of every tile, row by row."""
    return [(x, y, min(x + side, width), min(y + side, height)) for y in range(0, height, side) for x in range(0, width, side)]


def tile_count(width: int, height: int, side: int) -> int:
    """How many there are, without making them."""
    return -(-width // side) * -(-height // side)


def write(header: Header, sections: Mapping[bytes, bytes]) -> bytes:
    """A whole file. `header.sections` and `header.size` are ignored."""
    name = header.model.encode()
    length = FIXED.size + len(name) + ENTRY.size * len(sections) + CRC.size
    fixed = FIXED.pack(
        MAGIC, VERSION, length, header.width, header.height, header.mode, header.coding, header.tile, header.pixel_crc,
        len(sections), header.weights, len(name),
    )  # fmt: skip
    table = b"".join(ENTRY.pack(t, len(d), 0 if t in Tag.CHECKED_BY_PARTS else zlib.crc32(d)) for t, d in sections.items())
    head = fixed + name + table
    return b"".join([head, CRC.pack(zlib.crc32(head)), *sections.values()])


def octets(data: object) -> bytes | mmap:
    """The bytes of a file. Raises ImageRefused for what is none, such as its path."""
    if isinstance(data, bytearray | memoryview):
        return bytes(data)
    if isinstance(data, bytes | mmap):
        return data
    raise ImageRefused(f"the bytes of a file are wanted, not {type(data).__name__}; of a path take Path(...).read_bytes()")


def read_header(data: bytes | mmap, *, partial: bool = False) -> Header:
    """The header of a file; raises DamagedFile. With `partial`, or if the file is one that may be cut, the payload may be cut short."""
    if len(data) < FIXED.size or data[: len(MAGIC)] != MAGIC:
        raise DamagedFile("not a Presage file" if data[: len(MAGIC)] != MAGIC[: len(data)] else "cut short in the header")
    (_, version, length, width, height, mode, coding, tile, pixel_crc, count, weights, name_size) = FIXED.unpack_from(data)
    if version != VERSION:
        raise DamagedFile(f"format version {version} is unknown to this program, which reads version {VERSION}")
    if length != FIXED.size + name_size + ENTRY.size * count + CRC.size or count > MAX_SECTIONS:
        raise DamagedFile("the header is damaged")
    if len(data) < length:
        raise DamagedFile("cut short in the header")
    if CRC.unpack_from(data, length - CRC.size)[0] != zlib.crc32(data[: length - CRC.size]):
        raise DamagedFile("the header is damaged")
    if (
        not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS)
        and coding not in SETS
        and (coding != Coding.JPEG or tile)
    ):
        raise DamagedFile(f"the header asks for {width} x {height} pixels, more than this format allows")
    try:
        model = data[FIXED.size : FIXED.size + name_size].decode("ascii")
        kind, how = Mode(mode), Coding(coding)
    except ValueError:
        raise DamagedFile("the header has an unknown mode or coding") from None
    if kind not in CODED_MODES[how]:
        raise DamagedFile("the header's mode and coding do not go together")
    tiled = how not in (Coding.STORED, *CUT) and (tile or how != Coding.JPEG)
    if tile not in TILE_SIDES if tiled else tile:
        raise DamagedFile(f"the header asks for tiles of {tile} pixels")
    if (how in SETS and (width or height)) or (how in (Coding.STORED, Coding.JPEG) and not tile and any(weights)):
        raise DamagedFile("the header says what files of its coding do not say")
    sections, offset = [], length
    for i in range(count):
        tag, size, crc = ENTRY.unpack_from(data, FIXED.size + name_size + i * ENTRY.size)
        sections.append(Section(tag, offset, size, crc))
        offset += size
        if belongs(tag, how, kind) is False or (tag in Tag.CHECKED_BY_PARTS and crc):
            raise DamagedFile(f"the file has a section {tag.decode('ascii', 'backslashreplace')} that it should not have")
    if len({section.tag for section in sections}) < count:
        raise DamagedFile("the file has two sections of one name")
    if len(data) > offset or (len(data) < offset and not partial and how not in (*CUT, *STAGED)):
        raise DamagedFile("the file is cut short" if len(data) < offset else "the file has bytes after its end")
    return Header(width, height, kind, how, pixel_crc, tile, model, weights, tuple(sections), offset)


def read_section(data: bytes | mmap, header: Header, tag: bytes) -> bytes | None:
    """A section's bytes, checked; None if there is none. Raises DamagedFile."""
    section = header.section(tag)
    if section is None:
        return None
    content = data[section.offset : section.offset + section.size]
    if len(content) != section.size or zlib.crc32(content) != section.crc:
        raise DamagedFile(f"section {tag.decode('ascii', 'backslashreplace')} is damaged")
    return content


def check_unknown(data: bytes | mmap, header: Header) -> None:
    """Sections that decoding skips, a preview and those that this program does not know, may not be damaged. Raises DamagedFile."""
    for section in header.sections:
        skipped = section.tag == Tag.PREVIEW or belongs(section.tag, header.coding, header.mode) is None
        if skipped and not header.cut_before(data, section.tag):
            read_section(data, header, section.tag)


def pack_latents(quality: int, spans: Sequence[int]) -> dict[bytes, bytes]:
    """The section that says the quality and, in two bits each from the lowest, what the channels hold."""
    bits = sum(span << (2 * i) for i, span in enumerate(spans))
    return {Tag.LATENTS: bytes([quality]) + bits.to_bytes(-(-len(spans) // 4), "little")}


def read_latents(data: bytes | mmap, header: Header, channels: int) -> tuple[int, list[int]]:
    """Quality and what the channels hold. Raises DamagedFile."""
    content = read_section(data, header, Tag.LATENTS)
    if content is None or len(content) != 1 + -(-channels // 4):
        raise DamagedFile("the section LATN is not what this format allows")
    bits = int.from_bytes(content[1:], "little")
    spans = [bits >> (2 * i) & 3 for i in range(channels)]
    if bits >> (2 * channels) or 3 in spans:
        raise DamagedFile("the section LATN is not what this format allows")
    return content[0], spans


def pack_tiles(streams: Sequence[bytes]) -> dict[bytes, bytes]:
    """The two sections that hold the tiles' streams."""
    index = b"".join(TILE_ENTRY.pack(len(s), zlib.crc32(s)) for s in streams)
    return {Tag.TILE_INDEX: index, Tag.TILES: b"".join(streams)}


def stream_count(tiles: int) -> int:
    """Streams of so many tiles of a flow."""
    return -(-tiles // STREAM_TILES)


class TileStreams:
    """Access to single tiles' streams."""

    def __init__(self, data: bytes | mmap, header: Header, count: int) -> None:
        """Raises DamagedFile if the index does not fit so many tiles."""
        index, tiles = read_section(data, header, Tag.TILE_INDEX), header.section(Tag.TILES)
        if index is None or tiles is None or len(index) != count * TILE_ENTRY.size:
            raise DamagedFile("the index of tiles is damaged")
        entries = list(TILE_ENTRY.iter_unpack(index))
        ends = list(accumulate((size for size, _ in entries), initial=tiles.offset))
        if ends[-1] != tiles.offset + tiles.size:
            raise DamagedFile("the index of tiles is damaged")
        self._data = data
        self._places = [(start, size, crc) for start, (size, crc) in zip(ends, entries, strict=False)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, tile: int) -> bytes:
        """The stream of a tile. Raises DamagedFile."""
        start, size, crc = self._places[tile]
        stream = self._data[start : start + size]
        if len(stream) != size or zlib.crc32(stream) != crc:
            raise DamagedFile(f"tile {tile} is damaged")
        return stream


@dataclass(frozen=True)
class Group:
    """A chain stream: its bytes, the number of tiles in it and of symbols in its first block."""

    stream: bytes
    tiles: int
    first: int


def pack_groups(groups: Sequence[Group], precision: int, together: bool) -> dict[bytes, bytes]:
    """The two sections that hold the groups. together: the tiles of a group are coded step by step, not tile by tile."""
    index = b"".join(GROUP_ENTRY.pack(len(g.stream), zlib.crc32(g.stream), g.tiles, g.first) for g in groups)
    return {Tag.GROUP_INDEX: GROUP_HEAD.pack(precision, together) + index, Tag.GROUPS: b"".join(g.stream for g in groups)}


def _group_index(data: bytes | mmap, header: Header) -> bytes:
    index = read_section(data, header, Tag.GROUP_INDEX)
    if not index or len(index) % GROUP_ENTRY.size != GROUP_HEAD.size:
        raise DamagedFile("the index of groups is damaged")
    return index


def group_head(data: bytes | mmap, header: Header) -> tuple[int, int]:
    """The precision of groups, and whether their tiles go side by side. Raises DamagedFile."""
    precision, together = GROUP_HEAD.unpack_from(_group_index(data, header))
    if precision not in PRECISIONS or together > 1:
        raise DamagedFile("the index of groups is damaged")
    return precision, together


def group_entries(data: bytes | mmap, header: Header) -> list[tuple[int, int, int, int]]:
    """Bytes, CRC, tiles and symbols of the first block of every group. Raises DamagedFile."""
    return list(GROUP_ENTRY.iter_unpack(_group_index(data, header)[GROUP_HEAD.size :]))


class GroupStreams:
    """Access to single groups. `tiles[i]`: the tiles of group i."""

    def __init__(self, data: bytes | mmap, header: Header, tiles: int) -> None:
        """Raises DamagedFile if the index does not fit so many tiles."""
        groups, entries = header.section(Tag.GROUPS), group_entries(data, header)
        self.precision, self.together = group_head(data, header)
        if groups is None:
            raise DamagedFile("the index of groups is damaged")
        ends = list(accumulate((size for size, _, _, _ in entries), initial=groups.offset))
        firsts = list(accumulate((count for _, _, count, _ in entries), initial=0))
        if ends[-1] != groups.offset + groups.size or firsts[-1] != tiles or any(count < 1 for _, _, count, _ in entries):
            raise DamagedFile("the index of groups is damaged")
        self._data, self._entries, self._starts = data, entries, ends
        self.tiles = [range(a, b) for a, b in pairwise(firsts)]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, group: int) -> Group:
        """A group's stream. Raises DamagedFile."""
        size, crc, tiles, first = self._entries[group]
        stream = self._data[self._starts[group] : self._starts[group] + size]
        if len(stream) != size or zlib.crc32(stream) != crc:
            raise DamagedFile(f"group {group} is damaged")
        if stream[-1:] in (b"", b"\0"):
            raise DamagedFile(f"the stream of group {group} is no number as this format writes it")
        return Group(stream, tiles, first)


def chunk_words(number: int) -> int:
    """32-bit words in a chunk of ordered codes that is not the last: few at the beginning, so that little is lost by a cut there."""
    return min(CHUNK_WORDS.start + 2 * number, CHUNK_WORDS.stop - 1)


def pack_chunk(number: int, codes: int, words: bytes) -> bytes:
    """A chunk of so many codes: its check, then their number, then the words of its range coder."""
    body = struct.pack("<HB", codes & 0xFFFF, codes >> 16) + words
    return struct.pack("<H", _chunk_check(number, body)) + body


def _chunk_check(number: int, body: bytes) -> int:
    """CRC-16-CCITT, which knows which chunk it is."""
    return binascii.crc_hqx(body, number & 0xFFFF)


@dataclass(frozen=True)
class Chunk:
    """A chunk of ordered codes: how many, and the words of its range coder."""

    codes: int
    words: bytes


class ChunkStream:
    """The chunks of ordered codes that a file still has.

    `start`: where the first one begins; `places`: (offset, size) of each in the file; `whole`: whether it has all of them.
    """

    def __init__(self, data: bytes | mmap, header: Header) -> None:
        """Raises DamagedFile if the file has no codes."""
        section = header.section(Tag.CODES)
        if section is None or section.offset + section.size != header.size:
            raise DamagedFile("the file has no ordered codes at its end")
        self._data = data
        self.places: list[tuple[int, int]] = []
        self.start = section.offset
        at, number = section.offset, 0
        while at < header.size:
            size = min(CHUNK_HEAD.size + 4 * chunk_words(number), header.size - at)
            if at + size > len(data):
                break
            self.places.append((at, size))
            at += size
            number += 1
        self.whole = at == header.size

    def __len__(self) -> int:
        return len(self.places)

    def end(self, chunks: int) -> int:
        """Bytes of a file with the first so many chunks."""
        return sum(self.places[chunks - 1]) if chunks else self.start

    def within(self, size: int) -> int:
        """How many chunks the first so many bytes of the file hold whole."""
        return sum(offset + length <= size for offset, length in self.places)

    def __getitem__(self, number: int) -> Chunk:
        """A chunk. Raises DamagedFile."""
        offset, size = self.places[number]
        content = self._data[offset : offset + size]
        right = size >= CHUNK_HEAD.size and size % 4 == CHUNK_HEAD.size % 4
        if not right or CHUNK_HEAD.unpack_from(content)[0] != _chunk_check(number, content[2:]):
            raise DamagedFile(f"chunk {number} of the codes is damaged")
        _, low, high = CHUNK_HEAD.unpack_from(content)
        return Chunk(low + (high << 16), content[CHUNK_HEAD.size :])


def pack_layers(sides: Sequence[int]) -> dict[bytes, bytes]:
    """The section that says how many layers of codes there are, given the side in pixels of the patches of each."""
    runs = [(side, len(list(run))) for side, run in groupby(sides)]
    entries = [(side, min(MAX_RUN, count - first)) for side, count in runs for first in range(0, count, MAX_RUN)]
    return {Tag.LAYERS: b"".join(LAYERS_ENTRY.pack(*entry) for entry in entries)}


def read_layers(data: bytes | mmap, header: Header) -> list[int]:
    """Codes in every layer of a file that is not cut; empty if the section is cut off. Raises DamagedFile."""
    if header.cut_before(data, Tag.LAYERS):
        return []
    content = read_section(data, header, Tag.LAYERS)
    if not content or len(content) % LAYERS_ENTRY.size:
        raise DamagedFile("the section LAYR is not what this format allows")
    entries = list(LAYERS_ENTRY.iter_unpack(content))
    finer = all(b in (a, a / 2) for (a, _), (b, _) in pairwise(entries))
    if not all(side and count for side, count in entries) or not finer or sum(count for _, count in entries) > MAX_LAYERS:
        raise DamagedFile("the section LAYR is not what this format allows")
    coarsest = entries[0][0]
    rows, columns = -(-header.height // coarsest), -(-header.width // coarsest)
    return [rows * columns * (coarsest // side) ** 2 for side, count in entries for _ in range(count)]
