"""Pixels <-> chain streams: tiles of a model's symbols in groups, for encoder and predictive decoder alike.

In a tile symbols are coded pixel by pixel in the model's coding order, in a pixel channel by channel. The tiles of a group
come one after another, or side by side: the first wavefront step of all of them, then the second. Side by side the whole
group is decoded in hardly more steps than one tile; but where symbols take far less than a bit, blocks are short, and whole
images in a block are better. Groups are independent of one another.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...models.model import Predictable, Size, Symbols
from ..coders import chain
from ..errors import DamagedFile
from ..format.container import Group
from ..parallel import spread
from ..predictive.decoder import Members, PredictiveDecoder
from ..predictive.schedule import Schedule
from ..predictive.statistics import Statistics
from ..settings import Progress

PRECISION, PRECISION_OF_BITS = 16, 12  # bits of a quantile; of a symbol of two levels
GROUP_BITS = 1 << 20  # a group of tiles side by side is closed when it holds so many
GROUP_BITS_IN_TURN = 1 << 16  # if its tiles come one after another: several such groups are decoded as one batch
ENCODED = 16  # tiles that are evaluated together in encoding
SIDE_BY_SIDE = 1.0  # bits a symbol from which tiles go side by side
GROUP_PLACES = 1 << 18  # a group is closed when it has so many, however few bits they take: it is decoded as a whole
LOCKSTEP = 128  # tiles that are decoded together


def intervals(model: Predictable, tiles: Sequence[Symbols], precision: int) -> list[NDArray[np.int32]]:
    """First quantile and number of quantiles of every symbol of tiles of the map, in coding order; (2, n) each."""
    symbols = [model.to_symbols(tile) for tile in tiles]
    sizes = [s.shape[:2] for s in symbols]
    front = model.evaluator(sizes)
    rows = np.concatenate(list(front.pixels))
    known = np.concatenate([s.reshape(-1, model.depth)[model.order(*size)] for s, size in zip(symbols, sizes, strict=True)])
    front.put(rows, known, watch=False)
    front.evaluate(rows)
    head_sums = front.head_sums(rows)
    both = np.empty((2, len(rows), model.depth), np.int32)
    for channel in range(model.depth):
        both[:, :, channel] = front.distribution(head_sums, rows, channel, known, precision).intervals(known[:, channel])
    return np.split(both.reshape(2, -1), np.cumsum([s.size for s in symbols])[:-1], axis=1)


def sequence(model: Predictable, sizes: Sequence[Size], together: bool) -> NDArray[np.int64]:
    """The coding order of a group: indices of its symbols in the order tile by tile. sizes: of the tiles' symbols."""
    if not together:
        return np.arange(sum(h * w for h, w in sizes) * model.depth)
    steps = [model.steps(h, w) for h, w in sizes]
    return np.argsort(np.concatenate(steps).repeat(model.depth), kind="stable")


def encode_tiles(
    model: Predictable,
    tiles: Sequence[Symbols],
    workers: int,
    progress: Progress,
    together: bool | None = None,
    precision: int = 0,
) -> tuple[list[Group], int, bool]:
    """The groups of tiles, uint8 (height, width, channels) each, their precision, and whether tiles go side by side.

    By default precision and arrangement are what suits the model and the tiles.
    """
    precision = precision or (PRECISION_OF_BITS if model.levels == 2 else PRECISION)

    def evaluate(part: slice, report: Progress) -> list[NDArray[np.int32]]:
        return intervals(model, tiles[part], precision)

    coded = spread(evaluate, len(tiles), ENCODED, workers, lambda share: progress(0.9 * share))
    bits = np.array([precision * part.shape[1] - np.log2(part[1]).sum() for part in coded])
    if together is None:
        together = bool(model.slope and bits.sum() >= SIDE_BY_SIDE * sum(part.shape[1] for part in coded))
    bounds, total, places, full = [0], 0.0, 0, GROUP_BITS if together else GROUP_BITS_IN_TURN
    for i, size in enumerate(bits):
        total, places = total + size, places + coded[i].shape[1] // model.depth
        if total >= full or places >= GROUP_PLACES or i == len(bits) - 1:
            bounds.append(i + 1)
            total, places = 0.0, 0

    def close(part: slice, report: Progress) -> list[Group]:
        return [one(slice(bounds[g], bounds[g + 1])) for g in range(part.start, part.stop)]

    def one(part: slice) -> Group:
        sizes = [model.places(*tile.shape[:2]) for tile in tiles[part]]
        return _group(coded[part], sequence(model, sizes, together), precision)

    return spread(close, len(bounds) - 1, 1, workers, lambda share: progress(0.9 + 0.1 * share)), precision, together


def _group(parts: Sequence[NDArray[np.int32]], order: NDArray[np.int64], precision: int) -> Group:
    low, size = np.concatenate(parts, axis=1)[:, order].astype(np.int64)
    state, first = chain.encode(low, size, precision)
    return Group(state.to_bytes(-(-state.bit_length() // 8), "little"), len(parts), first)


def decode_groups(
    model: Predictable,
    groups: Sequence[Group],
    sizes: Sequence[Size],
    precision: int,
    together: bool,
    schedule: Schedule,
    workers: int,
    progress: Progress,
) -> tuple[list[Symbols], list[Statistics]]:
    """The tiles of groups, given (height, width) of each tile, and what they took. Raises DamagedFile."""
    starts = np.concatenate([[0], np.cumsum([g.tiles for g in groups])]).tolist()

    def work(part: slice, report: Progress) -> list[list[tuple[Symbols, Statistics]]]:
        chosen = range(part.start, part.stop)
        first = starts[chosen.start]
        own = sizes[first : starts[chosen.stop]]
        patches = [model.places(*size) for size in own]
        inside = [range(starts[g] - first, starts[g + 1] - first) for g in chosen]
        members = []
        for g, images in zip(chosen, inside, strict=True):
            shapes = patches[images.start : images.stop]
            members.append(Members(_source(model, groups[g], shapes, precision), images, sequence(model, shapes, together)))
        decoder = PredictiveDecoder(model, patches, members, precision, schedule)
        decoded = decoder.run(report)
        tiles = [model.from_symbols(s, *size) for s, size in zip(decoded, own, strict=True)]
        pairs = list(zip(tiles, decoder.statistics, strict=True))
        return [pairs[images.start : images.stop] for images in inside]

    batch = max(1, LOCKSTEP // max(1, max(g.tiles for g in groups)))
    pairs = [pair for group in spread(work, len(groups), batch, workers, progress) for pair in group]
    return [tile for tile, _ in pairs], [statistics for _, statistics in pairs]


def _source(model: Predictable, group: Group, sizes: Sequence[Size], precision: int) -> chain.ChainDecoder:
    if model.levels >= 1 << precision:
        raise DamagedFile(f"{precision} bits of precision are too few for the model")
    count = sum(h * w for h, w in sizes) * model.depth
    return chain.ChainDecoder(int.from_bytes(group.stream, "little"), group.first, count, precision)
