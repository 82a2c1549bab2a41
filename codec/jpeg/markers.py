"""The markers of a JPEG file (ITU-T T.81, annex B): what is between its scans, read the same way with and without their data."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...models.jpeg import units
from ..format.jpeg import START, Kept
from ..format.squeezed import STANDARD
from . import huffman
from .refusal import NotModelled

END = 0xD9
MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""What may end the data of a scan."""
MOST_SCANS = 1000
OTHERWISE = (0xC3, 0xC5, 0xC6, 0xC7, 0xDE)
ARITHMETIC = (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)
ALONE = (0x01, 0xD8)  # markers without a segment, beside RST and EOI
DHT, DQT, DRI, SOS = 0xC4, 0xDB, 0xDD, 0xDA
PROGRESSIVE = 0xC2
ZIGZAG = np.array(units.ZIGZAG, np.int64)
"""Where the coefficients of the zigzag order are in a block of rows."""


@dataclass
class Part:
    """A component of a frame. blocks: rows and columns of blocks that the picture needs; rows, columns: those that fill whole minimum
    coded units. first: of its blocks among those of all components."""

    name: int
    vertical: int
    horizontal: int
    table: int
    blocks: tuple[int, int] = (0, 0)
    rows: int = 0
    columns: int = 0
    first: int = 0
    steps: NDArray[np.uint16] | None = None


@dataclass
class Frame:
    """units: rows and columns of minimum coded units."""

    progressive: bool
    height: int
    width: int
    parts: list[Part]
    units: tuple[int, int] = (0, 0)
    blocks: int = 0

    def __post_init__(self) -> None:
        tallest, widest = max(p.vertical for p in self.parts), max(p.horizontal for p in self.parts)
        self.units = -(-self.height // (8 * tallest)), -(-self.width // (8 * widest))
        for p in self.parts:
            height, width = -(-self.height * p.vertical // tallest), -(-self.width * p.horizontal // widest)
            p.blocks = -(-height // 8), -(-width // 8)
            p.rows, p.columns, p.first = self.units[0] * p.vertical, self.units[1] * p.horizontal, self.blocks
            self.blocks += p.rows * p.columns


@dataclass
class Scan:
    """parts: (components, 7) int64: first block, columns of blocks, rows and columns in a coded unit, slots of the DC and AC tables, 0.
    band: first and last coefficient in zigzag order, and the bits that were coded before and that are left out (Ss, Se, Ah, Al).
    units: rows and columns of coded units. restart: units between restarts, 0 for none."""

    parts: NDArray[np.int64]
    band: tuple[int, int, int, int]
    units: tuple[int, int]
    restart: int
    tables: huffman.Tables
    progressive: bool


@dataclass
class _State:
    frame: Frame | None = None
    restart: int = 0
    scans: int = 0
    tables: huffman.Tables = field(default_factory=huffman.empty)
    steps: dict[int, NDArray[np.uint16]] = field(default_factory=dict)


def walk(data: bytes, height: int, on_frame: Callable[[Frame], None], on_scan: Callable[[Frame, Scan, int], int]) -> Frame:
    """Go through the segments up to the end of the picture. height: of a frame that leaves it open, 0 if not known.

    on_scan is told where the data of a scan begin, and says where they end. Raises NotModelled.
    """
    if not data.startswith(START):
        raise NotModelled("no JPEG file")
    state = _State()
    for slot, counts, symbols in STANDARD:
        huffman.define(state.tables, slot, list(counts), symbols)
    place = 2
    while found := MARKER.search(data, place):
        marker, place = data[found.start() + 1], found.end()
        if marker == END:
            break
        if marker in ALONE:
            continue
        size = int.from_bytes(data[place : place + 2])
        segment = data[place + 2 : place + size]
        if size < 2 or len(segment) < size - 2:
            break
        place += size
        if marker == SOS:
            if state.frame is None:
                raise NotModelled("a scan before its frame")
            state.scans += 1
            if state.scans > MOST_SCANS:
                raise NotModelled(f"more than {MOST_SCANS} scans")
            place = on_scan(state.frame, _scan(segment, state.frame, state), place)
        elif 0xC0 <= marker <= 0xCF and marker not in (DHT, 0xC8, 0xCC):
            if state.frame is not None:
                raise NotModelled("more than one frame")
            state.frame = _frame(marker, segment, height)
            on_frame(state.frame)
        elif marker == 0xDE:
            raise NotModelled("hierarchical JPEG", Kept.OTHERWISE)
        else:
            _define(marker, segment, state)
    if state.frame is None:
        raise NotModelled("no frame")
    return state.frame


def _define(marker: int, segment: bytes, state: _State) -> None:
    """Take over tables and restart intervals."""
    place = 0
    while marker == DHT and place < len(segment):
        kind, counts = segment[place], list(segment[place + 1 : place + 17])
        place += 17
        if kind & 0xEC or len(counts) < 16 or place + sum(counts) > len(segment):
            raise NotModelled("a broken Huffman table")
        huffman.define(state.tables, kind >> 4 << 2 | kind & 3, counts, segment[place : place + sum(counts)])
        place += sum(counts)
    while marker == DQT and place < len(segment):
        kind = segment[place]
        width = 2 if kind >> 4 else 1
        if kind >> 4 > 1 or kind & 15 > 3 or place + 1 + 64 * width > len(segment):
            raise NotModelled("a broken quantisation table")
        steps = np.zeros(64, np.uint16)
        steps[ZIGZAG] = np.frombuffer(segment, f">u{width}", 64, place + 1)
        state.steps[kind & 15] = np.maximum(steps, 1).reshape(8, 8)
        place += 1 + 64 * width
    if marker == DRI and len(segment) >= 2:
        state.restart = int.from_bytes(segment[:2])


def _frame(marker: int, segment: bytes, height: int) -> Frame:
    if marker in ARITHMETIC:
        raise NotModelled("arithmetic coding", Kept.ARITHMETIC)
    if marker in OTHERWISE:
        raise NotModelled("lossless or hierarchical JPEG", Kept.OTHERWISE)
    if len(segment) < 6 or len(segment) < 6 + 3 * segment[5]:
        raise NotModelled("a broken frame")
    if segment[0] != 8:
        raise NotModelled(f"{segment[0]} bits a sample", Kept.DEEPER)
    high, wide, count = int.from_bytes(segment[1:3]) or height, int.from_bytes(segment[3:5]), segment[5]
    if not high or not wide or not 1 <= count <= 4:
        raise NotModelled("a frame without pixels, or of more than four components")
    parts = []
    for place in range(6, 6 + 3 * count, 3):
        name, sampling, table = segment[place : place + 3]
        if not 1 <= sampling >> 4 <= 4 or not 1 <= sampling & 15 <= 4:
            raise NotModelled("a broken sampling factor")
        parts.append(Part(name, sampling & 15, sampling >> 4, table))
    return Frame(marker == PROGRESSIVE, high, wide, parts)


def _scan(segment: bytes, frame: Frame, state: _State) -> Scan:
    count = segment[0] if segment else 0
    if not 1 <= count <= 4 or len(segment) < 4 + 2 * count:
        raise NotModelled("a broken scan")
    rows = []
    chosen: list[Part] = []
    for place in range(1, 1 + 2 * count, 2):
        part = next((p for p in frame.parts if p.name == segment[place]), None)
        slots = segment[place + 1]
        if part is None or slots & 0xCC or any(part is other for other in chosen):
            raise NotModelled("a scan of components or tables that there are not")
        chosen.append(part)
        if part.steps is None and part.table in state.steps:
            part.steps = state.steps[part.table]
        tall, wide = (part.vertical, part.horizontal) if count > 1 else (1, 1)
        rows.append((part.first, part.columns, tall, wide, slots >> 4, 4 + (slots & 15), 0))
    first, last, bits = segment[1 + 2 * count :][:3]
    band = (first, last, bits >> 4, bits & 15) if frame.progressive else (0, 63, 0, 0)
    if not band[0] <= band[1] <= 63 or (frame.progressive and (band[0] == 0) != (band[1] == 0)) or (band[0] > 0 and count > 1):
        raise NotModelled("a scan of coefficients that do not go together")
    if band[3] > 13 or (band[2] and band[2] != band[3] + 1):
        raise NotModelled("a scan of bits that do not go together")
    units = frame.units if count > 1 else chosen[0].blocks
    return Scan(np.array(rows, np.int64), band, units, state.restart, state.tables, frame.progressive)
