"""Pictures whose pixels come from luma and chroma: these planes through a model, in tiles with a stream each.

The tiles of C1 come first, then those of C2, which is coded given C1, then those of luma, given both chroma planes at its size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ...models.model import Pixels, Planar, Symbols
from ..coders.turns import Pull, Record, watched
from ..errors import DamagedFile
from ..format import container
from ..format.container import Box, Coding, Header, Tag, TileStreams
from ..image import beside
from ..image.files import Picture
from ..origins import exceptions, planes
from ..origins.planes import Planes
from ..origins.sampling import Plane, Sampling, upsample
from ..origins.table import Origin
from ..parallel import spread
from ..settings import Progress, Settings
from ..weights import Loaded
from .reading import Reading

CHUNK_TILES = 192  # tiles that are held at once
UNKNOWN = 128  # what an unknown side plane holds
Sides = Callable[[Box], Symbols]
"""The side planes (h, w, 2) of a tile (left, top, right, bottom)."""


@dataclass(frozen=True)
class Layout:
    """The tiles of the three planes in the order of their streams: their boxes, chroma in cells."""

    chroma: list[Box]
    luma: list[Box]

    @staticmethod
    def of(width: int, height: int, sampling: Sampling, tile: int) -> Layout:
        rows, columns = sampling.cells(height, width)
        return Layout(container.tile_boxes(columns, rows, tile), container.tile_boxes(width, height, tile))

    @property
    def count(self) -> int:
        return 2 * len(self.chroma) + len(self.luma)


@dataclass(frozen=True)
class Chroma:
    """Both chroma planes, whole or as much as is known, and how they are brought to the size (height, width) of luma."""

    sampling: Sampling
    size: tuple[int, int]
    first: Plane
    second: Plane

    def at(self, box: Box) -> tuple[Plane, Plane]:
        """C1 and C2 (h, w) at the pixels of a box."""
        left, top, right, bottom = box
        rows, columns = self.sampling.axes(*self.size)
        how = (rows[top:bottom], columns[left:right], self.sampling.bias, self.sampling.shift)
        return upsample(self.first, *how), upsample(self.second, *how)

    def nothing(self, box: Box) -> Symbols:
        """The side planes of a tile of C1."""
        return np.full((box[3] - box[1], box[2] - box[0], 2), UNKNOWN, np.uint8)

    def one(self, box: Box) -> Symbols:
        """The side planes of a tile of C2: C1 is the second one."""
        sides = self.nothing(box)
        sides[..., 1] = cut(self.first, box)
        return sides

    def both(self, box: Box) -> Symbols:
        """The side planes of a tile of luma."""
        first, second = self.at(box)
        return np.stack([second, first], -1).astype(np.uint8)

    def cells(self, box: Box) -> Box:
        """The box of the cells that the chroma of a box of pixels comes from."""
        left, top, right, bottom = box
        rows, columns = (axis[:, :2] for axis in self.sampling.axes(*self.size))
        rows, columns = rows[top:bottom], columns[left:right]
        return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def cut(plane: NDArray[np.generic], box: Box) -> NDArray[np.generic]:
    """A box of a plane."""
    return plane[box[1] : box[3], box[0] : box[2]]


def encode(picture: Picture, found: Planes, loaded: Loaded[Planar], tile: int, settings: Settings) -> bytes:
    """The file of a picture in RGB, given what its pixels come from."""
    tile, size = tile or loaded.model.tile, found.luma.shape
    layout = Layout.of(size[1], size[0], found.sampling, tile)
    chroma = Chroma(found.sampling, (size[0], size[1]), found.first.astype(np.int16), found.second.astype(np.int16))
    parts = (
        (found.first, layout.chroma, chroma.nothing),
        (found.second, layout.chroma, chroma.one),
        (found.luma, layout.luma, chroma.both),
    )
    streams: list[bytes] = []
    for plane, boxes, sides in parts:
        tiles = [np.ascontiguousarray(cut(plane, box))[..., None] for box in boxes]
        streams += _walked(loaded.model, boxes, sides, settings, (len(streams), layout.count), tiles=tiles)
    pixels = np.asarray(picture.image)[..., :3]
    kept = [exceptions.encode(cut(pixels, box), found.origin.to_rgb(cut(found.luma, box), *chroma.at(box))) for box in layout.luma]
    sections = beside.sections(picture, False) | {Tag.ORIGIN: planes.pack(found, kept)} | container.pack_tiles(streams)
    crc = zlib.crc32(picture.image.tobytes())
    header = Header(size[1], size[0], picture.mode, Coding.PLANES, crc, tile, loaded.name, loaded.hash)
    return container.write(header, sections)


def decode(reading: Reading, model: Planar, area: Box) -> tuple[Pixels, list[Box]]:
    """The pixels (height, width, 3) of an area, and the (x, y, width, height) of what is lost of it. Raises DamagedFile.

    Only the tiles that the area needs are decoded.
    """
    header, (height, width) = reading.header, reading.size
    content = container.read_section(reading.data, header, Tag.ORIGIN)
    layout, (origin, sampling, kept) = _read_layout(content, header.width, header.height, header.tile)
    streams = TileStreams(reading.data, header, layout.count)
    wanted = [box for box in layout.luma if _meet(box, area)]
    whole = wanted[0][0], wanted[0][1], wanted[-1][2], wanted[-1][3]
    known = [np.full(sampling.cells(height, width), UNKNOWN, np.int16) for _ in range(2)]
    chroma = Chroma(sampling, (height, width), *known)
    needed = [i for i, box in enumerate(layout.chroma) if _meet(box, chroma.cells(whole))]
    total, done, lost = 2 * len(needed) + len(wanted), 0, set[Box]()
    for plane, first, sides in ((known[0], 0, chroma.nothing), (known[1], len(layout.chroma), chroma.one)):
        boxes = {first + i: layout.chroma[i] for i in needed}
        for box, tile in _tiles(reading, model, streams, boxes, sides, (done, total)):
            if tile is None:
                lost.add(box)
            else:
                plane[box[1] : box[3], box[0] : box[2]] = tile[..., 0]
        done += len(needed)
    pixels = np.full((area[3] - area[1], area[2] - area[0], 3), UNKNOWN, np.uint8)
    missing: list[Box] = []
    first = 2 * len(layout.chroma)
    boxes = {first + i: box for i, box in enumerate(layout.luma) if _meet(box, area)}
    blind = {box for box in boxes.values() if any(_meet(chroma.cells(box), hole) for hole in lost)}
    numbers = {box: number - first for number, box in boxes.items()}
    boxes = {number: box for number, box in boxes.items() if box not in blind}
    missing += [(box[0], box[1], box[2] - box[0], box[3] - box[1]) for box in sorted(blind, key=lambda b: (b[1], b[0]))]
    for box, tile in _tiles(reading, model, streams, boxes, chroma.both, (done, total)):
        if tile is None:
            missing.append((box[0], box[1], box[2] - box[0], box[3] - box[1]))
            continue
        made = exceptions.decode(kept[numbers[box]], origin.to_rgb(tile[..., 0], *chroma.at(box)))
        rows, columns = slice(max(box[1], area[1]), min(box[3], area[3])), slice(max(box[0], area[0]), min(box[2], area[2]))
        inside = made[rows.start - box[1] : rows.stop - box[1], columns.start - box[0] : columns.stop - box[0]]
        pixels[rows.start - area[1] : rows.stop - area[1], columns.start - area[0] : columns.stop - area[0]] = inside
    return pixels, missing


def _read_layout(content: bytes | None, width: int, height: int, tile: int) -> tuple[Layout, tuple[Origin, Sampling, list[bytes]]]:
    """Raises DamagedFile."""
    if content is None:
        raise DamagedFile("the origin of the planes is missing")
    origin, sampling, rest = planes.unpack(content)
    layout = Layout.of(width, height, sampling, tile)
    return layout, (origin, sampling, planes.unpack_exceptions(rest, len(layout.luma)))


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _tiles(
    reading: Reading, model: Planar, streams: TileStreams, boxes: dict[int, Box], sides: Sides, place: tuple[int, int]
) -> Iterator[tuple[Box, Symbols | None]]:
    """Tiles (h, w, 1) by their numbers; with `recovering` None for damaged ones. Raises DamagedFile."""
    whole: dict[int, bytes] = {}
    for number, box in boxes.items():
        try:
            whole[number] = streams[number]
        except DamagedFile:
            if not reading.recovering:
                raise
            yield box, None
    there = [boxes[number] for number in whole]
    tiles = _walked(model, there, sides, reading.settings, place, streams=list(whole.values()))
    yield from zip(there, tiles, strict=True)


def _walked(
    model: Planar,
    boxes: Sequence[Box],
    sides: Sides,
    settings: Settings,
    place: tuple[int, int],
    *,
    tiles: Sequence[Symbols] = (),
    streams: Sequence[bytes] = (),
) -> list:  # type: ignore[type-arg]
    """The streams of tiles of a plane, or the tiles of streams. place: tiles that are done, and all. Raises DamagedFile."""

    def work(part: slice, report: Progress, start: int) -> list[bytes] | list[Symbols]:
        part = slice(part.start + start, part.stop + start)
        given = [sides(box) for box in boxes[part]]
        if tiles:
            record = Record(model.answers(tiles[part]), len(given))
            model.walk(given, watched(record, report))
            return record.streams()
        pull = Pull(streams[part])
        decoded = model.walk(given, watched(pull, report))
        pull.check()
        return decoded

    results = []
    for start in range(0, len(boxes), CHUNK_TILES):
        count = min(CHUNK_TILES, len(boxes) - start)
        progress = partial(_share, settings.progress, place[0] + start, count, place[1])
        results += spread(partial(work, start=start), count, model.batch, settings.workers, progress)
    return results


def _share(progress: Progress, done: int, count: int, total: int, share: float) -> None:
    progress((done + share * count) / total)
