"""The ANS coder of constriction for many streams at once, in compiled loops.

A stream is a stack of 32-bit words under a state of at most 64 bits. With the weights w_0 ... w_(n-1) of a symbol's values, W their sum
and all in float32, value s owns the quantiles from L(s) on, L(s) = floor((w_0 + ... + w_(s-1)) * ((2^24 - n) / W)) + s, and L(n) = 2^24:
constriction's `Categorical(perfect=False)`. Sums of integer weights below 2^24 are exact in float32; the product and the quotient are
rounded once each. Decoding a symbol: q = state mod 2^24, s with L(s) <= q < L(s + 1), state <- (state >> 24) (L(s + 1) - L(s)) + q - L(s),
and if that is below 2^32 a word is taken from the stack.
"""

import numpy as np

from ...models.kernels.jit import Array, kernel

BITS, WORD = 24, 32


@kernel("void(int32[::1], float32[:,::1], uint32[:,::1])")
def intervals(nibbles: Array, weights: Array, out: Array) -> None:
    """First quantile and number of quantiles (n, 2) of nibbles (n), given their weights (n, entries)."""
    entries = weights.shape[1]
    for i in range(len(nibbles)):
        total = np.float32(0)
        for j in range(entries):
            total += weights[i, j]
        scale = np.float32((1 << BITS) - entries) / total
        below = np.float32(0)
        for j in range(nibbles[i]):
            below += weights[i, j]
        low = np.uint32(below * scale) + nibbles[i]
        high = 1 << BITS
        if nibbles[i] + 1 < entries:
            high = np.uint32((below + weights[i, nibbles[i]]) * scale) + nibbles[i] + 1
        out[i, 0], out[i, 1] = low, high - low


@kernel("int64(uint32[:,::1], int64[::1], uint32[::1])")
def encode(intervals: Array, order: Array, words: Array) -> int:
    """Write the stream of the symbols at the places `order` of `intervals` into `words`; returns the number of words."""
    state, top = np.uint64(0), 0
    for i in range(len(order) - 1, -1, -1):
        low, size = np.uint64(intervals[order[i], 0]), np.uint64(intervals[order[i], 1])
        if state >> np.uint64(64 - BITS) >= size:
            words[top] = np.uint32(state & np.uint64(0xFFFFFFFF))
            top += 1
            state >>= np.uint64(WORD)
        state = (state // size << np.uint64(BITS)) | (low + state % size)
    while state != 0:
        words[top] = np.uint32(state & np.uint64(0xFFFFFFFF))
        top += 1
        state >>= np.uint64(WORD)
    return top


@kernel("void(uint32[::1], int64[::1], int64[::1], uint64[::1])")
def start(words: Array, starts: Array, tops: Array, states: Array) -> None:
    """Take the states of streams from the tops of their stacks."""
    for i in range(len(states)):
        for _ in range(2):
            if tops[i] > starts[i]:
                tops[i] -= 1
                states[i] = (states[i] << np.uint64(WORD)) | np.uint64(words[tops[i]])


@kernel("void(float32[:,::1], int64[:,::1], uint32[::1], int64[::1], int64[::1], uint64[::1], int32[::1])")
def decode(
    weights: Array,
    bounds: Array,
    words: Array,
    starts: Array,
    tops: Array,
    states: Array,
    nibbles: Array,
) -> None:
    """The next symbols of streams: of stream i those at bounds[i]. weights: (n, entries). Stack i is words[starts[i] : tops[i]]."""
    entries = weights.shape[1]
    for stream in range(len(states)):
        state = states[stream]
        for i in range(bounds[stream, 0], bounds[stream, 1]):
            total = np.float32(0)
            for j in range(entries):
                total += weights[i, j]
            scale = np.float32((1 << BITS) - entries) / total
            quantile = np.int64(state & np.uint64((1 << BITS) - 1))
            below, low, high, symbol = np.float32(0), np.int64(0), np.int64(1 << BITS), entries - 1
            for j in range(entries - 1):
                below += weights[i, j]
                edge = np.int64(below * scale) + j + 1
                if edge > quantile:
                    high, symbol = edge, j
                    break
                low = edge
            nibbles[i] = symbol
            state = (state >> np.uint64(BITS)) * np.uint64(high - low) + np.uint64(quantile - low)
            if state < np.uint64(1 << WORD) and tops[stream] > starts[stream]:
                tops[stream] -= 1
                state = (state << np.uint64(WORD)) | np.uint64(words[tops[stream]])
        states[stream] = state
