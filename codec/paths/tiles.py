"""Pictures whose map of symbols is cut into tiles, each with a stream of its own or in groups that share one."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np

from ...models.model import Flowing, Pixels, Planar, Predictable, Size, Span, Symbols, Tiled, Walkable
from ...models.staged import Staged
from ..errors import DamagedFile, ImageRefused
from ..estimate import EVALUATED, TOGETHER
from ..format import container
from ..format.container import Box, Coding, Tag
from ..format.stages import StageStreams
from ..image import levels
from ..image.files import Picture
from ..parallel import part_of
from ..settings import Settings, quiet
from ..weights import Loaded
from . import stages, transforms, wavefront
from .encoding import Encoding
from .reading import Reading

CHUNK_TILES = 192  # tiles that are held at once
CHUNK_STREAMS = 16  # streams of tiles of a flow that are decoded before any of them is put away
TRIED = 192  # side of the part that shows whether missing levels matter
MARGIN = 8  # places around a tile that is evaluated predictively, at most
Found = Iterator[tuple[int, Symbols | None, bool]]
"""Tiles by their numbers, None for those that are damaged; and whether they are as they were, and not coarser."""


def check_tile(tile: int) -> None:
    """Raises ImageRefused for sides that the format does not allow; 0 is what suits the model."""
    if type(tile) is not int or (tile and tile not in container.TILE_SIDES):
        raise ImageRefused(f"the side of a tile is {container.TILE_SIDES.start} to {container.TILE_SIDES.stop - 1}, not {tile!r}")


def check_no_calls(calls: int) -> None:
    """Raises ImageRefused for a number of calls that is asked of a model that has none to choose from."""
    if calls:
        raise ImageRefused("the number of calls is for models of stages; leave out --calls")


def side(tile: int, model: Tiled | Planar, size: Size) -> int:
    """The side of the tiles of a picture (height, width): `tile`, or if it is 0 what suits the model. A small picture is one tile.

    What begins at the edge of a tile knows nothing of what is beyond; and so small a picture needs no more threads. Raises ImageRefused.
    """
    if model.coding == "stages" and tile > model.tile:
        raise ImageRefused(f"tiles of this model have a side of at most {model.tile}, not {tile}")
    if tile or model.coding not in ("tiles", "planes") or model.lossy or max(size) > 2 * model.tile:
        return tile or model.tile
    return max(*size, container.TILE_SIDES.start)


def cut(symbols: Symbols, side: int) -> list[Symbols]:
    """The tiles of a map (h, w, channels), row by row."""
    boxes = container.tile_boxes(symbols.shape[1], symbols.shape[0], side)
    return [symbols[top:bottom, left:right] for left, top, right, bottom in boxes]


class TiledEncoding(Encoding):
    """A picture in tiles. Qualities are the model's; files that were made are kept, because a search asks for them again."""

    approximate = True

    def __init__(self, picture: Picture, loaded: Loaded[Tiled], tile: int, settings: Settings, calls: int = 0) -> None:
        super().__init__(picture, loaded, settings)
        self.model, self._calls = loaded.model, calls
        if loaded.model.coding != "stages":
            check_no_calls(calls)
        self.tile = side(tile, loaded.model, self.size)
        self.qualities = loaded.model.qualities
        self.default = round((self.qualities - 1) / 2)
        self._files: dict[int, bytes] = {}

    def received(self, quality: int) -> Any:
        return self.model.dequantise(self.model.quantise(self.features, quality), quality)

    def file(self, quality: int) -> bytes:
        if quality not in self._files:
            self._files[quality] = self.file_of(self.model.quantise(self.features, quality)[0], quality)
        return self._files[quality]

    def file_of(self, symbols: Symbols, quality: int) -> bytes:
        """The .psg file of a map of symbols (h, w, channels) at a quality."""
        crc, kept = zlib.crc32(symbols.tobytes() if self.model.lossy else self.picture.image.tobytes()), dict[bytes, bytes]()
        if self.model.coding == "tiles" and not self.model.lossy:
            symbols, kept = self._without_missing_levels(symbols)
        tiles = cut(symbols, self.tile)
        if self.model.coding == "tiles":
            coding, sections = self._streams(tiles, quality)
        else:
            coding, sections = self.loaded.codings[0], coded(self.model, tiles, quality, self._calls, self.settings)
        return self.write(coding, crc, self.tile, kept | sections)

    def _without_missing_levels(self, symbols: Symbols) -> tuple[Symbols, dict[bytes, bytes]]:
        """Pixels as places among the levels that there are, where that makes a part in the middle smaller; and the section of these."""
        kept = levels.find(symbols)
        if kept is None:
            return symbols, {}
        places = levels.places(symbols, kept)
        top, left = ((side - min(side, TRIED)) // 2 for side in symbols.shape[:2])
        model, settings = cast(Walkable, self.model), self.settings
        parts = [np.ascontiguousarray(some[top : top + TRIED, left : left + TRIED]) for some in (symbols, places)]
        before, after = wavefront.encode_tiles(model, parts, model.spans(parts), 0, settings.workers, quiet)
        gray = model.spans([symbols])[-1] == Span.SAME
        return (places, {Tag.LEVELS: levels.pack(kept[:1] if gray else kept)}) if len(after) < len(before) else (symbols, {})

    def _streams(self, tiles: Sequence[Symbols], quality: int) -> tuple[Coding, dict[bytes, bytes]]:
        model, settings = cast(Walkable, self.model), self.settings
        spans = model.spans(tiles)
        streams: list[bytes] = []
        for start in range(0, len(tiles), CHUNK_TILES):
            chunk = tiles[start : start + CHUNK_TILES]
            progress = part_of(settings.progress, start, len(chunk), len(tiles))
            streams += wavefront.encode_tiles(model, chunk, spans, quality, settings.workers, progress)
        if model.lossy:
            return Coding.LATENT, container.pack_latents(quality, spans) | container.pack_tiles(streams)
        return Coding.GRAY if Span.SAME in spans else Coding.COLOUR, container.pack_tiles(streams)


def coded(model: Tiled, tiles: Sequence[Symbols], quality: int, calls: int, settings: Settings) -> dict[bytes, bytes]:
    """The sections of tiles of the map of one picture or many, for all codings but `tiles`. Raises ImageRefused."""
    workers, progress = settings.workers, settings.progress
    if model.coding == "stages":
        return stages.encode_tiles(cast(Staged, model), tiles, calls, workers, progress)
    check_no_calls(calls)
    from . import flows, groups  # with torch, which photographs do without

    if model.coding == "flow":
        return container.pack_tiles(flows.encode_tiles(cast(Flowing, model), tiles, workers, progress))
    return container.pack_groups(*groups.encode_tiles(cast(Predictable, model.predictor(quality)), tiles, workers, progress))


def decode(reading: Reading, model: Tiled, area: Box) -> tuple[Pixels, list[Box]]:
    """The pixels (height, width, 1 or 3) of an area of the picture, and the (x, y, width, height) of tiles that are lost and blank.

    Without loss only the tiles that the area needs are decoded. Raises DamagedFile.
    """
    header, stride = reading.header, model.stride
    height, width = model.size(*reading.size)
    left, top, right, bottom = (0, 0, width, height) if model.lossy else area
    check_index(reading, model, container.tile_count(width, height, header.tile))
    boxes = container.tile_boxes(width, height, header.tile)
    wanted = [i for i, (x0, y0, x1, y1) in enumerate(boxes) if x0 < right and x1 > left and y0 < bottom and y1 > top]
    symbols = np.full((bottom - top, right - left, model.channels), model.blank, np.uint8)
    lost: list[Box] = []
    for i, tile, whole in read(reading, model, boxes, wanted):
        x0, y0, x1, y1 = boxes[i]
        if tile is None or (reading.recovering and not whole):
            x, y = x0 * stride, y0 * stride
            lost.append((x, y, min(x1 * stride, header.width) - x, min(y1 * stride, header.height) - y))
        if tile is None:
            continue
        rows, columns = slice(max(y0, top), min(y1, bottom)), slice(max(x0, left), min(x1, right))
        inside = tile[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        symbols[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
    if reading.filling and model.coding == "stages" and lost:
        symbols = _filled(reading, cast(Staged, model), symbols, lost, (left, top))
    if not model.lossy:
        return with_levels(reading, symbols, model.blank, (left, top), lost), lost
    if not lost and zlib.crc32(symbols.tobytes()) != header.pixel_crc:
        if not reading.recovering:
            raise DamagedFile("the decoded latents are not those that were encoded")
        lost = [(0, 0, header.width, header.height)]
    quality = quality_of(reading, model)
    pixels = transforms.synthesise(model, model.dequantise(symbols[None], quality), (height, width), reading.size, reading.settings)[0]
    return pixels[area[1] : area[3], area[0] : area[2]], lost


def _filled(reading: Reading, model: Staged, symbols: Symbols, lost: Sequence[Box], corner: tuple[int, int]) -> Symbols:
    """Pixels with the tiles drawn of which nothing is there, given all others. corner: x and y of the first pixel."""
    from . import fill

    empty, (x0, y0) = np.zeros(symbols.shape[:2], bool), corner
    for x, y, width, height in lost:
        part = slice(max(0, y - y0), max(0, y - y0 + height)), slice(max(0, x - x0), max(0, x - x0 + width))
        empty[part] = (symbols[part] == model.blank).all()
    return fill.filled(symbols, empty, model, stages.calls_of(model, 0), 0, reading.settings)


def with_levels(reading: Reading, symbols: Symbols, blank: int, corner: tuple[int, int] = (0, 0), lost: Sequence[Box] = ()) -> Pixels:
    """Pixels of symbols that may be places among the levels that there are. corner: x and y of the first one."""
    content = container.read_section(reading.data, reading.header, Tag.LEVELS)
    if content is None:
        return symbols
    channels = 1 if reading.header.coding == Coding.GRAY else symbols.shape[-1]
    kept = levels.unpack(content, channels)
    pixels = levels.restore(symbols, kept.repeat(symbols.shape[-1] // channels, 0))
    for x, y, width, height in lost:
        part = slice(max(y - corner[1], 0), max(y + height - corner[1], 0)), slice(max(x - corner[0], 0), max(x + width - corner[0], 0))
        pixels[part] = blank
    return pixels


def check_index(reading: Reading, model: Tiled, count: int) -> None:
    """That a file has an index of so many tiles, before anything is made for each of them. Raises DamagedFile."""
    data, header = reading.data, reading.header
    if header.coding in container.STAGED:
        StageStreams(data, header).check_tiles(count)
    elif model.coding == "flow":
        container.TileStreams(data, header, container.stream_count(count))
    elif header.section(Tag.GROUP_INDEX) is None:
        container.TileStreams(data, header, count)
    elif header.section(Tag.TILE_INDEX) is None:
        container.GroupStreams(data, header, count)
    else:
        raise DamagedFile("the file has tiles and groups")


def _check_memory(reading: Reading, predictor: Predictable, sizes: Sequence[Size], counts: Sequence[int]) -> None:
    """That the tiles that are evaluated together, and all are given the room of the largest, fit the memory. Raises LimitExceeded."""
    batch, first, most = max(1, TOGETHER // max(counts)), 0, 0
    for start in range(0, len(counts), batch):
        count = sum(counts[start : start + batch])
        places = [predictor.places(*size) for size in sizes[first : first + count]]
        height, width = (max(place[i] for place in places) for i in (0, 1))
        first, most = first + count, max(most, count * (height + MARGIN) * (width + MARGIN))
    reading.settings.limits.check("memory", most * EVALUATED, "the tiles of a group")


def quality_of(reading: Reading, model: Tiled) -> int:
    """The quality of a file. Raises DamagedFile."""
    return container.read_latents(reading.data, reading.header, model.channels)[0] if reading.header.section(Tag.LATENTS) else 0


def read(reading: Reading, model: Tiled, boxes: Sequence[Box], wanted: Sequence[int]) -> Found:
    """The wanted tiles of the map, uint8 (h, w, channels), some at a time; with `recovering` None for damaged ones. Raises DamagedFile."""
    if model.coding == "stages":
        return stages.decode_tiles(reading, cast(Staged, model), [_size(box) for box in boxes], wanted)
    if model.coding == "tiles":
        return _from_streams(reading, cast(Walkable, model), boxes, wanted)
    if model.coding == "flow":
        return _from_flow(reading, cast(Flowing, model), boxes, wanted)
    return _from_groups(reading, cast(Predictable, model.predictor(quality_of(reading, model))), boxes, wanted)


def _size(box: Box) -> Size:
    return box[3] - box[1], box[2] - box[0]


def spans_of(reading: Reading, model: Walkable) -> list[Span]:
    """What every channel holds, by what the file says."""
    if model.lossy:
        return [Span(span) for span in container.read_latents(reading.data, reading.header, model.channels)[1]]
    return [Span.FULL, *[Span.SAME if reading.header.coding == Coding.GRAY else Span.FULL] * (model.channels - 1)]


def _from_streams(reading: Reading, model: Walkable, boxes: Sequence[Box], wanted: Sequence[int]) -> Found:
    """Tiles with a stream each."""
    streams = container.TileStreams(reading.data, reading.header, len(boxes))
    spans, quality, settings = spans_of(reading, model), quality_of(reading, model), reading.settings
    for start in range(0, len(wanted), CHUNK_TILES):
        chunk = {}
        for i in wanted[start : start + CHUNK_TILES]:
            try:
                chunk[i] = streams[i]
            except DamagedFile:
                if not reading.recovering:
                    raise
                yield i, None, False
        sizes = [_size(boxes[i]) for i in chunk]
        progress = part_of(settings.progress, start, len(chunk), len(wanted))
        tiles = wavefront.decode_tiles(model, list(chunk.values()), sizes, spans, quality, settings.workers, progress)
        yield from ((i, tile, True) for i, tile in zip(chunk, tiles, strict=True))


def _from_flow(reading: Reading, model: Flowing, boxes: Sequence[Box], wanted: Sequence[int]) -> Found:
    """Tiles of which some have a stream together."""
    from . import flows

    count, settings = container.STREAM_TILES, reading.settings
    streams = container.TileStreams(reading.data, reading.header, container.stream_count(len(boxes)))
    asked = set(wanted)
    whole: dict[int, bytes] = {}
    for number in sorted({i // count for i in wanted}):
        try:
            whole[number] = streams[number]
        except DamagedFile:
            if not reading.recovering:
                raise
            yield from ((i, None, False) for i in range(count * number, count * (number + 1)) if i in asked)
    numbers = list(whole)
    for start in range(0, len(numbers), CHUNK_STREAMS):
        chunk = numbers[start : start + CHUNK_STREAMS]
        inside = [range(count * number, min(count * (number + 1), len(boxes))) for number in chunk]
        sizes = [[_size(boxes[i]) for i in some] for some in inside]
        progress = part_of(settings.progress, start, len(chunk), len(numbers))
        tiles, statistics = flows.decode_tiles(model, [whole[number] for number in chunk], sizes, settings.workers, progress)
        if settings.statistics is not None:
            settings.statistics.extend(statistics)
        yield from ((i, tile, True) for i, tile in zip([i for some in inside for i in some], tiles, strict=True) if i in asked)


def _from_groups(reading: Reading, predictor: Predictable, boxes: Sequence[Box], wanted: Sequence[int]) -> Found:
    """Tiles in groups that have a stream together."""
    from . import groups

    streams, settings = container.GroupStreams(reading.data, reading.header, len(boxes)), reading.settings
    asked = set(wanted)
    whole = {}
    for number, tiles in enumerate(streams.tiles):
        if asked.isdisjoint(tiles):
            continue
        try:
            whole[number] = streams[number]
        except DamagedFile:
            if not reading.recovering:
                raise
            yield from ((i, None, False) for i in tiles if i in asked)
    if not whole:
        return
    numbers = [i for number in whole for i in streams.tiles[number]]
    sizes = [_size(boxes[i]) for i in numbers]
    together, chain = bool(streams.together), list(whole.values())
    _check_memory(reading, predictor, sizes, [group.tiles for group in chain])
    try:
        decoded, statistics = groups.decode_groups(
            predictor, chain, sizes, streams.precision, together, settings.schedule, settings.workers, settings.progress
        )
    except DamagedFile:
        if not reading.recovering:
            raise
        for number in whole:  # find out which one it is
            inside = [i for i in streams.tiles[number] if i in asked]
            if len(whole) == 1:
                yield from ((i, None, False) for i in inside)
            else:
                yield from _from_groups(reading, predictor, boxes, inside)
        return
    if settings.statistics is not None:
        settings.statistics.extend(statistics)
    yield from ((i, tile, True) for i, tile in zip(numbers, decoded, strict=True) if i in asked)
