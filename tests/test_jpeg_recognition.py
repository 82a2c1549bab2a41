"""Pixels that once were a JPEG: the same pixels come back from few corrections, and other pictures are left alone."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from presage.codec.jpeg import pixels, search, steps, stream
from presage.codec.jpeg.bounds import Bounds
from presage.codec.jpeg.recognition import recognise
from presage.codec.jpeg.search import restore

SAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    """A piece of a photograph that has no trace of a JPEG file, uint8 (200, 248, 3)."""
    whole = Image.open(Path(__file__).resolve().parent.parent / "samples" / "kodim23.png")
    return np.array(whole.crop((80, 60, 80 + 248, 60 + 200)))


def saved(image: np.ndarray, quality: int, sampling: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=sampling)
    return buffer.getvalue()


def decoded(file: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(file)))


@pytest.mark.parametrize("quality", [75, 85, 92])
@pytest.mark.parametrize("sampling", SAMPLINGS.values(), ids=SAMPLINGS)
def test_colour(photo: np.ndarray, quality: int, sampling: int) -> None:
    """Pixels are met nearly all, and steps and sampling are those of the file."""
    file = saved(photo, quality, sampling)
    image, picture = decoded(file), stream.read(file)[0]
    found = recognise(image)
    assert found
    assert np.array_equal(restore(found), image)
    assert len(found.corrections) < len(file) / 25
    assert [c.sampling for c in found.picture.components] == [c.sampling for c in picture.components]
    for ours, theirs in zip(found.picture.components, picture.components, strict=True):
        assert np.array_equal(ours.steps, theirs.steps)
        same = (ours.coefficients == theirs.coefficients).all((2, 3))
        assert same.mean() > 0.8


@pytest.mark.parametrize("quality", [50, 75, 92])
def test_gray(photo: np.ndarray, quality: int) -> None:
    file = saved(photo[..., 1], quality)
    image = decoded(file)
    for levels in (image, np.stack([image] * 3, -1)):
        found = recognise(levels)
        assert found
        assert np.array_equal(restore(found), image)
        assert len(found.corrections) < len(file) / 50
        assert np.array_equal(found.picture.components[0].steps, stream.read(file)[0].components[0].steps)


def test_high_quality(photo: np.ndarray) -> None:
    """Where many steps are 1, the search finds what rounding does not."""
    image = decoded(saved(photo[..., 1], 95))
    found = recognise(image)
    assert found
    assert np.array_equal(restore(found), image)
    low = image.astype(np.int16)
    table = found.picture.components[0].steps
    bounds = Bounds(low, low, image)
    shares = []
    for effort in (0, search.EFFORT):
        component = search.settled(bounds, table, (1, 1), (0, 0), 1, effort)
        shares.append(np.mean(pixels.plane(component)[: image.shape[0], : image.shape[1]] == image))
    assert shares[1] > shares[0]
    assert shares[1] > 0.99


def test_clipped(photo: np.ndarray) -> None:
    """Samples at both ends are inequalities."""
    steep = (4 * (photo.astype(int) - 128) + 128).clip(0, 255).astype(np.uint8)
    file = saved(steep[..., 1], 80)
    image = decoded(file)
    assert ((image == 0) | (image == 255)).mean() > 0.1
    found = recognise(image)
    assert found
    assert np.array_equal(restore(found), image)
    assert len(found.corrections) < len(file) / 50


@pytest.mark.parametrize("size", [(97, 100), (120, 135), (199, 129)])
def test_sizes(photo: np.ndarray, size: tuple[int, int]) -> None:
    image = decoded(saved(photo[: size[0], : size[1]], 80, 2))
    found = recognise(image)
    assert found
    assert np.array_equal(restore(found), image)


@pytest.mark.parametrize("offset", [(0, 0), (3, 6), (8, 8), (13, 2), (7, 15)])
@pytest.mark.parametrize("sampling", [0, 2])
def test_cut_out(photo: np.ndarray, offset: tuple[int, int], sampling: int) -> None:
    """Where blocks begin is found as well, and for halved chroma which of two places it is."""
    top, left = offset
    file = saved(photo, 75, sampling)
    image = np.ascontiguousarray(decoded(file)[top:, left:])
    found = recognise(image)
    assert found
    assert np.array_equal(restore(found), image)
    period = 16 if sampling else 8
    assert found.offset == (top % period, left % period)
    assert len(found.corrections) < len(file) / 15


def test_cut_out_of_gray(photo: np.ndarray) -> None:
    image = np.ascontiguousarray(decoded(saved(photo[..., 1], 75))[3:, 5:])
    found = recognise(image)
    assert found
    assert found.offset == (3, 5)
    assert np.array_equal(restore(found), image)


def test_edited(photo: np.ndarray) -> None:
    """A stamp on a picture is corrected, pixel by pixel."""
    image = decoded(saved(photo, 85, 2))
    image[20:40, 30:52] = np.random.default_rng(0).integers(0, 256, (20, 22, 3), np.uint8)
    found = recognise(image)
    assert found
    assert found.corrections
    assert np.array_equal(restore(found), image)


def test_others_are_left_alone(photo: np.ndarray) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for image in (photo, photo[..., 0], noise, noise[..., 0], np.zeros((64, 64, 3), np.uint8), np.zeros((5, 5), np.uint8)):
        assert recognise(image) is None


def test_workers(photo: np.ndarray) -> None:
    image = decoded(saved(photo, 92, 2))
    one, two = recognise(image, 1), recognise(image, 3)
    assert one
    assert two
    assert one.corrections == two.corrections
    for ours, theirs in zip(one.picture.components, two.picture.components, strict=True):
        assert np.array_equal(ours.coefficients, theirs.coefficients)


def test_steps(photo: np.ndarray) -> None:
    """A table that is no scaled one of the standard is found where coefficients show it."""
    generator = np.random.default_rng(0)
    table = generator.integers(2, 12, (8, 8)).astype(np.uint16)
    blocks = np.round(generator.laplace(0, 2, (500, 8, 8))) * table
    samples = np.round(np.einsum("nk,ki->ni", blocks.reshape(-1, 64), steps.BASIS)) + 128
    found = steps.find(steps.evidence(steps.transform(samples.astype(np.int16))))
    assert found is not None
    assert np.array_equal(found, table)
    assert steps.partner(table) is None
    chroma = steps.partner(steps.standard(steps.LUMA, 90))
    assert chroma is not None
    assert np.array_equal(chroma, steps.standard(steps.CHROMA, 90))
