"""Sections 7 and 8 of FORMAT.md, executed: chain files decoded one symbol at a time, in plain integers, from that page alone."""

# mypy: allow-any-generics, no-warn-return-any

import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import HERE, unpack
from test_format import block, pick

import presage
from presage.codec.settings import Settings

OUTSIDE = -2048
KINDS = {"I8": "<i1", "I32": "<i4", "U8": "<u1", "F16": "<f2", "F32": "<f4"}


def tensors(name: str) -> dict[str, np.ndarray]:
    data = (HERE / "data" / f"{name}.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    table.pop("__metadata__", None)
    found = {}
    for key, entry in table.items():
        raw = np.frombuffer(data[8 + length :][slice(*entry["data_offsets"])], KINDS[entry["dtype"]]).reshape(entry["shape"])
        found[key] = raw if entry["dtype"].startswith("F") else raw.astype(np.int64)
    return found


def sections(data: bytes) -> tuple[dict[bytes, bytes], tuple[Any, ...]]:
    fixed = struct.unpack_from("<8sHHIIBBHIB16sB", data)
    offset, found = fixed[2], {}
    for i in range(fixed[9]):
        tag, size, _ = struct.unpack_from("<4sQI", data, 46 + fixed[11] + 16 * i)
        found[tag] = data[offset : offset + size]
        offset += size
    assert offset == len(data)
    return found, fixed


class Network:
    """Section 8 for one tile of h x w pixels (or patches)."""

    def __init__(self, weights: dict[str, np.ndarray], h: int, w: int) -> None:
        self.t, self.h, self.w = weights, h, w
        self.c = c = json.loads(bytes(weights["config"].astype(np.uint8)))
        self.relative, self.s = c["context"] == "relative", c["slope"]
        s, reach = self.s, {k: self.s * k - 1 if self.s else 2 for k in (1, 2)}
        if self.relative:
            self.first_up, self.first_left = [(-1, -1), (-1, 0), (-1, 1)], [(0, -1)]
        else:
            self.first_up = [(-k, dx) for k in (2, 1) for dx in range(-2, min(2, reach[k]) + 1)]
            self.first_left = [(0, -3), (0, -2), (0, -1)]
        self.up = [(-1, dx) for dx in range(-1, (min(2, s) if s else 1) + 1)] + [(0, dx) for dx in range(-1, (0 if s else 1) + 1)]
        self.left = [(-1, -1), (-1, 0), (0, -1), (0, 0)]
        self.symbols: dict[tuple[int, int], list[int]] = {}
        self.cache: dict[tuple[Any, ...], np.ndarray] = {}

    def layer(self, name: str, *x: np.ndarray) -> np.ndarray:
        return (self.t[f"{name}.weight"] @ np.concatenate(x) + self.t[f"{name}.bias"]) >> self.t[f"{name}.shift"]

    def at(
        self, what: Callable[..., np.ndarray], p: tuple[int, int], places: list[tuple[int, int]], empty: np.ndarray, *more: Any
    ) -> list[np.ndarray]:
        found = []
        for dy, dx in places:
            q = (p[0] + dy, p[1] + dx)
            found.append(what(q, *more) if 0 <= q[0] < self.h and 0 <= q[1] < self.w else empty)
        return found

    def once(self, key: tuple[Any, ...], make: Callable[[], np.ndarray]) -> np.ndarray:
        if key not in self.cache:
            self.cache[key] = make()
        return self.cache[key]

    # section 3, for relative contexts

    def planes(self, p: tuple[int, int]) -> np.ndarray:
        g, r, b = (v * (256 // self.c["levels"]) for v in self.symbols[p])
        return np.array([g, r - g, b - g])

    def predictions(self, p: tuple[int, int]) -> np.ndarray:
        def make() -> np.ndarray:
            w, n, nw, ne, nne = self.at(self.planes, p, [(0, -1), (-1, 0), (-1, -1), (-1, 1), (-2, 1)], np.full(3, OUTSIDE))
            w = pick(pick(w, n), np.array([128, 0, 0]))
            n = pick(n, w)
            nw, ne = pick(nw, n), pick(ne, n)
            return np.stack([w, n, w + n - nw, w + ne - n, n + ne - pick(nne, ne), (2 * (w + n) + ne - nw) >> 2])

        return self.once(("predictions", p), make)

    def errors(self, p: tuple[int, int]) -> np.ndarray:
        past = lambda q: np.minimum(255, abs(self.planes(q) - self.predictions(q)))  # noqa: E731
        return self.once(("errors", p), lambda: np.sum(self.at(past, p, block(3, 2), np.zeros((6, 3), np.int64)), 0))

    def q(self, p: tuple[int, int]) -> np.ndarray:
        trust = (1 << 24) // (self.errors(p) + 2) ** 2 + 1
        return 8 * (trust * self.predictions(p)).sum(0) // trust.sum(0)

    def residual(self, p: tuple[int, int]) -> np.ndarray:
        return self.planes(p) - ((self.q(p) + 4) >> 3)

    def compand(self, v: np.ndarray) -> np.ndarray:
        return self.t["tables.signed"][np.clip(v, -640, 640) + 640]

    def own(self, p: tuple[int, int]) -> np.ndarray:
        if not self.relative:
            return np.zeros(0, np.int64)

        def make() -> np.ndarray:
            near = np.stack(self.at(self.planes, p, block(8, 4), np.full(3, OUTSIDE))) - ((self.q(p) + 4) >> 3)
            past = np.stack(self.at(lambda q: self.compand(self.residual(q)), p, block(3, 2), np.zeros(3, np.int64)))
            return np.concatenate([self.compand(near).ravel(), self.t["tables.error"][self.errors(p)].ravel(), past.ravel()])

        return self.once(("own", p), make)

    # section 8

    def seen(self, p: tuple[int, int]) -> np.ndarray:
        if self.relative:
            return np.concatenate([self.own(p), self.compand(self.residual(p))])
        return np.concatenate([self.t["embedding"][c, v] for c, v in enumerate(self.symbols[p])])

    def gated(self, sums: np.ndarray) -> np.ndarray:
        a, b = np.split(sums, 2)
        return (a * self.t["tables.gate"][np.clip(b, -128, 127) + 128] + 128) >> 8

    def activation(self, stack: str, v: np.ndarray, i: int) -> np.ndarray:
        k = self.t[f"{stack}_bits"][i]
        return np.clip((v + (1 << k >> 1)) >> k, -127, 127)

    def v(self, p: tuple[int, int], i: int) -> np.ndarray:
        def make() -> np.ndarray:
            if i == 0:
                none = np.zeros(self.c["channels"] * self.c["embedding"] if not self.relative else 135, np.int64)
                total = self.layer("first_up", *self.at(self.seen, p, self.first_up, none))
            else:
                total = self.v(p, i - 1) + self.gated(self.layer(f"up.{i - 1}", *self.at(self.x, p, self.up, self.none, i - 1)))
            return np.clip(total, -32767, 32767)

        return self.once(("v", p, i), make)

    def x(self, p: tuple[int, int], i: int) -> np.ndarray:
        return self.activation("up", self.v(p, i), i)

    @property
    def none(self) -> np.ndarray:
        return np.zeros(self.c["width"], np.int64)

    def h_(self, p: tuple[int, int], i: int) -> np.ndarray:
        def make() -> np.ndarray:
            if i == 0:
                none = np.zeros(self.c["channels"] * self.c["embedding"] if not self.relative else 135, np.int64)
                total = self.layer("first", *self.at(self.seen, p, self.first_left, none), self.own(p), self.x(p, 0))
            else:
                near = self.at(self.y, p, self.left, self.none, i - 1)
                total = self.h_(p, i - 1) + self.gated(self.layer(f"left.{i - 1}", *near, self.x(p, i)))
            return np.clip(total, -32767, 32767)

        return self.once(("h", p, i), make)

    def y(self, p: tuple[int, int], i: int) -> np.ndarray:
        return self.activation("left", self.h_(p, i), i)

    def output(self, p: tuple[int, int], before: list[int]) -> np.ndarray:
        """The output of the next channel of a pixel."""
        channel, step = len(before), 256 // self.c["levels"]
        hints = []
        if self.relative:
            m = (self.q(p) + 4) >> 3
            for c, value in enumerate(before):
                r = np.clip(value * step - (before[0] * step if c else 0) - m[c], -511, 511)
                hints += [self.compand(r), np.clip(8 * r, -127, 127)]
        else:
            hints = [n for c, value in enumerate(before) for n in self.t["embedding"][c, value]]
        head = np.clip(self.layer(f"heads.{channel}", self.y(p, self.c["blocks"]), np.array(hints, np.int64)), 0, 127)
        return self.layer(f"outs.{channel}", head)

    def cumulative(self, p: tuple[int, int], before: list[int], bits: int) -> np.ndarray:
        """C_0 ... C_K of the next channel of a pixel."""
        channel, levels = len(before), self.c["levels"]
        step, output = 256 // levels, self.output(p, before)
        if self.c["output"] == "categorical":
            e = np.concatenate([[0], self.t["tables.category"][np.minimum(output.max() - output, 1024)].cumsum()])
        else:
            o, scale, g = output.reshape(3, -1)
            g = np.clip(g, -256, 256)
            centre = 4 * np.clip(self.q(p)[channel] + 8 * (before[0] * step if channel else 0), 0, 2040)
            inverse, share = self.t["tables.inverse"][np.clip(scale, -96, 144) + 96], self.t["tables.share"][g.max() - g]
            edges = 32 * step * np.arange(levels + 1) - 16 * step
            place = np.clip((edges[:, None] * inverse + (1 << 20) - (centre + np.clip(o, -4095, 4095)) * inverse) >> 8, 0, 8191)
            c = (share * self.t["tables.sigmoid"][place]).sum(1)
            c[0], c[-1] = 0, share.sum() << 16
            e = c >> 8
        return np.arange(levels + 1) + e * ((1 << bits) - levels) // e[-1]


def decode_group(
    weights: dict[str, np.ndarray], stream: bytes, first: int, sizes: list[tuple[int, int]], bits: int, together: int
) -> list[np.ndarray]:
    """Section 7: the symbols of the tiles of a group, (h, w, channels) each; sizes in patches."""
    networks = [Network(weights, h, w) for h, w in sizes]
    c = networks[0].c

    def step(p: tuple[int, int]) -> int:
        return p[1] + c["slope"] * p[0] if c["slope"] else 0

    places = []
    for t, (h, w) in enumerate(sizes):
        pixels = sorted(((y, x) for y in range(h) for x in range(w)), key=lambda p: (step(p), p[0], p[1]))
        places += [(t, p, k) for p in pixels for k in range(c["channels"])]
    if together:
        places.sort(key=lambda place: (step(place[1]), place[0]))  # stable
    state, n, at = int.from_bytes(stream, "little"), first, 0
    while at < len(places):
        quantiles = [(state >> (bits * i)) % (1 << bits) for i in range(n)]
        state >>= bits * n
        for (t, p, k), u in zip(places[at : at + n], quantiles, strict=True):
            known = networks[t].symbols.setdefault(p, [])
            assert len(known) == k
            below = networks[t].cumulative(p, known, bits)
            symbol = int((below <= u).sum()) - 1
            state = state * int(below[symbol + 1] - below[symbol]) + u - int(below[symbol])
            known.append(symbol)
        at += n
        n = min(max(1, (state.bit_length() - 1) // bits), len(places) - at)
    assert state == 1
    return [np.array([[net.symbols[y, x] for x in range(net.w)] for y in range(net.h)]) for net in networks]


@pytest.mark.parametrize("name", ["chain", "set-colour", "set-bits"])
def test_the_page_is_enough_for_chains(name: str) -> None:
    data = (HERE / "golden" / f"{name}.psg").read_bytes()
    weights = tensors("tiny-bits-1" if name == "set-bits" else "tiny-chain-1")
    config = json.loads(bytes(weights["config"].astype(np.uint8)))
    found, fixed = sections(data)
    side = fixed[7]
    if name == "chain":
        images, pixel_sizes = [np.asarray(presage.decode(data))], [(fixed[4], fixed[3])]
    else:
        listed = json.loads(zlib.decompress(found[b"LIST"]))
        pixel_sizes = [(h, w) for w, h, count in listed["sizes"] for _ in range(count)]
        unpacked, _ = unpack(data, None, False, Settings())
        images = [np.asarray(image.convert("L" if name == "set-bits" else "RGB")) for _, image in unpacked]
    tiles, whole = [], []
    for image, (h, w) in zip(images, pixel_sizes, strict=True):
        for y in range(0, h, side):
            for x in range(0, w, side):
                whole.append(image[y : y + side, x : x + side].reshape(min(side, h - y), min(side, w - x), -1))
                tiles.append(tuple(-(-n // config["patch"]) for n in whole[-1].shape[:2]))
    bits, together = found[b"GIDX"][:2]
    offset = number = 0
    for size, crc, count, first in struct.iter_unpack("<IIII", found[b"GIDX"][2:]):
        stream = found[b"GRPS"][offset : offset + size]
        assert zlib.crc32(stream) == crc
        symbols = decode_group(weights, stream, first, tiles[number : number + count], bits, together)
        for values, expected in zip(symbols, whole[number : number + count], strict=True):
            if config["context"] == "relative":
                pixels = values[..., [1, 0, 2]] * (256 // config["levels"])
            else:
                h, w, n = config["patch"], config["patch"], values.shape
                pixels = values.reshape(n[0], n[1], h, w, -1).swapaxes(1, 2).reshape(n[0] * h, n[1] * w, -1) * 255
            assert np.array_equal(pixels[: expected.shape[0], : expected.shape[1]], expected)
        offset, number = offset + size, number + count
    assert number == len(tiles)
