"""Section 18 of FORMAT.md, executed: a flow's files decoded in plain integers, from that page alone."""

# mypy: allow-any-generics, no-warn-return-any

import struct
import zlib
from itertools import pairwise

import constriction
import numpy as np
import pytest
from conftest import HERE, unpack
from PIL import Image
from test_format_chain import sections, tensors

import presage
from presage.codec.settings import Settings

AROUND = [(0, 0), (-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)]
WEIGHTS = tensors("tiny-flow-1")
K = WEIGHTS["last"].shape[1] // 3


def layer(name: str, x: np.ndarray, skip: np.ndarray | None = None) -> np.ndarray:
    total = WEIGHTS[f"{name}.weight"] @ x + WEIGHTS[f"{name}.bias"]
    if skip is not None:
        total = total + (skip << WEIGHTS[f"{name}.skip"])
    return total >> WEIGHTS[f"{name}.shift"]


def clamp(x: np.ndarray) -> np.ndarray:
    return np.clip(x, 0, 127)


def s(value: int) -> int:
    return int(WEIGHTS["tables.signed"][value + 640])


def near(maps: np.ndarray, y: int, x: int, dy: int, dx: int) -> np.ndarray | None:
    inside = 0 <= y + dy < maps.shape[0] and 0 <= x + dx < maps.shape[1]
    return maps[y + dy, x + dx] if inside else None


def centres_of(values: np.ndarray, own: list[int]) -> list[int]:
    """Of the given channels of a place, whose colours are `own`."""
    found = []
    for colour in range(3):
        chosen = [int(v) for v, c in zip(values, own, strict=True) if c == colour] or [int(v) for v in values]
        found.append(sum(chosen) // len(chosen))
    return found


def outputs(i: int, x: np.ndarray, own: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Of the network of layer i: outputs of every place, and centres; x: its given channels (h, w, n)."""
    h, w, n = x.shape
    centres = np.array([[centres_of(x[y, z], own) for z in range(w)] for y in range(h)])
    v = []
    for y in range(h):
        for z in range(w):
            red, green, blue = (int(c) for c in centres[y, z])
            inputs: list[int] = []
            for dy, dx in AROUND:
                there = near(x, y, z, dy, dx)
                inputs += [0] * n if there is None else [s(int(a) - int(centres[y, z, c])) for a, c in zip(there, own, strict=True)]
            inputs += [s(red - green), s(blue - green), s(green - 128)]
            v.append(clamp(layer(f"layers.{i}.first", np.array(inputs))))
    maps, j = np.array(v).reshape(h, w, -1), 0
    while f"layers.{i}.blocks.{j}.weight" in WEIGHTS:
        after = np.empty_like(maps)
        for y in range(h):
            for z in range(w):
                parts = [near(maps, y, z, *place) for place in AROUND]
                joined = np.concatenate([np.zeros(maps.shape[2], np.int64) if part is None else part for part in parts])
                after[y, z] = clamp(layer(f"layers.{i}.blocks.{j}", joined, maps[y, z]))
        maps, j = after, j + 1
    found = [[layer(f"layers.{i}.out", clamp(layer(f"layers.{i}.head", maps[y, z]))) for z in range(w)] for y in range(h)]
    return np.array(found), centres


def cumulative(e: int, mixture: np.ndarray) -> int:
    offsets, scales, logits = np.clip(mixture.reshape(3, K), [[-4095], [-96], [-256]], [[4095], [144], [256]])
    inverse = WEIGHTS["tables.inverse"][scales + 96]
    share = WEIGHTS["tables.share"][logits.max() - logits]
    place = np.clip((e * inverse + 2**20 - (4096 + offsets) * inverse) >> 8, 0, 8191)
    return int((share * WEIGHTS["tables.sigmoid"][place]).sum())


def weights_of(mixture: np.ndarray, high: int | None) -> list[int]:
    logits = np.clip(mixture[2 * K :], -256, 256)
    total = 2**16 * int(WEIGHTS["tables.share"][logits.max() - logits].sum())
    if high is None:
        c = [0, *(cumulative(512 * j - 16, mixture) for j in range(1, 16)), total]
    else:
        c = [cumulative(32 * (16 * high + j) - 16, mixture) for j in range(17)]
        c[0], c[16] = 0 if high == 0 else c[0], total if high == 15 else c[16]
    return [(b >> 8) - (a >> 8) + 1 for a, b in pairwise(c)]


class Stream:
    def __init__(self, data: bytes) -> None:
        self.coder = constriction.stream.stack.AnsCoder(np.frombuffer(data, "<u4").astype(np.uint32))

    def nibble(self, weights: list[int]) -> int:
        model = constriction.stream.model.Categorical(np.array(weights, np.float32), perfect=False)
        return int(self.coder.decode(model))

    def symbols(self, mixtures: list[np.ndarray]) -> list[int]:
        high = [self.nibble(weights_of(mixture, None)) for mixture in mixtures]
        return [16 * h + self.nibble(weights_of(mixture, h)) for h, mixture in zip(high, mixtures, strict=True)]


def plan() -> tuple[list[tuple[int, list[int], list[int], list[int], bool]], int]:
    """Of every layer: whether it codes, given and changed channels, colours, whether its scale begins; then how many scales there are."""
    found, there, kept, scales, begins = [], 12, [0, 1, 2], 0, True
    for codes, count, *channels in WEIGHTS["plan"].tolist():
        given, changed, colours = channels[:count], channels[count:there], [kept[i % 3] for i in range(12)]
        found.append((codes, given, changed, colours, begins))
        begins = False
        if codes:
            there = count
            if count == 3:
                kept, scales, there, begins = [colours[i] for i in given], scales + 1, 12, True
    return found, scales


def decoded(stream: Stream, tiles: int, height: int, width: int) -> list[np.ndarray]:
    """Tiles of one padded size."""
    layers, scales = plan()
    h, w = height >> scales, width >> scales
    first = stream.symbols([WEIGHTS["last"][c] for _ in range(tiles * h * w) for c in range(3)])
    kept = list(np.array(first).reshape(tiles, h, w, 3))
    whole: list[np.ndarray] = []
    for number, (codes, given, changed, colours, begins) in reversed(list(enumerate(layers))):
        if not whole:
            whole = [np.zeros((*k.shape[:2], 12), np.int64) for k in kept]
            for x, k in zip(whole, kept, strict=True):
                x[..., given] = k
        networks = [outputs(number, x[..., given], [colours[c] for c in given]) for x in whole]
        if codes:
            pulled = iter(
                stream.symbols([f.reshape(len(changed), -1)[c] for o, _ in networks for row in o for f in row for c in range(len(changed))])
            )
        for x, (o, centres) in zip(whole, networks, strict=True):
            for y in range(x.shape[0]):
                for z in range(x.shape[1]):
                    for i, channel in enumerate(changed):
                        if codes:
                            x[y, z, channel] = (next(pulled) + centres[y, z, colours[channel]] - 128) % 256
                        else:
                            x[y, z, channel] = (x[y, z, channel] - ((np.clip(o[y, z, i], -4095, 4095) + 16) >> 5)) % 256
        if begins:
            kept, whole = [x.reshape(*x.shape[:2], 2, 2, 3).swapaxes(1, 2).reshape(2 * x.shape[0], 2 * x.shape[1], 3) for x in whole], []
    return kept


def tiles_of(content: dict[bytes, bytes], sizes: list[tuple[int, int]]) -> list[np.ndarray]:
    assert len(sizes) <= 64  # one stream
    (length, crc), side = struct.unpack("<II", content[b"TIDX"]), 1 << plan()[1]
    assert (length, crc) == (len(content[b"TILE"]), zlib.crc32(content[b"TILE"]))
    stream, padded = Stream(content[b"TILE"]), [(-(-h // side) * side, -(-w // side) * side) for h, w in sizes]
    found: dict[int, np.ndarray] = {}
    for size in dict.fromkeys(padded):
        chosen = [i for i, own in enumerate(padded) if own == size]
        for i, tile in zip(chosen, decoded(stream, len(chosen), *size), strict=True):
            found[i] = tile[: sizes[i][0], : sizes[i][1]]
    assert stream.coder.is_empty()
    return [found[i] for i in range(len(sizes))]


@pytest.mark.parametrize("name", ["flow", "flow-alpha"])
def test_golden_pictures(name: str) -> None:
    data = (HERE / "golden" / f"{name}.psg").read_bytes()
    content, fixed = sections(data)
    width, height, mode, coding, side = fixed[3], fixed[4], fixed[5], fixed[6], fixed[7]
    assert coding == 14
    boxes = [(y, x, min(side, height - y), min(side, width - x)) for y in range(0, height, side) for x in range(0, width, side)]
    pixels = np.zeros((height, width, 3), np.uint8)
    for (y, x, h, w), tile in zip(boxes, tiles_of(content, [box[2:] for box in boxes]), strict=True):
        pixels[y : y + h, x : x + w] = tile
    golden = np.asarray(Image.open(HERE / "golden" / f"{name}.png"))
    shown = golden[..., :1].repeat(3, 2) if mode == 3 else golden
    assert np.array_equal(pixels, shown)
    assert zlib.crc32(golden.tobytes()) == fixed[8]
    assert np.array_equal(np.asarray(presage.decode(data)), golden)


def test_golden_set() -> None:
    data = (HERE / "golden" / "flow-set.psg").read_bytes()
    content, fixed = sections(data)
    assert fixed[6] == 15
    images, _ = unpack(data, None, False, Settings())
    tiles = tiles_of(content, [(image.height, image.width) for _, image in images])
    for tile, (_, image) in zip(tiles, images, strict=True):
        assert np.array_equal(tile, np.asarray(image))
    assert zlib.crc32(b"".join(tile.astype(np.uint8).tobytes() for tile in tiles)) == fixed[8]
