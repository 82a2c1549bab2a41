"""FORMAT.md, section 12, executed: JPEG files written from that page, one bit at a time, given their coefficients."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from math import ceil
from typing import Any

import numpy as np
import pytest
from conftest import HERE
from test_format_jpeg import saved

import presage
from presage.codec.format import container
from presage.codec.format.container import Tag
from presage.codec.format.squeezed import varint
from presage.codec.jpeg import stream

ZIGZAG = sorted(range(64), key=lambda p: (p // 8 + p % 8, (p // 8 if (p // 8 + p % 8) % 2 else p % 8)))
STANDARD = (
    "00010501010101010100000000000000",
    "0002010303020403050504040000017d",
    "00030101010101010101010000000000",
    "00020102040403040705040400010277",
)
"""Codes of each length."""


def number(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 128:
            return value, place


def dictionary() -> bytes:
    """The tables as Pillow writes them, which are those of T.81."""
    tables = b"".join(re.findall(rb"\xff\xc4\x00\x1f.{29}|\xff\xc4\x00\xb5.{179}", saved((8, 8)), re.DOTALL))
    assert [tables[i : i + 16].hex() for i in (5, 38, 221, 254)] == list(STANDARD)
    return tables


def record_of(section: bytes) -> tuple[int, bytes]:
    size, place = number(section, 0)
    if section[place] == 0:
        return size, section[place + 1 :]
    count, start = number(section, place + 1)
    plain = zlib.decompressobj(-15, zdict=dictionary()).decompress(section[start:])
    assert len(plain) == count
    return size, plain


class Bits:
    def __init__(self) -> None:
        self.out, self.bits = bytearray(), ""

    def put(self, value: int, count: int) -> None:
        self.bits += format(value, f"0{count}b") if count else ""
        while len(self.bits) >= 8:
            self.out.append(int(self.bits[:8], 2))
            self.out += b"\0" * (self.out[-1] == 255)
            self.bits = self.bits[8:]

    def fill(self, pad: int) -> None:
        spare = -len(self.bits) % 8
        self.put(pad & ((1 << spare) - 1), spare)


def codes_of(segment: bytes) -> dict[int, dict[int, tuple[int, int]]]:
    tables = {}
    while segment:
        codes, code, symbols = {}, 0, iter(segment[17:])
        for length in range(1, 17):
            for _ in range(segment[length]):
                codes[next(symbols)] = code, length
                code += 1
            code <<= 1
        tables[segment[0]] = codes
        segment = segment[17 + len(codes) :]
    return tables


class Scan:
    """The data of a scan."""

    def __init__(self, blocks: list[list[Any]], band: tuple[int, int, int, int], restart: int, told: dict[str, Any]) -> None:
        self.units, (self.first, self.last, self.high, self.low) = blocks, band
        self.restart, self.told, self.bits = restart, told, Bits()

    def symbol(self, codes: dict[int, tuple[int, int]], symbol: int) -> None:
        self.bits.put(*codes[symbol])

    def value(self, codes: dict[int, tuple[int, int]], zeros: int, value: int) -> None:
        size = abs(value).bit_length()
        self.symbol(codes, zeros << 4 | size)
        self.bits.put(value if value > 0 else value + (1 << size) - 1, size)

    def corrections(self, block: Any, first: int, last: int) -> list[int]:
        found = (abs(int(block[k])) >> self.low for k in range(first, last + 1))
        return [value & 1 for value in found if value > 1]

    def new(self, block: Any, k: int) -> bool:
        """Whether a coefficient becomes other than 0 here."""
        value = abs(int(block[k])) >> self.low
        return value == 1 if self.high else value > 0

    def write(self, sequential: bool) -> bytes:
        start, run, runs, restarts = max(self.first, 1), 0, list(self.told.get("runs", [])), 0
        before = [0] * 4
        pads, marks = self.told.get("pads", [255]), self.told.get("marks")
        for number_of, unit in enumerate(self.units[: self.told.get("units", len(self.units))]):
            if self.restart and number_of and number_of % self.restart == 0:
                self.bits.fill(pads[min(restarts, len(pads) - 1)])
                mark = restarts % 8 if marks is None else marks[restarts]
                self.bits.out += b"" if mark == 8 else bytes([255, 0xD0 + mark % 8])
                before, run, restarts = [0] * 4, 0, restarts + 1
            for component, block, dc, ac in unit:
                if self.first == 0:
                    value = int(block[0]) >> self.low
                    if self.high:
                        self.bits.put(value & 1, 1)
                    else:
                        self.value(dc, 0, value - before[component])
                        before[component] = value
                if self.last < start:
                    continue
                if run:
                    run -= 1
                    for bit in self.corrections(block, start, self.last) if self.high else []:
                        self.bits.put(bit, 1)
                    continue
                end = max((k for k in range(start, self.last + 1) if self.new(block, k)), default=start - 1)
                zeros, since = 0, start
                for k in range(start, end + 1):
                    if abs(int(block[k])) >> self.low == 0:
                        zeros += 1
                        continue
                    while zeros > 15:
                        self.symbol(ac, 0xF0)
                        zeros -= 16
                        since = self.late(block, since, k - 1)
                    if self.new(block, k):
                        sign = 1 if block[k] > 0 else -1
                        self.value(ac, zeros, sign * (abs(int(block[k])) >> self.low))
                        since, zeros = self.late(block, since, k), 0
                if end == self.last:
                    continue
                waiting = len(self.corrections(block, end + 1, self.last))
                run = 1 if sequential else runs.pop(0) if runs else self.longest(number_of, start, waiting)
                size = run.bit_length() - 1
                self.symbol(ac, size << 4)
                self.bits.put(run - (1 << size), size)
                self.late(block, since, self.last)
                run -= 1
        self.bits.fill(pads[min(restarts, len(pads) - 1)])
        return bytes(self.bits.out)

    def late(self, block: Any, first: int, last: int) -> int:
        for bit in self.corrections(block, first, last) if self.high else []:
            self.bits.put(bit, 1)
        return last + 1

    def longest(self, at: int, start: int, waiting: int) -> int:
        stop = min(len(self.units), (at // self.restart + 1) * self.restart) if self.restart else len(self.units)
        run = 1
        for unit in self.units[at + 1 : stop]:
            block = unit[0][1]
            if run == 32767 or (self.high and waiting > 937) or any(self.new(block, k) for k in range(start, self.last + 1)):
                break
            waiting += len(self.corrections(block, start, self.last))
            run += 1
        return run


def told_of(plain: bytes, place: int) -> tuple[dict[str, Any], int]:
    """What the record tells of a scan."""
    told: dict[str, Any] = {}
    told["size"], place = number(plain, place)
    flags, place = plain[place], place + 1
    if flags & 8:
        told["units"], place = number(plain, place)
        told["kept"], place = number(plain, place)
        told["tail"] = plain[place : place + told["size"] - told["kept"]]
        place += len(told["tail"])
    for flag, name, width in ((1, "runs", 2), (2, "pads", 1), (4, "marks", 1)):
        if flags & flag:
            count, place = number(plain, place)
            told[name] = list(struct.unpack_from(f"<{count}{'H' if width == 2 else 'B'}", plain, place))
            place += width * count
    return told, place


def written(section: bytes, height: int, coefficients: list[np.ndarray]) -> bytes:
    size, plain = record_of(section)
    length, place = number(plain, 0)
    skeleton, place = plain[place : place + length], place + length
    tables, restart, out, copied, at = codes_of(re.sub(rb"\xff\xc4..", b"", dictionary(), flags=re.DOTALL)), 0, b"", 0, 2
    frame: list[tuple[int, int, int]] = []
    while found := re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL).search(skeleton, at):
        marker, at = skeleton[found.end() - 1], found.end()
        if marker == 0xD9:
            break
        if marker in (0x01, 0xD8):
            continue
        segment = skeleton[at + 2 : at + int.from_bytes(skeleton[at : at + 2])]
        at += 2 + len(segment)
        if marker == 0xC4:
            tables |= codes_of(segment)
        elif marker == 0xDD:
            restart = int.from_bytes(segment)
        elif marker in (0xC0, 0xC1, 0xC2):
            sequential, width = marker != 0xC2, int.from_bytes(segment[3:5])
            height = int.from_bytes(segment[1:3]) or height
            frame = [(segment[i], segment[i + 1] & 15, segment[i + 1] >> 4) for i in range(6, len(segment), 3)]
        elif marker == 0xDA:
            told, place = told_of(plain, place)
            named = [segment[i : i + 2] for i in range(1, 1 + 2 * segment[0], 2)]
            chosen = [(name, tables[slots >> 4], tables.get(16 | slots & 15, {})) for name, slots in named]
            band = (0, 63, 0, 0) if sequential else (*segment[-3:-1], segment[-1] >> 4, segment[-1] & 15)
            data = Scan(units_of(chosen, frame, coefficients, height, width), band, restart, told).write(sequential)
            out += skeleton[copied:at] + data[: told.get("kept", len(data))] + told.get("tail", b"")
            copied = at
    out += skeleton[copied:]
    assert len(out) == size
    assert place == len(plain)
    return out


def units_of(
    chosen: list[Any], frame: list[tuple[int, int, int]], coefficients: list[np.ndarray], height: int, width: int
) -> list[list[Any]]:
    """The blocks of every coded unit, along the zigzag, with the tables of their components."""
    tallest, widest = max(v for _, v, _ in frame), max(h for _, _, h in frame)
    number_of = {name: i for i, (name, _, _) in enumerate(frame)}
    if len(chosen) == 1:
        name, dc, ac = chosen[0]
        i = number_of[name]
        rows, columns = ceil(ceil(height * frame[i][1] / tallest) / 8), ceil(ceil(width * frame[i][2] / widest) / 8)
        return [[(0, coefficients[i][y, x].ravel()[ZIGZAG], dc, ac)] for y in range(rows) for x in range(columns)]
    units = []
    for y in range(-(-height // (8 * tallest))):
        for x in range(-(-width // (8 * widest))):
            unit = []
            for c, (name, dc, ac) in enumerate(chosen):
                i = number_of[name]
                _, v, h = frame[i]
                unit += [(c, coefficients[i][y * v + a, x * h + b].ravel()[ZIGZAG], dc, ac) for a in range(v) for b in range(h)]
            units.append(unit)
    return units


FILES: dict[str, Callable[[], bytes]] = {
    "baseline": lambda: saved((75, 41)),
    "restarts, optimised": lambda: saved((75, 41), restart_marker_blocks=2, optimize=True),
    "progressive": lambda: saved((75, 41), progressive=True, quality=95),
    "progressive, gray": lambda: saved((90, 50), "L", progressive=True, quality=97),
    "progressive with restarts": lambda: (HERE / "golden" / "jpeg.jpg").read_bytes(),
    "cut": lambda: saved((75, 41), quality=95)[:-90],
    "bytes after the end": lambda: saved((75, 41)) + b"more",
    "misnumbered restart": lambda: saved((75, 41), restart_marker_blocks=2).replace(b"\xff\xd1", b"\xff\xd6", 1),
}


@pytest.mark.parametrize("name", FILES)
def test_a_writer_made_from_the_page(name: str) -> None:
    source = FILES[name]()
    picture, record = stream.read(source)
    coefficients = [np.asarray(c.coefficients) for c in picture.components]
    assert written(varint(len(source)) + record, picture.height, coefficients) == source


def test_the_golden_file_by_the_page() -> None:
    data, source = ((HERE / "golden" / f"jpeg.{suffix}").read_bytes() for suffix in ("psg", "jpg"))
    header = container.read_header(data)
    section = container.read_section(data, header, Tag.RECORD)
    coefficients = [np.asarray(c.coefficients) for c in stream.read(source)[0].components]
    made = written(section or b"", header.height, coefficients)
    assert made == source == presage.decode_file(data)
    assert zlib.crc32(made) == header.pixel_crc
    assert io.BytesIO(made).read(2) == b"\xff\xd8"
