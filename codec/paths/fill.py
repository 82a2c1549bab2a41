"""Filling in what is missing of a picture: drawn by a model that predicts values in any order, given all others nearby."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...models.model import Pixels
from ...models.staged import Staged
from ..coders.turns import Draw, watched
from ..errors import ImageRefused
from ..format.container import Box
from ..image.files import Picture
from ..image.pixels import image_of, pixels_for
from ..isolation import isolated
from ..parallel import part_of, working
from ..settings import Settings
from ..weights import load
from .stages import calls_of

Mask = NDArray[np.bool_]


def lost_in(mask: Image.Image) -> Mask:
    """Where a picture is not black."""
    return np.asarray(mask.convert("L")) > 0


@isolated()
def fill_picture(picture: Picture, lost: Mask, model: str, calls: int, seed: int, settings: Settings) -> Picture:
    """A picture whose lost pixels (height, width) are drawn; the same seed draws the same. Raises ImageRefused and WeightsError."""
    settings = settings.started()
    loaded = load(model, settings)
    if loaded.model.coding != "stages":
        raise ImageRefused(f"the model {loaded.name} does not fill in; those of stages do")
    if lost.shape != (picture.image.height, picture.image.width):
        raise ImageRefused(
            f"the mask has {lost.shape[1]} x {lost.shape[0]} pixels, and the picture {picture.image.width} x {picture.image.height}"
        )
    staged = cast(Staged, loaded.model)
    pixels = filled(pixels_for(picture, loaded.name, loaded.model), lost, staged, calls_of(staged, calls), seed, settings)
    image = image_of(pixels, picture.mode)
    if image.mode != picture.image.mode:
        image.putalpha(picture.image.getchannel("A"))
    return replace(picture, image=image)


def filled(pixels: Pixels, lost: Mask, model: Staged, calls: int, seed: int, settings: Settings) -> Pixels:
    """Pixels (height, width, 3) with those drawn that are lost (height, width): cell by cell, given all around that are there by then."""
    found, known = np.where(lost[..., None], 0, pixels).astype(np.uint8), ~lost
    boxes = [box for box in _cells(pixels.shape[0], pixels.shape[1], model.tile) if lost[box[1] : box[3], box[0] : box[2]].any()]
    for number, (left, top, right, bottom) in enumerate(boxes):
        x, y = _start(left, lost.shape[1], model.tile), _start(top, lost.shape[0], model.tile)
        window = slice(y, y + model.tile), slice(x, x + model.tile)
        whole, there = found[window], known[window][..., None].repeat(model.channels, 2)
        tiles = [np.zeros_like(whole)]
        code = Draw(seed, [number])
        for stage in range(len(model.stages)):
            after = 8 - sum(model.stages[: stage + 1])
            report = part_of(settings.progress, number * len(model.stages) + stage, 1, len(boxes) * len(model.stages))
            tiles = [np.where(there, whole >> after << after, tiles[0])]
            with working():
                tiles, _ = model.walk(tiles, stage, calls, watched(code, report), [there])
        cell = slice(top, bottom), slice(left, right)
        drawn = np.where(known[cell][..., None], found[cell], tiles[0][top - y : bottom - y, left - x : right - x])
        found[cell], known[cell] = drawn, True
    return found


def _start(first: int, size: int, tile: int) -> int:
    """Where a tile begins that has a cell in the middle, as far as the picture allows."""
    return max(0, min(first - tile // 4, size - tile))


def _cells(height: int, width: int, tile: int) -> Iterator[Box]:
    """Pieces (left, top, right, bottom) that are drawn at a time: a whole small picture, or the middles of tiles, row by row."""
    if max(height, width) <= tile:
        yield 0, 0, width, height
        return
    side = tile // 2
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield left, top, min(left + side, width), min(top + side, height)
