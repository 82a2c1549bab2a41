"""Tiles <-> streams of a model that codes values some bits at a time: a stream for every stage of every group of tiles.

Of a file that is cut, tiles have the bits of the stages that are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...models.model import Size, Symbols
from ...models.staged import Staged
from ..coders.turns import Draw, Pull, Record, as_one, watched
from ..errors import DamagedFile, ImageRefused
from ..format.stages import StageStreams, pack_stages
from ..parallel import part_of, spread
from ..predictive.statistics import Statistics
from ..settings import Progress
from .reading import Reading

CALLS = 50  # of a stage, where nobody says how many
BITS = 8
Group = tuple[list[Symbols | None], bool, list[Statistics]]
"""The tiles of a group, whether all stages are there, and what they took."""


def calls_of(model: Staged, calls: int) -> int:
    """The calls of a stage; 0 stands for what is usual. Raises ImageRefused for numbers that the model has not."""
    wanted = calls or (CALLS if CALLS in model.budgets else model.budgets[-1])
    if wanted not in model.budgets:
        raise ImageRefused(f"this model codes in {', '.join(map(str, model.budgets))} calls, not in {calls!r}")
    return wanted


def encode_tiles(model: Staged, tiles: Sequence[Symbols], calls: int, workers: int, progress: Progress) -> dict[bytes, bytes]:
    """The sections of tiles of pixels, uint8 (height, width, channels) each. calls: of every stage, or 0. Raises ImageRefused."""
    calls = calls_of(model, calls)
    groups = [tiles[first : first + model.batch] for first in range(0, len(tiles), model.batch)]

    def work(part: slice, report: Progress) -> list[list[bytes]]:
        return [_encode(model, group, calls, part_of(report, i, 1, part.stop - part.start)) for i, group in enumerate(groups[part])]

    coded = spread(work, len(groups), 1, workers, progress)
    return pack_stages(list(zip(*coded, strict=True)), calls, model.batch)


def _encode(model: Staged, tiles: Sequence[Symbols], calls: int, progress: Progress) -> list[bytes]:
    """The streams of all stages of a group."""
    answers = model.answers(tiles)
    known: Sequence[Symbols] = [np.zeros_like(tile) for tile in tiles]
    streams = []
    for stage in range(len(model.stages)):
        record = Record(answers, 1)
        report = part_of(progress, stage, 1, len(model.stages))
        known, _ = model.walk(known, stage, calls, watched(as_one(record), report))
        streams += record.streams()
    return streams


def decode_tiles(
    reading: Reading, model: Staged, sizes: Sequence[Size], wanted: Sequence[int]
) -> Iterator[tuple[int, Symbols | None, bool]]:
    """The wanted tiles, given (height, width) of all, and whether all stages of each are there; with `recovering` None for those without a
    first stage. Raises DamagedFile.

    What is missing of later stages is in the middle of what it may be; with `filling` it is drawn.
    """
    streams = StageStreams(reading.data, reading.header)
    streams.check_tiles(len(sizes))
    if streams.calls not in model.budgets or streams.stages != len(model.stages):
        raise DamagedFile(f"the file has {streams.stages} stages of {streams.calls} calls, which its model has not")
    if any(max(size) > model.tile for size in sizes):
        raise DamagedFile("the file has tiles that are larger than its model's")
    asked = set(wanted)
    groups = [g for g in range(streams.groups) if not asked.isdisjoint(streams.tiles(g, len(sizes)))]

    def work(part: slice, report: Progress) -> list[Group]:
        done = []
        for i, group in enumerate(groups[part]):
            own = [sizes[tile] for tile in streams.tiles(group, len(sizes))]
            done.append(_decode(reading, model, streams, group, own, part_of(report, i, 1, part.stop - part.start)))
        return done

    decoded = spread(work, len(groups), 1, reading.settings.workers, reading.settings.progress)
    for group, (tiles, whole, statistics) in zip(groups, decoded, strict=True):
        if reading.settings.statistics is not None:
            reading.settings.statistics.extend(statistics)
        yield from ((i, tile, whole) for i, tile in zip(streams.tiles(group, len(sizes)), tiles, strict=True) if i in asked)


def _decode(reading: Reading, model: Staged, streams: StageStreams, group: int, sizes: Sequence[Size], progress: Progress) -> Group:
    """The tiles of a group."""
    tiles = [np.zeros((*size, model.channels), np.uint8) for size in sizes]
    statistics = [Statistics(tile.size, tile.size // model.channels) for tile in tiles]
    there = 0
    for stage in range(len(model.stages)):
        report = part_of(progress, stage, 1, len(model.stages))
        try:
            if not streams.there(stage, group):
                if stage == 0:
                    raise DamagedFile("the file is cut short")
                break
            pull = Pull([streams.stream(stage, group)])
            tiles, calls = model.walk(tiles, stage, streams.calls, watched(as_one(pull), report))
            pull.check()
        except DamagedFile:
            if not reading.recovering:
                raise
            break
        there += 1
        for one, count in zip(statistics, calls, strict=True):
            one.calls += count
            one.heads += count * one.pixels
    if there == 0:
        return [None] * len(tiles), False, []
    if there < len(model.stages):
        tiles = _drawn(model, tiles, there, streams, group, progress) if reading.filling else _middles(model, tiles, there)
    return list(tiles), there == len(model.stages), statistics


def _middles(model: Staged, tiles: Sequence[Symbols], stages: int) -> list[Symbols]:
    """Tiles of which some stages are known, with the middles of what their values may be."""
    missing = BITS - sum(model.stages[:stages])
    return [tile | np.uint8(1 << missing >> 1) for tile in tiles]


def _drawn(model: Staged, tiles: list[Symbols], stages: int, streams: StageStreams, group: int, progress: Progress) -> list[Symbols]:
    """The same tiles, with the bits of later stages drawn; always the same."""
    code = watched(Draw(0, [group * streams.group + i for i in range(len(tiles))]), progress)
    for stage in range(stages, len(model.stages)):
        tiles, _ = model.walk(tiles, stage, streams.calls, code)
    return tiles
