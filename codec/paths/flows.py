"""Tiles <-> ANS streams of flows: a model is walked through in a few turns, each of which asks for symbols of many tiles, and these share a
stream: one for every tile would cost some bytes each."""

from collections.abc import Sequence

from ...models.model import Flowing, Size, Symbols
from ..coders.turns import Pull, Record, as_one, watched
from ..format.container import STREAM_TILES
from ..parallel import spread
from ..predictive.statistics import Statistics
from ..settings import Progress


def encode_tiles(model: Flowing, tiles: Sequence[Symbols], workers: int, progress: Progress) -> list[bytes]:
    """The streams of tiles, uint8 (height, width, 3) each."""

    def work(part: slice, report: Progress) -> list[bytes]:
        own = tiles[STREAM_TILES * part.start : STREAM_TILES * part.stop]
        record = Record(model.answers(own), 1)
        model.walk([tile.shape[:2] for tile in own], [], 0, watched(as_one(record), report))
        return record.streams()

    return spread(work, -(-len(tiles) // STREAM_TILES), 1, workers, progress)


def decode_tiles(
    model: Flowing, streams: Sequence[bytes], sizes: Sequence[Sequence[Size]], workers: int, progress: Progress
) -> tuple[list[Symbols], list[Statistics]]:
    """The tiles of streams one after another, given (height, width) of each tile of each stream, and what they took. Raises DamagedFile."""

    def work(part: slice, report: Progress) -> list[list[Symbols]]:
        pull = Pull(streams[part])
        tiles = model.walk(sizes[part.start], [], 0, watched(as_one(pull), report))
        pull.check()
        return [tiles]

    tiles = [tile for some in spread(work, len(streams), 1, workers, progress) for tile in some]
    pixels = [tile.shape[0] * tile.shape[1] for tile in tiles]
    return tiles, [Statistics(tile.size, count, model.calls, count) for tile, count in zip(tiles, pixels, strict=True)]
