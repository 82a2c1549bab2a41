"""The chain coder: one big integer S a group, coded in blocks whose quantiles are known before any probability is.

To decode a block of n symbols, its quantiles u are the lowest P n bits of S, first symbol lowest. Once every symbol has been
found whose interval [c, c + f) holds its u, what the symbols did not use goes back: S <- S >> P n, then for each symbol in
order S <- S f + (u - c). Encoding is the inverse, last block first, from S = 1; a block is closed as soon as S < 2^P, so
that the decoder finds every length but the first by itself. Decoding ends with S = 1.

It is bits-back coding (Townsend et al. 2019) in blocks. Products and remainders of whole blocks are combined in trees.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import DamagedFile

Integers = NDArray[np.int64]
LEAF = 64  # symbols that are multiplied or divided one after the other


def joined(quantiles: Integers, precision: int) -> int:
    """The integer of P n bits with the first quantile lowest."""
    bits = (quantiles[:, None] >> np.arange(precision)) & 1
    return int.from_bytes(np.packbits(bits.astype(np.uint8), bitorder="little").tobytes(), "little")


def split(value: int, count: int, precision: int) -> Integers:
    """The first `count` quantiles of an integer, first one lowest."""
    data = np.frombuffer(value.to_bytes(-(-count * precision // 8), "little"), np.uint8)
    bits = np.unpackbits(data, bitorder="little")[: count * precision].reshape(count, precision)
    return bits.astype(np.int64) @ (1 << np.arange(precision, dtype=np.int64))


def _product(sizes: Sequence[int], rests: Sequence[int]) -> tuple[int, int]:
    """(F, R) so that going through all symbols takes S to S F + R."""
    if len(sizes) <= LEAF:
        factor, rest = 1, 0
        for size, part in zip(sizes, rests, strict=True):
            factor, rest = factor * size, rest * size + part
        return factor, rest
    middle = len(sizes) // 2
    first, first_rest = _product(sizes[:middle], rests[:middle])
    second, second_rest = _product(sizes[middle:], rests[middle:])
    return first * second, first_rest * second + second_rest


def _products(sizes: Sequence[int]) -> list[list[int]]:
    """Products of runs of sizes: leaves of LEAF sizes first, the whole last."""
    levels = [[math.prod(sizes[i : i + LEAF]) for i in range(0, len(sizes), LEAF)]]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([math.prod(below[i : i + 2]) for i in range(0, len(below), 2)])
    return levels


def _remainders(state: int, sizes: Sequence[int]) -> tuple[int, list[int]]:
    """Divide by all sizes, the last one first: what is left, and every remainder in the symbols' order."""
    levels = _products(sizes)
    left, parts = divmod_fast(state, levels[-1][0])
    rests = [parts]
    for below in reversed(levels[:-1]):
        split_rests: list[int] = []
        for i, rest in enumerate(rests):
            pair = below[2 * i : 2 * i + 2]
            split_rests += divmod_fast(rest, pair[1]) if len(pair) == 2 else (rest,)
        rests = split_rests
    result: list[int] = []
    for i, rest in enumerate(rests):
        leaf = []
        for size in reversed(sizes[i * LEAF : (i + 1) * LEAF]):
            rest, remainder = divmod(rest, size)
            leaf.append(remainder)
        result += reversed(leaf)
    return left, result


SCHOOLBOOK_BITS = 60000  # Python's own division is quadratic; above this size halves are divided


def divmod_fast(a: int, b: int) -> tuple[int, int]:
    """divmod of nonnegative integers in the time of a few products (Burnikel and Ziegler 1998)."""
    size = b.bit_length()
    if size < SCHOOLBOOK_BITS or a.bit_length() - size < SCHOOLBOOK_BITS:
        return divmod(a, b)
    quotient, rest = 0, 0
    mask = (1 << size) - 1
    for i in range(-(-a.bit_length() // size) - 1, -1, -1):  # digits of the size of b
        digit, rest = _two_by_one((rest << size) | ((a >> (i * size)) & mask), b, size)
        quotient = (quotient << size) | digit
    return quotient, rest


def _two_by_one(a: int, b: int, size: int) -> tuple[int, int]:
    """divmod(a, b) where b has exactly `size` bits and the quotient fits in them."""
    if a.bit_length() - size < SCHOOLBOOK_BITS // 2:
        return divmod(a, b)
    odd = size & 1
    if odd:
        a, b, size = a << 1, b << 1, size + 1
    half = size >> 1
    mask = (1 << half) - 1
    high, low = b >> half, b & mask
    first, rest = _three_by_two(a >> size, (a >> half) & mask, b, high, low, half)
    second, rest = _three_by_two(rest, a & mask, b, high, low, half)
    return (first << half) | second, rest >> 1 if odd else rest


def _three_by_two(top: int, digit: int, b: int, high: int, low: int, half: int) -> tuple[int, int]:
    """divmod((top << half) + digit, b) where b = (high << half) + low and the quotient fits in half a word."""
    if top >> half == high:
        quotient, rest = (1 << half) - 1, top - (high << half) + high
    else:
        quotient, rest = _two_by_one(top, high, half)
    rest = ((rest << half) | digit) - quotient * low
    while rest < 0:
        quotient, rest = quotient - 1, rest + b
    return quotient, rest


def encode(lows: Integers, sizes: Integers, precision: int) -> tuple[int, int]:
    """S and the length of the first block, for symbols with intervals [low, low + size) in their coding order."""
    state, end, first = 1, len(lows), 0
    bits = np.concatenate([[0.0], np.cumsum(np.log2(sizes))])
    limit = 1 << precision
    while end:
        start, pieces = end, []
        while start and (start == end or state >= limit):
            # as many symbols as surely leave the state at its limit or above it, then single ones
            room = bits[start] - (state.bit_length() - 1 - precision) + 1
            target = min(max(int(np.searchsorted(bits, room)), 0), start - 1)
            part = sizes[target:start].tolist()
            state, rests = _remainders(state, part)
            pieces.append(lows[target:start] + np.array(rests))
            start = target
        quantiles = np.concatenate(pieces[::-1])
        first = end - start
        state = (state << (precision * first)) | joined(quantiles, precision)
        end = start
    return state, first


class ChainDecoder:
    """The state of a group: `next_block` gives quantiles, `give_back` takes the intervals that they fell into."""

    def __init__(self, state: int, first: int, count: int, precision: int) -> None:
        """first: length of the first block. count: symbols in the group. Raises DamagedFile."""
        if first > count or first * precision > state.bit_length() + precision:
            raise DamagedFile("a group's first block is longer than its stream")
        self._state, self._length, self._precision = state, first, precision
        self.left = count
        self._quantiles: Integers = np.zeros(0, np.int64)

    def next_block(self) -> Integers:
        """The quantiles of the next block. Raises DamagedFile at the end if the state is not what it must be."""
        if not self.left:
            if self._state != 1:
                raise DamagedFile("a group's stream does not end where its symbols do")
            return self._quantiles[:0]
        length = self._length or max(1, (self._state.bit_length() - 1) // self._precision)
        self._length = 0
        length = min(length, self.left)
        used = self._precision * length
        self._quantiles = split(self._state & ((1 << used) - 1), length, self._precision)
        self._state >>= used
        self.left -= length
        return self._quantiles

    def give_back(self, lows: Integers, sizes: Integers) -> None:
        """Return to the state what the block's symbols did not use."""
        factor, rest = _product(sizes.tolist(), (self._quantiles - lows).tolist())
        self._state = self._state * factor + rest
