"""Planes of training pictures: luma and chroma as pictures that were JPEG files, video frames or Photo CD scans leave them."""

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Space:
    """RGB in 0..255 -> Y, C1, C2 = matrix x RGB + offset. kept: share of pictures that are kept as JPEG between; often: how often."""

    matrix: Floats
    offset: Floats
    kept: float
    often: float


def _space(red: float, blue: float, luma: float, chroma: float, black: float, kept: float, often: float) -> Space:
    """Luma weights of red and blue; the ranges of luma and chroma as a share of 255."""
    light = np.array([red, 1 - red - blue, blue])
    rows = [light * luma, (np.array([0, 0, 1]) - light) * chroma / (2 - 2 * blue), (np.array([1, 0, 0]) - light) * chroma / (2 - 2 * red)]
    return Space(np.array(rows, np.float32), np.array([black, 128, 128], np.float32), kept, often)


_PHOTO_CD = np.linalg.inv(np.array([[1.3584, 0, 1.8215], [1.3584, -0.4303, -0.9271], [1.3584, 2.2179, 0]]))
SPACES = (
    Space(_PHOTO_CD.astype(np.float32), np.array([0, 156, 137], np.float32), 0.0, 0.3),
    _space(0.299, 0.114, 1.0, 1.0, 0, 0.7, 0.52),  # JPEG
    _space(0.299, 0.114, 219 / 255, 224 / 255, 16, 0.3, 0.08),  # BT.601
    _space(0.2126, 0.0722, 219 / 255, 224 / 255, 16, 0.3, 0.1),  # BT.709
)
HALVED = 0.85  # share of pictures with a quarter of the chroma samples
LUMA = 0.6  # share of crops whose luma is coded
BLIND = 0.08  # share of those of which no chroma is known


def random_planes(picture: Callable[[int], Pixels], side: int, random: np.random.Generator) -> Pixels:
    """The plane to code and two known ones (side, side, 3): a chroma plane with nothing known, the other one given the first, or luma
    given both. What is not known is 128. picture: gives RGB pixels (n, n, 3) for n."""
    space = SPACES[random.choice(len(SPACES), p=[s.often for s in SPACES])]
    halved = random.random() < HALVED
    luma = random.random() < LUMA
    planes = picture(2 * side if halved and not luma else side).astype(np.float32) @ space.matrix.T + space.offset
    kept = random.random() < space.kept
    quality = int(random.integers(70, 98))
    chroma = [planes[..., i] for i in (1, 2)]
    if halved:
        chroma = [_halve(plane, random) for plane in chroma]
    integers = [_integers(plane, kept, quality, i > 0) for i, plane in enumerate([planes[..., 0], *chroma])]
    result = np.full((side, side, 3), 128, np.uint8)
    if luma:
        result[..., 0] = integers[0]
        if random.random() >= BLIND:
            for place, plane in zip((2, 1), integers[1:], strict=True):
                result[..., place] = _double(plane, side) if halved else plane
        return result
    result[..., 0] = integers[1]
    if random.random() < 0.5:
        result[..., 0], result[..., 2] = integers[2], integers[1]
    return result


def _halve(plane: Floats, random: np.random.Generator) -> Floats:
    """Half as high and as wide: the mean of four samples, or samples at even places of a plane that was smoothed."""
    if random.random() < 0.5:
        return (plane[0::2, 0::2] + plane[0::2, 1::2] + plane[1::2, 0::2] + plane[1::2, 1::2]) / np.float32(4)
    for _ in range(2):
        before = np.concatenate([plane[:1], plane[:-1]])
        after = np.concatenate([plane[1:], plane[-1:]])
        plane = ((before + 2 * plane + after) / np.float32(4)).T
    return plane[::2, ::2]


def _double(plane: Pixels, side: int) -> Pixels:
    """Twice as high and as wide, by linear interpolation."""
    return np.asarray(Image.fromarray(plane).resize((side, side), Image.Resampling.BILINEAR))


def _integers(plane: Floats, kept: bool, quality: int, chroma: bool) -> Pixels:
    """Whole levels, of what a JPEG file of the plane gives back if it is kept as one."""
    levels = np.clip(np.rint(plane), 0, 255).astype(np.uint8)
    if not kept:
        return levels
    buffer = io.BytesIO()
    tables = {"qtables": [_chroma_table(quality)]} if chroma else {"quality": quality}
    Image.fromarray(levels).save(buffer, "JPEG", **tables)
    return np.asarray(Image.open(buffer))


def _chroma_table(quality: int) -> list[int]:
    """The table K.2 of ITU-T T.81, scaled as libjpeg does."""
    small = ((17, 18, 24, 47), (18, 21, 26, 66), (24, 26, 56, 99), (47, 66, 99, 99))
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    table = np.full((8, 8), 99)
    table[:4, :4] = small
    return [int(v) for v in np.clip((table * scale + 50) // 100, 1, 255).flatten()]
