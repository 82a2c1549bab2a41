"""Latents <-> ANS streams: tiles of a prior with a slope, along its wavefront, one stream a tile.

Every distribution is exact when its symbol is decoded, so nothing is guessed. In a tile symbols are coded in the order (step,
channel, half, row): for each step of the wavefront channel after channel; of each channel the high nibbles of all rows, then
the low ones. A picture's channels differ much in what they hold, and the file says how much it is (`Span`).
"""

from collections.abc import Callable, Sequence
from enum import IntEnum

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.frequencies import Mixtures
from ...models.pixelcnn.evaluator import Evaluator
from ...models.pixelcnn.exact import ExactPixelCNN
from ..coders import ans as entropy
from ..errors import DamagedFile
from ..parallel import Progress, spread

Symbols = NDArray[np.uint8]
Spans = Sequence["Span"]
BATCH = 24  # tiles that are walked through together
CHUNK = 512  # rows that are evaluated together in encoding


class Span(IntEnum):
    """What a channel holds in a picture."""

    ZERO = 0  # the symbol `zero` alone: nothing is coded
    NEAR = 1  # symbols that share its high nibble: the low one is coded
    FULL = 2


def fits(network: ExactPixelCNN) -> bool:
    """Whether this is how a prior's latents are coded: numbers around a `zero`, with a slope."""
    return bool(network.config.latents and network.config.slope and network.config.output == "mixture")


def spans_of(tiles: Sequence[Symbols], zero: int) -> list[Span]:
    """What every channel holds in tiles (h, w, channels)."""
    low = np.min([tile.min((0, 1)) for tile in tiles], axis=0)
    high = np.max([tile.max((0, 1)) for tile in tiles], axis=0)
    near = (low >> 4 == zero >> 4) & (high >> 4 == zero >> 4)
    nothing = (low == zero) & (high == zero)
    return [Span.ZERO if z else Span.NEAR if n else Span.FULL for z, n in zip(nothing, near, strict=True)]


Code = Callable[[int, int, Tensor], Tensor]
"""(channel, half, weights (n, 16)) -> nibbles (n), int32: the coder's part of the walk."""


def visit(front: Evaluator, rows: Tensor, spans: Spans, code: Code) -> Tensor:
    """Code all symbols of some rows, whose earlier ones are known; uint8 (n, channels)."""
    network = front.network
    zero = network.config.zero
    front.evaluate(rows, watch=False)
    head_sums = front.head_sums(rows)
    symbols = torch.full((len(rows), network.config.channels), zero, dtype=torch.uint8, device=network.device)
    for channel, span in enumerate(spans):
        if span != Span.ZERO:
            distribution = front.distribution(head_sums, rows, channel, symbols[:, :0], precision=0)
            assert isinstance(distribution, Mixtures)
            mixture = distribution.distribution
            high = code(channel, 0, mixture.nibble()) if span == Span.FULL else zero >> 4
            symbols[:, channel] = high * 16 + code(channel, 1, mixture.nibble(high))
        network.tell(head_sums, channel, symbols[:, channel])
    return symbols


def _encode_tile(network: ExactPixelCNN, tile: Symbols, spans: Spans) -> bytes:
    """Many rows at once: the encoder knows every symbol."""
    c = network.config
    height, width = tile.shape[:2]
    front = Evaluator(network, [(height, width)])
    known = torch.from_numpy(tile.reshape(-1, c.channels)).to(network.device)[c.order(height, width)]
    front.put(front.pixels[0], known, watch=False)
    nibbles: list[entropy.Nibbles] = []
    weights: list[entropy.Weights] = []

    keys: list[NDArray[np.int64]] = []  # where they stand in the stream
    turns = sum(spans)  # a channel's span is also the number of its nibbles
    parts = (t.split(CHUNK) for t in (front.pixels[0], known, c.steps(height, width)))
    for rows, symbols, steps in zip(*parts, strict=True):
        first = len(keys)

        def code(channel: int, half: int, found: Tensor, symbols: Tensor = symbols, steps: Tensor = steps, first: int = first) -> Tensor:
            values = (symbols[:, channel] >> 4 if half == 0 else symbols[:, channel] & 15).int()
            keys.append(steps.numpy() * turns + len(keys) - first)
            nibbles.append(values.cpu().numpy())
            weights.append(found.cpu().numpy())
            return values

        visit(front, rows, spans, code)
    if not nibbles:
        return b""
    order = np.argsort(np.concatenate(keys), kind="stable")
    return entropy.encode(np.concatenate(nibbles)[order], np.concatenate(weights)[order])


def encode_tiles(network: ExactPixelCNN, tiles: Sequence[Symbols], spans: Spans, threads: int, progress: Progress) -> list[bytes]:
    """The streams of tiles, uint8 (h, w, channels) each."""

    def work(part: slice, report: Progress) -> list[bytes]:
        found = [_encode_tile(network, tile, spans) for tile in tiles[part]]
        report(1.0)
        return found

    return spread(work, len(tiles), 1, threads if network.device.type == "cpu" else 1, progress)


def _decode_batch(
    network: ExactPixelCNN, streams: Sequence[bytes], sizes: Sequence[tuple[int, int]], spans: Spans, progress: Progress
) -> list[Symbols]:
    c = network.config
    front = Evaluator(network, sizes)
    coders = [entropy.Decoder(stream) if stream else None for stream in streams]
    steps = [c.steps(*size) for size in sizes]
    last = max(int(step[-1]) for step in steps)
    bounds = [torch.searchsorted(step, torch.arange(last + 2)).tolist() for step in steps]
    for step in range(last + 1):
        parts = [pixels[b[step] : b[step + 1]] for pixels, b in zip(front.pixels, bounds, strict=True)]
        ends = np.cumsum([0] + [len(part) for part in parts]).tolist()

        def code(channel: int, half: int, weights: Tensor, ends: list[int] = ends) -> Tensor:
            table = weights.cpu().numpy()
            found = np.empty(len(table), np.int32)
            for coder, first, end in zip(coders, ends[:-1], ends[1:], strict=True):
                if end > first:
                    if coder is None:
                        raise DamagedFile("a tile's stream is missing")
                    found[first:end] = coder.decode(table[first:end])
            return torch.from_numpy(found).to(network.device)

        rows = torch.cat(parts)
        front.put(rows, visit(front, rows, spans, code), watch=False)
        progress((step + 1) / (last + 1))
    if not all(coder is None or coder.finished for coder in coders):
        raise DamagedFile("a tile's stream does not end where its latents do")
    found = []
    for pixels, (height, width) in zip(front.pixels, sizes, strict=True):
        tile = torch.empty((height * width, c.channels), dtype=torch.uint8)
        tile[c.order(height, width)] = front.symbols[pixels].cpu()
        found.append(tile.view(height, width, -1).numpy())
    return found


def decode_tiles(
    network: ExactPixelCNN, streams: Sequence[bytes], sizes: Sequence[tuple[int, int]], spans: Spans, threads: int, progress: Progress
) -> list[Symbols]:
    """The tiles of streams, given (height, width) of each. Raises DamagedFile."""

    def work(part: slice, report: Progress) -> list[Symbols]:
        return _decode_batch(network, streams[part], sizes[part], spans, report)

    return spread(work, len(streams), BATCH, threads if network.device.type == "cpu" else 1, progress)
