"""Nothing that a host, a file or an argument does loses a picture, takes much memory, or ends in others' exceptions: the library."""

import io
import json
import math
import struct
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import HERE, noise
from PIL import Image

import presage
from presage.codec.coders import chain
from presage.codec.format import container
from presage.codec.format.container import Coding, Header, Mode, Tag
from presage.codec.image import stored

RGB = (HERE / "golden" / "rgb.psg").read_bytes()
PICTURE = Image.open(HERE / "golden" / "rgb.png")
SET = (HERE / "golden" / "set-colour.psg").read_bytes()


def same(a: Image.Image, b: Image.Image) -> bool:
    return (a.mode, a.size, a.tobytes()) == (b.mode, b.size, b.tobytes())


def rebuilt(data: bytes, sections: dict[bytes, bytes] | None = None, more: dict[bytes, bytes] | None = None, **header: Any) -> bytes:
    """A file with other sections or fields of its header, and right checksums."""
    old = container.read_header(data)
    kept = {s.tag: data[s.offset : s.offset + s.size] for s in old.sections} | (more or {})
    return container.write(Header(**{**vars(old), **header}), kept if sections is None else sections)


@contextmanager
def little_memory(megabytes: int = 64) -> Iterator[None]:
    """Fails if much more is taken for a moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes << 20
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------------------ the host's settings


@contextmanager
def host(setting: str) -> Iterator[None]:
    """A host that has set something of torch's."""
    contexts: dict[str, Any] = {
        "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
        "device": lambda: torch.device("meta"),
        "gradients": torch.enable_grad,
        "inference": torch.inference_mode,
    }
    if setting in contexts:
        with contexts[setting]():
            yield
    else:
        changes: dict[str, Any] = {
            "dtype": (lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(torch.float32)),
            "deterministic": (lambda: torch.use_deterministic_algorithms(True), lambda: torch.use_deterministic_algorithms(False)),
            "precision": (lambda: torch.set_float32_matmul_precision("medium"), lambda: torch.set_float32_matmul_precision("highest")),
            "threads": (lambda: torch.set_num_threads(3), lambda: torch.set_num_threads(2)),
        }
        change, back = changes[setting]
        change()
        try:
            yield
        finally:
            back()


def state() -> list[object]:
    return [
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
    ]


@pytest.mark.parametrize("setting", ["autocast", "dtype", "device", "gradients", "inference", "deterministic", "precision", "threads"])
def test_settings_of_the_host_change_no_byte_and_stay(setting: str) -> None:
    from presage.codec import weights

    pixels = noise(6, 7)
    data, lossy = (presage.encode(pixels, model="tiny"), presage.encode_lossy(pixels, model="tiny-latent"))
    weights._model.cache_clear()  # models are made under the host's settings as well
    drawn = torch.random.get_rng_state()
    with host(setting):
        before = state()
        assert presage.encode(pixels, model="tiny", arithmetic="float32") == data
        assert np.array_equal(np.asarray(presage.decode(data, arithmetic="float32")), pixels)
        assert presage.encode_lossy(pixels, model="tiny-latent") == lossy
        assert presage.decode(lossy).size == (7, 6)
        assert state() == before
    assert torch.equal(torch.random.get_rng_state(), drawn)


def test_limits_and_warnings_of_pillow_are_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture above Pillow's limit, which is one for the process and may be any, is written and read."""
    source = io.BytesIO()
    drawing = Image.new("RGBA", (40, 30), (1, 2, 3, 4))
    drawing.save(source, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with warnings.catch_warnings(action="error"):
        for image, data in ((drawing, presage.encode(source.getvalue())), (PICTURE, RGB)):
            assert same(presage.decode(data), image)
            box = (2, 3, 38, 27)
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
            part = image.crop(box)
            monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
            assert same(presage.decode(data, crop=(2, 3, 36, 24)), part)
            assert Image.MAX_IMAGE_PIXELS == 500


# ------------------------------------------------------------------------------------------------- sections of hostile files


def test_only_sections_that_the_coding_calls_for_are_read() -> None:
    png = io.BytesIO()
    Image.new("RGB", PICTURE.size).save(png, "PNG")
    for tag in (Tag.SOURCE, Tag.STORED, Tag.GROUP_INDEX, Tag.LATENTS, Tag.LIST, Tag.ALPHA):
        with pytest.raises(presage.DamagedFile, match="should not have"):
            presage.decode(rebuilt(RGB, more={tag: png.getvalue()}))
    assert same(presage.decode(rebuilt(RGB, more={b"NEWS": b"of later versions"})), PICTURE)
    damaged = bytearray(rebuilt(RGB, more={b"NEWS": b"of later versions"}))
    damaged[-1] ^= 1
    with pytest.raises(presage.DamagedFile, match="NEWS"):
        presage.decode(bytes(damaged))


def test_two_sections_of_one_name_are_damage() -> None:
    data = rebuilt(RGB, more={b"NEWS": b"a", b"OLDS": b"b"})
    at = data.index(b"OLDS")
    head = data[:at] + b"NEWS" + data[at + 4 : (length := struct.unpack_from("<H", data, 10)[0]) - 4]
    with pytest.raises(presage.DamagedFile, match="two sections"):
        presage.info(head + struct.pack("<I", zlib.crc32(head)) + data[length:])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "P"])
def test_a_stored_picture_is_nothing_but_its_pixels(mode: str) -> None:
    image = Image.new("RGB", (300, 200), "white").convert(mode)
    data = presage.encode(image, model="tiny")
    content = container.read_section(data, container.read_header(data), Tag.STORED)
    assert content is not None
    assert same(presage.decode(data), image)
    for more in (content + b"\0", content + content):
        with pytest.raises(presage.DamagedFile, match="more than its pixels"):
            presage.decode(rebuilt(data, {Tag.STORED: more}))
    png = stored._save(image, "PNG")
    chunk = struct.pack(">I", 4) + b"tEXt" + b"a\0bc" + struct.pack(">I", zlib.crc32(b"tEXta\0bc"))
    assert same(presage.decode(rebuilt(data, {Tag.STORED: png})), image)
    with pytest.raises(presage.DamagedFile, match="more than its pixels"):
        presage.decode(rebuilt(data, {Tag.STORED: png[:33] + chunk + png[33:]}))


def hostile_list(listed: object, after: bytes = b"") -> bytes:
    text = listed if isinstance(listed, bytes) else json.dumps(listed).encode()
    return rebuilt(SET, more={Tag.LIST: zlib.compress(text) + after})


LISTS = [
    {"names": [["a", 0, 200_000_000, "", 5]], "sizes": [[9, 6, 5]]},
    {"names": [["a" * 60_000, 0, 1, "", 1 << 20]], "sizes": [[1, 1, 1 << 20]]},
    {"names": [["a", 0, "9>99", "", 5]], "sizes": [[9, 6, 5]]},
    {"names": ["a"], "sizes": [[9.0, 6, 1]]},
    {"names": ["a"], "sizes": [[9, 6, True]]},
    {"names": ["a", "a"], "sizes": [[9, 6, 2]]},
    {"names": ["."], "sizes": [[9, 6, 1]]},
    {"names": ["a/.."], "sizes": [[9, 6, 1]]},
    {"names": ["\ud800"], "sizes": [[9, 6, 1]]},
    {"names": ["a"], "sizes": [[9, 6, 1]], "more": 1},
    {"names": {"a": 1}, "sizes": [[9, 6, 1]]},
    b"[" * 100_000,
    b'{"names":[' + b"[]," * 3_200_000 + b'[]],"sizes":[[1,1,1]]}',
]


@pytest.mark.parametrize("listed", LISTS, ids=lambda listed: str(listed)[:40])
def test_hostile_lists_take_no_memory(listed: object) -> None:
    data = hostile_list(listed)
    with little_memory(), pytest.raises((presage.DamagedFile, presage.LimitExceeded)):
        presage.info(data)
    with little_memory(), pytest.raises((presage.DamagedFile, presage.LimitExceeded)):
        presage.unpack(data)


def test_a_list_ends_where_its_stream_does() -> None:
    header = container.read_header(SET)
    listed = json.loads(zlib.decompress(container.read_section(SET, header, Tag.LIST) or b""))
    assert len(presage.unpack(hostile_list(listed))) == 3
    with pytest.raises(presage.DamagedFile, match="after its end"):
        presage.unpack(hostile_list(listed, b"\0"))


def test_indices_are_looked_at_before_tiles_are_made() -> None:
    large: dict[str, Any] = {"width": 16384, "height": 16384, "tile": 8}
    one = container.pack_tiles([b""])
    groups = container.pack_groups([container.Group(b"\1", 1, 1)], 16, False)
    files = [
        container.write(Header(**large, mode=Mode.RGB, coding=Coding.COLOUR, pixel_crc=0, model="tiny-1", weights=bytes(16)), one),
        rebuilt(RGB, one, **large),
        rebuilt((HERE / "golden" / "chain.psg").read_bytes(), groups, **large),
    ]
    for data in files:
        assert len(data) < 600
        with little_memory(), pytest.raises((presage.DamagedFile, presage.WeightsError, presage.LimitExceeded)):
            presage.decode(data)


def test_one_huge_and_many_tiny_images_of_a_group() -> None:
    """All tiles of a group are given the room of the largest: what that takes is known beforehand."""
    sizes = {"names": ["a", ["b", 0, 1, "", 4000]], "sizes": [[1000, 1000, 1], [1, 1, 4000]]}
    group = container.pack_groups([container.Group(b"\1", 4001, 1)], 16, False)
    data = rebuilt(hostile_list(sizes), {Tag.LIST: zlib.compress(json.dumps(sizes).encode())} | group, tile=1024)
    assert len(data) < 600
    with little_memory(), pytest.raises(presage.LimitExceeded, match="memory"):
        presage.unpack(data)


def test_black_pictures_are_packed_in_groups_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    from presage.codec.paths import groups

    monkeypatch.setattr(groups, "GROUP_PLACES", 100)
    pictures = {f"{i}.png": np.zeros((6, 6, 3), np.uint8) for i in range(9)}
    data = presage.pack(pictures, model="tiny-chain")
    assert len(container.GroupStreams(data, container.read_header(data), 9)) == 3
    assert len(presage.unpack(data)) == 9


def test_many_layers_of_codes() -> None:
    data = (HERE / "golden" / "ordered.psg").read_bytes()
    section = container.read_header(data).section(Tag.CODES)
    assert section is not None
    codes = data[section.offset : section.offset + section.size]
    for layers in (struct.pack("<HB", 8, 255) * 60_000, struct.pack("<HBHB", 8, 1, 32, 1), struct.pack("<HBHB", 32, 1, 8, 0)):
        with little_memory(), pytest.raises(presage.DamagedFile, match="LAYR"):
            presage.info(rebuilt(data, {Tag.LAYERS: layers, Tag.CODES: codes}))


def test_streams_are_written_in_one_way() -> None:
    data = (HERE / "golden" / "chain.psg").read_bytes()
    header = container.read_header(data)
    streams = container.GroupStreams(data, header, len(container.tile_boxes(header.width, header.height, header.tile)))
    groups = [streams[i] for i in range(len(streams))]
    groups[0] = container.Group(groups[0].stream + b"\0", groups[0].tiles, groups[0].first)
    with pytest.raises(presage.DamagedFile, match="number"):
        presage.decode(rebuilt(data, container.pack_groups(groups, streams.precision, bool(streams.together))))
    with pytest.raises(presage.DamagedFile):
        presage.decode(rebuilt(RGB, width=83)[:-1] + b"")
    with pytest.raises(presage.DamagedFile):
        chain.ChainDecoder(1, 2, 1, 16)


META = [
    {"dpi": [300, float("nan")]}, {"dpi": [1, 2, 3]}, {"dpi": [10**400, 1]}, {"dpi": ["1", "2"]}, {"dpi": 3}, {"dpi": [True, 1]},
    {"dpi": [-1, 1]}, {"transparency": "zz"}, {"transparency": {}}, {"transparency": [1, 2]}, {"transparency": -1}, {"transparency": 1.5},
    {"transparency": [[], 1, 2]}, [], None, 7,
]  # fmt: skip


@pytest.mark.parametrize("meta", META, ids=lambda meta: str(meta)[:40])
def test_meta_follows_a_schema(meta: object, tmp_path: Path) -> None:
    with pytest.raises(presage.DamagedFile, match="META"):
        presage.decode(rebuilt(RGB, more={Tag.META: json.dumps(meta).encode()}))


def test_what_meta_cannot_hold_is_left_out_and_the_picture_kept() -> None:
    image = PICTURE.copy()
    cases: list[dict[Any, Any]] = [
        {"dpi": (float("inf"), 1)},
        {"dpi": "x"},
        {"dpi": (1,)},
        {"transparency": object()},
        {"transparency": b"\0" * 300},
    ]
    for info in cases:
        image.info = info
        back = presage.decode(presage.encode(image, model="tiny"))
        assert same(back, image)
        assert not back.info
    image.info = {"dpi": (300.0, 300.0), "transparency": (1, 2, 3)}
    assert presage.decode(presage.encode(image, model="tiny")).info == image.info


def test_empty_latents_section() -> None:
    data = (HERE / "golden" / "lossy.psg").read_bytes()
    with pytest.raises(presage.DamagedFile, match="LATN"):
        presage.info(rebuilt(data, more={Tag.LATENTS: b""}))


def test_a_model_of_gray_pictures_for_a_file_in_colour() -> None:
    with pytest.raises(presage.DamagedFile, match="does not go with"):
        presage.unpack((HERE / "fuzz" / "corpus" / "set-gray-model-of-rgb").read_bytes())


# --------------------------------------------------------------------------------------------------- limits, and verifying


def test_limits() -> None:
    for limits in ({"pixels": 5062}, {"memory": 1000}, {"seconds": 1e-9}):
        with pytest.raises(presage.LimitExceeded, match=next(iter(limits))):
            presage.decode(RGB, limits=presage.Limits(**limits))
        with pytest.raises(presage.LimitExceeded, match=next(iter(limits))):
            presage.encode(PICTURE, model="tiny", limits=presage.Limits(**limits))
    for limits in ({"images": 2}, {"name": 3}, {"pixels": 200}):
        with pytest.raises(presage.LimitExceeded, match=next(iter(limits))):
            presage.unpack(SET, limits=presage.Limits(**limits))
        with pytest.raises(presage.LimitExceeded, match=next(iter(limits))):
            presage.pack({f"{i:05}.png": noise(9, 9) for i in range(3)}, model="tiny-chain", limits=presage.Limits(**limits))
    with pytest.raises(presage.LimitExceeded, match="name"):
        presage.info(SET, presage.Limits(name=3))
    assert same(presage.decode(RGB, limits=presage.Limits(pixels=5063, seconds=math.inf)), PICTURE)
    for wrong in ({"pixels": 0}, {"pixels": 2.5}, {"seconds": float("nan")}, {"memory": -1}, {"images": True}, {"name": "a"}):
        with pytest.raises(presage.ImageRefused, match="limit"):
            presage.Limits(**wrong)


def test_time_is_up_in_the_middle() -> None:
    """The limit holds while work goes on, not only for what is expected of it."""
    seen: list[float] = []

    def slow(share: float) -> None:
        seen.append(share)
        time.sleep(0.01)

    presage.decode(RGB, threads=1, progress=seen.append)
    every = len(seen)
    with pytest.raises(presage.LimitExceeded, match="longer"):
        presage.decode(RGB, limits=presage.Limits(seconds=0.02), threads=1, progress=slow)
    assert len(seen) - every < every // 2


def test_what_was_encoded_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = {"a.png": PICTURE.copy(), "b.png": PICTURE.copy()}
    works: list[Any] = [
        lambda **o: presage.encode(PICTURE, model="tiny", **o),
        lambda **o: presage.encode(PICTURE.quantize(4), **o),
        lambda **o: presage.encode_lossy(PICTURE.convert("LA"), model="tiny-latent", **o),
        lambda **o: presage.encode_lossy(PICTURE, model="tiny-ordered", **o),
        lambda **o: presage.pack(pictures, model="tiny-chain", **o),
    ]
    for work in works:
        data = work()
        assert work(verify=True) == data
        with monkeypatch.context() as patch:
            write = container.write
            patch.setattr(container, "write", lambda header, sections, w=write: w(header, {k: _broken(v) for k, v in sections.items()}))
            assert work() != data
            with pytest.raises(presage.PresageError, match="does not decode") as caught:
                work(verify=True)
            assert type(caught.value) is presage.PresageError


def _broken(content: bytes) -> bytes:
    """A coder that is wrong."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if content else content
