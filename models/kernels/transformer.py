"""The Transformer over ordered codes between its products: what a row's token is made of, attention, the stream, weights of codes.

Rows are patches, see `ordered/rows.py`; arrays may be wider than what they hold, and what is there beyond is any number. A *cache* holds what the tokens of a grid have shown so far, keys (rows, heads, head,
tokens) and values (rows, heads, tokens, head) of one block, int8; `share` rows in succession have a row of it in common. Of a row and a
head, with q, k_t and v_t the numbers of its query and of its tokens' keys and values, s a shift and A the table of the weights file,

    d_t = (q k_t + 2^(s-1)) >> s,    w_t = A[max d - d_t],    mixed = floor((2 sum w_t v_t + sum w_t) / (2 sum w_t)).
"""

import numpy as np

from ..integer import LARGEST
from .jit import Array, kernel

STREAM_LIMIT = 32767  # of a residual stream


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


@kernel("void(int64, int64, int32[:,::1], int32[:,:,::1], int8[:,:,:,::1], int8[:,:,:,::1])")
def show(first: int, token: int, sums: Array, queries: Array, keys: Array, values: Array) -> None:
    """Queries (n, heads, head) and, for the cache, keys and values of a token, of rows from `first` on.

    sums: (n, at least 3 * heads * head): queries, keys and values one after another.
    """
    heads, size = queries.shape[1], queries.shape[2]
    inner = heads * size
    for i in range(len(queries)):
        for head in range(heads):
            at = head * size
            for j in range(size):
                queries[i, head, j] = min(max(sums[i, at + j], np.int32(-LARGEST)), np.int32(LARGEST))
                keys[first + i, head, j, token] = min(max(sums[i, inner + at + j], np.int32(-LARGEST)), np.int32(LARGEST))
                values[first + i, head, token, j] = min(max(sums[i, 2 * inner + at + j], np.int32(-LARGEST)), np.int32(LARGEST))


@kernel("void(int64, int64, int64, int64, int32[:,:,::1], int8[:,:,:,::1], int32[:,:,::1])")
def score(first: int, share: int, count: int, at: int, queries: Array, keys: Array, scores: Array) -> None:
    """Products of the queries of rows from `first` on with the first keys of a cache; scores[:, :, at : at + count]."""
    size = queries.shape[2]
    for i in range(len(queries)):
        row = (first + i) // share
        for head in range(queries.shape[1]):
            out = scores[i, head, at : at + count]
            out[:] = 0
            for j in range(size):
                factor, key = queries[i, head, j], keys[row, head, j, :count]
                for t in range(len(out)):
                    out[t] = np.int32(out[t] + np.int32(factor * np.int32(key[t])))


@kernel("void(int64, int64, int32[::1], int32[:,:,::1], int32[:,::1])")
def attend(count: int, bits: int, table: Array, scores: Array, totals: Array) -> None:
    """Scores (n, heads, at least count) become weights, and their sums (n, heads)."""
    half, shift, last = np.int32(1 << bits >> 1), np.int32(bits), np.int32(len(table) - 1)
    for i in range(len(scores)):
        for head in range(scores.shape[1]):
            own = scores[i, head, :count]
            most = np.int32(-(1 << 30))
            for t in range(len(own)):
                own[t] = np.int32(own[t] + half) >> shift
                most = max(most, own[t])
            total = np.int32(0)
            for t in range(len(own)):
                own[t] = table[np.uint32(min(np.int32(most - own[t]), last))]
                total = np.int32(total + own[t])
            totals[i, head] = total


@kernel("void(int64, int64, int64, int64, int32[:,:,::1], int8[:,:,:,::1], int32[:,:,::1])")
def mix(first: int, share: int, count: int, at: int, weights: Array, values: Array, mixed: Array) -> None:
    """Add to the mixtures (n, heads, head) of rows from `first` on the first values of a cache by weights[:, :, at : at + count]."""
    for i in range(len(mixed)):
        row = (first + i) // share
        for head in range(mixed.shape[1]):
            out = mixed[i, head]
            for t in range(count):
                factor, value = weights[i, head, at + t], values[row, head, t]
                for j in range(len(out)):
                    out[j] = np.int32(out[j] + np.int32(factor * np.int32(value[j])))


@kernel("void(int32[:,:,::1], int32[:,::1], int16[:,::1])")
def divide(mixed: Array, totals: Array, out: Array) -> None:
    """The quotients of mixtures (n, heads, head) and totals, halves upwards (n, at least heads * head)."""
    size = mixed.shape[2]
    for i in range(len(mixed)):
        for head in range(mixed.shape[1]):
            total = np.uint32(totals[i, head])
            own, part = mixed[i, head], out[i, head * size : (head + 1) * size]
            for j in range(len(own)):  # 256 is added to have nothing below 0
                above = np.uint32(np.uint32(2 * own[j]) + np.uint32(513 * total))
                part[j] = np.int32(np.uint32(above // np.uint32(2 * total))) - np.int32(256)


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
