"""The gated layers and heads of `pixelcnn` at chosen pixels: what `pixelcnn/reference.py` says, a pixel at a time.

A map of a layer is a table with a row for every pixel of every image; a neighbour is a constant number of rows away (`taps`). Maps come in
the order of evaluation: the up stack and the up-left stack in turn, those that see the inputs first. With the sums (a, b) of a layer, s its
stream before and G the table of gates, the stream is clamp(s + ((a G[b] + 2^7) >> 8)), of a first layer clamp(a); its readers see
clamp((stream + 2^(bits - 1)) >> bits) within -127..127.

A row is *stale* in a map if something that it is computed from has changed since; where a change dies out nothing further is computed.
"""

import numpy as np

from ..units import STREAM_LIMIT
from .jit import Array, call, kernel

FIRST_UP, FIRST_LEFT, UP, LEFT = 0, 1, 2, 3  # the kinds of taps; kind k is taps[bounds[k] : bounds[k + 1]]
WEIGHT, STEPS, TILES, BIAS, OUTPUTS = 0, 1, 2, 3, 4  # of a layer: where its weights begin, how many there are, and its biases and shifts
GATE_LIMIT, GATE_LEVELS = 128, 8


@kernel()
def _gather(table: Array, row: int, taps: Array, out: Array) -> None:
    """The rows of a table at taps of a row, side by side."""
    width = table.shape[1]
    for t in range(len(taps)):
        near, part = table[row + taps[t]], out[t * width : (t + 1) * width]
        for j in range(len(part)):
            part[j] = near[j]


@kernel()
def _mark(stale: Array, row: int, taps: Array) -> None:
    """What sees a row through taps must be computed again."""
    for t in range(len(taps)):
        stale[row - taps[t]] = 1


@kernel()
def _take(stale: Array, pixels: Array, watch: int, due: Array) -> int:
    """Of some pixels those that are stale, or all if nobody watches; returns how many."""
    count = 0
    for i in range(len(pixels)):
        if not watch or stale[pixels[i]]:
            stale[pixels[i]] = 0
            due[count] = pixels[i]
            count += 1
    return count


@kernel()
def _store(values: Array, bits: int, stream: Array, activation: Array) -> int:
    """A stream and what its readers see of it; returns 1 if the stream was another one before, 2 if what they see was, 3 for both."""
    moved, changed = np.int32(0), np.int32(0)
    half = np.int32(1 << bits >> 1)
    for j in range(len(values)):
        values[j] = min(max(values[j], np.int32(-STREAM_LIMIT)), np.int32(STREAM_LIMIT))
        moved |= np.int32(values[j] ^ np.int32(stream[j]))
        stream[j] = values[j]
    for j in range(len(values)):
        value = min(max(np.int32(values[j] + half) >> np.int32(bits), np.int32(-127)), np.int32(127))
        changed |= np.int32(value ^ np.int32(activation[j]))
        activation[j] = value
    return (1 if moved else 0) + (2 if changed else 0)


@kernel(
    "void(int64[::1], int64[::1], int64, int8[:,::1], int8[:,::1], int16[:,:,::1], int8[:,:,::1], uint8[:,::1], uint8[::1], int64[::1], "
    "int64[::1], int64[:,::1], int16[::1], int32[::1], int32[::1], int32[::1], int64[::1], int64[::1], int16[:,::1], int32[:,::1], int64)"
)
def layers(
    pixels: Array,
    above: Array,
    watch: int,
    seen: Array,
    own: Array,
    streams: Array,
    activations: Array,
    stale: Array,
    heads: Array,
    taps: Array,
    bounds: Array,
    table: Array,
    weights: Array,
    biases: Array,
    shifts: Array,
    gate: Array,
    bits: Array,
    due: Array,
    x: Array,
    sums: Array,
    multiply: int,
) -> None:
    """Bring all maps up to date at pixels, those of the up stack at the pixels `above`.

    seen, own: (rows, ...) what first layers see of neighbours, and of the pixel itself. streams, activations: (maps, rows, width). stale:
    (maps, rows). heads: (rows), whose distributions may have changed. due, x, sums: scratch.
    """
    maps, width = len(streams), streams.shape[2]
    for m in range(maps):
        up = m % 2 == 0
        kind = m if m < 2 else UP + m % 2
        near = taps[bounds[kind] : bounds[kind + 1]]
        source = seen if m < 2 else activations[m - 2]
        span = len(near) * source.shape[1]
        count = _take(stale[m], above if up else pixels, watch, due)
        place, bias = table[m, WEIGHT], table[m, BIAS]
        shift = shifts[bias : bias + table[m, OUTPUTS]]
        readers = taps[bounds[UP + m % 2] : bounds[UP + m % 2 + 1]]
        for first in range(0, count, len(x)):
            rows = due[first : min(count, first + len(x))]
            for i in range(len(rows)):
                row = rows[i]
                _gather(source, row, near, x[i])
                end = span
                if m == 1:
                    for j in range(own.shape[1]):
                        x[i, end + j] = own[row, j]
                    end += own.shape[1]
                if not up:
                    beside, part = activations[m - 1, row], x[i, end : end + width]
                    for j in range(len(part)):
                        part[j] = beside[j]
            call(
                multiply,
                x.ctypes.data,
                x.strides[0],
                len(rows),
                table[m, STEPS],
                weights.ctypes.data + 2 * place,
                table[m, TILES],
                biases.ctypes.data + 4 * bias,
                sums.ctypes.data,
                sums.strides[0],
            )
            for i in range(len(rows)):
                row = rows[i]
                a = sums[i, :width]
                for j in range(len(a)):
                    a[j] >>= shift[j]
                if m >= 2:
                    b, before, own_shift = sums[i, width : 2 * width], streams[m - 2, row], shift[width:]
                    for j in range(len(a)):
                        place_of = min(max(b[j] >> own_shift[j], np.int32(-GATE_LIMIT)), np.int32(GATE_LIMIT - 1)) + np.int32(GATE_LIMIT)
                        gated = np.int32(np.int32(gate[np.uint32(place_of)] * a[j]) + np.int32(1 << (GATE_LEVELS - 1)))
                        a[j] = np.int32((gated >> np.int32(GATE_LEVELS)) + np.int32(before[j]))
                change = _store(a, bits[m], streams[m, row], activations[m, row])
                if not watch or not change:
                    continue
                if m + 2 < maps:
                    if change & 1:
                        stale[m + 2, row] = 1
                    if change & 2:
                        _mark(stale[m + 2], row, readers)
                if change & 2:
                    if up:
                        stale[m + 1, row] = 1
                    elif m + 1 == maps:
                        heads[row] = 1


@kernel("int64(int64[::1], uint8[::1], int64, int64[::1])")
def take(pixels: Array, heads: Array, watch: int, due: Array) -> int:
    """Which of some pixels have distributions that may have changed, or all if nobody watches; returns how many."""
    return int(_take(heads, pixels, watch, due))


@kernel("int64(int64[::1], uint8[::1], int64[::1])")
def only(pixels: Array, stale: Array, chosen: Array) -> int:
    """Which of some pixels are stale, and stay so; returns how many."""
    count = 0
    for i in range(len(pixels)):
        if stale[pixels[i]]:
            chosen[count] = pixels[i]
            count += 1
    return count


@kernel()
def _mark_seen(row: int, stale: Array, taps: Array, bounds: Array) -> None:
    """What sees the inputs of a row must be computed again."""
    for kind in range(2):
        _mark(stale[kind], row, taps[bounds[kind] : bounds[kind + 1]])


@kernel("void(int64[::1], uint8[:,::1], int64, int8[:,:,::1], uint8[:,::1], int8[:,::1], uint8[:,::1], uint8[::1], int64[::1], int64[::1])")
def put(
    pixels: Array,
    values: Array,
    watch: int,
    embedding: Array,
    symbols: Array,
    seen: Array,
    stale: Array,
    heads: Array,
    taps: Array,
    bounds: Array,
) -> None:
    """Set the symbols (n, channels) of pixels. embedding: (channels, levels, numbers)."""
    size = embedding.shape[2]
    for i in range(len(pixels)):
        row = pixels[i]
        for channel in range(values.shape[1]):
            symbol = values[i, channel]
            symbols[row, channel] = symbol
            for j in range(size):
                seen[row, channel * size + j] = embedding[channel, symbol, j]
        if watch:
            heads[row] = 1
            _mark_seen(row, stale, taps, bounds)


@kernel("void(int64[::1], int8[:,::1], int16[:,::1])")
def representations(pixels: Array, activation: Array, x: Array) -> None:
    """The last map at pixels, where heads begin to see; x: (n, at least width)."""
    for i in range(len(pixels)):
        row, part = activation[pixels[i]], x[i, : activation.shape[1]]
        for j in range(len(part)):
            part[j] = row[j]


@kernel("void(uint8[:,::1], int64, int64, int8[:,:,::1], int64, int16[:,::1])")
def tell(symbols: Array, first: int, last: int, embedding: Array, width: int, x: Array) -> None:
    """Add what the symbols (n, channels) of channels first ... last - 1 say to what heads see."""
    size = embedding.shape[2]
    for i in range(len(x)):
        for channel in range(first, last):
            for j in range(size):
                x[i, width + channel * size + j] = embedding[channel, symbols[i, channel], j]


@kernel(
    "void(int16[:,::1], int64, int64[:,::1], int16[::1], int32[::1], int32[::1], int16[:,::1], int32[:,::1], int32[:,::1], int64)",
)
def outputs(
    x: Array,
    channel: int,
    table: Array,
    weights: Array,
    biases: Array,
    shifts: Array,
    features: Array,
    sums: Array,
    out: Array,
    multiply: int,
) -> None:
    """Parameters of a channel's distributions, out: (n, outputs in whole tiles). table: layers of heads and outputs in turn.

    features, sums: scratch for some rows.
    """
    head, last = table[2 * channel], table[2 * channel + 1]
    size, count = head[OUTPUTS], out.shape[1]
    head_shift, last_shift = shifts[head[BIAS] : head[BIAS] + size], shifts[last[BIAS] : last[BIAS] + count]
    for first in range(0, len(x), len(features)):
        rows = min(len(x), first + len(features)) - first
        call(
            multiply,
            x.ctypes.data + first * x.strides[0],
            x.strides[0],
            rows,
            head[STEPS],
            weights.ctypes.data + 2 * head[WEIGHT],
            head[TILES],
            biases.ctypes.data + 4 * head[BIAS],
            sums.ctypes.data,
            sums.strides[0],
        )
        for i in range(rows):
            total, feature = sums[i, :size], features[i, :size]
            for j in range(len(feature)):
                feature[j] = min(max(total[j] >> head_shift[j], np.int32(0)), np.int32(127))
        call(
            multiply,
            features.ctypes.data,
            features.strides[0],
            rows,
            last[STEPS],
            weights.ctypes.data + 2 * last[WEIGHT],
            last[TILES],
            biases.ctypes.data + 4 * last[BIAS],
            out.ctypes.data + first * out.strides[0],
            out.strides[0],
        )
        for i in range(first, first + rows):
            for j in range(count):
                out[i, j] >>= last_shift[j]
