"""FORMAT.md, executed: a decoder written from that page alone, one pixel at a time, in plain integers."""

# mypy: allow-any-generics, no-warn-return-any

import hashlib
import json
import struct
import zlib
from typing import Any

import constriction
import numpy as np
from conftest import HERE

import presage

FILE = (HERE / "golden" / "rgb.psg").read_bytes()
WEIGHTS = (HERE / "data" / "tiny-1.safetensors").read_bytes()
OUTSIDE = -2048


def tensors() -> tuple[dict[str, np.ndarray], bytes]:
    """Section 6: the tensors as int64, and their hash."""
    (length,) = struct.unpack("<Q", WEIGHTS[:8])
    table = json.loads(WEIGHTS[8 : 8 + length])
    table.pop("__metadata__", None)
    kinds = {"I8": "<i1", "I32": "<i4"}
    found, digest = {}, hashlib.sha256()
    for name in sorted(table):
        entry = table[name]
        raw = WEIGHTS[8 + length :][slice(*entry["data_offsets"])]
        digest.update(f"{name} {entry['dtype']} {entry['shape']} ".encode() + raw)
        found[name] = np.frombuffer(raw, kinds[entry["dtype"]]).reshape(entry["shape"]).astype(np.int64)
    return found, digest.digest()[:16]


def block(steps: int, rows: int) -> list[tuple[int, int]]:
    return [(-k, 2 * k - d) for d in range(steps, 0, -1) for k in range(rows - 1, -1, -1)]


def pick(v: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.where(v == OUTSIDE, other, v)


class Tile:
    """Sections 3 to 5 for one tile."""

    def __init__(self, w: dict[str, np.ndarray], width: int, height: int, stream: bytes) -> None:
        self.w, self.width, self.height = w, width, height
        self.coder = constriction.stream.stack.AnsCoder(np.frombuffer(stream, "<u4").astype(np.uint32))
        self.planes: dict[tuple[int, int], np.ndarray] = {}
        self.errors: dict[tuple[int, int], np.ndarray] = {}
        self.residuals: dict[tuple[int, int], np.ndarray] = {}
        self.hidden: dict[tuple[int, int], np.ndarray] = {}
        self.pixels = np.zeros((height, width, 3), np.uint8)

    def s(self, v: np.ndarray) -> np.ndarray:
        return self.w["tables.signed"][np.clip(v, -640, 640) + 640]

    def layer(self, name: str, *x: np.ndarray, activation: bool = True) -> np.ndarray:
        x_all = np.concatenate(x)
        total = self.w[f"{name}.weight"] @ x_all + self.w[f"{name}.bias"]
        if f"{name}.skip" in self.w:
            total = total + (x_all << self.w[f"{name}.skip"])
        y = total >> self.w[f"{name}.shift"]
        return np.clip(y, 0, 127) if activation else y

    def gather(
        self, values: dict[tuple[int, int], np.ndarray], y: int, x: int, places: list[tuple[int, int]], missing: np.ndarray
    ) -> list[np.ndarray]:
        return [values.get((y + dy, x + dx), missing) for dy, dx in places]

    def predictions(self, y: int, x: int) -> np.ndarray:
        w, n, nw, ne, nne = self.gather(self.planes, y, x, [(0, -1), (-1, 0), (-1, -1), (-1, 1), (-2, 1)], np.full(3, OUTSIDE))
        w = pick(pick(w, n), np.array([128, 0, 0]))
        n = pick(n, w)
        nw, ne = pick(nw, n), pick(ne, n)
        nne = pick(nne, ne)
        return np.stack([w, n, w + n - nw, w + ne - n, n + ne - nne, (2 * (w + n) + ne - nw) >> 2])

    def decode(self) -> np.ndarray:
        for step in range(self.width + 2 * (self.height - 1)):
            here = [(y, step - 2 * y) for y in range(self.height) if 0 <= step - 2 * y < self.width]
            states = {p: self.look(*p) for p in here}
            for channel in range(3):
                distributions = {p: self.distribution(states[p], channel) for p in here}
                high = {p: self.nibble(distributions[p], None) for p in here}
                for p in here:
                    self.put(p, states[p], channel, 16 * high[p] + self.nibble(distributions[p], high[p]))
            for p in here:
                self.remember(p, states[p])
        assert self.coder.is_empty()
        return self.pixels

    def look(self, y: int, x: int) -> dict[str, Any]:
        predictions = self.predictions(y, x)
        error = np.sum(self.gather(self.errors, y, x, block(3, 2), np.zeros((6, 3), np.int64)), 0)
        trust = (1 << 24) // (error + 2) ** 2 + 1
        q = 8 * (trust * predictions).sum(0) // trust.sum(0)
        m = (q + 4) >> 3
        near = np.stack(self.gather(self.planes, y, x, block(8, 4), np.full(3, OUTSIDE)))
        past = np.stack(self.gather(self.residuals, y, x, block(3, 2), np.zeros(3, np.int64)))
        given = np.concatenate([self.s(near - m).ravel(), self.w["tables.error"][error].ravel(), self.s(past).ravel()])
        hidden = self.gather(self.hidden, y, x, block(3, 2), np.zeros_like(self.w["cell.1.bias"]))
        v = self.layer("trunk", given, *hidden)
        i = 0
        while f"blocks.{i}.weight" in self.w:
            v = self.layer(f"blocks.{i}", v)
            i += 1
        return {"predictions": predictions, "q": q, "m": m, "input": given, "y": v, "planes": [], "residuals": []}

    def distribution(self, state: dict[str, Any], channel: int) -> tuple[np.ndarray, ...]:
        hints = [h for r in state["residuals"] for h in (self.s(np.clip(r, -511, 511)), np.clip(8 * np.clip(r, -511, 511), -127, 127))]
        head = self.layer(f"heads.{channel}", state["y"], np.array(hints, np.int64))
        o, scale, g = self.layer(f"outs.{channel}", head, activation=False).reshape(3, -1)
        g = np.clip(g, -256, 256)
        green = state["planes"][0] if channel else 0
        centre = 4 * np.clip(state["q"][channel] + 8 * green, 0, 2040)
        inverse = self.w["tables.inverse"][np.clip(scale, -96, 144) + 96]
        return (centre + np.clip(o, -4095, 4095)) * inverse, inverse, self.w["tables.share"][g.max() - g]

    def nibble(self, distribution: tuple[np.ndarray, ...], high: int | None) -> int:
        origin, inverse, share = distribution
        edges = 512 * np.arange(17) - 16 if high is None else 32 * (16 * high + np.arange(17)) - 16
        place = np.clip((edges[:, None] * inverse + (1 << 20) - origin) >> 8, 0, 8191)
        c = (share * self.w["tables.sigmoid"][place]).sum(1)
        c[0] = 0 if high in (None, 0) else c[0]
        c[16] = share.sum() << 16 if high in (None, 15) else c[16]
        weights = ((c[1:] >> 8) - (c[:-1] >> 8) + 1).astype(np.float32)
        return int(self.coder.decode(constriction.stream.model.Categorical(perfect=False), weights[None])[0])

    def put(self, p: tuple[int, int], state: dict[str, Any], channel: int, symbol: int) -> None:
        self.pixels[p][(1, 0, 2)[channel]] = symbol
        state["planes"].append(symbol - (state["planes"][0] if channel else 0))
        state["residuals"].append(state["planes"][-1] - state["m"][channel])

    def remember(self, p: tuple[int, int], state: dict[str, Any]) -> None:
        self.planes[p] = np.array(state["planes"])
        self.errors[p] = np.minimum(255, abs(self.planes[p] - state["predictions"]))
        self.residuals[p] = np.array(state["residuals"])
        self.hidden[p] = self.layer("cell.1", self.layer("cell.0", state["input"], self.s(self.residuals[p])))


def test_the_page_is_enough() -> None:
    _, version, length, width, height, mode, coding, side, crc, count, digest, name = struct.unpack_from("<8sHHIIBBHIB16sB", FILE)
    assert (version, mode, coding, side, width, height) == (1, 5, 1, 32, 83, 61)
    assert zlib.crc32(FILE[: length - 4]) == struct.unpack_from("<I", FILE, length - 4)[0]
    weights, found = tensors()
    assert found == digest
    offset, sections = length, {}
    for i in range(count):
        tag, size, _ = struct.unpack_from("<4sQI", FILE, 46 + name + 16 * i)
        sections[tag] = FILE[offset : offset + size]
        offset += size
    index = list(struct.iter_unpack("<II", sections[b"TIDX"]))
    expected = np.asarray(presage.decode(FILE))
    assert zlib.crc32(expected.tobytes()) == crc
    last = len(index) - 1  # the tile at the bottom right, 19 x 29 pixels
    for i, box in ((last, (64, 32, 83, 61)), (0, (0, 0, 32, 32))):
        start = sum(size for size, _ in index[:i])
        stream = sections[b"TILE"][start : start + index[i][0]]
        left, top, right, bottom = box
        tile = Tile(weights, right - left, bottom - top, stream).decode()
        assert np.array_equal(tile, expected[top:bottom, left:right])
