"""Where the noise of a reparametrised symbol comes from: the bits of a file, or a random generator.

A symbol is a function of its distribution and of noise that is known beforehand, x = g(distribution, noise). With quantiles
the noise is P bits u, and x owns the interval that holds u; with the Gumbel trick (Gumbel 1954) it is a number for every
category, and x is where logarithm of frequency plus noise is largest.
"""

from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...models.model import Quantiles
from ..coders.chain import Integers

LOG_UNIT = 4096  # logarithms and Gumbel noise are integers in 1 / LOG_UNIT


class Source(Protocol):
    """Gives the quantiles of a group's symbols block by block, in coding order."""

    def next_block(self) -> Integers:
        """The quantiles of the next block; empty when all symbols are there."""

    def give_back(self, lows: Integers, sizes: Integers) -> None:
        """The intervals that the block's quantiles fell into."""


class RandomQuantiles:
    """Random bits as the noise of one image: everything is one block, and decoding it draws a sample."""

    def __init__(self, count: int, precision: int, seed: int, image: int) -> None:
        generator = np.random.Generator(np.random.Philox(key=[seed, image]))
        self._quantiles: Integers = generator.integers(0, 1 << precision, count, dtype=np.int64)

    def next_block(self) -> Integers:
        block, self._quantiles = self._quantiles, self._quantiles[:0]
        return block

    def give_back(self, lows: Integers, sizes: Integers) -> None:
        """Random bits are not wanted back."""


class Gumbel:
    """Gumbel noise for every category of a batch of images, in integers so that every machine draws the same sample."""

    def __init__(self, counts: list[int], levels: int, precision: int, seed: int, images: range) -> None:
        """counts: symbols of each image. images: their numbers among all that are drawn with this seed."""
        self._precision, parts = precision, []
        for image, count in zip(images, counts, strict=True):
            generator = np.random.Generator(np.random.Philox(key=[seed, image]))
            uniform = (generator.integers(0, 1 << 32, (count, levels), dtype=np.int64) + 0.5) / 2.0**32
            parts.append(np.rint(-np.log(-np.log(uniform)) * LOG_UNIT).astype(np.int32))
        self._noise = np.concatenate(parts)

    def noise(self, symbols: Integers) -> NDArray[np.float32]:
        """The noise of all categories of symbols (...); (..., levels)."""
        return self._noise[symbols].astype(np.float32) / np.float32(LOG_UNIT)

    @cached_property
    def _logarithms(self) -> NDArray[np.int32]:
        values: NDArray[np.float64] = np.log(np.maximum(np.arange((1 << self._precision) + 1), 0.5))
        return np.rint(values * LOG_UNIT).astype(np.int32)

    def choose(self, distribution: Quantiles, symbols: Integers) -> Integers:
        """The symbols drawn for distributions whose places in the batch's coding order are `symbols` (n)."""
        chosen: Integers = (self._logarithms[distribution.table()] + self._noise[symbols]).argmax(1)
        return chosen
