"""Section 17 of FORMAT.md, executed: files of stages decoded value by value, in plain integers, from that page alone."""

# mypy: allow-any-generics, no-warn-return-any

import itertools
import json
import struct
import zlib
from typing import Any

import constriction
import numpy as np
import pytest
from conftest import HERE, in_stages
from test_format_chain import sections, tensors

import presage

K1 = [[0, 96, 6, 2], [96, 32, 4, 1], [6, 4, 2, 1], [2, 1, 1, 1]]
K2 = [[0, 96, 4], [96, 24, 2], [4, 2, 1]]
K3 = [[0, 1], [1, 0]]


class Tile:
    """One tile of h x w pixels."""

    def __init__(self, t: dict[str, np.ndarray], h: int, w: int) -> None:
        self.t, self.h, self.w = t, h, w
        self.c = json.loads(bytes(t["config"].astype(np.uint8)))
        self.v = np.zeros((h, w, 3), int)

    def around(self, values: np.ndarray, k: list[list[int]]) -> np.ndarray:
        total = np.zeros_like(values)
        n = len(k) - 1
        for y in range(self.h):
            for x in range(self.w):
                for yy in range(max(0, y - n), min(self.h, y + n + 1)):
                    for xx in range(max(0, x - n), min(self.w, x + n + 1)):
                        total[y, x] += k[abs(yy - y)][abs(xx - x)] * values[yy, xx]
        return total

    def estimates(self, known: np.ndarray, stage: int, m: int, m_after: int) -> tuple[np.ndarray, np.ndarray]:
        s = np.where(known, 2**m_after, 2**m)
        low, high = 8 * self.v, 8 * (self.v + s - 1)

        def near(x: np.ndarray) -> np.ndarray:
            return np.minimum(np.maximum(x, low), high)

        w = np.where(known, 16, 1 if stage else 0)
        beside = np.stack([known[..., [1, 2]].any(-1), known[..., [0, 2]].any(-1), known[..., [0, 1]].any(-1)], -1)
        g = (low + high) >> 1
        for i, k in enumerate([K1, K2, K3, K3]):
            if i == 0:
                a, b = self.around(w * g, k), self.around(w, k)
                f = (64 * a + a.sum(-1, keepdims=True) + 16 * 1020) // (64 * b + b.sum(-1, keepdims=True) + 16)
            else:
                u = np.where(known, 16, np.where(beside, (12, 14, 14)[i - 1], (2, 4, 6)[i - 1]))
                a, b = self.around(u * g, k), self.around(u, k)
                f = np.where(b > 0, a // np.maximum(b, 1), f)
            d = w * (near(f) - f)
            f = np.clip(f + (d.sum(-1, keepdims=True) - d) // np.maximum(1, w.sum(-1, keepdims=True) - w), 0, 2040)
            g = near(f)
        return f, g

    def network(self, known: np.ndarray, f: np.ndarray, g: np.ndarray, stage: int) -> np.ndarray:
        """Outputs (rows, columns, colours, pixels of a place, 3 K)."""
        c, t = self.c, self.t
        p = c["patch"]
        rows, columns = -(-self.h // p), -(-self.w // p)
        kinds = [np.where(known, 64, 0), t["tables.signed"][((g - f) >> 3) + 640], np.clip((g >> 3) - 128, -127, 127)]
        y = []
        for r in range(rows):
            for q in range(columns):
                x = []
                for kind in kinds:
                    for colour in range(3):
                        for dy in range(p):
                            for dx in range(p):
                                at = (r * p + dy, q * p + dx)
                                x.append(int(kind[at][colour]) if at[0] < self.h and at[1] < self.w else 0)
                if len(c["stages"]) > 1:
                    x += [64 * (s == stage) for s in range(len(c["stages"]))]
                y.append(x)
        z = np.array(y).reshape(rows, columns, -1)
        z = self.layer("first", z, 1)
        for i, r in enumerate(c["steps"]):
            z = self.layer(f"blocks.{i}", z, r)
        z = np.clip((z @ t["head.weight"].T + t["head.bias"]) >> t["head.shift"], 0, 127)
        return ((z @ t["out.weight"].T + t["out.bias"]) >> t["out.shift"]).reshape(rows, columns, 3, p * p, -1)

    def layer(self, name: str, y: np.ndarray, r: int) -> np.ndarray:
        t = self.t
        out = np.zeros((*y.shape[:2], len(t[f"{name}.bias"])), int)
        for a in range(y.shape[0]):
            for b in range(y.shape[1]):
                near = []
                for dy in (-r, 0, r):
                    for dx in (-r, 0, r):
                        inside = 0 <= a + dy < y.shape[0] and 0 <= b + dx < y.shape[1]
                        near.append(y[a + dy, b + dx] if inside else np.zeros(y.shape[2], int))
                sums = t[f"{name}.weight"] @ np.concatenate(near) + t[f"{name}.bias"]
                if f"{name}.skip" in t:
                    sums = sums + (y[a, b] << t[f"{name}.skip"])
                out[a, b] = np.clip(sums >> t[f"{name}.shift"], 0, 127)
        return out

    def weights(self, numbers: np.ndarray, centre: int, v: int, bits: int, below: int) -> np.ndarray:
        t = self.t
        o, scale, g = numbers.reshape(3, -1)
        o, scale, g = np.clip(o, -4095, 4095), np.clip(scale, -96, 144), np.clip(g, -256, 256)
        inverse, share = t["tables.inverse"][scale + 96], t["tables.share"][g.max() - g]
        c = []
        for j in range(2**bits + 1):
            e = v + j * 2**below
            at = np.clip(((32 * e - 16) * inverse + 2**20 - (centre + o) * inverse) >> 8, 0, 8191)
            c.append(0 if e == 0 else 2**16 * int(share.sum()) if e == 256 else int((share * t["tables.sigmoid"][at]).sum()))
        return np.array([(b >> 8) - (a >> 8) + 1 for a, b in itertools.pairwise(c)], np.float32)


def decode(data: bytes, t: dict[str, np.ndarray]) -> np.ndarray:
    """The pixels of a picture in mode RGB."""
    fixed = struct.unpack_from("<8sHHIIBBHIB16sB", data)
    found, offset = {}, fixed[2]
    for i in range(fixed[9]):
        tag, size, _ = struct.unpack_from("<4sQI", data, 46 + fixed[11] + 16 * i)
        found[tag] = data[offset : offset + size]
        offset += size
    width, height, side = fixed[3], fixed[4], fixed[7]
    c = json.loads(bytes(t["config"].astype(np.uint8)))
    calls, of_group, stages = struct.unpack_from("<HHB", found[b"SIDX"])
    entries = list(struct.iter_unpack("<II", found[b"SIDX"][5:]))
    boxes = [(y, x, min(y + side, height), min(x + side, width)) for y in range(0, height, side) for x in range(0, width, side)]
    groups = [boxes[i : i + of_group] for i in range(0, len(boxes), of_group)]
    tiles = [[Tile(t, y2 - y1, x2 - x1) for y1, x1, y2, x2 in group] for group in groups]
    there = [0] * len(groups)
    at = 0
    for stage in range(stages):
        for g in range(len(groups)):
            size, crc = entries[stage * len(groups) + g]
            stream = found[b"STGS"][at : at + size]
            at += size
            if len(stream) == size:
                assert zlib.crc32(stream) == crc
                walk(tiles[g], stage, t[f"calls.{calls}"][stage], c, stream)
                there[g] += 1
    pixels = np.zeros((height, width, 3), np.uint8)
    for g, group in enumerate(groups):
        missing = 8 - sum(c["stages"][: there[g]])
        for (y1, x1, y2, x2), tile in zip(group, tiles[g], strict=True):
            pixels[y1:y2, x1:x2] = tile.v + (2 ** (missing - 1) if missing else 0)
    return pixels


def walk(tiles: list[Tile], stage: int, ends: np.ndarray, c: dict[str, Any], stream: bytes) -> None:
    coder = constriction.stream.stack.AnsCoder(np.frombuffer(stream, "<u4").astype(np.uint32))
    model = constriction.stream.model.Categorical(perfect=False)
    m = 8 - sum(c["stages"][:stage])
    m_after, p = m - c["stages"][stage], c["patch"]
    orders = []
    for tile in tiles:
        places = [(i // 3 // c["side"], i // 3 % c["side"], i % 3) for i in tile.t["order"].tolist()]
        orders.append([place for place in places if place[0] < tile.h and place[1] < tile.w])
    known = [np.zeros((tile.h, tile.w, 3), bool) for tile in tiles]
    before = [0] * len(tiles)
    for end in ends.tolist():
        due, outputs = [], {}
        for i, tile in enumerate(tiles):
            stop = -(-end * len(orders[i]) // int(ends[-1]))
            values = sorted(orders[i][before[i] : stop])
            before[i] = stop
            if values:
                f, g = tile.estimates(known[i], stage, m, m_after)
                outputs[i] = tile.network(known[i], f, g, stage)
                due += [(i, value, 4 * int(g[value])) for value in values]
        left = m
        while left > m_after and due:
            bits = min(4, left - m_after)
            left -= bits
            for i, (y, x, colour), centre in due:
                numbers = outputs[i][y // p, x // p, colour, y % p * p + x % p]
                wanted = tiles[i].weights(numbers, centre, int(tiles[i].v[y, x, colour]), bits, left)
                tiles[i].v[y, x, colour] += int(coder.decode(model, wanted[None])[0]) << left
        for i, value, _ in due:
            known[i][value] = True
    assert coder.is_empty()


@pytest.mark.parametrize("name", ["stages", "stages-cut"])
def test_the_page_is_enough(name: str) -> None:
    data = (HERE / "golden" / f"{name}.psg").read_bytes()
    assert np.array_equal(decode(data, tensors("tiny-upscale-1")), np.asarray(presage.decode(data)))


def test_the_page_is_enough_for_eight_bits_at_a_time() -> None:
    random = np.random.default_rng(2)
    pixels = random.integers(0, 256, (5, 8, 3), np.uint8)
    data = in_stages(pixels, "tiny-ardm")
    found, _ = sections(data)
    assert b"STGS" in found
    assert np.array_equal(decode(data, tensors("tiny-ardm-1")), pixels)
