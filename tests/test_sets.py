"""Packed sets: what goes in comes out by name; a damaged group loses its images and says which; hostile lists are reported."""

import json
import zlib
from typing import Any

import numpy as np
import pytest
from conftest import HERE, noise, unpack
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import presage
from presage.codec import api
from presage.codec.errors import DamagedFile, ImageRefused, WeightsError
from presage.codec.format import container, listing
from presage.codec.format.container import Tag
from presage.codec.image import files as images
from presage.codec.paths import groups as chains
from presage.codec.paths import sets
from presage.codec.settings import Settings

SETTINGS = Settings(threads=1)


def named(count: int = 7) -> list[tuple[str, images.Picture]]:
    return [(f"a/{98 + i}.png", images.from_pillow(Image.fromarray(noise(6 + i % 3, 9, i)))) for i in range(count)]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setattr(chains, "GROUP_BITS", 1500)
    packed = sets.pack_pictures(named(), "tiny-chain", 0, SETTINGS)
    assert len(container.GroupStreams(packed, container.read_header(packed), 7)) > 2
    return packed


def equal(found: list[tuple[str, Image.Image]], expected: list[tuple[str, images.Picture]]) -> bool:
    return [(n, i.mode, i.tobytes()) for n, i in found] == [(n, p.image.mode, p.image.tobytes()) for n, p in expected]


def test_round_trip(data: bytes) -> None:
    found, lost = unpack(data, None, False, SETTINGS)
    assert equal(found, named())
    assert not lost


def test_as_a_library() -> None:
    pictures = {f"{i}.png": Image.fromarray(noise(9, 8, i)) for i in range(3)}
    data = presage.pack(pictures, model="tiny-chain", threads=1)
    assert {name: image.tobytes() for name, image in presage.unpack(data).items()} == {n: i.tobytes() for n, i in pictures.items()}
    schedule = presage.Schedule("fixed-point")
    assert list(presage.unpack(data, ["1.png"], schedule=schedule)) == ["1.png"]


def test_images_larger_than_a_tile() -> None:
    pictures = [
        ("big.png", images.from_pillow(Image.fromarray(noise(35, 50)))),
        ("one.png", images.from_pillow(Image.fromarray(noise(1, 1)))),
    ]
    found, _ = unpack(sets.pack_pictures(pictures, "tiny-chain", 16, SETTINGS), None, False, SETTINGS)
    assert equal(found, pictures)


@pytest.mark.parametrize("mode", ["1", "L"])
def test_black_and_white(mode: str) -> None:
    pictures = [(f"{i}.png", images.from_pillow(Image.fromarray(noise(11, 8 + i, i)).convert("1").convert(mode))) for i in range(3)]
    found, _ = unpack(sets.pack_pictures(pictures, "tiny-bits", 0, SETTINGS), None, False, SETTINGS)
    assert equal(found, pictures)


def test_one_image_by_name_decodes_its_group_only(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    whole = chains.decode_groups

    def watched(network: Any, groups: Any, *rest: Any) -> Any:
        decoded.append(len(groups))
        return whole(network, groups, *rest)

    monkeypatch.setattr(chains, "decode_groups", watched)
    found, _ = unpack(data, ["a/103.png"], False, SETTINGS)
    assert equal(found, named()[5:6])
    assert decoded == [1]
    with pytest.raises(ImageRefused, match="no image called"):
        unpack(data, ["b"], False, SETTINGS)


def test_a_damaged_group_loses_its_images_only(data: bytes) -> None:
    header = container.read_header(data)
    section, streams = header.section(Tag.GROUPS), container.GroupStreams(data, header, 7)
    assert section is not None
    hit = section.offset + len(streams[0].stream) + 5  # in the second group
    broken = bytearray(data)
    broken[hit] ^= 1
    with pytest.raises(DamagedFile, match="group 1"):
        unpack(bytes(broken), None, False, SETTINGS)
    found, lost = unpack(bytes(broken), None, True, SETTINGS)
    assert lost == [named()[i][0] for i in streams.tiles[1]]
    assert equal(found, [pair for pair in named() if pair[0] not in lost])


def test_a_stream_that_is_not_the_models_is_found_out(data: bytes) -> None:
    """Right checksums, wrong bits: the end of the chain tells, or the checksum of the pixels."""
    header = container.read_header(data)
    streams = container.GroupStreams(data, header, 7)
    groups = [streams[i] for i in range(len(streams))]
    wrong = bytearray(groups[1].stream)
    wrong[3] ^= 4
    groups[1] = container.Group(bytes(wrong), groups[1].tiles, groups[1].first)
    listed = container.read_section(data, header, Tag.LIST)
    assert listed is not None
    forged = container.write(header, {Tag.LIST: listed} | container.pack_groups(groups, streams.precision, bool(streams.together)))
    with pytest.raises(DamagedFile):
        unpack(forged, None, False, SETTINGS)


@pytest.mark.parametrize("cut", [10, 60, 100, -1])
def test_cut_files(data: bytes, cut: int) -> None:
    with pytest.raises(DamagedFile):
        unpack(data[:cut], None, False, SETTINGS)


HOSTILE = [
    {"names": [["a", 0, 1, "", 1 << 40]], "sizes": [[1, 1, 1 << 40]]},
    {"names": ["../a.png"] + ["b"] * 6, "sizes": [[9, 6, 7]]},
    {"names": ["/etc/x"] + ["b"] * 6, "sizes": [[9, 6, 7]]},
    {"names": ["a"], "sizes": [[9, 6, 7]]},
    {"names": ["a"], "sizes": [[1 << 30, 1 << 30, 1]]},
    {"names": ["a"], "sizes": [[0, 0, 1]]},
    {"names": ["a"], "sizes": [[9, 6, -1], [9, 6, 2]]},
    {"names": [[1, 2]], "sizes": [[9, 6, 1]]},
    {"names": [["a", -5, 1, "", 1]], "sizes": [["x", 6, 1]]},
    [],
]


@pytest.mark.parametrize("listed", HOSTILE)
def test_hostile_lists(data: bytes, listed: object) -> None:
    header = container.read_header(data)
    parts = {s.tag: data[s.offset : s.offset + s.size] for s in header.sections}
    forged = container.write(header, parts | {Tag.LIST: zlib.compress(json.dumps(listed).encode())})
    with pytest.raises(DamagedFile):
        unpack(forged, None, False, SETTINGS)
    with pytest.raises(DamagedFile):
        presage.info(forged)


def test_what_a_set_does_not_take() -> None:
    pictures = named(2)
    with pytest.raises(ImageRefused, match="1 to"):
        sets.pack_pictures([], "tiny-chain", 0, SETTINGS)
    with pytest.raises(ImageRefused, match="does not pack sets"):
        sets.pack_pictures(pictures, "tiny", 0, SETTINGS)
    with pytest.raises(WeightsError):
        sets.pack_pictures(pictures, "nobody", 0, SETTINGS)
    with pytest.raises(ImageRefused, match="same name"):
        sets.pack_pictures(pictures[:1] * 2, "tiny-chain", 0, SETTINGS)
    with pytest.raises(ImageRefused, match="one mode"):
        sets.pack_pictures([*pictures, ("x", images.from_pillow(Image.new("RGBA", (2, 2))))], "tiny-chain", 0, SETTINGS)
    with pytest.raises(ImageRefused, match="0 and 255"):
        sets.pack_pictures([("x", images.from_pillow(Image.new("L", (4, 4), 7)))], "tiny-bits", 0, SETTINGS)
    with pytest.raises(ImageRefused, match="gray pictures"):
        sets.pack_pictures(pictures, "tiny-bits", 0, SETTINGS)


def test_single_and_set_are_told_apart(data: bytes) -> None:
    with pytest.raises(ImageRefused, match="unpack"):
        api.decode(data)
    with pytest.raises(ImageRefused, match="decode"):
        unpack((HERE / "golden" / "chain.psg").read_bytes(), None, False, SETTINGS)


@given(st.lists(st.from_regex(r"[a-z]{0,2}(0{0,2}[0-9]{1,3})?(\.png)?", fullmatch=True).filter(bool), max_size=20))
def test_names_come_back(names: list[str]) -> None:
    assert list(listing.names_of(json.loads(json.dumps(listing.number_runs(names))))) == names


def test_names_that_count_up_are_short() -> None:
    names = [f"test-{i:04}.png" for i in range(95, 2000)]
    assert listing.number_runs(names) == [["test-", 95, 4, ".png", 1905]]


@pytest.mark.parametrize("size", [(1, 1), (5, 70), (33, 32)])
def test_single_images_of_odd_sizes(size: tuple[int, int]) -> None:
    for image, model in (
        (Image.fromarray(noise(*size)), "tiny-chain"),
        (Image.fromarray(noise(*size)).convert("RGBA"), "tiny-chain"),
        (Image.fromarray(noise(*size)).convert("1"), "tiny-bits"),
    ):
        data = api.encode(image, model=model)
        back = api.decode(data)
        assert (back.mode, back.size, back.tobytes()) == (image.mode, image.size, image.tobytes())


def test_crop_and_recover_of_chains(photo: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "GROUP_BITS", 12000)
    pixels = photo[:50, :70]
    data = api.encode(pixels, model="tiny-chain", tile=32)
    assert np.array_equal(np.asarray(api.decode(data, crop=(20, 10, 30, 25))), pixels[10:35, 20:50])
    broken = bytearray(data)
    broken[-3] ^= 8
    with pytest.raises(DamagedFile):
        api.decode(bytes(broken))
    image, lost = api.recover(bytes(broken))
    mask = np.ones((50, 70), bool)
    for x, y, w, h in lost:
        mask[y : y + h, x : x + w] = False
    assert lost
    assert mask.any()
    assert np.array_equal(np.asarray(image)[mask], pixels[mask])


@pytest.mark.parametrize("tile", [4, 7, 1025, -1])
def test_tiles_that_no_reader_accepts_are_refused(tile: int) -> None:
    for encode in (presage.encode, presage.encode_lossy):
        with pytest.raises(ImageRefused, match="side of a tile"):
            encode(noise(9, 9), model="tiny-chain" if encode == presage.encode else "tiny-latent", tile=tile)
    with pytest.raises(ImageRefused, match="side of a tile"):
        presage.pack({"a.png": noise(9, 9)}, model="tiny-chain", tile=tile)
