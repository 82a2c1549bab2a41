"""Tiles of an image out of a file, whichever way they are coded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from mmap import mmap
from typing import TYPE_CHECKING

from ..models.exact_photo import ExactPhoto
from ..models.exact_pixelcnn import ExactPixelCNN
from . import chained, container, lossless
from .container import Box, Coding, Header
from .errors import DamagedFile

if TYPE_CHECKING:
    from .api import Settings
    from .chained import Pixels

CHUNK_TILES = 192  # tiles that are held at once
Found = Iterator[tuple[int, "Pixels | None"]]
"""Tiles by their numbers; None for those that are damaged."""


def read(
    data: bytes | mmap,
    header: Header,
    network: ExactPhoto | ExactPixelCNN,
    boxes: Sequence[Box],
    wanted: Sequence[int],
    recovering: bool,
    settings: Settings,
) -> Found:
    """The wanted tiles, uint8 (height, width, 1 or 3); with `recovering` None for damaged ones. Raises DamagedFile."""
    if (header.coding in (Coding.CHAIN, Coding.SET)) != isinstance(network, ExactPixelCNN):
        raise DamagedFile(f"the model {header.model} does not go with the file's coding")
    if isinstance(network, ExactPixelCNN):
        return _from_groups(data, header, network, boxes, wanted, recovering, settings)
    return _from_streams(data, header, network, boxes, wanted, recovering, settings)


def _size(box: Box) -> tuple[int, int]:
    return box[3] - box[1], box[2] - box[0]


def _from_streams(
    data: bytes | mmap,
    header: Header,
    network: ExactPhoto,
    boxes: Sequence[Box],
    wanted: Sequence[int],
    recovering: bool,
    settings: Settings,
) -> Found:
    """Tiles with a stream each."""
    gray = header.coding == Coding.GRAY
    streams = container.TileStreams(data, header)
    for start in range(0, len(wanted), CHUNK_TILES):
        chunk = {}
        for i in wanted[start : start + CHUNK_TILES]:
            try:
                chunk[i] = streams[i]
            except DamagedFile:
                if not recovering:
                    raise
                yield i, None

        def report(share: float, start: int = start, count: int = len(chunk)) -> None:
            settings.progress((start + share * count) / len(wanted))

        sizes = [_size(boxes[i]) for i in chunk]
        tiles = lossless.decode_tiles(network, list(chunk.values()), sizes, gray, settings.thread_count, report)
        yield from zip(chunk, tiles, strict=True)


def _from_groups(
    data: bytes | mmap,
    header: Header,
    network: ExactPixelCNN,
    boxes: Sequence[Box],
    wanted: Sequence[int],
    recovering: bool,
    settings: Settings,
) -> Found:
    """Tiles in groups that have a stream together."""
    streams = container.GroupStreams(data, header, len(boxes))
    chosen = set(wanted)
    numbers, groups = [], []
    for number, tiles in enumerate(streams.tiles):
        if chosen.isdisjoint(tiles):
            continue
        try:
            groups.append(streams[number])
            numbers.append(number)
        except DamagedFile:
            if not recovering:
                raise
            yield from ((i, None) for i in tiles if i in chosen)
    if not groups:
        return
    places = [i for number in numbers for i in streams.tiles[number]]
    sizes = [_size(boxes[i]) for i in places]
    try:
        found, statistics = chained.decode_groups(
            network, groups, sizes, streams.precision, bool(streams.together), settings.schedule, settings.thread_count, settings.progress
        )
    except DamagedFile:
        if not recovering:
            raise
        for number in numbers:  # find out which one it is
            inside = [i for i in streams.tiles[number] if i in chosen]
            if len(numbers) == 1:
                yield from ((i, None) for i in inside)
            else:
                yield from _from_groups(data, header, network, boxes, inside, True, settings)
        return
    if settings.statistics is not None:
        settings.statistics.extend(statistics)
    yield from ((i, tile) for i, tile in zip(places, found, strict=True) if i in chosen)
