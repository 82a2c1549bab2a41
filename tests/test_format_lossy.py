"""Section 9 of FORMAT.md, executed: the latents of lossy files decoded one symbol at a time, from that page alone."""

# mypy: allow-any-generics, no-warn-return-any

import json
import struct
import zlib

import constriction
import numpy as np
import pytest
from conftest import HERE
from PIL import Image
from test_format_chain import Network, decode_group, sections, tensors

import presage


class Latents(Network):
    """The prior of a tile at a quality."""

    def __init__(self, weights: dict[str, np.ndarray], h: int, w: int, quality: int) -> None:
        super().__init__(weights, h, w)
        self.quality = quality

    def own(self, p: tuple[int, int]) -> np.ndarray:
        return self.t["conditions"][self.quality]

    def nibble(self, coder: constriction.stream.stack.AnsCoder, output: np.ndarray, high: int | None) -> int:
        o, scale, g = output.reshape(3, -1)
        g = np.clip(g, -256, 256)
        inverse, share = self.t["tables.inverse"][np.clip(scale, -96, 144) + 96], self.t["tables.share"][g.max() - g]
        origin = (32 * self.c["zero"] + np.clip(o, -4095, 4095)) * inverse
        edges = 512 * np.arange(17) - 16 if high is None else 32 * (16 * high + np.arange(17)) - 16
        place = np.clip((edges[:, None] * inverse + (1 << 20) - origin) >> 8, 0, 8191)
        c = (share * self.t["tables.sigmoid"][place]).sum(1)
        c[0] = 0 if high in (None, 0) else c[0]
        c[16] = share.sum() << 16 if high in (None, 15) else c[16]
        weights = ((c[1:] >> 8) - (c[:-1] >> 8) + 1).astype(np.float32)
        return int(coder.decode(constriction.stream.model.Categorical(perfect=False), weights[None])[0])

    def decode(self, stream: bytes, spans: list[int]) -> np.ndarray:
        coder = constriction.stream.stack.AnsCoder(np.frombuffer(stream, "<u4").astype(np.uint32))
        s, zero = self.c["slope"], self.c["zero"]
        for step in range(self.w + s * (self.h - 1)):
            here = [(y, step - s * y) for y in range(self.h) if 0 <= step - s * y < self.w]
            before: dict[tuple[int, int], list[int]] = {p: [] for p in here}
            for span in spans:
                outputs = {p: self.output(p, before[p]) for p in here}
                high = {p: self.nibble(coder, outputs[p], None) if span == 2 else zero >> 4 for p in here}
                low = {p: self.nibble(coder, outputs[p], high[p]) if span else zero & 15 for p in here}
                for p in here:
                    before[p].append(16 * high[p] + low[p])
            self.symbols |= before
        assert coder.is_empty()
        return np.array([[self.symbols[y, x] for x in range(self.w)] for y in range(self.h)], np.uint8)


def prior(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix("prior."): value for name, value in weights.items() if name.startswith("prior.")}


def test_the_page_is_enough_for_tiles_of_latents() -> None:
    data = (HERE / "golden" / "lossy.psg").read_bytes()
    found, (*_, width, height, mode, coding, side, crc, _, _, _) = sections(data)
    assert (mode, coding) == (5, 5)
    weights = prior(tensors("tiny-latent-1"))
    channels = json.loads(bytes(tensors("tiny-latent-1")["config"].astype(np.uint8)))["channels"]
    quality, bits = found[b"LATN"][0], int.from_bytes(found[b"LATN"][1:], "little")
    spans = [bits >> (2 * i) & 3 for i in range(channels)]
    h, w = -(-height // 8), -(-width // 8)
    symbols = np.zeros((h, w, channels), np.uint8)
    places = [(y, x) for y in range(0, h, side) for x in range(0, w, side)]
    start = 0
    for (y, x), (size, check) in zip(places, struct.iter_unpack("<II", found[b"TIDX"]), strict=True):
        stream = found[b"TILE"][start : start + size]
        assert zlib.crc32(stream) == check
        tile = Latents(weights, min(side, h - y), min(side, w - x), quality)
        symbols[y : y + side, x : x + side] = tile.decode(stream, spans)
        start += size
    assert zlib.crc32(symbols.tobytes()) == crc


def test_the_page_is_enough_for_groups_of_latents() -> None:
    data = (HERE / "golden" / "lossy-set.psg").read_bytes()
    found, (*_, side, crc, _, _, _) = sections(data)
    weights = prior(tensors("tiny-categories-1"))
    listed = json.loads(zlib.decompress(found[b"LIST"]))
    sizes = [(-(-h // 4), -(-w // 4)) for w, h, count in listed["sizes"] for _ in range(count)]
    assert max(map(max, sizes)) <= side
    bits, together = found[b"GIDX"][:2]
    offset = number = check = 0
    for size, _, count, first in struct.iter_unpack("<IIII", found[b"GIDX"][2:]):
        stream = found[b"GRPS"][offset : offset + size]
        for symbols in decode_group(weights, stream, first, sizes[number : number + count], bits, together):
            check = zlib.crc32(symbols.astype(np.uint8).tobytes(), check)
        offset, number = offset + size, number + count
    assert (number, check) == (len(sizes), crc)


@pytest.mark.parametrize("name", ["lossy", "lossy-alpha"])
def test_golden_pictures(name: str) -> None:
    """At most one grey level from what another machine made of the same file."""
    expected = np.asarray(Image.open(HERE / "golden" / f"{name}.png")).astype(int)
    found = np.asarray(presage.decode((HERE / "golden" / f"{name}.psg").read_bytes()))
    assert np.abs(found - expected).max() <= 1
