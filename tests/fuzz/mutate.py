"""Mutants of .psg files that know what these are made of: fields, sections, indices, streams, JSON and PNG, with right checksums."""

import json
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from presage.codec.format import container
from presage.codec.format.container import CRC, ENTRY, FIXED, GROUP_ENTRY, GROUP_HEAD, TILE_ENTRY, Tag

FIELDS = ("magic", "version", "length", "width", "height", "mode", "coding", "tile", "pixel_crc", "sections", "weights", "name")
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 9, 12, 15, 16, 24, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1000, 1023, 1024, 4096, 16384, 65535, 1 << 20)
WIDE = (*NUMBERS, (1 << 28) - 1, 1 << 28, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)
TAGS = [value for value in vars(Tag).values() if isinstance(value, bytes)] + [b"ABCD", b"\x1b[2J", b"\0\0\0\0"]
NAMES = ("", ".", "..", "a", "a/b", "../a", "/a", "a\\b", "a:b", "a\0b", "a" * 300, "a/" * 200)
TEXTS = (*NAMES, "\x1b[31m", "\ud800", "é", "%s", "{0}", "\n", "9" * 40)
VALUES: tuple[Any, ...] = (
    *WIDE,
    -1,
    -5,
    1 << 40,
    1 << 64,
    10**300,
    0.5,
    -0.0,
    1e308,
    float("inf"),
    float("nan"),
    True,
    False,
    None,
    [],
    {},
    [[]],
    *TEXTS,
)


@dataclass
class Parts:
    """A file taken apart."""

    header: dict[str, Any]
    name: bytes
    sections: list[tuple[bytes, bytes]] = field(default_factory=list)


def taken_apart(data: bytes) -> Parts:
    """The parts of a sound file."""
    header = dict(zip(FIELDS, FIXED.unpack_from(data), strict=True))
    name = data[FIXED.size : FIXED.size + header["name"]]
    sections = [(s.tag, data[s.offset : s.offset + s.size]) for s in container.read_header(data, partial=True).sections]
    return Parts(header, name, sections)


def put_together(parts: Parts) -> bytes:
    """A file with right checksums, as far as they are of the file and not of what is decoded."""
    contents = dict(parts.sections)
    repaired = [(tag, _with_checks(tag, content, contents)) for tag, content in parts.sections]
    table = b"".join(ENTRY.pack(tag, len(c), 0 if tag in Tag.CHECKED_BY_PARTS else zlib.crc32(c)) for tag, c in repaired)
    length = FIXED.size + len(parts.name) + len(table) + CRC.size
    sizes = {"length": length & 0xFFFF, "sections": len(repaired) & 255, "name": len(parts.name) & 255}
    head = FIXED.pack(*(parts.header | sizes).values()) + parts.name + table
    return b"".join([head, CRC.pack(zlib.crc32(head)), *(content for _, content in repaired)])


def _with_checks(tag: bytes, content: bytes, contents: dict[bytes, bytes]) -> bytes:
    """An index with the CRCs of the streams that it stands for; chunks with their checks."""
    if tag == Tag.TILE_INDEX and Tag.TILES in contents:
        return _index(content, contents[Tag.TILES], TILE_ENTRY, b"")
    if tag == Tag.GROUP_INDEX and Tag.GROUPS in contents:
        return _index(content[GROUP_HEAD.size :], contents[Tag.GROUPS], GROUP_ENTRY, content[: GROUP_HEAD.size])
    if tag == Tag.CODES:
        return b"".join(_chunk(number, chunk) for number, chunk in enumerate(chunks_of(content)))
    return content


def _index(content: bytes, streams: bytes, entry: struct.Struct, head: bytes) -> bytes:
    whole, at = len(content) // entry.size * entry.size, 0
    entries = []
    for size, _, *rest in entry.iter_unpack(content[:whole]):
        entries.append(entry.pack(size, zlib.crc32(streams[at : at + size]), *rest))
        at += size
    return head + b"".join(entries) + content[whole:]


def chunks_of(content: bytes) -> list[bytes]:
    """The chunks of ordered codes."""
    chunks: list[bytes] = []
    while content:
        size = container.CHUNK_HEAD.size + 4 * container.chunk_words(len(chunks))
        chunks.append(content[:size])
        content = content[size:]
    return chunks


def _chunk(number: int, chunk: bytes) -> bytes:
    if len(chunk) < container.CHUNK_HEAD.size:
        return chunk
    _, low, high = container.CHUNK_HEAD.unpack_from(chunk)
    return container.pack_chunk(number, low + (high << 16), chunk[container.CHUNK_HEAD.size :])


# ------------------------------------------------------------------------------------------------------------ mutation


def changed_bytes(data: bytes, rng: random.Random, other: bytes = b"") -> bytes:
    """Bytes with flips, numbers, cuts, repetitions, or pieces of others."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(result) + 1)
        size = rng.choice((1, 1, 2, 4, 8, 32, 256))
        way = rng.randrange(7)
        if way == 0 and at < len(result):
            result[at] ^= 1 << rng.randrange(8)
        elif way == 1:
            result[at : at + 1] = bytes([rng.choice((0, 1, 127, 128, 254, 255, rng.randrange(256)))])
        elif way == 2:
            del result[at : at + size]
        elif way == 3:
            result[at:at] = bytes(rng.randrange(256) for _ in range(min(size, 16)))
        elif way == 4:
            result[at : at + 4] = struct.pack("<I", rng.choice(WIDE))
        elif way == 5:
            result[at:at] = result[at : at + size]
        elif other:
            start = rng.randrange(len(other))
            result[at : at + size] = other[start : start + size]
    return bytes(result)


def changed_json(value: Any, rng: random.Random) -> Any:
    """A JSON value with something else in one place."""
    inside = list(value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else [])
    if not inside or rng.random() < 0.15:
        way = rng.randrange(5)
        if way == 0 and isinstance(value, list) and value:
            return value + value[:3]
        if way == 1 and isinstance(value, list) and value:
            return value[1:]
        if way == 2 and type(value) is int:
            return value + rng.choice((-1, 1, 1 << 20))
        if way == 3:
            return [value] * rng.choice((1, 2, 5))
        return rng.choice(VALUES)
    key = rng.choice(inside)
    copied = dict(value) if isinstance(value, dict) else list(value)
    if isinstance(copied, dict) and rng.random() < 0.1:
        copied[rng.choice(TEXTS)] = copied.pop(key)
    else:
        copied[key] = changed_json(value[key], rng)
    return copied


def json_text(value: Any, rng: random.Random) -> bytes:
    """JSON, now and then with something in it that is none, or nested deeply."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if rng.random() < 0.03:
        text = "[" * 5000 + text
    data = text.encode(errors="surrogatepass")
    return changed_bytes(data, rng) if rng.random() < 0.15 else data


def changed_list(content: bytes, rng: random.Random) -> bytes:
    """A list of images: its JSON, or its zlib stream."""
    if rng.random() < 0.2:
        return changed_bytes(content, rng)
    text = json_text(changed_json(json.loads(zlib.decompress(content)), rng), rng)
    return zlib.compress(text, rng.choice((0, 1, 9))) + (b"\0" if rng.random() < 0.03 else b"")


def changed_png(content: bytes, rng: random.Random) -> bytes:
    """A PNG file with other chunks, whose CRCs are right, or with other filtered rows."""
    if not content.startswith(b"\x89PNG") or rng.random() < 0.2:
        return changed_bytes(content, rng)
    chunks, at = [], 8
    while at + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        chunks.append((kind, content[at + 8 : at + 8 + length]))
        at += 12 + length
    which = rng.randrange(len(chunks))
    kind, body = chunks[which]
    way = rng.randrange(6)
    if way == 0 and kind == b"IDAT" and len([c for c in chunks if c[0] == b"IDAT"]) == 1:
        chunks[which] = kind, zlib.compress(changed_bytes(zlib.decompress(body), rng), 1)
    elif way == 1:
        chunks.insert(which, chunks[rng.randrange(len(chunks))])
    elif way == 2:
        del chunks[which]
    elif way == 3:
        chunks.insert(which, (rng.choice((b"tEXt", b"zTXt", b"iCCP", b"acTL", b"fcTL", b"tRNS", b"eXIf", b"PLTE", b"gAMA")), body[:40]))
    else:
        chunks[which] = kind, changed_bytes(body, rng)
    packed = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    return content[:8] + b"".join(packed) + (b"x" if rng.random() < 0.05 else b"")


def changed_index(content: bytes, rng: random.Random) -> bytes:
    """Numbers of an index."""
    if len(content) < 4 or rng.random() < 0.3:
        return changed_bytes(content, rng)
    at = rng.randrange(0, len(content) - 3)
    old = struct.unpack_from("<I", content, at)[0]
    new = rng.choice((*WIDE, old + 1, max(0, old - 1), old + 4)) & 0xFFFFFFFF
    return content[:at] + struct.pack("<I", new) + content[at + 4 :]


def changed_meta(content: bytes, rng: random.Random) -> bytes:
    """The JSON of META, or what else could stand there."""
    value = json.loads(content) if content else {"dpi": [72.0, 72.0], "transparency": rng.choice(["00ff", [1, 2, 3], 7])}
    return json_text(changed_json(value, rng), rng)


def changed_section(tag: bytes, content: bytes, rng: random.Random) -> bytes:
    """A section as it might be changed inside, if it still is what its name says, or its bytes."""
    try:
        return INSIDE.get(tag, changed_bytes)(content, rng)
    except (ValueError, KeyError, struct.error, zlib.error):
        return changed_bytes(content, rng)


INSIDE: dict[bytes, Callable[[bytes, random.Random], bytes]] = {
    Tag.LIST: changed_list,
    Tag.META: changed_meta,
    Tag.STORED: changed_png,
    Tag.SOURCE: changed_png,
    Tag.ALPHA: changed_png,
    Tag.TILE_INDEX: changed_index,
    Tag.GROUP_INDEX: changed_index,
}


def changed_file(data: bytes, rng: random.Random, others: list[bytes], only: bytes | None = None) -> bytes:
    """A mutant of a file. only: the section that changes, which is made if there is none."""
    parts = taken_apart(data)
    if only is not None:
        kept = dict(parts.sections)
        kept[only] = changed_section(only, kept.get(only, b""), rng)
        parts.sections = list(kept.items())
        return put_together(parts)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _change(parts, rng, others)
    result = put_together(parts)
    return changed_bytes(result, rng) if rng.random() < 0.04 else result


def _change(parts: Parts, rng: random.Random, others: list[bytes]) -> None:
    way = rng.randrange(10)
    if way == 0:
        key = rng.choice(("width", "height", "mode", "coding", "tile", "pixel_crc", "version"))
        most = {"mode": 255, "coding": 255, "tile": 65535, "version": 65535}.get(key, 0xFFFFFFFF)
        parts.header[key] = rng.choice([number for number in (*WIDE, parts.header[key] + 1) if 0 <= number <= most])
    elif way == 1:
        other = taken_apart(rng.choice(others))
        key = rng.choice(("mode", "coding", "tile", "width", "weights"))
        parts.header[key] = other.header[key]
    elif way == 2 and parts.sections:
        parts.sections.pop(rng.randrange(len(parts.sections)))
    elif way == 3:
        parts.sections.insert(rng.randrange(len(parts.sections) + 1), rng.choice(taken_apart(rng.choice(others)).sections))
    elif way == 4:
        rng.shuffle(parts.sections)
    elif way == 5 and parts.sections:
        at = rng.randrange(len(parts.sections))
        parts.sections[at] = rng.choice(TAGS), parts.sections[at][1]
    elif parts.sections:
        at = rng.randrange(len(parts.sections))
        tag, content = parts.sections[at]
        parts.sections[at] = tag, changed_section(tag, content, rng)
