"""Products of small integers, with int32 sums and what follows them: for every output (W x + b + (x << skip)) >> shift.

Activations are int16 that int8 could hold. int8 weights are packed for the instructions that there are (`tiles.py`): as int16 pairs of
inputs, sixteen outputs side by side, or as fours of int8, for which activations are moved to 0..255 and the bias makes up for that.
Products are exact wherever sums stay below 2^31.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..integer import IntLinear, known_answers
from .jit import Do, at_once, callback, kernel
from .tiles import COLUMNS, FEW, QUADS, ROWS, STEP, narrow, tile_of_few, tile_of_row, tile_of_rows

LINE = 64  # bytes
INPUTS = 4  # rows of inputs are padded to a multiple
BLOCK = 96  # rows, whole tiles, whose sums are shifted while they are in the nearest cache

Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]


def padded(count: int, multiple: int) -> int:
    """The next multiple."""
    return -(-count // multiple) * multiple


def pack(weight: NDArray[Any]) -> Int16:
    """int8 weights (outputs, inputs) for the kernels: (tiles, steps, bytes of a step), padded with zeros to whole tiles and fours.

    The bytes are, of each of the tile's outputs, two int16 or four int8, see `tiles.py`.
    """
    outputs, inputs = weight.shape
    full = np.zeros((padded(outputs, COLUMNS), padded(inputs, INPUTS)), np.int8 if QUADS else np.int16)
    full[:outputs, :inputs] = weight
    count = 4 // full.itemsize
    steps = full.reshape(-1, COLUMNS, full.shape[1] // count, count).transpose(0, 2, 1, 3)
    return aligned(steps.reshape(len(steps), steps.shape[1], -1)).view(np.int16)


def aligned(array: NDArray[Any]) -> NDArray[Any]:
    """A copy that begins with a line of the cache."""
    room = np.empty(array.nbytes + LINE, np.uint8)
    start = -room.ctypes.data % LINE
    copy = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


@kernel()
def _multiply_four_bytes(x: int, x_row: int, rows: int, steps: int, w: int, tiles: int, bias: int, out: int, out_row: int) -> None:
    """W x + b of some rows, by addresses and bytes from row to row, four bytes of them at a time. tiles: of COLUMNS outputs each."""
    size = ROWS if rows >= ROWS else FEW if rows >= FEW else 1
    for tile in range(tiles):
        weights = w + tile * steps * STEP
        biases = bias + tile * (4 * COLUMNS)
        sums = out + tile * (4 * COLUMNS)
        for first in range(0, rows, size):
            row = min(first, rows - size)  # the last tile may have rows of the one before
            if size == ROWS:
                tile_of_rows(x + row * x_row, x_row, weights, steps, biases, sums + row * out_row, out_row)
            elif size == FEW:
                tile_of_few(x + row * x_row, x_row, weights, steps, biases, sums + row * out_row, out_row)
            else:
                tile_of_row(x + row * x_row, x_row, weights, steps, biases, sums + row * out_row, out_row)


@kernel()
def _multiply_bytes(x: int, x_row: int, rows: int, steps: int, w: int, tiles: int, bias: int, out: int, out_row: int) -> None:
    """The same of int16 rows that are made bytes first."""
    size = 4 * steps
    octets = np.empty(rows * size, np.uint8)
    for row in range(rows):
        narrow(x + row * x_row, octets.ctypes.data + row * size, size)
    _multiply_four_bytes(octets.ctypes.data, size, rows, steps, w, tiles, bias, out, out_row)


_multiply = _multiply_bytes if QUADS else _multiply_four_bytes


@callback("void(int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def multiply(x: int, x_row: int, rows: int, steps: int, w: int, tiles: int, bias: int, out: int, out_row: int) -> None:
    """W x + b of int16 rows for the kernels of other files."""
    _multiply(x, x_row, rows, steps, w, tiles, bias, out, out_row)


@kernel("void(int16[:,::1], int16[:,:,::1], int32[::1], int32[::1], int32[:,::1])")
def sums(x: Int16, w: Int16, bias: Int32, shift: Int32, out: Int32) -> None:
    """(W x + b) >> shift.

    x: (n, inputs), padded to fours. w: as `pack` makes it. bias, shift: (outputs), and out: (n, outputs), padded to whole tiles.
    """
    n, outputs = out.shape
    for first in range(0, n, BLOCK):
        last = min(n, first + BLOCK)
        rows = x.ctypes.data + first * x.strides[0]
        place = out.ctypes.data + first * out.strides[0]
        _multiply(rows, x.strides[0], last - first, w.shape[1], w.ctypes.data, w.shape[0], bias.ctypes.data, place, out.strides[0])
        for i in range(first, last):
            for j in range(outputs):
                out[i, j] = out[i, j] >> shift[j]


@kernel("void(int16[:,::1], int16[:,:,::1], int32[::1], int32[::1], int32[::1], int32[:,::1], int16[:,::1])")
def activations(x: Int16, w: Int16, bias: Int32, shift: Int32, skip: Int32, scratch: Int32, out: Int16) -> None:
    """clamp((W x + b + (x << skip)) >> shift, 0, 127).

    skip: (outputs), or empty if there is none. scratch: (BLOCK, at least outputs), of any content. The rest is as in `sums`.
    """
    n, outputs = out.shape
    for first in range(0, n, BLOCK):
        last = min(n, first + BLOCK)
        rows = x.ctypes.data + first * x.strides[0]
        place = scratch.ctypes.data
        _multiply(rows, x.strides[0], last - first, w.shape[1], w.ctypes.data, w.shape[0], bias.ctypes.data, place, scratch.strides[0])
        for i in range(first, last):
            if len(skip):
                for j in range(outputs):
                    scratch[i - first, j] += np.int32(x[i, j]) << skip[j]
            for j in range(outputs):
                value = scratch[i - first, j] >> shift[j]
                out[i, j] = min(max(value, np.int32(0)), np.int32(127))


@dataclass(frozen=True)
class Packed:
    """An IntLinear for the kernels, whose outputs are padded with zeros to whole tiles."""

    outputs: int
    weight: Int16
    bias: Int32
    shift: Int32
    skip: Int32

    @staticmethod
    def of(layer: IntLinear) -> "Packed":
        outputs = len(layer.weight)
        more = (0, padded(outputs, COLUMNS) - outputs)
        skip = np.empty(0, np.int32) if layer.skip is None else np.pad(layer.skip, more)
        bias = layer.bias - 128 * layer.weight.sum(1, dtype=np.int32) if QUADS else layer.bias
        return Packed(outputs, pack(layer.weight), np.pad(bias, more), np.pad(layer.shift, more), skip)

    @property
    def width(self) -> int:
        """Outputs with those that fill up the tiles."""
        return len(self.bias)

    def sums(self, x: Int16, out: Int32, do: Do = at_once) -> Int32:
        """(W x + b) >> shift of int16 (n, inputs in whole fours), in `out`, int32 (n, width)."""
        do(sums, x, self.weight, self.bias, self.shift, out)
        return out

    def activations(self, x: Int16, out: Int16, scratch: Int32, do: Do = at_once) -> Int16:
        """The sums with their skip connection, shifted and clamped to 0..127, in `out`, int16 (n, width).

        scratch: int32 (BLOCK, at least width).
        """
        do(activations, x, self.weight, self.bias, self.shift, self.skip, scratch, out)
        return out


def widened(x: NDArray[np.int8]) -> Int16:
    """int8 (n, inputs) as int16 in whole fours."""
    wide = np.zeros((len(x), padded(x.shape[1], INPUTS)), np.int16)
    wide[:, : x.shape[1]] = x
    return wide


def check(shapes: Iterable[tuple[int, ...]]) -> None:
    """Raises ValueError if extreme products of these shapes are not exact on this machine."""
    for x, weight, answer in known_answers(shapes, 2 * ROWS + 1):
        zeros = np.zeros(len(weight), np.int32)
        packed = Packed.of(IntLinear(weight, zeros, zeros))
        product = packed.sums(widened(x), np.empty((len(x), packed.width), np.int32))
        if not np.array_equal(product[:, : len(weight)], answer):
            raise ValueError("compiled products are not exact on this machine; set PRESAGE_KERNELS=torch")
