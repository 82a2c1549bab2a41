"""The Transformer over ordered codes beside products and attention: what a row's token is made of, its stream, the weights of codes.

Rows are patches, see `ordered/rows.py`. Arrays may be wider than what they hold; beyond it is any number.
"""

import numpy as np

from ..integer import LARGEST
from ..units import STREAM_LIMIT
from .jit import Array, kernel


@kernel("void(int64, int64, int64, int64[::1], int64[:,::1], int8[:,::1], int16[:,::1])")
def tokens(first: int, share: int, quarter: int, codes: Array, around: Array, table: Array, out: Array) -> None:
    """What the tokens of rows from `first` on are made of: the embeddings of the codes around them, and in which quarter they are.

    codes: of the rows of the layer before, of which `share` rows here have one each, and at their end the number of a row of zeros in
    `table` (codes + 1, embedding). around: (rows there, taps). quarter: what stands for it, or 0. out: (n, at least taps * embedding + 4).
    """
    taps, size = around.shape[1], table.shape[1]
    for i in range(len(out)):
        row = first + i
        for tap in range(taps):
            vector = table[codes[around[row // share, tap]]]
            part = out[i, tap * size : (tap + 1) * size]
            for j in range(size):
                part[j] = vector[j]
        out[i, taps * size : taps * size + 4] = 0
        out[i, taps * size + row % 4] = quarter


@kernel("void(int32[:,::1], int64, int32[:,::1], int16[:,::1])")
def add(values: Array, bits: int, stream: Array, out: Array) -> None:
    """Add to the stream (n, width) values (n, at least width), and what its next readers see of it, -127..127 (n, at least width)."""
    half, shift = np.int32(1 << bits >> 1), np.int32(bits)
    for i in range(len(stream)):
        own, more, seen = stream[i], values[i, : stream.shape[1]], out[i, : stream.shape[1]]
        for j in range(len(own)):
            value = min(max(np.int32(own[j] + more[j]), np.int32(-STREAM_LIMIT)), np.int32(STREAM_LIMIT))
            own[j] = value
            seen[j] = min(max(np.int32(value + half) >> shift, np.int32(-LARGEST)), np.int32(LARGEST))


@kernel("void(int64[:,::1], int16[:,::1], int64, int16[:,::1])")
def gather(around: Array, vectors: Array, width: int, out: Array) -> None:
    """The vectors around rows (n, taps), side by side; (n, at least taps * width). vectors: (rows, at least width)."""
    for i in range(len(out)):
        for tap in range(around.shape[1]):
            vector, part = vectors[around[i, tap], :width], out[i, tap * width : (tap + 1) * width]
            for j in range(len(part)):
                part[j] = vector[j]


@kernel("void(int32[:,::1], int64, int32[::1], float32[:,::1])")
def categories(logits: Array, spare: int, table: Array, weights: Array) -> None:
    """Weights (n, entries) of codes from logits (n, at least entries); the formula is that of `frequencies.category_weights`."""
    last, shift = np.int32(len(table) - 1), np.int32(spare)
    for i in range(len(weights)):
        own = logits[i, : weights.shape[1]]
        most = own[0]
        for j in range(len(own)):
            most = max(most, own[j])
        for j in range(len(own)):
            weights[i, j] = np.float32(np.int32((table[np.uint32(min(np.int32(most - own[j]), last))] >> shift) + np.int32(1)))
