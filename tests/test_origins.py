"""Origins: forward functions against published formulas and libjpeg, planes and back, exceptions, what is found and what is not."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import presage
from presage.codec.format import info
from presage.codec.origins import detection, exceptions, finding, planes, table
from presage.codec.origins.inversion import first_estimate
from presage.codec.origins.sampling import Rule, Sampling, chroma
from presage.codec.origins.table import ORIGINS, Origin

LEVELS = np.arange(256)
PHOTO_CD, JPEG = ORIGINS[:2]
RULES = [(a, b) for a in Rule for b in Rule if {a, b} != {Rule.BETWEEN, Rule.TRIANGLE}]


def all_greens(origin: Origin, luma: int) -> np.ndarray:
    """G of a Y and every C1 (rows) and C2 (columns), as `to_rgb` gives it."""
    first, second = np.meshgrid(LEVELS, LEVELS, indexing="ij")
    return origin.to_rgb(np.full_like(first, luma), first, second)[..., 1]


def test_photo_cd_is_the_published_formula() -> None:
    """In ten-thousandths, where it has no rounding, over all values of Y, C1 and C2."""
    y, c = np.meshgrid(LEVELS, LEVELS, indexing="ij")
    pixels = PHOTO_CD.to_rgb(y, c, c)
    assert np.array_equal(pixels[..., 0], ((13584 * y + 18215 * (c - 137)) // 10_000).clip(0, 255))
    assert np.array_equal(pixels[..., 2], ((13584 * y + 22179 * (c - 156)) // 10_000).clip(0, 255))
    blue, red = 22179 * (LEVELS[:, None] - 156) // 10_000, 18215 * (LEVELS[None] - 137) // 10_000
    for luma in range(256):
        assert np.array_equal(all_greens(PHOTO_CD, luma), ((13584 * luma - 1940 * blue - 5090 * red) // 10_000).clip(0, 255))


@pytest.mark.parametrize("origin", ORIGINS[2:], ids=lambda origin: origin.name)
def test_video_is_the_published_formula(origin: Origin) -> None:
    """Over all values of Y, C1 and C2: the nearest level of the recommendation's R, G and B, which have no end of digits."""
    red, blue = (0.299, 0.114) if origin.name == "BT.601" else (0.2126, 0.0722)
    black, height, width = (0, 255, 255) if "full" in origin.name else (16, 219, 224)
    light, difference = (LEVELS - black) * (255 / height), (LEVELS - 128) * (255 / width)
    from_red, from_blue = 2 * (1 - red) * difference, 2 * (1 - blue) * difference
    y, c = np.meshgrid(LEVELS, LEVELS, indexing="ij")
    pixels = origin.to_rgb(y, c, c).astype(float)
    for channel, part in ((0, from_red), (2, from_blue)):
        assert np.abs(pixels[..., channel] - (light[y] + part[c]).clip(0, 255)).max() < 0.5005
    for luma in range(256):
        exact = light[luma] - (red * from_red[None] + blue * from_blue[:, None]) / (1 - red - blue)
        assert np.abs(all_greens(origin, luma) - exact.clip(0, 255)).max() < 0.5005


def kept(pixels: np.ndarray, quality: int, subsampling: str) -> io.BytesIO:
    """A JPEG file of pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling=subsampling)
    return buffer


def decoded(file: io.BytesIO) -> np.ndarray:
    return np.asarray(Image.open(file).convert("RGB"))


def clean(photo: np.ndarray) -> np.ndarray:
    """A picture whose pixels come from no planes, uint8 (240, 320, 3)."""
    larger = np.asarray(Image.fromarray(photo).resize((320, 240), Image.Resampling.BICUBIC)).astype(float)
    return (larger * [0.93, 0.97, 0.9] + np.random.default_rng(0).normal(8, 2, larger.shape)).clip(3, 252).round().astype(np.uint8)


def test_jpeg_is_libjpeg(photo: np.ndarray) -> None:
    """What libjpeg makes of the planes that it gives, bit for bit; and every pixel with no channel at its end says what these were."""
    file = kept(np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8), 100, "4:4:4")
    image = Image.open(file)
    image.draft("YCbCr", image.size)
    y, first, second = np.moveaxis(np.asarray(image), -1, 0)
    pixels = decoded(file)
    assert np.array_equal(JPEG.to_rgb(y, first, second), pixels)
    file = kept(clean(photo), 90, "4:2:0")
    image = Image.open(file)
    image.draft("YCbCr", image.size)
    estimate = first_estimate(np.array(decoded(file)), JPEG)
    sure = estimate[2] == 2
    assert sure.mean() > 0.9
    for found, there in zip(estimate[:2], (1, 2), strict=True):
        assert np.array_equal(found[sure], np.asarray(image)[..., there][sure])


@pytest.mark.parametrize(("subsampling", "rules"), [("4:2:0", (3, 3)), ("4:2:2", (0, 3)), ("4:4:4", (0, 0))])
def test_jpeg_files_are_found(photo: np.ndarray, subsampling: str, rules: tuple[int, int]) -> None:
    pixels = decoded(kept(clean(photo), 90, subsampling))
    found = finding.find(pixels)
    assert found is not None
    assert (found.origin.name, found.sampling) == ("JPEG", Sampling(Rule(rules[0]), Rule(rules[1])))
    assert (found.show() != pixels).any(2).mean() < 0.01


def test_clean_and_gray_pictures_have_no_origin(photo: np.ndarray) -> None:
    pixels = clean(photo)
    assert detection.detect(pixels) is None
    assert detection.detect(np.repeat(pixels[..., :1], 3, 2)) is None
    for size in ((1, 1), (1, 9), (5, 5), (16, 3)):
        assert finding.find(pixels[: size[0], : size[1]]) is None


@pytest.mark.parametrize("origin", ORIGINS, ids=lambda origin: origin.name)
@pytest.mark.parametrize("sampling", [Sampling(Rule.SAME, Rule.SAME, (0, 1)), Sampling(Rule.BETWEEN, Rule.BETWEEN, (1, 0))], ids=str)
def test_planes_are_found_again(photo: np.ndarray, origin: Origin, sampling: Sampling) -> None:
    """Planes of a picture -> pixels -> the same origin, sampling and, but for pixels at their end, planes."""
    y, c1, c2 = np.moveaxis(np.asarray(Image.fromarray(clean(photo)).convert("YCbCr")), -1, 0)
    size, neutral = y.shape, (156, 137) if origin == PHOTO_CD else (128, 128)
    low = 40 + y // 2
    cells = sampling.cells(*size)
    small = [
        np.asarray(Image.fromarray(c).resize(cells[::-1], Image.Resampling.BOX)).astype(int) - 128 + middle
        for c, middle in zip((c1, c2), neutral, strict=True)
    ]
    given = planes.Planes(origin, sampling, low.astype(np.uint8), *(plane.astype(np.uint8) for plane in small))
    pixels = given.show()
    found = finding.find(pixels)
    assert found is not None
    assert (found.origin, found.sampling) == (origin, sampling)
    assert np.array_equal(found.show(), pixels)
    inside = (pixels.min(2) > 0) & (pixels.max(2) < 255)
    assert np.array_equal(found.luma[inside], given.luma[inside])


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(ORIGINS), st.sampled_from(RULES), st.integers(0, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_pixels_and_any_planes_come_back(
    height: int, width: int, origin: Origin, rules: tuple[Rule, Rule], phase: int, seed: int
) -> None:
    """Whatever origin is claimed: what is inverted and its exceptions are the pixels; planes are written down and read."""
    bits = [0 if rule == Rule.WHOLE else bit for rule, bit in zip(rules, (phase >> 1, phase & 1), strict=True)]
    sampling = Sampling(*rules, (bits[0], bits[1]))
    random = np.random.default_rng(seed)
    cells = sampling.cells(height, width)
    given = planes.Planes(origin, sampling, *(random.integers(0, 256, size, np.uint8) for size in ((height, width), cells, cells)))
    for pixels in (given.show(), random.integers(0, 256, (height, width, 3), np.uint8)):
        found = finding.invert(pixels, origin, sampling)
        assert found.first.shape == found.second.shape == cells
        left = exceptions.encode(pixels, found.show())
        assert np.array_equal(exceptions.decode(left, found.show()), pixels)
        content = planes.pack(found, [left, b"", left * 40])
        assert planes.unpack(content)[:2] == (origin, sampling)
        assert planes.unpack_exceptions(planes.unpack(content)[2], 3) == [left, b"", left * 40]


def test_cells_bear_what_rules_say() -> None:
    """By hand, from jdsample.c and from the scans."""
    cells = np.array([[10, 20, 31]])
    row = (1, 6)
    assert chroma(cells, Sampling(Rule.WHOLE, Rule.SAME), row).tolist() == [[10, 10, 20, 20, 31, 31]]
    assert chroma(cells, Sampling(Rule.WHOLE, Rule.BETWEEN), row).tolist() == [[10, 15, 20, 26, 31, 31]]
    assert chroma(cells, Sampling(Rule.WHOLE, Rule.BETWEEN, (0, 1)), (1, 5)).tolist() == [[15, 20, 26, 31, 31]]
    assert chroma(cells, Sampling(Rule.WHOLE, Rule.TRIANGLE), row).tolist() == [[10, 13, 17, 23, 28, 31]]
    assert chroma(cells.T, Sampling(Rule.TRIANGLE, Rule.WHOLE), row[::-1]).T.tolist() == [[10, 13, 17, 23, 28, 31]]
    assert chroma(np.array([[0, 16], [32, 255]]), Sampling(Rule.TRIANGLE, Rule.TRIANGLE), (4, 4)).tolist() == [
        [0, 4, 12, 16], [8, 25, 59, 76], [24, 67, 152, 195], [32, 88, 199, 255],
    ]  # fmt: skip


def test_hostile_exceptions() -> None:
    """Any bytes give pixels, or DamagedFile; cut or longer ones never pass."""
    random = np.random.default_rng(0)
    shown = random.integers(0, 256, (20, 30, 3), np.uint8)
    pixels = shown.copy()
    pixels[random.random((20, 30)) < 0.1] = 255
    data = exceptions.encode(pixels, shown)
    assert len(data) < 3 * 60 + 80
    for wrong in (data[:-1], data[:3], data + b"\0"):
        with pytest.raises(presage.DamagedFile):
            exceptions.decode(wrong, shown)
    for size in (1, 5, 60, 4000):
        with pytest.raises(presage.DamagedFile):
            exceptions.decode(random.bytes(size), shown)


@pytest.mark.parametrize(
    "content",
    [b"", b"\1\x22", b"\0\x22\0", b"\x63\x22\0", b"\1\x42\0", b"\1\x24\0", b"\1\x22\4", b"\1\x02\2", b"\1\x20\1"],
    ids=bytes.hex,
)
def test_hostile_origins(content: bytes) -> None:
    with pytest.raises(presage.DamagedFile):
        planes.unpack(content)


@pytest.mark.parametrize("content", [b"", b"\1", b"\0\0x", b"\x80", b"\xff" * 9, b"\1\2ab"], ids=bytes.hex)
def test_hostile_tables_of_exceptions(content: bytes) -> None:
    with pytest.raises(presage.DamagedFile):
        planes.unpack_exceptions(content, 2)


def test_numbers_of_origins_are_the_format_s() -> None:
    names = {1: "Photo CD", 2: "JPEG", 3: "BT.601", 4: "BT.709", 5: "BT.709, full range"}
    assert {number: origin.name for number, origin in table.BY_NUMBER.items()} == info.ORIGINS == names
