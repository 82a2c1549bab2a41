"""Attention of the prior over ordered codes, by integers.

Of a row and a head, with q the query, k_t and v_t the keys and values of the tokens that it sees, all of int8, s a shift and A the table of
the weights file:

    d_t = (q k_t + 2^(s-1)) >> s,    w_t = A[max d - d_t],    mixed = floor((2 sum w_t v_t + sum w_t) / (2 sum w_t)).

Keys and values are kept in caches, flat and of int8, in which every grid of patches has a part: of each of its rows and heads a product's
second factor, packed in pairs like the weights in `products.py`. Of keys the outputs are the tokens, (tokens / 8, head / 2, 8, 2); of
values the head's numbers, (tokens / 2, head, 2). Tokens and numbers are filled up to whole vectors with anything: it meets factors of 0,
or makes sums that nobody looks at.
"""

from importlib import import_module
from typing import Any

import numpy as np

from ..integer import LARGEST
from .jit import Array, available, kernel

LANES = 8  # outputs of a vector


def _make_product() -> Any:
    """The intrinsic (x, pairs of inputs, w, bytes of a pair, out): addresses of int16, int8 and int32; sums of LANES outputs.

    Pairs of products are added in one instruction, as in `products.py`.
    """
    ir: Any = import_module("llvmlite.ir")
    types: Any = import_module("numba.types")
    intrinsic: Any = import_module("numba.extending").intrinsic

    i32, i64 = ir.IntType(32), ir.IntType(64)
    sums, pairs, small = ir.VectorType(i32, LANES), ir.VectorType(ir.IntType(16), 2 * LANES), ir.VectorType(ir.IntType(8), 2 * LANES)
    wide, lanes = ir.VectorType(i32, 2 * LANES), ir.VectorType(i32, LANES)
    even, odd = (ir.Constant(lanes, [2 * i + first for i in range(LANES)]) for first in (0, 1))
    zeros = ir.Constant(lanes, [0] * LANES)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        x, count, w, stride, out = arguments
        before, loop, end = b.basic_block, b.append_basic_block("pairs"), b.append_basic_block("end")
        b.branch(loop)
        b.position_at_end(loop)
        at, total = b.phi(i64), b.phi(sums)
        at.add_incoming(i64(0), before)
        total.add_incoming(ir.Constant(sums, [0] * LANES), before)
        numbers = b.load(b.inttoptr(b.add(w, b.mul(at, stride)), small.as_pointer()), align=1)
        pair = b.load(b.inttoptr(b.add(x, b.mul(at, i64(4))), i32.as_pointer()), align=2)
        first = b.insert_element(ir.Constant(sums, ir.Undefined), pair, i32(0))
        spread = b.bitcast(b.shuffle_vector(first, ir.Constant(sums, ir.Undefined), zeros), pairs)
        product = b.mul(b.sext(spread, wide), b.sext(b.sext(numbers, pairs), wide))
        both = [b.shuffle_vector(product, ir.Constant(wide, ir.Undefined), half) for half in (even, odd)]
        result = b.add(total, b.add(*both))
        following = b.add(at, i64(1))
        at.add_incoming(following, loop)
        total.add_incoming(result, loop)
        b.cbranch(b.icmp_signed("<", following, count), loop, end)
        b.position_at_end(end)
        b.store(result, b.inttoptr(out, sums.as_pointer()), align=4)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def product(context: Any, x: Any, count: Any, w: Any, stride: Any, out: Any) -> Any:
        return types.void(*[types.int64] * 5), generate

    return product


def _make_prefetch() -> Any:
    """The intrinsic (address): a cache line that will soon be read and written."""
    ir: Any = import_module("llvmlite.ir")
    types: Any = import_module("numba.types")
    intrinsic: Any = import_module("numba.extending").intrinsic
    i32, pointer = ir.IntType(32), ir.IntType(8).as_pointer()

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        fetch = b.module.declare_intrinsic("llvm.prefetch", (pointer,), ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32]))
        b.call(fetch, [b.inttoptr(arguments[0], pointer), i32(0), i32(3), i32(1)])
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def prefetch(context: Any, address: Any) -> Any:
        return types.void(types.int64), generate

    return prefetch


if available():
    _product, _prefetch = _make_product(), _make_prefetch()


def width(count: int) -> int:
    """What tokens or numbers of a head are filled up to."""
    return -(-count // LANES) * LANES


@kernel()
def _weigh(scores: Array, bits: int, table: Array, grids: Array, weights: Array) -> Any:
    """Weights of scores, in which those of each grid begin with a pair; returns their sum."""
    half, shift, last = np.int32(1 << bits >> 1), np.int32(bits), np.int32(len(table) - 1)
    most = np.int32(-(1 << 30))
    for t in range(len(scores)):
        scores[t] = np.int32(scores[t] + half) >> shift
        most = max(most, scores[t])
    total = np.int32(0)
    at, place = np.int64(0), np.int64(0)
    for grid in grids:
        for _ in range(grid[3]):
            weight = table[np.uint32(min(np.int32(most - scores[np.uint64(at)]), last))]
            weights[np.uint64(place)] = weight
            total = np.int32(total + weight)
            at, place = at + 1, place + 1
        weights[place] = 0
        place += place % 2
    return total


@kernel(
    "void(int64, int64, int64, int64, int64[:,::1], int32[:,::1], int8[::1], int8[::1], int32[::1], int32[::1], int16[::1], int32[::1], "
    "int16[:,::1])"
)
def attend(
    first: int,
    heads: int,
    size: int,
    bits: int,
    grids: Array,
    sums: Array,
    keys: Array,
    values: Array,
    table: Array,
    scores: Array,
    factors: Array,
    mixed: Array,
    out: Array,
) -> None:
    """Attention of rows from `first` on, whose own keys and values go into the caches; out: (n, at least heads * size).

    sums: (n, at least 3 * heads * size): queries, keys and values, which are clamped to -127..127. grids: of every grid up to that of the
    rows its place in the caches, how many rows here share one there, how many tokens there is place for, and how many are there, this one
    included. scores, factors: more than the tokens of all grids and what fills them up; mixed: (size), filled up; all of any content.
    """
    inner, head_size, own_grid = heads * size, len(mixed), grids[len(grids) - 1]
    token = own_grid[3] - 1
    for i in range(len(out)):
        own = sums[i, : 3 * inner]
        for j in range(len(own)):
            own[j] = min(max(own[j], np.int32(-LARGEST)), np.int32(LARGEST))
        for head in range(heads):
            begin = head * size
            place = own_grid[0] + ((first + i) * heads + head) * head_size * own_grid[2]
            key = place + token // LANES * LANES * head_size + 2 * (token % LANES)
            value = place + token // 2 * 2 * head_size + token % 2
            after = place + head_size * own_grid[2]
            for ahead in range(0, own_grid[3] * head_size, 64):
                _prefetch(keys.ctypes.data + after + ahead)
                _prefetch(values.ctypes.data + after + ahead)
            for j in range(size):
                keys[np.uint64(key + j // 2 * (2 * LANES) + j % 2)] = own[np.uint64(inner + begin + j)]
                values[np.uint64(value + 2 * j)] = own[np.uint64(2 * inner + begin + j)]
            for j in range(size):
                factors[j] = own[begin + j]
            factors[size] = 0
            at = 0
            for start, share, tokens, count in grids:
                place = start + (np.int64(np.uint32(first + i) // np.uint32(share)) * heads + head) * head_size * tokens
                part = keys.ctypes.data + place
                for t in range(0, count, LANES):
                    _product(factors.ctypes.data, (size + 1) // 2, part + t * head_size, 2 * LANES, scores.ctypes.data + 4 * (at + t))
                at += count
            total = np.uint32(_weigh(scores[:at], bits, table, grids, factors))
            for j in range(head_size):
                mixed[j] = 0
            at = 0
            for start, share, tokens, count in grids:
                place = start + (np.int64(np.uint32(first + i) // np.uint32(share)) * heads + head) * head_size * tokens
                weights, part = factors.ctypes.data + 2 * at, values.ctypes.data + place
                for j in range(0, size, LANES):
                    _product(weights, (count + 1) // 2, part + 2 * j, 2 * head_size, scores.ctypes.data)
                    for k in range(LANES):
                        mixed[j + k] += scores[k]
                at += count + count % 2
            for j in range(size):  # 256 is added to have nothing below 0
                above = np.uint32(np.uint32(2 * mixed[j]) + np.uint32(513 * total))
                out[i, begin + j] = np.int32(np.uint32(above // np.uint32(2 * total))) - np.int32(256)
