"""A coarse picture of a large one without loss, from the first steps of each tile: these go through its corner.

What is known then are samples on a grid; between them the picture is smooth. Of planes, chroma is decoded whole, because luma is given it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...models.model import Code, Model, Pixels, Planar, Size, Symbols, Walkable
from ..coders.turns import PullFirst, watched
from ..format import container
from ..format.container import Box
from ..parallel import spread
from ..settings import Progress, Settings
from . import planes, tiles
from .reading import Reading

PIXELS = 1 << 18  # that are decoded, of luma if there are planes
LEAST = 4  # steps
PARTS = 4  # cells along the side of a tile, where the first steps go through more than a corner of it
Places = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows and columns of some pixels of a tile."""
Samples = tuple[Places, Symbols]
"""What is known of a tile: places, and the symbols (n, channels) there."""


@dataclass(frozen=True)
class Coarse:
    """levels: uint8 (rows, columns, 3) of cells of so many pixels a side, with a row and a column more than the picture has.

    corner: where in them, (x, y) in cells, the picture begins.
    """

    levels: Pixels
    cell: int
    corner: tuple[float, float]


def decode(reading: Reading, model: Model) -> Coarse | None:
    """A coarse picture of a file of tiles in colour or gray, or of planes; None where that is not much quicker than decoding it.

    Raises DamagedFile.
    """
    header = reading.header
    boxes = container.tile_boxes(header.width, header.height, header.tile)
    steps = max(LEAST, round(2 * (PIXELS / len(boxes)) ** 0.5))  # a quarter of its square are the pixels of each tile
    if steps >= header.tile:
        return None
    small = 2 * steps <= header.tile
    grid = _Grid(reading.size, 3, header.tile if small else header.tile // PARTS)
    (_planes if model.coding == "planes" else _tiles)(reading, model, boxes, steps, grid)
    middle = steps / 3, steps / 6  # of the pixels of the corner of a tile, which are taken for the middle of a cell
    corner = (0.5 - middle[0] / grid.cell, 0.5 - middle[1] / grid.cell) if small else (0.0, 0.0)
    return Coarse(np.pad(grid.levels(), ((0, 1), (0, 1), (0, 0)), "edge"), grid.cell, corner)


def _tiles(reading: Reading, model: Model, boxes: Sequence[Box], steps: int, grid: _Grid) -> None:
    walkable = cast(Walkable, model)
    tiles.check_index(reading, walkable, len(boxes))
    found = container.TileStreams(reading.data, reading.header, len(boxes))
    streams, sizes, spans = [found[i] for i in range(len(boxes))], _sizes(boxes), tiles.spans_of(reading, walkable)

    def walk(part: slice, code: Code) -> list[Symbols]:
        return walkable.walk(sizes[part], spans, 0, code)

    for box, (places, symbols) in zip(boxes, _first(walk, streams, sizes, steps, walkable.batch, reading.settings), strict=True):
        grid.add(box, places, tiles.with_levels(reading, symbols[None], walkable.blank)[0])


def _planes(reading: Reading, model: Model, boxes: Sequence[Box], steps: int, grid: _Grid) -> None:
    planar = cast(Planar, model)
    known = planes.before_luma(reading, planar)
    sizes = _sizes(boxes)

    def walk(part: slice, code: Code) -> list[Symbols]:
        return planar.walk([known.chroma.both(box) for box in boxes[part]], code)

    for box, (places, luma) in zip(boxes, _first(walk, known.streams, sizes, steps, planar.batch, reading.settings), strict=True):
        first, second = (plane[places] for plane in known.chroma.at(box))
        grid.add(box, places, known.origin.to_rgb(luma, first[:, None], second[:, None])[:, 0])


def _sizes(boxes: Sequence[Box]) -> list[Size]:
    return [(bottom - top, right - left) for left, top, right, bottom in boxes]


def _first(
    walk: Callable[[slice, Code], list[Symbols]],
    streams: Sequence[bytes],
    sizes: Sequence[Size],
    steps: int,
    batch: int,
    settings: Settings,
) -> list[Samples]:
    """What the first steps of a walk through tiles tell of each."""

    def work(part: slice, report: Progress) -> list[Samples]:
        pull = PullFirst(streams[part], steps)
        walked = walk(part, watched(pull, report))
        height, width = (max(size[i] for size in sizes[part]) for i in (0, 1))
        samples = []
        for i, tile in enumerate(walked):
            places = np.divmod(pull.places(i) - i * height * width, width)
            samples.append((places, tile[places]))
        return samples

    return spread(work, len(streams), batch, settings.workers, settings.progress)


class _Grid:
    """Sums of the levels of samples, by cells. size: height and width of the picture."""

    def __init__(self, size: Size, channels: int, cell: int) -> None:
        self.cell = cell
        rows, columns = (-(-side // cell) for side in size)
        self._sums = np.zeros((rows, columns, channels), np.float32)
        self._counts = np.zeros((rows, columns), np.float32)

    def add(self, box: Box, places: Places, levels: Pixels) -> None:
        """The levels (n, channels) at places of a box."""
        at = (box[1] + places[0]) // self.cell, (box[0] + places[1]) // self.cell
        np.add.at(self._sums, at, levels)
        np.add.at(self._counts, at, 1)

    def levels(self) -> Pixels:
        """The mean of each cell, or what those around it say, uint8 (rows, columns, channels)."""
        means = self._sums / np.maximum(self._counts, 1)[..., None]
        return np.rint(_filled(means.astype(np.float32), self._counts > 0)).clip(0, 255).astype(np.uint8)


def _filled(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Values (rows, columns, channels), where they are not known smooth between those that are: the means of 2 x 2, filled, enlarged."""
    if known.all() or not known.any():
        return values
    rows, columns = known.shape
    edges = (0, rows % 2), (0, columns % 2)
    there = np.pad(known, edges).astype(np.float32).reshape((rows + 1) // 2, 2, -1, 2)
    padded = np.pad(values, (*edges, (0, 0))).reshape(*there.shape, -1)
    counts = there.sum((1, 3))
    means = (padded * there[..., None]).sum((1, 3)) / np.maximum(counts, 1)[..., None]
    small: NDArray[np.float32] = _filled(means.astype(np.float32), counts > 0)
    size = 2 * small.shape[1], 2 * small.shape[0]
    large = [np.asarray(Image.fromarray(small[..., i]).resize(size, Image.Resampling.BILINEAR)) for i in range(small.shape[-1])]
    return np.where(known[..., None], values, np.stack(large, -1)[:rows, :columns])
