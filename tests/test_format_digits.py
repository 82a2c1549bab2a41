"""Section 15 of FORMAT.md, executed: latents decoded digit after digit in plain integers, from that page alone."""

# mypy: allow-any-generics, no-warn-return-any

import json
import zlib
from typing import Any, cast

import constriction
import numpy as np
import pytest
from conftest import HERE
from PIL import Image
from test_format_chain import tensors
from test_format_ordered import chunks_of, taken_apart

import presage
from presage.codec import weights
from presage.codec.format import container
from presage.codec.paths import layers
from presage.codec.paths.reading import Reading
from presage.codec.settings import Settings
from presage.models.progressive.exact import ExactProgressive

GOLDEN = ("digits", "digits-alpha", "digits-cut")
WEIGHTS = "tiny-progressive-1"


def around(v: np.ndarray, s: int = 1) -> np.ndarray:
    h, w = v.shape[:2]
    padded = np.pad(v, ((s, s), (s, s), (0, 0)))
    return np.concatenate([padded[dy : dy + h, dx : dx + w] for dy in (0, s, 2 * s) for dx in (0, s, 2 * s)], -1)


def pattern_of(y: int, x: int) -> tuple[int, ...]:
    """The patterns that a place belongs to."""
    if (y + x) % 2:
        return 4, 6
    if y % 2:
        return 3, 5, 6
    return {0: 0, 2: 2, 4: 1}[y % 4 + x % 4], 5, 6


def r(v: np.ndarray) -> np.ndarray:
    return np.clip(v, 0, 127)


class Digits:
    """The latents of a picture as far as they are known; `t` are the weights' tensors."""

    def __init__(self, t: dict[str, np.ndarray], height: int, width: int) -> None:
        """height, width: of the picture, in pixels."""
        self.t, self.c = t, json.loads(bytes(t["config"].astype(np.uint8)))
        self.h, self.w, self.channels = -(-height // 8), -(-width // 8), len(self.c["tops"])
        shape = (self.h, self.w, self.channels)
        self.k, self.sign = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.d = np.broadcast_to(np.array(self.c["tops"]), shape).copy()
        self.rounds: list[tuple[int, list[int], int]] = []  # plane, channels, pattern
        for plane in range(7, -1, -1):
            rest = list(self.c["order"])
            for group, size in enumerate(self.c["sizes"]):
                chosen, rest = [c for c in rest[:size] if self.c["tops"][c] > plane], rest[size:]
                if chosen:
                    parts = [6] if group else [0, 1, 2, 3, 4] if plane >= self.c["smooth"] else [5, 4]
                    self.rounds += [(plane, chosen, pattern) for pattern in parts]

    def layer(self, name: str, x: np.ndarray) -> np.ndarray:
        return (x @ self.t[f"{name}.weight"].T + self.t[f"{name}.bias"]) >> self.t[f"{name}.shift"]

    def s(self, z: int) -> int:
        return int(np.clip(self.t["tables.sigmoid"][4 * np.clip(z, -1024, 1023) + 4096], 1, 65535))

    def round(self, number: int) -> list[tuple[tuple[int, int, int], list[int]]]:
        """The latents of a round in coding order, with the weights of their digits."""
        p, chosen, pattern = self.rounds[number]
        s = (4, 2, 2, 1, 1, 1, 1)[pattern]
        m = np.where(self.k > 0, ((2 * self.k + 1) << self.d) - 1, 0)
        e = self.t["tables.compand"][p][m]
        u = np.zeros((self.h, self.w, len(self.rounds)), np.int64)
        u[..., number] = 32
        a = r(self.layer("first", np.concatenate([around(np.concatenate([self.sign * e, e], -1)), u], -1)))
        b = r(self.layer("narrow", a))
        v = r(self.layer("second", np.concatenate([around(b), a], -1)))
        found = []
        for rank, c in enumerate(chosen):
            near = around((self.sign * m)[..., c : c + 1], s)
            own = near[..., 4:5].copy()
            near = np.where(own == 0, near, np.sign(own) * (near - own))
            near[..., 4:5] = own
            near = np.sign(near) * np.minimum(8 * np.abs(near) >> p, 127)
            far = np.delete(around(e[..., c : c + 1], s), 4, -1)
            logits = self.t["bases"][number, c] + self.layer(f"outs.{c}", r(self.layer(f"heads.{c}", np.concatenate([v, near, far], -1))))
            for y, x in np.ndindex(self.h, self.w):
                if pattern not in pattern_of(y, x):
                    continue
                f, g, h = map(int, logits[y, x])
                if self.k[y, x, c]:
                    key, weight = self.c["late"], [65536 - self.s(h), self.s(h), 0]
                else:
                    some, plus = self.s(f), self.s(g)
                    key, weight = max(-1023, min(1023, f)), [(65536 - some) << 6, some * plus >> 10, some * (65536 - plus) >> 10]
                found.append((-key, y * self.w + x, rank, (y, x, c), weight))
        return [(place, weight) for *_, place, weight in sorted(found, key=lambda one: one[:3])]

    def take(self, number: int, place: tuple[int, int, int], digit: int) -> None:
        if self.k[place] == 0:
            self.sign[place] = (0, 1, -1)[digit]
        self.k[place] = 2 * self.k[place] + (digit > 0)
        self.d[place] = self.rounds[number][0]

    def values(self) -> np.ndarray:
        """What stands for the latents."""
        found = np.zeros(self.k.shape)
        for place in np.ndindex(*self.k.shape):
            k, d = int(self.k[place]), int(self.d[place])
            if k:
                found[place] = self.sign[place] * ((k << d) + (self.t["points"][d, place[2], min(k, 3) - 1] if d else 0))
        return found


def decode(data: bytes, t: dict[str, np.ndarray]) -> tuple[list[int], int, Digits, float]:
    """The digits of a file in their order as the CRC has them, that CRC, the latents, and the number of rounds that are there."""
    width, height, crc, sections = taken_apart(data, 11)
    digits, chunks = Digits(t, height, width), chunks_of(*sections[b"CODE"][:2])
    left, found = 0, list[int]()
    coder: Any = None
    for number in range(len(digits.rounds)):
        codes = digits.round(number)
        for done, (place, weight) in enumerate(codes):
            while not left:
                if not chunks:
                    return found, crc, digits, number + done / len(codes)
                left, words = chunks.pop(0)
                coder = constriction.stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
            model = constriction.stream.model.Categorical(perfect=False)
            digit = int(coder.decode(model, np.array([weight], np.float32))[0])
            digits.take(number, place, digit)
            y, x, c = place
            found.append((digit + 4 * (digits.channels * (y * digits.w + x) + c)) % 65536)
            left -= 1
    assert not left
    assert not chunks
    return found, crc, digits, float(len(digits.rounds))


def progressive(header: container.Header, settings: Settings) -> ExactProgressive:
    return cast(ExactProgressive, weights.load_for(header, settings).model)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_page_is_enough_for_digits(name: str) -> None:
    data = (HERE / "golden" / f"{name}.psg").read_bytes()
    found, crc, digits, rounds = decode(data, tensors(WEIGHTS))
    if name == "digits-cut":
        assert 0 < rounds < len(digits.rounds)
    else:
        assert rounds == len(digits.rounds)
        assert zlib.crc32(np.array(found, "<u2").tobytes()) == crc
    header, settings = container.read_header(data), Settings()
    network = progressive(header, settings)
    codes, _ = layers.read_codes(Reading(data, header, False, settings), network, None)
    assert [int(code) % 65536 for layer in codes for code in layer] == found
    assert presage.info(data)["codes"] == len(found)
    values, precision = network.dequantise(codes, digits.h, digits.w)
    assert np.abs(values[0] - digits.values()).max() < 1e-4
    table = np.append(digits.t["precision"], digits.t["precision"][-1])
    whole = int(rounds)
    assert abs(precision - (table[whole] + (rounds - whole) * (table[whole + 1] - table[whole]))) < 1e-6


def test_the_page_is_enough_for_cut_files() -> None:
    data, t = (HERE / "golden" / "digits.psg").read_bytes(), tensors(WEIGHTS)
    whole, _, _, _ = decode(data, t)
    codes = container.read_header(data).section(container.Tag.CODES)
    assert codes is not None
    seen = set()
    for size in (codes.offset, codes.offset + 66, len(data) - 1):
        found, _, _, _ = decode(data[:size], t)
        assert found == whole[: len(found)]
        assert presage.info(data[:size])["codes"] == len(found)
        seen.add(len(found))
    assert 0 in seen
    assert len(seen) == 3


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_pictures(name: str) -> None:
    """At most one grey level from what another machine made of the same file."""
    expected = Image.open(HERE / "golden" / f"{name}.png")
    found = presage.decode((HERE / "golden" / f"{name}.psg").read_bytes())
    assert (found.mode, found.size) == (expected.mode, expected.size)
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected)).max() <= 1
    if found.mode == "LA":
        assert found.getchannel("A").tobytes() == expected.getchannel("A").tobytes()
