"""What a file says of the JPEG file that it holds, without any weights. Standard library only."""

from enum import IntEnum
from mmap import mmap
from typing import Any

from ..errors import DamagedFile
from . import squeezed
from .container import Header, Tag, read_section


class Kept(IntEnum):
    """Why a JPEG file is kept whole."""

    SMALLER = 0
    ARITHMETIC = 1
    DEEPER = 2
    OTHERWISE = 3
    UNUSUAL = 4
    LARGE = 5


REASONS = {
    Kept.SMALLER: "the model makes it no smaller",
    Kept.ARITHMETIC: "arithmetic coding",
    Kept.DEEPER: "not 8 bits a sample",
    Kept.OTHERWISE: "lossless or hierarchical JPEG",
    Kept.UNUSUAL: "a broken or unusual file",
    Kept.LARGE: "too large for its bytes",
}
LUMA = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61, 60, 57, 51,
    56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113, 121, 112, 100, 120, 92, 101,
    103, 99,
)  # fmt: skip
"""T.81, K.1, along the zigzag."""
FRAMES = {0xC0: "baseline", 0xC1: "sequential", 0xC2: "progressive"}
MOST = 1 << 30  # bytes of a record that is looked at
START = b"\xff\xd8"


def is_jpeg(data: bytes) -> bool:
    """Whether bytes begin as JPEG files do."""
    return data.startswith(START)


def facts_of(data: bytes | mmap, header: Header) -> dict[str, Any]:
    """Kind, sampling, estimated quality, and bytes of the JPEG file. Raises DamagedFile."""
    if source := read_section(data, header, Tag.SOURCE):
        reason = read_section(data, header, Tag.REASON) or b"\xff"
        why = REASONS[Kept(reason[0])] if reason[0] < len(Kept) else "unknown"
        return {"jpeg_bytes": len(source), "note": f"the JPEG file as it is: {why}"}
    size = unpack_record(data, header)[0]
    return {"jpeg_bytes": size, "saving": round(1 - len(data) / size, 4) if size else 0.0} | _segments(skeleton_of(data, header))


def skeleton_of(data: bytes | mmap, header: Header) -> bytes:
    """The bytes of a JPEG file without the data of its scans. Raises DamagedFile."""
    plain = squeezed.unpack(unpack_record(data, header)[1], MOST)
    length, place = squeezed.read_varint(plain, 0)
    return plain[place : place + length]


def facts_of_pixels(data: bytes | mmap, header: Header) -> dict[str, Any]:
    """Sampling and quality of the JPEG file that pixels came from, and bytes of what is corrected. Raises DamagedFile."""
    content = read_section(data, header, Tag.DECODER)
    if not content or content[0] not in (1, 3) or len(content) < 3 + 2 * content[0]:
        raise DamagedFile("the section DECO is not what this format allows")
    factors, place = [], 3
    for _ in range(content[0]):
        head = content[place : place + 2]
        if len(head) < 2:
            raise DamagedFile("the section DECO is not what this format allows")
        factors.append((head[0] & 15, head[0] >> 4))
        place += 2 if head[1] else 130
    quality = {"jpeg_quality": (content[4] - 1) % 100 + 1} if 1 <= content[4] <= 200 else {}
    corrections = max(len(content) - place, 0)
    return {"once": "JPEG", "sampling": _sampling(factors)} | quality | {"corrections": corrections}


def pack_record(size: int, record: bytes) -> dict[bytes, bytes]:
    """The section with the size of a JPEG file and its record."""
    return {Tag.RECORD: squeezed.varint(size) + record}


def unpack_record(data: bytes | mmap, header: Header) -> tuple[int, bytes]:
    """The inverse. Raises DamagedFile."""
    content = read_section(data, header, Tag.RECORD)
    if content is None:
        raise DamagedFile("the record of a JPEG file is missing")
    size, place = squeezed.read_varint(content, 0)
    return size, content[place:]


def _segments(skeleton: bytes) -> dict[str, Any]:
    """What the segments up to the first scan say."""
    facts: dict[str, Any] = {}
    place = 2
    while place + 4 <= len(skeleton) and skeleton[place] == 255:
        marker = skeleton[place + 1]
        if marker in squeezed.MARKERS_WITHOUT_SEGMENT:
            place += 1 if marker == 255 else 2
            continue
        segment = skeleton[place + 4 : place + 2 + int.from_bytes(skeleton[place + 2 : place + 4])]
        if marker == 0xDA:
            break
        if marker == 0xDB and segment[:1] == b"\0" and len(segment) >= 65:
            facts["jpeg_quality"] = _quality(segment[1:65])
        if marker in FRAMES and len(segment) >= 6 and len(segment) >= 6 + 3 * segment[5]:
            facts["jpeg"] = FRAMES[marker]
            factors = [(segment[i] >> 4, segment[i] & 15) for i in range(7, 6 + 3 * segment[5], 3)]
            facts["sampling"] = _sampling(factors)
        place += 4 + len(segment)
    return facts


def _sampling(factors: list[tuple[int, int]]) -> str:
    """By (horizontal, vertical) factors of the components, in the usual notation where there is one."""
    named = {(1, 1): "4:4:4", (2, 1): "4:2:2", (2, 2): "4:2:0", (1, 2): "4:4:0", (4, 1): "4:1:1", (4, 2): "4:1:0"}
    if len(factors) == 1:
        return "gray"
    if len(factors) == 3 and factors[1] == factors[2] and factors[1] == (1, 1) and factors[0] in named:
        return named[factors[0]]
    return " ".join(f"{h}x{v}" for h, v in factors)


def _quality(steps: bytes) -> int:
    """The quality 1..100 of libjpeg whose luma table is nearest."""

    def table(quality: int) -> list[int]:
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        return [min(max((step * scale + 50) // 100, 1), 255) for step in LUMA]

    return min(range(1, 101), key=lambda quality: (sum(abs(a - b) for a, b in zip(table(quality), steps, strict=True)), -quality))
