"""FORMAT.md, section 11, executed: a decoder of planes written from that page, one symbol and one bit at a time, in plain integers."""

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import test_format
from conftest import HERE
from test_format import Tile, block

import presage

FILE = (HERE / "golden" / "planes.psg").read_bytes()
AHEAD = [(0, 1), (0, 2), (0, 4), (1, -1), (1, 0), (1, 1), (2, -2), (2, 0), (2, 2), (4, 0)]


class PlaneTile(Tile):
    """A tile of a plane, given the side planes a and b (h, w, 2)."""

    def __init__(self, w: dict[str, np.ndarray], sides: np.ndarray, stream: bytes) -> None:
        super().__init__(w, sides.shape[1], sides.shape[0], stream)
        self.sides = sides.astype(np.int64) - 128

    def look(self, y: int, x: int) -> dict[str, Any]:
        predictions = self.predictions(y, x)
        error: Any = sum(self.gather(self.errors, y, x, block(3, 2), np.zeros((6, 3), np.int64)))
        trust = (1 << 24) // (error + 2) ** 2 + 1
        q = 8 * (trust * predictions).sum(0) // trust.sum(0)
        m = (q + 4) >> 3
        near = np.stack(self.gather(self.planes, y, x, block(8, 4), np.full(3, test_format.OUTSIDE)))
        past = np.stack(self.gather(self.residuals, y, x, block(3, 2), np.zeros(3, np.int64)))
        given = np.concatenate([self.s(near - m).ravel(), self.w["tables.error"][error].ravel(), self.s(past).ravel()])
        hidden = self.gather(self.hidden, y, x, block(3, 2), np.zeros_like(self.w["cell.1.bias"]))
        here = self.sides[y, x]
        told = [v for r in here - m[1:] for v in (self.s(r), np.clip(8 * r, -127, 127))]
        for dy, dx in AHEAD:
            inside = y + dy < self.height and 0 <= x + dx < self.width
            told += list(self.s(self.sides[y + dy, x + dx] - here)) if inside else [0, 0]
        v = self.layer("trunk", given, *hidden, np.array(told))
        i = 0
        while f"blocks.{i}.weight" in self.w:
            v = self.layer(f"blocks.{i}", v)
            i += 1
        return {"predictions": predictions, "q": q, "m": m, "input": given, "y": v, "planes": [], "residuals": []}

    def distribution(self, state: dict[str, Any], channel: int) -> tuple[np.ndarray, ...]:
        o, scale, g = self.layer("out", self.layer("head", state["y"]), activation=False).reshape(3, -1)
        g, centre = np.clip(g, -256, 256), 4 * np.clip(state["q"][0], 0, 2040)
        inverse = self.w["tables.inverse"][np.clip(scale, -96, 144) + 96]
        return (centre + np.clip(o, -4095, 4095)) * inverse, inverse, self.w["tables.share"][g.max() - g]

    def decode(self) -> np.ndarray:
        for step in range(self.width + 2 * (self.height - 1)):
            here = [(y, step - 2 * y) for y in range(self.height) if 0 <= step - 2 * y < self.width]
            distributions, states = {}, {p: self.look(*p) for p in here}
            for p in here:
                distributions[p] = self.distribution(states[p], 0)
            high = {p: self.nibble(distributions[p], None) for p in here}
            for p in here:
                self.put(p, states[p], 0, 16 * high[p] + self.nibble(distributions[p], high[p]))
                states[p]["planes"] += list(self.sides[p])
                states[p]["residuals"] += list(self.sides[p] - states[p]["m"][1:])
                self.remember(p, states[p])
        assert self.coder.is_empty()
        return self.pixels[..., 1].astype(np.int64)


def chroma_at(cells: np.ndarray, y: int, x: int, height: int, width: int) -> int:
    """Between along both axes, without a phase."""
    near, far, weights = [], [], []
    for v, count in ((y, cells.shape[0]), (x, cells.shape[1])):
        near.append(v // 2)
        far.append(min(v // 2 + v % 2, count - 1))
        weights.append((2, 0) if v % 2 == 0 else (1, 1))
    total = 0
    for row, a in zip((near[0], far[0]), weights[0], strict=True):
        for column, b in zip((near[1], far[1]), weights[1], strict=True):
            total += a * b * int(cells[row, column])
    return (total + 2) >> 2


def photo_cd(y: int, c1: int, c2: int) -> list[int]:
    a, b = c1 - 156, c2 - 137
    d, e = 22179 * a // 10_000, 18215 * b // 10_000
    sums = (13584 * y + 18215 * b, 13584 * y - 1940 * d - 5090 * e, 13584 * y + 22179 * a)
    return [min(max(total // 10_000, 0), 255) for total in sums]


def reader(data: bytes) -> tuple[Callable[[int], int], Callable[[], int]]:
    """Bits by their contexts, and how many bytes were taken in."""
    low, high, number, at = 0, (1 << 32) - 1, int.from_bytes(data[:4], "big"), 4
    contexts = {0: (64, 8), 16: (1024, 4)}

    def bit(context: int) -> int:
        nonlocal low, high, number, at
        p, k = contexts.get(context, (32768, 0))
        m = low + ((high - low) * p >> 16)
        value = int(number <= m)
        low, high = (low, m) if value else (m + 1, high)
        moved = p + ((65535 * value - p) * (131072 // (2 * k + 5)) >> 16)
        contexts[context] = min(max(moved, 24), 65512), min(k + 1, 38)
        while low >> 24 == high >> 24:
            low, high = low << 8 & 0xFFFFFFFF, high << 8 & 0xFFFFFFFF | 255
            number = number << 8 & 0xFFFFFFFF | (data[at] if at < len(data) else 0)
            at += 1
        return value

    return bit, lambda: at


def corrected(shown: np.ndarray, data: bytes) -> np.ndarray:
    """The pixels of a tile, by its exceptions."""
    if not data:
        return shown
    bit, taken = reader(data)
    height, width = shown.shape[:2]
    pixels, differs, last = shown.copy(), np.zeros((height + 1, width + 2), int), 0
    for y in range(height):
        for x in range(width):
            end = int(any(v in (0, 255) for v in shown[y, x]))
            west, north, corner, east = differs[y + 1, x], differs[y, x + 1], differs[y, x], differs[y, x + 2]
            differs[y + 1, x + 1] = bit(int(west + 2 * north + 4 * corner + 8 * east + 16 * end))
            if not differs[y + 1, x + 1]:
                continue
            if west:
                last = bit(32 + last)
                if last:
                    pixels[y, x] = pixels[y, x - 1]
                    continue
            before = 0
            for channel in range(3):
                c, value = 34 + 16 * (2 * (3 * channel + min(before, 2)) + end), 0
                if not bit(c):
                    negative, digits, value = bit(c + 1), 1, 1
                    while digits < 9 and bit(c + 1 + digits):
                        digits += 1
                    for i in range(digits - 2, -1, -1):
                        value = 2 * value + bit(c + 15 - min(i, 4))
                    value = -value if negative else value
                before = abs(value)
                pixels[y, x, channel] += value
    assert taken() == len(data)
    return pixels


def test_the_page_is_enough_for_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_format, "WEIGHTS", (HERE / "data" / "tiny-planes-1.safetensors").read_bytes())
    weights, found = test_format.tensors()
    _, _, length, width, height, _, coding, side, _, count, digest, name = struct.unpack_from("<8sHHIIBBHIB16sB", FILE)
    assert (coding, side, width, height, digest) == (8, 24, 44, 37, found)
    offset, sections = length, {}
    for i in range(count):
        tag, size, _ = struct.unpack_from("<4sQI", FILE, 46 + name + 16 * i)
        sections[tag] = FILE[offset : offset + size]
        offset += size
    origin, at = sections[b"ORIG"], 3
    assert origin[:3] == bytes([1, 0x22, 0])
    streams, start = [], 0
    for size, _ in struct.iter_unpack("<II", sections[b"TIDX"]):
        streams.append(sections[b"TILE"][start : start + size])
        start += size

    def plane(h: int, w: int, sides: np.ndarray) -> np.ndarray:
        whole = np.zeros((h, w), np.int64)
        for y in range(0, h, side):
            for x in range(0, w, side):
                part = slice(y, min(y + side, h)), slice(x, min(x + side, w))
                whole[part] = PlaneTile(weights, sides[part], streams.pop(0)).decode()
        return whole

    h, w = (height - 1) // 2 + 1, (width - 1) // 2 + 1
    unknown = np.full((h, w), 128)
    first = plane(h, w, np.stack([unknown, unknown], -1))
    second = plane(h, w, np.stack([unknown, first], -1))
    large = [np.array([[chroma_at(c, y, x, height, width) for x in range(width)] for y in range(height)]) for c in (second, first)]
    luma = plane(height, width, np.stack(large, -1))
    shown = np.array(
        [[photo_cd(*map(int, (luma[p], large[1][p], large[0][p]))) for p in [(y, x) for x in range(width)]] for y in range(height)]
    )
    expected, sizes = np.asarray(presage.decode(FILE)), list[int]()
    while len(sizes) < 4:
        size = shift = 0
        while origin[at] & 128:
            size, shift, at = size | (origin[at] & 127) << shift, shift + 7, at + 1
        sizes.append(size | origin[at] << shift)
        at += 1
    for i, size in enumerate(sizes):
        part = slice(side * (i // 2), side * (i // 2 + 1)), slice(side * (i % 2), side * (i % 2 + 1))
        assert np.array_equal(corrected(shown[part], origin[at : at + size]), expected[part])
        at += size
    assert at == len(origin)
    assert sum(map(bool, sizes)) > 1
