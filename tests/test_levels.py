"""Channels that miss levels."""

import numpy as np
import pytest
from conftest import HERE, noise
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import presage
from presage.codec.errors import DamagedFile
from presage.codec.format import container
from presage.codec.format.container import Tag
from presage.codec.image import levels

GOLDEN = (HERE / "golden" / "levels.psg").read_bytes()


def smooth(side: int = 140) -> np.ndarray:
    """A colour picture with all levels between its ends."""
    y, x = np.mgrid[:side, :side]
    base = 40 + 60 * np.sin(x / 31) ** 2 + 70 * np.cos(y / 27 + x / 50) ** 2
    return (np.stack([base, base * 0.9 + 9, base * 0.8 + 30], -1) + noise(side, side, 4) % 8).astype(np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.sets(st.integers(0, 255), min_size=1), st.integers(0, 9))
def test_places_and_back(channels: int, some: set[int], seed: int) -> None:
    there = np.array(sorted(some), np.uint8)
    pixels = there[np.random.default_rng(seed).integers(0, len(there), (7, 9, channels))]
    kept = np.stack([np.isin(np.arange(256), pixels[..., c]) for c in range(channels)])
    coded = levels.places(pixels, kept)
    assert all(coded[..., c].max() < kept[c].sum() for c in range(channels))
    assert np.array_equal(levels.restore(coded, kept), pixels)
    assert np.array_equal(levels.unpack(levels.pack(kept), channels), kept)


def test_ordinary_pictures_have_no_list() -> None:
    assert levels.find(smooth()) is None
    assert b"LEVL" not in presage.info(presage.encode(smooth(), model="tiny"))["sections"]


@pytest.mark.parametrize("kind", ["stretched", "few", "gray", "gray alpha", "one channel"])
def test_missing_levels_cost_nothing(kind: str) -> None:
    picture = smooth()
    steep = (picture.astype(int) * 7 // 4 - 40).clip(0, 255).astype(np.uint8)
    pixels = {
        "stretched": steep,
        "few": picture // 16 * 16,
        "gray": steep[..., 0],
        "gray alpha": np.dstack([steep[..., 0], picture[..., 1]]),
        "one channel": np.dstack([picture[..., 0], steep[..., 1], picture[..., 2]]),
    }[kind]
    file = presage.encode(pixels, model="tiny", tile=64)
    info = presage.info(file)
    assert info["coding"] == "model"
    assert len(info["levels"]) == (1 if kind.startswith("gray") else 3)
    assert min(info["levels"]) < 200
    image = presage.decode(file)
    assert np.array_equal(np.asarray(image), pixels)
    assert np.array_equal(np.asarray(presage.decode(file, crop=(33, 50, 70, 41))), np.asarray(image.crop((33, 50, 103, 91))))


def test_smaller_than_with_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = (smooth().astype(int) * 7 // 4 - 40).clip(0, 255).astype(np.uint8)
    with_list = presage.encode(pixels, model="tiny")
    monkeypatch.setattr(levels, "ENOUGH", 1 << 30)
    assert len(with_list) < len(presage.encode(pixels, model="tiny"))


def test_lost_tiles_are_blank() -> None:
    whole = np.asarray(presage.decode(GOLDEN))
    damaged = bytearray(GOLDEN)
    tiles = container.read_header(GOLDEN).section(Tag.TILES)
    assert tiles
    damaged[tiles.offset + 5] ^= 1
    image, lost = presage.recover(bytes(damaged))
    assert lost == [(0, 0, 64, 64)]
    pixels = np.asarray(image)
    assert (pixels[:64, :64] == 128).all()
    assert np.array_equal(pixels[64:], whole[64:])
    assert np.array_equal(pixels[:64, 64:], whole[:64, 64:])


@pytest.mark.parametrize("content", [b"", bytes(96), bytes(95) + b"\1", b"\1" * 32, b"\1" * 97, b"\xff" * 95])
def test_hostile_lists(content: bytes) -> None:
    with pytest.raises(DamagedFile):
        presage.decode(replaced(content))


def test_other_levels_are_noticed() -> None:
    with pytest.raises(DamagedFile, match="not those that were encoded"):
        presage.decode(replaced(b"\xff" * 96))


def replaced(content: bytes) -> bytes:
    """The golden file with another list."""
    header = container.read_header(GOLDEN)
    sections = {s.tag: GOLDEN[s.offset : s.offset + s.size] for s in header.sections}
    return container.write(header, sections | {Tag.LEVELS: content})


def test_the_page_is_enough() -> None:
    """Places to pixels by FORMAT.md alone."""
    header = container.read_header(GOLDEN)
    content = container.read_section(GOLDEN, header, Tag.LEVELS)
    assert content
    without = {s.tag: GOLDEN[s.offset : s.offset + s.size] for s in header.sections if s.tag != Tag.LEVELS}
    places = np.asarray(presage.recover(container.write(header, without))[0])  # another checksum, and so not decoded but recovered
    expected = np.asarray(Image.open(HERE / "golden" / "levels.png"))
    for channel in range(3):
        bits = content[32 * channel : 32 * channel + 32]
        there = [i for i in range(256) if bits[i // 8] >> i % 8 & 1]
        assert [there[p] for p in places[5, :, channel]] == list(expected[5, :, channel])
