"""Pixels <-> streams: the walk along the wavefront that encoder and decoder share, tile by tile.

In a tile symbols are coded in the order (step, channel, half, row): for each step of the wavefront G, then R, then B; of
each channel the high nibbles of all rows, then the low ones.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.context import SLOPE
from ...models.photo.exact import ExactPhoto, Wavefront
from ...models.symbols import TO_CODED
from ..coders import ans as entropy
from ..coders.ans import Nibbles, Weights
from ..errors import DamagedFile
from ..parallel import Progress, spread

Pixels = NDArray[np.uint8]
BATCH = 48  # tiles that are walked through together


class Coder(Protocol):
    """One direction of the walk."""

    def nibbles(self, front: Wavefront, channel: int, half: int, weights: Weights) -> Tensor:
        """The high (half 0) or low (1) nibbles of the step's rows of all tiles, (tiles * rows), int32."""


def walk(
    network: ExactPhoto, sizes: Sequence[tuple[int, int]], gray: bool, coder: Coder, progress: Progress
) -> Iterator[tuple[Wavefront, Tensor]]:
    """Go through a batch of tiles; yields every step's symbols, uint8 (tiles, rows, 3) in coded order.

    Of gray tiles only the first channel is coded; the others equal it.
    """
    front = Wavefront(network, sizes)
    for step in range(front.steps):
        if not front.start(step):
            continue
        shape = (front.tiles, front.high - front.low)
        symbols = torch.empty((*shape, 3), dtype=torch.uint8)
        for channel in range(3):
            if gray and channel:
                symbols[..., channel] = symbols[..., 0]
            else:
                distribution = front.distribution(channel)
                high = coder.nibbles(front, channel, 0, distribution.nibble().cpu().numpy())
                low = coder.nibbles(front, channel, 1, distribution.nibble(high.to(network.device)).cpu().numpy())
                symbols[..., channel] = (high * 16 + low).view(shape)
            front.put(channel, symbols[..., channel].to(network.device))
        front.finish()
        yield front, symbols
        progress((step + 1) / front.steps)


class _Encoder:
    """Knows the pixels; remembers the weights, because a stack is written from its end."""

    def __init__(self, tiles: Sequence[Pixels]) -> None:
        height, width = (max(t.shape[i] for t in tiles) for i in (0, 1))
        padded = np.zeros((len(tiles), height, width, 3), np.uint8)
        for i, tile in enumerate(tiles):
            padded[i, : tile.shape[0], : tile.shape[1]] = tile[..., TO_CODED]
        self._pixels = torch.from_numpy(padded)
        self._nibbles: list[list[Nibbles]] = [[] for _ in tiles]
        self._weights: list[list[Weights]] = [[] for _ in tiles]

    def nibbles(self, front: Wavefront, channel: int, half: int, weights: Weights) -> Tensor:
        rows = torch.arange(front.low, front.high)
        symbols = self._pixels[:, rows, front.step - SLOPE * rows, channel].flatten()
        nibbles = (symbols >> 4 if half == 0 else symbols & 15).int()
        known, count = nibbles.numpy(), len(rows)
        for i, (first, last) in enumerate(front.spans):
            if last > first:
                place = slice(i * count + first, i * count + last)
                self._nibbles[i].append(known[place])
                self._weights[i].append(weights[place])
        return nibbles

    def streams(self) -> list[bytes]:
        return [entropy.encode(np.concatenate(n), np.concatenate(w)) for n, w in zip(self._nibbles, self._weights, strict=True)]


class _Decoder:
    """Knows the streams."""

    def __init__(self, streams: Sequence[bytes]) -> None:
        self._coders = [entropy.Decoder(stream) for stream in streams]

    def nibbles(self, front: Wavefront, channel: int, half: int, weights: Weights) -> Tensor:
        count = front.high - front.low
        decoded = np.zeros(len(self._coders) * count, np.int32)
        for i, (coder, (first, last)) in enumerate(zip(self._coders, front.spans, strict=True)):
            if last > first:
                place = slice(i * count + first, i * count + last)
                decoded[place] = coder.decode(weights[place])
        return torch.from_numpy(decoded)

    def check(self) -> None:
        if not all(coder.finished for coder in self._coders):
            raise DamagedFile("a tile's stream does not end where its pixels do")


def _encode_batch(network: ExactPhoto, tiles: Sequence[Pixels], gray: bool, progress: Progress) -> list[bytes]:
    coder = _Encoder(tiles)
    for _ in walk(network, [tile.shape[:2] for tile in tiles], gray, coder, progress):
        pass
    return coder.streams()


def _decode_batch(
    network: ExactPhoto, streams: Sequence[bytes], sizes: Sequence[tuple[int, int]], gray: bool, progress: Progress
) -> list[Pixels]:
    coder = _Decoder(streams)
    height, width = (max(size[i] for size in sizes) for i in (0, 1))
    pixels = torch.empty((len(sizes), height, width, 3), dtype=torch.uint8)
    for front, symbols in walk(network, sizes, gray, coder, progress):
        rows = torch.arange(front.low, front.high)
        pixels[:, rows, front.step - SLOPE * rows] = symbols
    coder.check()
    return [tile[:h, :w, TO_CODED] for tile, (h, w) in zip(pixels.numpy(), sizes, strict=True)]


def encode_tiles(network: ExactPhoto, tiles: Sequence[Pixels], gray: bool, threads: int, progress: Progress) -> list[bytes]:
    """The streams of RGB tiles, uint8 (height, width, 3) each. `gray`: R, G and B are equal everywhere."""

    def work(part: slice, report: Progress) -> list[bytes]:
        return _encode_batch(network, tiles[part], gray, report)

    return spread(work, len(tiles), BATCH, _workers(network, threads), progress)


def decode_tiles(
    network: ExactPhoto, streams: Sequence[bytes], sizes: Sequence[tuple[int, int]], gray: bool, threads: int, progress: Progress
) -> list[Pixels]:
    """The RGB tiles of streams, given (height, width) of each. Raises DamagedFile."""

    def work(part: slice, report: Progress) -> list[Pixels]:
        return _decode_batch(network, streams[part], sizes[part], gray, report)

    return spread(work, len(streams), BATCH, _workers(network, threads), progress)


def _workers(network: ExactPhoto, threads: int) -> int:
    return threads if network.device.type == "cpu" else 1
