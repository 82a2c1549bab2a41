"""The stream of JPEG files: bytes come back, whatever wrote them, and hostile ones neither crash nor take their time."""

import io
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import noise, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from presage.codec.errors import DamagedFile, ImageRefused, LimitExceeded
from presage.codec.format import squeezed
from presage.codec.format.jpeg import Kept
from presage.codec.jpeg import stream
from presage.codec.jpeg.picture import Component, Picture
from presage.codec.jpeg.record import FileRecord, ScanRecord, pack, unpack
from presage.codec.jpeg.refusal import NotModelled
from presage.codec.jpeg.repair import repaired
from presage.codec.limits import Limits


def saved(mode: str = "RGB", size: tuple[int, int] = (75, 61), **options: Any) -> bytes:
    pixels = noise(size[1], size[0])
    image = Image.fromarray(pixels) if mode == "RGB" else Image.fromarray(np.repeat(pixels, 2, 2)[..., :4], "CMYK")
    buffer = io.BytesIO()
    (image.convert(mode) if mode == "L" else image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def back(data: bytes) -> Picture:
    """The picture of a file that comes back."""
    picture, record = stream.read(data)
    assert stream.write(picture, record, len(data)) == data
    return picture


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "4:4:4": {"subsampling": 0},
    "4:2:2": {"subsampling": 1},
    "optimised": {"optimize": True},
    "progressive": {"progressive": True},
    "progressive 4:4:4": {"progressive": True, "subsampling": 0, "quality": 97},
    "restarts": {"restart_marker_blocks": 2},
    "restarts in rows": {"restart_marker_rows": 1, "optimize": True},
    "progressive with restarts": {"progressive": True, "restart_marker_blocks": 3},
    "low": {"quality": 3},
    "high": {"quality": 100, "subsampling": 0},
    "gray": {"mode": "L"},
    "gray, progressive": {"mode": "L", "progressive": True},
    "CMYK": {"mode": "CMYK"},
    "CMYK, progressive": {"mode": "CMYK", "progressive": True},
    "one pixel": {"size": (1, 1)},
    "narrow": {"size": (3, 200), "progressive": True},
    "comment": {"comment": b"\xff\xd9\xff\xda of a comment"},
}


@pytest.mark.parametrize("way", WAYS)
def test_what_pillow_writes_comes_back(way: str) -> None:
    data = saved(**WAYS[way])
    picture, record = stream.read(data)
    assert stream.write(picture, record, len(data)) == data
    assert len(record) < 700
    with Image.open(io.BytesIO(data)) as image:
        assert (picture.width, picture.height, len(picture.components)) == (*image.size, len(image.getbands()))


def test_coefficients_are_those_of_the_picture() -> None:
    """A flat picture has DC alone, and steps are where they belong."""
    buffer = io.BytesIO()
    Image.new("L", (16, 8), 200).save(buffer, "JPEG", quality=50)
    (luma,) = back(buffer.getvalue()).components
    assert luma.steps[0].tolist() == [16, 11, 10, 16, 24, 40, 51, 61]
    assert luma.steps[:, 0].tolist() == [16, 12, 14, 14, 18, 24, 49, 72]
    assert luma.coefficients.shape == (1, 2, 8, 8)
    assert luma.coefficients[..., 0, 0].tolist() == [[36, 36]]
    assert np.count_nonzero(luma.coefficients) == 2


@pytest.mark.parametrize("way", ["plain", "progressive", "restarts", "progressive with restarts"])
def test_cut_files_and_bytes_after_the_end(way: str) -> None:
    data = saved(**WAYS[way])
    back(data + b"\0" * 100 + data)
    start, kept = len(data) - len(data) // 4, 0
    for end in range(start, len(data), 7):
        try:
            back(data[:end])
            kept += 1
        except NotModelled:
            pass
    assert kept > 10


@pytest.mark.parametrize("pad", [b"\0", b"\xff"])
def test_restarts_that_are_missing_superfluous_or_misnumbered(pad: bytes) -> None:
    data = saved(restart_marker_blocks=2)
    places = [i for i in range(len(data) - 1) if data[i] == 255 and 0xD0 <= data[i + 1] <= 0xD7]
    back(data[: places[2]] + b"\xff\xd7" + data[places[2] + 2 :])
    back(data[:-2] + b"\xff\xd5\xff\xd6" + data[-2:])
    back(data[:-2] + pad * 3 + data[-2:])
    back(data[: places[4]] + data[places[4] + 2 :])


def test_padding_of_zeros() -> None:
    data = saved(restart_marker_blocks=1)
    picture, record = stream.read(data)
    told = unpack(record, len(data))
    told.scans[0].pads = np.zeros(1, np.uint8)
    zeros = stream.write(picture, pack(told), len(data), exact=False)
    assert zeros != data
    assert len(stream.read(zeros)[1]) <= len(record) + 8
    back(zeros)
    told.scans[0].pads = np.arange(100, dtype=np.uint8)
    back(stream.write(picture, pack(told), len(data), exact=False))


def test_lines_that_are_counted_at_the_end() -> None:
    data = saved("L")
    place = data.index(b"\xff\xc0") + 5
    height = data[place : place + 2]
    open_frame = data[:place] + b"\0\0" + data[place + 2 : -2] + b"\xff\xdc\0\x04" + height + data[-2:]
    assert back(open_frame).height == 61


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 32), st.sampled_from([((1, 1),), ((2, 2), (1, 1), (1, 1)), ((1, 2), (1, 1), (2, 1)), ((1, 1),) * 4]))
def test_any_coefficients_come_back(seed: int, sampling: tuple[tuple[int, int], ...]) -> None:
    """Through the file that `repaired` makes of them."""
    random = np.random.default_rng(seed)
    tallest, widest = (max(s[i] for s in sampling) for i in (0, 1))
    rows, columns = random.integers(1, 4, 2)
    components = []
    for v, h in sampling:
        values: NDArray[np.int64] = random.integers(-1023, 1024, (rows * v, columns * h, 8, 8)) >> random.integers(
            0, 11, (rows * v, 1, 1, 1)
        )
        sparse = random.random(values.shape) < random.random()
        steps = random.integers(1, 65536, (8, 8)).astype(np.uint16)
        components.append(Component((v, h), steps, (values * sparse).astype(np.int16)))
    picture = Picture(int(rows) * 8 * tallest, int(columns) * 8 * widest, tuple(components))
    data = repaired(picture, pack(FileRecord([], b"\xff\xd8\xff\xe0\0\4ab")), 100)
    assert data.startswith(b"\xff\xd8\xff\xe0\0\4ab")
    again = back(data)
    for a, b in zip(picture.components, again.components, strict=True):
        assert a.sampling == b.sampling
        assert np.array_equal(a.steps, b.steps)
        assert np.array_equal(a.coefficients, b.coefficients)


def _with(data: bytes, marker: bytes, offset: int, new: bytes) -> bytes:
    place = data.index(marker) + offset
    return data[:place] + new + data[place + len(new) :]


HOSTILE: dict[str, tuple[bytes, Kept | None]] = {
    "arithmetic": (_with(saved(), b"\xff\xc0", 1, b"\xc9"), Kept.ARITHMETIC),
    "lossless": (_with(saved(), b"\xff\xc0", 1, b"\xc3"), Kept.OTHERWISE),
    "hierarchical": (_with(saved(), b"\xff\xc0", 1, b"\xc5"), Kept.OTHERWISE),
    "12 bits": (_with(saved(), b"\xff\xc0", 4, b"\x0c"), Kept.DEEPER),
    "size that lies": (_with(saved(), b"\xff\xc0", 5, b"\x3f\xff\x3f\xff"), Kept.LARGE),
    "too many codes": (_with(saved(), b"\xff\xc4", 5, b"\x03"), Kept.UNUSUAL),
    "table that overflows": (_with(saved(), b"\xff\xc4", 5, b"\xff" * 16), Kept.UNUSUAL),
    "no frame": (b"\xff\xd8\xff\xd9", Kept.UNUSUAL),
    "nothing": (b"\xff\xd8", Kept.UNUSUAL),
    "no end": (saved()[:-2], None),
    "five components": (_with(saved(), b"\xff\xc0", 9, b"\x05"), Kept.UNUSUAL),
    "sampling of 0": (_with(saved(), b"\xff\xc0", 11, b"\x20"), Kept.UNUSUAL),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_not_modelled_is_named(name: str) -> None:
    data, kept = HOSTILE[name]
    if kept is None:
        back(data)
        return
    with pytest.raises(NotModelled) as refused:
        stream.read(data)
    assert refused.value.kept == kept


def test_a_million_restarts_and_scans_without_end() -> None:
    started = time.monotonic()
    data = saved()
    back(data[:-2] + b"\xff\xd0" * 1_000_000 + data[-2:])
    back(data + b"\xff" * 1_000_000)
    start = data.index(b"\xff\xda")
    with pytest.raises(NotModelled):
        stream.read(data[:start] + data[start:-2] * 3000)
    assert time.monotonic() - started < 20


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_flipped_bytes_come_back_or_are_refused(data: st.DataObject) -> None:
    source = bytearray(MUTANTS[data.draw(st.sampled_from(sorted(MUTANTS)))])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(2, len(source) - 1))
        source[place] = data.draw(st.integers(0, 255))
    with suppress(ImageRefused):
        back(bytes(source))


MUTANTS = {way: saved(**{"size": (40, 33)} | WAYS[way]) for way in ("plain", "progressive", "restarts", "CMYK, progressive")}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_records_are_damaged_files(data: st.DataObject) -> None:
    source = MUTANTS[data.draw(st.sampled_from(sorted(MUTANTS)))]
    picture, packed = stream.read(source)
    record = unpack(packed, len(source))
    plain = pack(FileRecord(record.scans, record.skeleton))
    damaged = bytearray(plain)
    damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        stream.write(stream.blank(bytes(damaged), len(source), (picture.height, picture.width)), bytes(damaged), len(source))
        stream.write(picture, bytes(damaged), len(source))
    except DamagedFile:
        pass


@pytest.mark.parametrize(("plain", "method"), [(b"abc", 0), (b"abc" * 100, 1), (" ".join(map(str, range(40_000))).encode(), 2)])
def test_squeezed_bytes(plain: bytes, method: int) -> None:
    packed = squeezed.pack(plain)
    assert packed[0] == method
    assert squeezed.unpack(packed, len(plain)) == plain
    for wrong in (packed + b"\0", packed[:-1], bytes([3]) + packed[1:]) if method else (bytes([3]) + packed[1:],):
        with pytest.raises(DamagedFile):
            squeezed.unpack(wrong, len(plain))
    if method:
        with pytest.raises(DamagedFile):
            squeezed.unpack(packed, len(plain) - 1)


def test_limits() -> None:
    with pytest.raises(LimitExceeded):
        stream.read(saved(), Limits(pixels=1000))
    with pytest.raises(LimitExceeded):
        stream.read(saved(), Limits(memory=1000))


def test_scans_that_the_record_does_not_tell_of() -> None:
    data = saved()
    picture, packed = stream.read(data)
    record = unpack(packed, len(data))
    for scans in ([], [ScanRecord(5)], [ScanRecord(len(data), whole=1 << 30, kept=0)]):
        with pytest.raises(DamagedFile):
            stream.write(picture, pack(FileRecord(scans, record.skeleton)), len(data))


def _files(folder: str) -> list[Path]:
    return sorted(shared("jpeg").joinpath(folder).iterdir())


def test_files_of_cameras_come_back() -> None:
    for path in _files("train")[::8]:
        back(path.read_bytes())


def test_odd_files_come_back_or_are_refused() -> None:
    modelled = 0
    for path in _files("odd"):
        try:
            back(path.read_bytes())
            modelled += 1
        except NotModelled:
            pass
    assert modelled >= 85
