"""Coarse pictures: the samples that they are made of are those of the picture, and it is shown the right way round."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from conftest import HERE
from numpy.typing import NDArray
from PIL import Image

import presage
from presage.codec import api, previews
from presage.codec.format import container
from presage.codec.paths import coarse
from presage.codec.paths.reading import Reading
from presage.codec.settings import Settings
from presage.codec.weights import load_for

TILE = 32
Array = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """A part of the sample that is no number of whole tiles."""
    return Image.open(HERE.parent / "samples" / "kodim23.png").crop((200, 100, 463, 295))


@pytest.fixture(autouse=True, params=[11, 22])
def steps(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Of the wavefront: through a corner of tiles, and through more."""
    monkeypatch.setattr(coarse, "PIXELS", request.param**2 * 9 * 7 // 4)
    return int(request.param)


def from_chroma(image: Image.Image) -> Image.Image:
    """What a JPEG decoder makes of it, with half the rows and columns of chroma: the model of planes takes that."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=100, subsampling=2)
    return Image.open(file)


WAYS: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "RGB": (lambda image: image, "tiny"),
    "L": (lambda image: image.convert("L"), "tiny"),
    "RGBA": (lambda image: Image.merge("RGBA", (*image.split(), image.convert("L").point(lambda level: 255 - level // 2))), "tiny"),
    "levels": (lambda image: image.point(lambda level: level & 0xF0), "tiny"),
    "planes": (from_chroma, "tiny-planes"),
}


def encoded(way: str, photograph: Image.Image) -> tuple[bytes, Image.Image]:
    made, model = WAYS[way]
    picture = made(photograph)
    return presage.encode(picture, model=model, tile=TILE), picture


@pytest.mark.parametrize("way", WAYS)
def test_the_samples_are_those_of_the_picture(way: str, steps: int, photograph: Image.Image) -> None:
    """Cells with known pixels have the mean of these; the known ones are those of the first steps of each tile."""
    data, picture = encoded(way, photograph)
    header = container.read_header(data)
    settings = Settings(threads=2)
    found = coarse.decode(Reading(data, header, False, settings), load_for(header, settings).model)
    assert found is not None
    levels = np.asarray(picture.convert("RGB"))
    y, x = np.mgrid[: picture.height, : picture.width]
    known = x % TILE + 2 * (y % TILE) < steps
    shown = found.levels[:-1, :-1]
    sums, counts = np.zeros(shown.shape), np.zeros(shown.shape[:2])
    np.add.at(sums, (y[known] // found.cell, x[known] // found.cell), levels[known])
    np.add.at(counts, (y[known] // found.cell, x[known] // found.cell), 1)
    there = counts > 0
    assert found.cell == TILE if there.all() else 0.2 < there.mean() < 0.7
    wrong = np.abs(shown[there] - sums[there] / counts[there][:, None])
    if way == "planes":  # pixels that do not come from planes are not corrected
        assert (wrong <= 0.501).mean() > 0.97
    else:
        assert wrong.max() <= 0.501
    assert levels.min() <= shown.min() <= shown.max() <= levels.max()


@pytest.mark.parametrize("way", WAYS)
def test_it_is_shown(way: str, photograph: Image.Image) -> None:
    data, picture = encoded(way, photograph)
    found = previews.shown(data, 130)
    assert (found.way, found.image.size) == ("coarse", (130, 96))
    assert found.image.mode == ("RGBA" if way == "RGBA" else "RGB")
    true = np.asarray(picture.convert(found.image.mode).resize(found.image.size, Image.Resampling.BOX), np.float64)
    shown = np.asarray(found.image, np.float64)
    assert np.abs(shown - true).mean() < 0.7 * min(np.abs(shown - other).mean() for other in (true[::-1], true[:, ::-1], true[::-1, ::-1]))
    if way == "RGBA":
        assert np.abs(shown[..., 3] - true[..., 3]).mean() < 2  # which is no part of what is coarse
    assert previews.shown(data, 257).way == "decoded"


def test_threads_do_not_matter(photograph: Image.Image) -> None:
    for way in ("RGB", "planes"):
        data, _ = encoded(way, photograph)
        assert previews.shown(data, threads=1).image.tobytes() == previews.shown(data, threads=3).image.tobytes()


def test_pillow_takes_it_for_very_small_pictures(photograph: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has as many samples as are wanted; otherwise thumbnails are as good as Pillow makes them."""
    presage.register_pillow()
    data, picture = encoded("RGB", photograph)[0], photograph.copy()
    image = Image.open(io.BytesIO(data))
    image.thumbnail((9, 9))
    picture.thumbnail((9, 9))
    assert image.tobytes() == picture.tobytes()
    monkeypatch.setattr(api, "decode", lambda data: pytest.fail("it was decoded"))
    image = Image.open(io.BytesIO(data))
    image.thumbnail((8, 8))
    assert image.size == (8, 6)
    assert np.abs(np.asarray(image, np.float64) - np.asarray(photograph.resize((8, 6)))).mean() < 40


def test_small_pictures_are_decoded(photograph: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = encoded("RGB", photograph)
    monkeypatch.setattr(coarse, "PIXELS", 1 << 18)
    assert previews.shown(data).way == "decoded"


def test_damage_is_reported(photograph: Image.Image) -> None:
    data = bytearray(encoded("RGB", photograph)[0])
    section = container.read_header(bytes(data)).section(container.Tag.TILES)
    assert section is not None
    data[section.offset + section.size - 3] ^= 1
    with pytest.raises(presage.DamagedFile, match="tile"):
        presage.preview(bytes(data))
