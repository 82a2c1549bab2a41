"""Tiles <-> ANS streams: models that are walked through turn by turn, one stream a tile."""

from collections.abc import Sequence

from ...models.model import Size, Span, Symbols, Walkable
from ..coders.turns import Pull, Record, watched
from ..parallel import spread
from ..settings import Progress


def encode_tiles(
    model: Walkable, tiles: Sequence[Symbols], spans: Sequence[Span], quality: int, workers: int, progress: Progress
) -> list[bytes]:
    """The streams of tiles of the map, uint8 (h, w, channels) each."""

    def work(part: slice, report: Progress) -> list[bytes]:
        known = model.answers(tiles[part])
        record = Record(known, part.stop - part.start)
        model.walk([tile.shape[:2] for tile in tiles[part]], spans, quality, watched(record, report), known)
        return record.streams()

    return spread(work, len(tiles), model.batch, workers, progress)


def decode_tiles(
    model: Walkable, streams: Sequence[bytes], sizes: Sequence[Size], spans: Sequence[Span], quality: int, workers: int, progress: Progress
) -> list[Symbols]:
    """The tiles of streams, given (height, width) of each. Raises DamagedFile."""

    def work(part: slice, report: Progress) -> list[Symbols]:
        pull = Pull(streams[part])
        tiles = model.walk(sizes[part], spans, quality, watched(pull, report))
        pull.check()
        return tiles

    return spread(work, len(streams), model.batch, workers, progress)
