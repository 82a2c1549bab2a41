"""Tiles of an image out of a file, whichever way they are coded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from mmap import mmap
from typing import TYPE_CHECKING

from ...models.photo.exact import ExactPhoto
from ...models.pixelcnn.exact import ExactPixelCNN
from ..errors import DamagedFile
from ..format import container
from ..format.container import Box, Coding, Header, Tag
from ..parallel import Progress
from . import groups as chained
from . import lossless, wavefront
from .wavefront import Span

if TYPE_CHECKING:
    from ..weights import Settings
    from .groups import Pixels

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
    """The wanted tiles, uint8 (height, width, 1 or 3), or of latents (h, w, channels); with `recovering` None for damaged ones.

    network: of latents the prior. Raises DamagedFile.
    """
    if (header.coding in (Coding.COLOUR, Coding.GRAY)) == isinstance(network, ExactPixelCNN):
        raise DamagedFile(f"the model {header.model} does not go with the file's coding")
    if isinstance(network, ExactPixelCNN) and (header.coding != Coding.LATENT or header.section(Tag.GROUP_INDEX)):
        return _from_groups(data, header, network, boxes, wanted, recovering, settings)
    return _from_streams(data, header, _decoder(data, header, network, settings), boxes, wanted, recovering, settings)


Decode = Callable[[list[bytes], list[tuple[int, int]], Progress], "list[Pixels]"]
"""(streams, sizes, progress) -> tiles"""


def _decoder(data: bytes | mmap, header: Header, network: ExactPhoto | ExactPixelCNN, settings: Settings) -> Decode:
    threads = settings.thread_count
    if isinstance(network, ExactPhoto):
        gray = header.coding == Coding.GRAY
        return lambda streams, sizes, progress: lossless.decode_tiles(network, streams, sizes, gray, threads, progress)
    if not wavefront.fits(network):
        raise DamagedFile(f"the model {header.model} does not go with the file's coding")
    spans = [Span(span) for span in container.read_latents(data, header, network.config.channels)[1]]
    return lambda streams, sizes, progress: wavefront.decode_tiles(network, streams, sizes, spans, threads, progress)


def _size(box: Box) -> tuple[int, int]:
    return box[3] - box[1], box[2] - box[0]


def _from_streams(
    data: bytes | mmap,
    header: Header,
    decode: Decode,
    boxes: Sequence[Box],
    wanted: Sequence[int],
    recovering: bool,
    settings: Settings,
) -> Found:
    """Tiles with a stream each."""
    streams = container.TileStreams(data, header, len(boxes))
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
        tiles = decode(list(chunk.values()), sizes, report)
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
