"""Coefficients of a JPEG file through a model: component after component, each in tiles of blocks with a stream each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...models.model import Blocks, Box, Plane, Transformed
from ..coders.turns import Pull, Record, watched
from ..errors import DamagedFile
from ..format import container
from ..format.container import Tag
from ..jpeg.picture import Component, Picture
from ..parallel import part_of, spread
from ..settings import Progress, Settings
from .reading import Reading

Lost = list[tuple[int, Box]]
"""Tiles that are lost: the number of their component, and their boxes in its blocks."""


def encode(picture: Picture, model: Transformed, tile: int, settings: Settings) -> dict[bytes, bytes]:
    """The sections of a picture's coefficients. tile: side of the tiles in blocks."""
    planes = [Plane(c.sampling, c.steps, model.profile(c.coefficients), c.coefficients) for c in picture.components]
    boxes = [_boxes(plane, tile) for plane in planes]
    total = sum(map(len, boxes))
    streams: list[bytes] = []
    for i, plane in enumerate(planes):
        tiles = [_cut(plane.blocks, box) for box in boxes[i]]

        def work(part: slice, report: Progress, i: int = i, plane: Plane = plane, tiles: list[Blocks] = tiles) -> list[bytes]:
            record = Record(model.answers(tiles[part]), part.stop - part.start)
            model.walk(plane, planes[:i], boxes[i][part], watched(record, report), tiles[part])
            return record.streams()

        progress = part_of(settings.progress, len(streams), len(tiles), total)
        streams += spread(work, len(tiles), model.batch, settings.workers, progress)
    return {Tag.PROFILES: b"".join(plane.profile for plane in planes)} | container.pack_tiles(streams)


def decode(reading: Reading, picture: Picture, model: Transformed) -> Lost:
    """Put the coefficients into a picture, whose components hold zeros. Raises DamagedFile; with `recovering` tells what is lost, and what
    depends on it."""
    profiles = container.read_section(reading.data, reading.header, Tag.PROFILES) or b""
    if len(profiles) != model.profile_bytes * len(picture.components):
        raise DamagedFile("the section COEF is not what this format allows")
    planes = [_plane(component, profiles, i, model.profile_bytes) for i, component in enumerate(picture.components)]
    boxes = [_boxes(plane, reading.header.tile) for plane in planes]
    total = sum(map(len, boxes))
    streams = container.TileStreams(reading.data, reading.header, total)
    lost: Lost = []
    done = 0
    for i, plane in enumerate(planes):
        there: dict[Box, bytes] = {}
        for number, box in enumerate(boxes[i], done):
            needed = [model.beside(plane, other, box) for other in planes[:i]]
            try:
                if any(_meet(needed[j], hole) for j, hole in lost if j < i):
                    raise DamagedFile("what a tile depends on is lost")
                there[box] = streams[number]
            except DamagedFile:
                if not reading.recovering:
                    raise
                lost.append((i, box))
        _decode_tiles(model, planes[: i + 1], there, reading.settings, (done, total))
        done += len(boxes[i])
    return lost


def _plane(component: Component, profiles: bytes, i: int, size: int) -> Plane:
    return Plane(component.sampling, component.steps, profiles[i * size : (i + 1) * size], component.coefficients)


def _decode_tiles(
    model: Transformed, planes: Sequence[Plane], streams: dict[Box, bytes], settings: Settings, place: tuple[int, int]
) -> None:
    """Put tiles of the last plane where they belong. Raises DamagedFile."""
    boxes, plane = list(streams), planes[-1]

    def work(part: slice, report: Progress) -> list[Blocks]:
        pull = Pull(streams[box] for box in boxes[part])
        bare = replace(plane, blocks=_shape_of(plane.blocks))
        tiles = model.walk(bare, planes[:-1], boxes[part], watched(pull, report))
        pull.check()
        return tiles

    progress = part_of(settings.progress, place[0], len(boxes), place[1])
    for box, tile in zip(boxes, spread(work, len(boxes), model.batch, settings.workers, progress), strict=True):
        _cut(plane.blocks, box)[:] = tile


def _shape_of(blocks: Blocks) -> Blocks:
    """Zeros of the same shape that take no room: nothing can be read from what is not known yet."""
    zeros: NDArray[np.int16] = np.broadcast_to(np.int16(0), blocks.shape)
    return zeros


def _boxes(plane: Plane, tile: int) -> list[Box]:
    return container.tile_boxes(plane.blocks.shape[1], plane.blocks.shape[0], tile)


def _cut(blocks: Blocks, box: Box) -> Blocks:
    return blocks[box[1] : box[3], box[0] : box[2]]


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def covered(picture: Picture, holes: Lost) -> list[Box]:
    """The (x, y, width, height) of what tiles cover of the picture."""
    tallest, widest = (max(c.sampling[i] for c in picture.components) for i in (0, 1))
    boxes = set()
    for i, (left, top, right, bottom) in holes:
        v, h = picture.components[i].sampling
        x, y = 8 * left * widest // h, 8 * top * tallest // v
        if x < picture.width and y < picture.height:
            boxes.add((x, y, min(8 * right * widest // h, picture.width) - x, min(8 * bottom * tallest // v, picture.height) - y))
    return sorted(boxes, key=lambda box: (box[1], box[0]))
