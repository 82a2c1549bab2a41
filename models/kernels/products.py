"""Products of small integers, with int32 sums and what follows them: for every output (W x + b + (x << skip)) >> shift.

Activations are int16, and int8 weights are packed as int16 pairs of inputs, eight outputs side by side. A processor multiplies sixteen
of these and adds the pairs in one instruction (x86: vpmaddwd, with VNNI vpdpwssd, which adds to the sums as well; ARM: smull, smlal), so
products are exact wherever sums stay below 2^31, for negative inputs too. `_tile` spells that out for LLVM: the sums of
ROWS x 2 x LANES outputs live in registers while the inputs go by.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..integer import IntLinear, known_answers
from .jit import available, callback, kernel

LANES = 8  # outputs of a vector
COLUMNS = 2 * LANES  # outputs of a tile
ROWS = 6  # of a tile
BLOCK = 16 * ROWS  # rows whose sums are shifted while they are in the nearest cache

Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]


def padded(count: int, multiple: int) -> int:
    """The next multiple."""
    return -(-count // multiple) * multiple


def pack(weight: NDArray[Any]) -> Int16:
    """int8 weights (outputs, inputs) for the kernels: (outputs / 8, inputs / 2, 16), padded with zeros to whole tiles and pairs."""
    outputs, inputs = weight.shape
    full = np.zeros((padded(outputs, COLUMNS), padded(inputs, 2)), np.int16)
    full[:outputs, :inputs] = weight
    pairs = full.reshape(-1, LANES, full.shape[1] // 2, 2).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(pairs).reshape(len(pairs), -1, 2 * LANES)


def _make_tile(rows: int) -> Any:
    """The intrinsic (x, x row bytes, w, pairs of inputs, bias, out, out row bytes): addresses of int16, int16, int32 and int32."""
    ir: Any = import_module("llvmlite.ir")
    types: Any = import_module("numba.types")
    intrinsic: Any = import_module("numba.extending").intrinsic

    i32, i64 = ir.IntType(32), ir.IntType(64)
    sums, pairs = ir.VectorType(i32, LANES), ir.VectorType(ir.IntType(16), 2 * LANES)
    wide, lanes = ir.VectorType(i32, 2 * LANES), ir.VectorType(i32, LANES)
    even, odd = (ir.Constant(lanes, [2 * i + first for i in range(LANES)]) for first in (0, 1))
    every = ir.Constant(lanes, [0] * LANES)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        x, x_row, w, count, bias, out, out_row = arguments
        vector = b.mul(count, i64(4 * LANES))  # bytes of a vector of outputs
        before, loop, end = b.basic_block, b.append_basic_block("pairs"), b.append_basic_block("end")
        starts = [b.load(b.inttoptr(b.add(bias, i64(4 * LANES * c)), sums.as_pointer()), align=4) for c in range(2)]
        b.branch(loop)
        b.position_at_end(loop)
        at = b.phi(i64)
        at.add_incoming(i64(0), before)
        totals = [[b.phi(sums) for _ in range(2)] for _ in range(rows)]
        weights = [b.add(w, b.add(b.mul(vector, i64(c)), b.mul(at, i64(4 * LANES)))) for c in range(2)]
        columns = [b.sext(b.load(b.inttoptr(p, pairs.as_pointer()), align=4), wide) for p in weights]
        for r, row in enumerate(totals):
            place = b.add(x, b.add(b.mul(x_row, i64(r)), b.mul(at, i64(4))))
            pair = b.insert_element(ir.Constant(sums, ir.Undefined), b.load(b.inttoptr(place, i32.as_pointer()), align=2), i32(0))
            spread = b.bitcast(b.shuffle_vector(pair, ir.Constant(sums, ir.Undefined), every), pairs)
            factor = b.sext(spread, wide)
            for c, total in enumerate(row):
                product = b.mul(factor, columns[c])
                both = [b.shuffle_vector(product, ir.Constant(wide, ir.Undefined), half) for half in (even, odd)]
                total.add_incoming(starts[c], before)
                total.add_incoming(b.add(total, b.add(*both)), loop)
        following = b.add(at, i64(1))
        at.add_incoming(following, loop)
        b.cbranch(b.icmp_signed("<", following, count), loop, end)
        b.position_at_end(end)
        for r, row in enumerate(totals):
            for c, total in enumerate(row):
                place = b.add(out, b.add(b.mul(out_row, i64(r)), i64(4 * LANES * c)))
                b.store(total.incomings[1][0], b.inttoptr(place, sums.as_pointer()), align=4)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(context: Any, x: Any, x_row: Any, w: Any, count: Any, bias: Any, out: Any, out_row: Any) -> Any:
        return types.void(*[types.int64] * 7), generate

    return tile


if available():
    _tile, _row = _make_tile(ROWS), _make_tile(1)


@kernel()
def _multiply(x: int, x_row: int, rows: int, pairs: int, w: int, tiles: int, bias: int, out: int, out_row: int) -> None:
    """W x + b of some rows, by addresses and bytes from row to row. tiles: of COLUMNS outputs each."""
    for tile in range(tiles):
        weights = w + tile * pairs * (8 * LANES)
        biases = bias + tile * (8 * LANES)
        sums = out + tile * (8 * LANES)
        row = 0
        while row + ROWS <= rows:
            _tile(x + row * x_row, x_row, weights, pairs, biases, sums + row * out_row, out_row)
            row += ROWS
        while row < rows:
            _row(x + row * x_row, x_row, weights, pairs, biases, sums + row * out_row, out_row)
            row += 1


@callback("void(int64, int64, int64, int64, int64, int64, int64, int64, int64)")
def multiply(x: int, x_row: int, rows: int, pairs: int, w: int, tiles: int, bias: int, out: int, out_row: int) -> None:
    """`_multiply` for the kernels of other files."""
    _multiply(x, x_row, rows, pairs, w, tiles, bias, out, out_row)


@kernel("void(int16[:,::1], int16[:,:,::1], int32[::1], int32[::1], int32[:,::1])")
def sums(x: Int16, w: Int16, bias: Int32, shift: Int32, out: Int32) -> None:
    """(W x + b) >> shift.

    x: (n, inputs), padded to pairs. w: as `pack` makes it. bias, shift: (outputs), and out: (n, outputs), padded to whole tiles.
    """
    n, outputs = out.shape
    for first in range(0, n, BLOCK):
        last = min(n, first + BLOCK)
        rows = x.ctypes.data + first * x.strides[0]
        place = out.ctypes.data + first * out.strides[0]
        _multiply(rows, x.strides[0], last - first, w.shape[1], w.ctypes.data, w.shape[0] // 2, bias.ctypes.data, place, out.strides[0])
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
        _multiply(rows, x.strides[0], last - first, w.shape[1], w.ctypes.data, w.shape[0] // 2, bias.ctypes.data, place, scratch.strides[0])
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
        return Packed(outputs, pack(layer.weight), np.pad(layer.bias, more), np.pad(layer.shift, more), skip)

    @property
    def width(self) -> int:
        """Outputs with those that fill up the tiles."""
        return len(self.bias)

    def sums(self, x: Int16, out: Int32) -> Int32:
        """(W x + b) >> shift of int16 (n, inputs in whole pairs), in `out`, int32 (n, width)."""
        sums(x, self.weight, self.bias, self.shift, out)
        return out

    def activations(self, x: Int16, out: Int16, scratch: Int32) -> Int16:
        """The sums with their skip connection, shifted and clamped to 0..127, in `out`, int16 (n, width).

        scratch: int32 (BLOCK, at least width).
        """
        activations(x, self.weight, self.bias, self.shift, self.skip, scratch, out)
        return out


def widened(x: NDArray[np.int8]) -> Int16:
    """int8 (n, inputs) as int16 in whole pairs."""
    wide = np.zeros((len(x), padded(x.shape[1], 2)), np.int16)
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
