"""Section 10 of FORMAT.md, executed: ordered codes decoded one after another in plain integers, from that page alone."""

# mypy: allow-any-generics, no-warn-return-any

import binascii
import json
import struct
import zlib
from typing import Any, cast

import constriction
import numpy as np
import pytest
from conftest import HERE
from PIL import Image
from test_format_chain import tensors

import presage
from presage.codec import weights
from presage.codec.format import container
from presage.codec.paths import layers
from presage.codec.paths.reading import Reading
from presage.codec.settings import Settings
from presage.models.model import Layered

GOLDEN = {"ordered": "tiny-ordered-1", "ordered-alpha": "tiny-ordered-1", "ordered-cut": "tiny-ordered-1", "ordered-patch": "tiny-codes-1"}


def config_of(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    return json.loads(bytes(weights["config"].astype(np.uint8)))


def layered(header: container.Header, settings: Settings) -> Layered:
    return cast(Layered, weights.load_for(header, settings).model)


def repeated(x: np.ndarray, times: int) -> np.ndarray:
    """What the patches of a finer grid take of the patches (h, w, ...) that hold them."""
    return x.repeat(times, 0).repeat(times, 1)


def z(v: np.ndarray) -> np.ndarray:
    return np.clip(v, -32767, 32767)


def a(k: int, v: np.ndarray) -> np.ndarray:
    return np.clip((v + (1 << k >> 1)) >> k, -127, 127)


class Prior:
    """The prior over the codes of a picture; `t` are its tensors, without `prior.`."""

    def __init__(self, t: dict[str, np.ndarray], height: int, width: int) -> None:
        """height, width: of the picture, in pixels."""
        self.t, self.c = t, config_of(t)
        self.sides = self.c["sides"]
        self.rows, self.columns = (-(-n // (8 * self.sides[0])) for n in (height, width))
        self.codes: list[np.ndarray] = []  # (h, w) of every layer
        self.tokens: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(self.c["blocks"])]  # keys and values

    def size(self, layer: int) -> tuple[int, int]:
        ratio = self.sides[0] // self.sides[layer]
        return self.rows * ratio, self.columns * ratio

    def order(self, layer: int) -> list[tuple[int, int]]:
        """The patches of a layer in coding order."""

        def inside(y: int, x: int, ratio: int) -> list[tuple[int, int]]:
            if ratio == 1:
                return [(y, x)]
            return [p for dy in (0, 1) for dx in (0, 1) for p in inside(2 * y + dy, 2 * x + dx, ratio // 2)]

        ratio = self.sides[0] // self.sides[layer]
        return [p for y in range(self.rows) for x in range(self.columns) for p in inside(y, x, ratio)]

    def layer(self, name: str, x: np.ndarray) -> np.ndarray:
        return (x @ self.t[f"{name}.weight"].T + self.t[f"{name}.bias"]) >> self.t[f"{name}.shift"]

    def around(self, x: np.ndarray) -> np.ndarray:
        if not self.c["neighbours"]:
            return x
        h, w = x.shape[:2]
        padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
        return np.concatenate([padded[dy : dy + h, dx : dx + w] for dy in range(3) for dx in range(3)], -1)

    def weights(self) -> np.ndarray:
        """Of the codes of the next layer, (h, w, entries)."""
        c, layer = self.c, len(self.codes)
        h, w = self.size(layer)
        seen = np.zeros((h, w, c["embedding"] * (9 if c["neighbours"] else 1)), np.int64)
        if layer:
            table = self.t["embedding"][0 if c["shared"] else layer - 1]
            seen = repeated(self.around(table[self.codes[-1]]), h // self.size(layer - 1)[0])
        quarter = np.zeros((h, w, 4), np.int64)
        if self.sides[layer] != self.sides[0]:
            for y, x in np.ndindex(h, w):
                quarter[y, x, 2 * (y % 2) + x % 2] = 32
        stream = z(self.layer(f"ins.{layer}", np.concatenate([seen, quarter], -1)))
        for i, (first, second, score) in enumerate(self.t["block_bits"]):
            qkv = np.clip(self.layer(f"blocks.{i}.qkv", a(first, stream)), -127, 127)
            q, k, v = qkv.reshape(h, w, 3, c["heads"], c["head"]).transpose(2, 0, 1, 3, 4)
            self.tokens[i].append((k, v))
            mixed = self.attention(i, q, int(score))
            stream = z(stream + self.layer(f"blocks.{i}.out", mixed))
            middle = np.clip(self.layer(f"blocks.{i}.mix", self.around(a(second, stream))), 0, 127)
            stream = z(stream + self.layer(f"blocks.{i}.back", middle))
        logits = self.layer(f"outs.{0 if c['shared'] else layer}", a(int(self.t["last_bits"]), stream))
        spare = next(s for s in range(17) if c["entries"] * ((1 << 16 >> s) + 1) < 1 << 24)
        return (self.t["tables.category"][np.minimum(logits.max(-1, keepdims=True) - logits, 1024)] >> spare) + 1

    def attention(self, block: int, q: np.ndarray, s: int) -> np.ndarray:
        h, w = q.shape[:2]
        k, v = (np.stack([repeated(token[part], h // len(token[part])) for token in self.tokens[block]], 2) for part in (0, 1))
        score = (np.einsum("yxhd,yxthd->yxth", q, k) + (1 << s >> 1)) >> s
        weight = self.t["tables.attention"][np.minimum(score.max(2, keepdims=True) - score, 256)]
        total = weight.sum(2)[..., None]
        return ((2 * np.einsum("yxth,yxthd->yxhd", weight, v) + total) // (2 * total)).reshape(h, w, -1)

    def tell(self, codes: np.ndarray) -> None:
        self.codes.append(codes)


def chunks_of(section: bytes, size: int) -> list[tuple[int, bytes]]:
    """(codes, words) of the whole chunks of a section that was once `size` bytes long."""
    found: list[tuple[int, bytes]] = []
    at = 0
    while at < size:
        end = min(at + 5 + 4 * min(15 + 2 * len(found), 126), size)
        if end > len(section):
            break
        check, low, high = struct.unpack_from("<HHB", section, at)
        assert binascii.crc_hqx(section[at + 2 : end], len(found) % 65536) == check
        found.append((low + (high << 16), section[at + 5 : end]))
        at = end
    return found


def taken_apart(data: bytes, number: int) -> tuple[int, int, int, dict[bytes, tuple[bytes, int, int]]]:
    """Width, height and pixel CRC of a file of that coding, without tiles; its sections with their sizes and CRCs, CODE the last."""
    _, _, length, width, height, _, coding, tile, crc, count, _, name = struct.unpack_from("<8sHHIIBBHIB16sB", data)
    assert (coding, tile) == (number, 0)
    offset, sections = length, {}
    for i in range(count):
        tag, size, check = struct.unpack_from("<4sQI", data, 46 + name + 16 * i)
        sections[tag] = (data[offset : offset + size], size, check)
        offset += size
    assert list(sections)[-1] == b"CODE"
    assert sections[b"CODE"][2] == 0
    return width, height, crc, sections


def decode(data: bytes, t: dict[str, np.ndarray]) -> tuple[list[int], int, Prior]:
    """The codes of a file in their order, and the CRC-32 of all of them that it gives."""
    width, height, crc, sections = taken_apart(data, 7)
    prior = Prior({name.removeprefix("prior."): v for name, v in t.items() if name.startswith("prior.")}, height, width)
    layers = [8 * side for side in prior.sides]
    assert zlib.crc32(sections[b"LAYR"][0]) == sections[b"LAYR"][2]
    assert [side for side, n in struct.iter_unpack("<HB", sections[b"LAYR"][0]) for _ in range(n)] == layers
    chunks = chunks_of(*sections[b"CODE"][:2])
    left, found = 0, list[int]()
    coder: Any = None
    for layer in range(len(layers)):
        weights, codes = prior.weights(), np.zeros(prior.size(layer), np.int64)
        for place in prior.order(layer):
            while not left:
                if not chunks:
                    return found, crc, prior
                left, words = chunks.pop(0)
                coder = constriction.stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
            model = constriction.stream.model.Categorical(perfect=False)
            codes[place] = int(coder.decode(model, weights[place].astype(np.float32)[None])[0])
            found.append(int(codes[place]))
            left -= 1
        prior.tell(codes)
    assert not left
    assert not chunks
    return found, crc, prior


@pytest.mark.parametrize("name", GOLDEN)
def test_the_page_is_enough_for_ordered_codes(name: str) -> None:
    data = (HERE / "golden" / f"{name}.psg").read_bytes()
    found, crc, prior = decode(data, tensors(GOLDEN[name]))
    total = sum(h * w for h, w in map(prior.size, range(len(prior.sides))))
    if name == "ordered-cut":
        assert 0 < len(found) < total
    else:
        assert len(found) == total
        assert zlib.crc32(np.array(found, "<u2").tobytes()) == crc
    header, settings = container.read_header(data), Settings()
    codes, _ = layers.read_codes(Reading(data, header, False, settings), layered(header, settings), None)
    assert [int(code) for layer in codes for code in layer] == found
    assert presage.info(data)["codes"] == len(found)


@pytest.mark.parametrize("name", ["ordered", "ordered-patch"])
def test_the_page_is_enough_for_cut_files(name: str) -> None:
    data, t = (HERE / "golden" / f"{name}.psg").read_bytes(), tensors(GOLDEN[name])
    whole, _, _ = decode(data, t)
    codes = container.read_header(data).section(container.Tag.CODES)
    assert codes is not None
    seen = set()
    for size in (codes.offset, codes.offset + codes.size // 2, codes.offset + 66, len(data) - 1):
        found, _, _ = decode(data[:size], t)
        assert found == whole[: len(found)]
        assert presage.info(data[:size])["codes"] == len(found)
        seen.add(len(found))
    assert 0 in seen
    assert len(seen) > 1


@pytest.mark.parametrize("name", GOLDEN)
def test_the_page_is_enough_for_the_map(name: str) -> None:
    """What the codes stand for, but for the layers at stride 4, whose matrix the page does not have."""
    data, t = (HERE / "golden" / f"{name}.psg").read_bytes(), tensors(GOLDEN[name])
    _, _, prior = decode(data, t)
    c = config_of(t)
    count = sum(side > 1 for side in prior.sides)
    known = np.zeros((prior.rows * prior.sides[0], prior.columns * prior.sides[0], c["channels"]))
    for layer, codes in enumerate(prior.codes[:count]):
        numbers = t["codebooks"][0 if c["shared"] else layer].astype(np.float64)[codes]
        side, h, w = prior.sides[layer], *prior.size(layer)
        if c["design"] == "leaky":
            channel, part = layer, numbers.reshape(h, w, side, side)
        elif c["layers"][layer][0] == 8:
            channel, part = c["layers"][layer][1], numbers.reshape(h, w, 2, 2)
        else:
            channel, sign = divmod(c["layers"][layer][1], 4)
            signs = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])[sign].reshape(2, 2) / 2
            part = np.kron(numbers.reshape(h, w, 2, 2), signs)
        known[..., channel] += part.transpose(0, 2, 1, 3).reshape(known.shape[:2])
    header, settings = container.read_header(data), Settings()
    network = layered(header, settings)
    chosen, _ = layers.read_codes(Reading(data, header, False, settings), network, min(count, len(prior.codes)))
    found, share = network.dequantise(chosen, *known.shape[:2])
    assert np.abs(found[0] - known).max() < 1e-4
    assert np.allclose(share, len(chosen) / len(prior.sides))


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_pictures(name: str) -> None:
    """At most one grey level from what another machine made of the same file."""
    expected = Image.open(HERE / "golden" / f"{name}.png")
    found = presage.decode((HERE / "golden" / f"{name}.psg").read_bytes())
    assert (found.mode, found.size) == (expected.mode, expected.size)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 1
    if found.mode == "LA":
        assert found.getchannel("A").tobytes() == expected.getchannel("A").tobytes()
