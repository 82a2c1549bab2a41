"""Pictures whose pixels come from luma and chroma: these planes through a model, in tiles with a stream each.

The tiles of C1 come first, then those of C2, which is coded given C1, then those of luma, given both chroma planes at its size.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

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
from ..parallel import part_of, spread
from ..settings import Progress, Settings
from ..weights import Loaded
from .reading import Reading
from .tiles import CHUNK_TILES, side

T = TypeVar("T")
Level = TypeVar("Level", bound=np.generic)
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


def cut(plane: NDArray[Level], box: Box) -> NDArray[Level]:
    """A box of a plane."""
    return plane[box[1] : box[3], box[0] : box[2]]


def encode(picture: Picture, found: Planes, loaded: Loaded[Planar], tile: int, settings: Settings) -> bytes:
    """The file of a picture in RGB, given what its pixels come from."""
    size = found.luma.shape[0], found.luma.shape[1]
    tile = side(tile, loaded.model, size)
    layout = Layout.of(size[1], size[0], found.sampling, tile)
    chroma = Chroma(found.sampling, (size[0], size[1]), found.first.astype(np.int16), found.second.astype(np.int16))
    parts = (
        (found.first, layout.chroma, chroma.nothing),
        (found.second, layout.chroma, chroma.one),
        (found.luma, layout.luma, chroma.both),
    )
    streams: list[bytes] = []
    for plane, boxes, sides in parts:
        streams += _encode_plane(plane, boxes, sides, loaded.model, settings, (len(streams), layout.count))
    pixels = np.asarray(picture.image)[..., :3]
    kept = [exceptions.encode(cut(pixels, box), found.origin.to_rgb(cut(found.luma, box), *chroma.at(box))) for box in layout.luma]
    sections = beside.sections(picture, False) | {Tag.ORIGIN: planes.pack(found, kept)} | container.pack_tiles(streams)
    crc = zlib.crc32(picture.image.tobytes())
    header = Header(size[1], size[0], picture.mode, Coding.PLANES, crc, tile, loaded.name, loaded.hash)
    return container.write(header, sections)


def _encode_plane(
    plane: NDArray[np.uint8], boxes: Sequence[Box], sides: Sides, model: Planar, settings: Settings, place: tuple[int, int]
) -> Iterator[bytes]:
    """The streams of the tiles of a plane (h, w)."""

    def work(part: slice, report: Progress) -> list[bytes]:
        tiles = [cut(plane, box)[..., None] for box in boxes[part]]
        record = Record(model.answers(tiles), len(tiles))
        model.walk([sides(box) for box in boxes[part]], watched(record, report))
        return record.streams()

    return _in_chunks(work, len(boxes), model, settings, place)


def decode(reading: Reading, model: Planar, area: Box) -> tuple[Pixels, list[Box]]:
    """The pixels (height, width, 3) of an area, and the (x, y, width, height) of tiles that are lost and blank. Raises DamagedFile.

    Only the tiles that the area needs are decoded.
    """
    header = reading.header
    origin, sampling, rest = planes.unpack(_origin(reading))
    layout = Layout.of(header.width, header.height, sampling, header.tile)
    kept = planes.unpack_exceptions(rest, len(layout.luma))
    wanted = {box: i for i, box in enumerate(layout.luma) if _meet(box, area)}
    chroma, holes, tiles = _decode_chroma(reading, model, layout, sampling, list(wanted))
    blind = [box for box in wanted if any(_meet(chroma.cells(box), hole) for hole in holes)]
    boxes = {2 * len(layout.chroma) + i: box for box, i in wanted.items() if box not in blind}
    pixels, lost = np.full((area[3] - area[1], area[2] - area[0], 3), UNKNOWN, np.uint8), blind
    for box, tile in tiles.plane(boxes, chroma.both):
        if tile is None:
            lost.append(box)
            continue
        made = exceptions.decode(kept[wanted[box]], origin.to_rgb(tile[..., 0], *chroma.at(box)))
        inside = max(box[0], area[0]), max(box[1], area[1]), min(box[2], area[2]), min(box[3], area[3])
        cut(pixels, _relative(inside, area))[:] = cut(made, _relative(inside, box))
    return pixels, [(x, y, right - x, bottom - y) for x, y, right, bottom in sorted(lost, key=lambda box: (box[1], box[0]))]


@dataclass(frozen=True)
class BeforeLuma:
    """What is known before luma: both chroma planes, and the streams of luma's tiles."""

    origin: Origin
    chroma: Chroma
    streams: list[bytes]


def before_luma(reading: Reading, model: Planar) -> BeforeLuma:
    """The chroma of a file. Raises DamagedFile."""
    header = reading.header
    origin, sampling, _ = planes.unpack(_origin(reading))
    layout = Layout.of(header.width, header.height, sampling, header.tile)
    chroma, _, _ = _decode_chroma(reading, model, layout, sampling, layout.luma)
    streams = container.TileStreams(reading.data, header, layout.count)
    return BeforeLuma(origin, chroma, [streams[2 * len(layout.chroma) + i] for i in range(len(layout.luma))])


def _origin(reading: Reading) -> bytes:
    content = container.read_section(reading.data, reading.header, Tag.ORIGIN)
    if content is None:
        raise DamagedFile("the origin of the planes is missing")
    return content


def _decode_chroma(
    reading: Reading, model: Planar, layout: Layout, sampling: Sampling, luma: Sequence[Box]
) -> tuple[Chroma, set[Box], Tiles]:
    """Chroma as far as tiles of luma need it, the tiles of it that are lost, and what reads the others. Raises DamagedFile."""
    known = [np.full(sampling.cells(*reading.size), UNKNOWN, np.int16) for _ in range(2)]
    chroma = Chroma(sampling, reading.size, *known)
    needed = {i: box for i, box in enumerate(layout.chroma) if _meet(box, chroma.cells((*luma[0][:2], *luma[-1][2:])))}
    tiles = Tiles(reading, model, container.TileStreams(reading.data, reading.header, layout.count), 2 * len(needed) + len(luma))
    holes: set[Box] = set()
    for number, (plane, sides) in enumerate(zip(known, (chroma.nothing, chroma.one), strict=True)):
        boxes = {number * len(layout.chroma) + i: box for i, box in needed.items() if box not in holes}
        for box, tile in tiles.plane(boxes, sides):
            if tile is None:
                holes.add(box)
            else:
                cut(plane, box)[:] = tile[..., 0]
    return chroma, holes, tiles


class Tiles:
    """Reads the tiles of planes. total: how many will be read."""

    def __init__(self, reading: Reading, model: Planar, streams: TileStreams, total: int) -> None:
        self._reading, self._model, self._streams, self._total = reading, model, streams, total
        self._done = 0

    def plane(self, boxes: Mapping[int, Box], sides: Sides) -> Iterator[tuple[Box, Symbols | None]]:
        """Tiles (h, w, 1) of a plane by their numbers; with `recovering` None for damaged ones. Raises DamagedFile."""
        whole: dict[int, bytes] = {}
        for number, box in boxes.items():
            try:
                whole[number] = self._streams[number]
            except DamagedFile:
                if not self._reading.recovering:
                    raise
                yield box, None
        there, streams = [boxes[number] for number in whole], list(whole.values())

        def work(part: slice, report: Progress) -> list[Symbols]:
            pull = Pull(streams[part])
            decoded = self._model.walk([sides(box) for box in there[part]], watched(pull, report))
            pull.check()
            return decoded

        yield from zip(there, _in_chunks(work, len(there), self._model, self._reading.settings, (self._done, self._total)), strict=True)
        self._done += len(boxes)


def _meet(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _relative(box: Box, origin: Box) -> Box:
    """A box in the coordinates of another one that it lies in."""
    return box[0] - origin[0], box[1] - origin[1], box[2] - origin[0], box[3] - origin[1]


def _in_chunks(
    work: Callable[[slice, Progress], list[T]], count: int, model: Planar, settings: Settings, place: tuple[int, int]
) -> Iterator[T]:
    """The results of `work` for all of range(count), some tiles at a time. place: tiles that are done, and all."""
    for start in range(0, count, CHUNK_TILES):
        size = min(CHUNK_TILES, count - start)
        progress = part_of(settings.progress, place[0] + start, size, place[1])
        yield from spread(partial(_shifted, work, start), size, model.batch, settings.workers, progress)


def _shifted(work: Callable[[slice, Progress], list[T]], start: int, part: slice, report: Progress) -> list[T]:
    return work(slice(start + part.start, start + part.stop), report)
