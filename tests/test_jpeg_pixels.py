"""JPEG coefficients to pixels: what Pillow's libjpeg-turbo gives, bit for bit."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from presage.codec.jpeg import kernels, pixels, stream
from presage.codec.jpeg.picture import Component, Picture

SAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
SIZES = [(48, 64), (33, 47), (17, 16), (8, 5), (1, 1), (5, 4), (16, 6), (7, 3)]


def saved(image: np.ndarray, **options: int | str | bool) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def decoded(file: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(file)))


@pytest.mark.parametrize("quality", [10, 50, 75, 90, 95, 100])
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_colour_is_pillows(photo: np.ndarray, quality: int, sampling: int) -> None:
    for height, width in SIZES:
        file = saved(photo[:height, :width], quality=quality, subsampling=sampling)
        assert np.array_equal(pixels.show(stream.read(file)[0]), decoded(file)), (height, width)


@pytest.mark.parametrize("quality", [10, 75, 95])
def test_gray_is_pillows(photo: np.ndarray, quality: int) -> None:
    for height, width in SIZES:
        file = saved(photo[:height, :width, 1], quality=quality)
        assert np.array_equal(pixels.show(stream.read(file)[0]), decoded(file))


def test_noise_is_pillows() -> None:
    """Steep blocks, whose samples are cut off at both ends."""
    noise = np.random.default_rng(0).integers(0, 2, (64, 80, 3), np.uint8) * 255
    for quality in (5, 30, 80, 100):
        for sampling in SAMPLINGS.values():
            file = saved(noise, quality=quality, subsampling=sampling)
            assert np.array_equal(pixels.show(stream.read(file)[0]), decoded(file))


def coefficients_file(blocks: np.ndarray) -> Component:
    return Component((1, 1), np.ones((8, 8), np.uint16), blocks)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_transform_is_near_the_real_one(seed: int, amplitude: int) -> None:
    """Within rounding of the cosine transform in floating point."""
    blocks = np.random.default_rng(seed).integers(-amplitude, amplitude + 1, (2, 3, 8, 8)).astype(np.int16)
    place = np.arange(8)
    line = np.cos((2 * place[None] + 1) * place[:, None] * np.pi / 16) / 2
    line[0] /= np.sqrt(2)
    real = (np.einsum("vy,ux,rcvu->rcyx", line, line, blocks) + 128).clip(0, 255)
    samples = pixels.plane(coefficients_file(blocks)).reshape(2, 8, 3, 8).swapaxes(1, 2)
    assert np.abs(samples - real).max() < 0.7


def test_sums_wrap_around() -> None:
    """Coefficients that no encoder makes give some samples, the same everywhere."""
    blocks = np.full((1, 1, 8, 8), 32767, np.int16)
    component = Component((1, 1), np.full((8, 8), 65535, np.uint16), blocks)
    values = blocks[0, 0].astype(np.int64) * 65535
    line = kernels.LINE.astype(np.int64)

    def wrapped(sums: np.ndarray) -> np.ndarray:
        return (sums + 2**31) % 2**32 - 2**31

    between = wrapped(line @ wrapped(values) + 2**10) >> 11
    expected = (wrapped(between @ line.T + 2**17) >> 18) + 128
    assert np.array_equal(pixels.plane(component), expected.clip(0, 255))


def test_plain_chroma_is_repeated(photo: np.ndarray) -> None:
    picture = stream.read(saved(photo[:32, :48], quality=80, subsampling=2))[0]
    first = pixels.plane(picture.components[1])
    assert np.array_equal(pixels.enlarged(first, (2, 2), (31, 48), False), first.repeat(2, 0).repeat(2, 1)[:31, :48])


def test_other_pictures_are_refused() -> None:
    component = coefficients_file(np.zeros((2, 2, 8, 8), np.int16))
    with pytest.raises(ValueError, match="gray"):
        pixels.show(Picture(16, 16, (component,) * 4))
    third = Component((3, 3), component.steps, component.coefficients)
    half = Component((2, 2), component.steps, component.coefficients)
    with pytest.raises(ValueError, match="whole factors"):
        pixels.show(Picture(16, 16, (third, half, half)))
