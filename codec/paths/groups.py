"""Pixels <-> chain streams: tiles of a model's symbols in groups, for encoder and predictive decoder alike.

In a tile symbols are coded pixel by pixel in the model's coding order, in a pixel channel by channel. The tiles of a group
come one after another, or side by side: the first wavefront step of all of them, then the second. Side by side the whole
group is decoded in hardly more steps than one tile; but where symbols take far less than a bit, blocks are short, and whole
images in a block are better. Groups are independent of one another.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ...models import symbols as conversion
from ...models.pixelcnn.evaluator import Evaluator
from ...models.pixelcnn.exact import ExactPixelCNN
from ..coders import chain
from ..errors import DamagedFile
from ..format.container import Group
from ..parallel import Progress, spread
from ..predictive.decoder import Decoder, Members, Statistics
from ..predictive.schedule import Schedule

Pixels = NDArray[np.uint8]
PRECISION, PRECISION_OF_BITS = 16, 12  # bits of a quantile; of a symbol of two levels
GROUP_BITS = 1 << 20  # a group of tiles side by side is closed when it holds so many
GROUP_BITS_IN_TURN = 1 << 16  # if its tiles come one after another: several such groups are decoded as one batch
ENCODED = 16  # tiles that are evaluated together in encoding
SIDE_BY_SIDE = 1.0  # bits a symbol from which tiles go side by side
LOCKSTEP = 128  # tiles that are decoded together


def intervals(network: ExactPixelCNN, tiles: Sequence[Pixels], precision: int) -> list[NDArray[np.int32]]:
    """First quantile and number of quantiles of every symbol of tiles (height, width, 1 or 3), in coding order; (2, n) each."""
    c = network.config
    symbols = [conversion.from_pixels(tile, c) for tile in tiles]
    front = Evaluator(network, [s.shape[:2] for s in symbols])
    rows = torch.cat(front.pixels)
    known = torch.cat([torch.from_numpy(s.reshape(-1, c.channels))[c.order(*s.shape[:2])] for s in symbols]).to(network.device)
    front.put(rows, known, watch=False)
    front.evaluate(rows)
    head_sums = front.head_sums(rows)
    parts = [front.distribution(head_sums, rows, i, known, precision).intervals(known[:, i]) for i in range(c.channels)]
    both = torch.stack([torch.stack(part) for part in parts], dim=2).flatten(1).int().cpu().numpy()
    return np.split(both, np.cumsum([s.size for s in symbols])[:-1], axis=1)


def sequence(network: ExactPixelCNN, sizes: Sequence[tuple[int, int]], together: bool) -> NDArray[np.int64]:
    """The coding order of a group: indices of its symbols in the order tile by tile. sizes: of the tiles, in patches."""
    c = network.config
    count = sum(h * w for h, w in sizes) * c.channels
    if not together:
        return np.arange(count)
    steps = [c.steps(h, w).numpy() for h, w in sizes]
    return np.argsort(np.concatenate(steps).repeat(c.channels), kind="stable")


def encode_tiles(
    network: ExactPixelCNN,
    tiles: Sequence[Pixels],
    threads: int,
    progress: Progress,
    together: bool | None = None,
    precision: int = 0,
) -> tuple[list[Group], int, bool]:
    """The groups of tiles, uint8 (height, width, 1 or 3) each, their precision, and whether tiles go side by side.

    By default precision and arrangement are what suits the model and the tiles.
    """
    precision = precision or (PRECISION_OF_BITS if network.config.levels == 2 else PRECISION)

    def evaluate(part: slice, report: Progress) -> list[NDArray[np.int32]]:
        return intervals(network, tiles[part], precision)

    workers = threads if network.device.type == "cpu" else 1
    found = spread(evaluate, len(tiles), ENCODED, workers, lambda share: progress(0.9 * share))
    bits = np.array([precision * part.shape[1] - np.log2(part[1]).sum() for part in found])
    if together is None:
        together = bool(network.config.slope and bits.sum() >= SIDE_BY_SIDE * sum(part.shape[1] for part in found))
    bounds, total, full = [0], 0.0, GROUP_BITS if together else GROUP_BITS_IN_TURN
    for i, size in enumerate(bits):
        total += size
        if total >= full or i == len(bits) - 1:
            bounds.append(i + 1)
            total = 0.0

    def close(part: slice, report: Progress) -> list[Group]:
        return [one(slice(bounds[g], bounds[g + 1])) for g in range(part.start, part.stop)]

    def one(part: slice) -> Group:
        sizes = [conversion.symbol_size(tile.shape[0], tile.shape[1], network.config) for tile in tiles[part]]
        return _group(found[part], sequence(network, sizes, together), precision)

    return spread(close, len(bounds) - 1, 1, workers, lambda share: progress(0.9 + 0.1 * share)), precision, together


def _group(parts: Sequence[NDArray[np.int32]], order: NDArray[np.int64], precision: int) -> Group:
    low, size = np.concatenate(parts, axis=1)[:, order].astype(np.int64)
    state, first = chain.encode(low, size, precision)
    return Group(state.to_bytes(-(-state.bit_length() // 8), "little"), len(parts), first)


def decode_groups(
    network: ExactPixelCNN,
    groups: Sequence[Group],
    sizes: Sequence[tuple[int, int]],
    precision: int,
    together: bool,
    schedule: Schedule,
    threads: int,
    progress: Progress,
) -> tuple[list[Pixels], list[Statistics]]:
    """The tiles of groups, given (height, width) of each tile, and what they took. Raises DamagedFile."""
    starts = np.concatenate([[0], np.cumsum([g.tiles for g in groups])]).tolist()

    def work(part: slice, report: Progress) -> list[list[tuple[Pixels, Statistics]]]:
        chosen = range(part.start, part.stop)
        first = starts[chosen.start]
        own = sizes[first : starts[chosen.stop]]
        patches = [conversion.symbol_size(*size, network.config) for size in own]
        inside = [range(starts[g] - first, starts[g + 1] - first) for g in chosen]
        members = []
        for g, images in zip(chosen, inside, strict=True):
            shapes = patches[images.start : images.stop]
            members.append(Members(_source(network, groups[g], shapes, precision), images, sequence(network, shapes, together)))
        decoder = Decoder(network, patches, members, precision, schedule)
        found = decoder.run(report)
        tiles = [conversion.to_pixels(s, network.config, *size) for s, size in zip(found, own, strict=True)]
        pairs = list(zip(tiles, decoder.statistics, strict=True))
        return [pairs[images.start : images.stop] for images in inside]

    batch = max(1, LOCKSTEP // max(1, max(g.tiles for g in groups)))
    workers = threads if network.device.type == "cpu" else 1
    pairs = [pair for group in spread(work, len(groups), batch, workers, progress) for pair in group]
    return [tile for tile, _ in pairs], [statistics for _, statistics in pairs]


def _source(network: ExactPixelCNN, group: Group, sizes: Sequence[tuple[int, int]], precision: int) -> chain.Decoder:
    c = network.config
    if c.levels >= 1 << precision:
        raise DamagedFile(f"{precision} bits of precision are too few for the model")
    count = sum(h * w for h, w in sizes) * c.channels
    return chain.Decoder(int.from_bytes(group.stream, "little"), group.first, count, precision)
