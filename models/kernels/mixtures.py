"""Integer weights of nibbles from the outputs of a network; the formulas are those of `frequencies.Distribution`.

A mixture of K logistics around a centre, in units of 1/GREY grey level: with (o, s, g) = the offset, log-scale and logit of a
logistic, all clamped, its cumulative distribution at an edge e is S[((e - centre - o) I[s] + MIDDLE) >> 8] A[max g - g], clamped to
the ends of S, with the tables I, S and A of the weights file. The weight of a nibble is the difference of the mixture's at its two
edges, plus 1.
"""

from importlib import import_module
from typing import Any

import numpy as np

from ..units import GREY, INVERSE_BITS, LOGIT_LIMIT, OFFSET_LIMIT, REACH, SCALE_HIGH, SCALE_LOW, SIGMOID_BITS, SPARE_BITS, STEPS
from .jit import Array, available, kernel

LAST, MIDDLE = 2 * REACH * STEPS - 1, REACH * STEPS << INVERSE_BITS  # of the sigmoid's table


LANES, EDGES = 8, 17  # edges in a vector, and in all


def _make_edges() -> Any:
    """The intrinsic (below, sigmoid, first, step, slope, part): add S[(edge slope + MIDDLE) >> 8] part to LANES numbers, for the edges
    first, first + step, ...; below and sigmoid are addresses of int32. LLVM makes no vectors of loops with look-ups by itself."""
    ir: Any = import_module("llvmlite.ir")
    types: Any = import_module("numba.types")
    i32, i64 = ir.IntType(32), ir.IntType(64)
    vector = ir.VectorType(i32, LANES)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        below, table, first, step, slope, part = arguments

        def every(number: int) -> Any:
            return ir.Constant(vector, [number] * LANES)

        def spread(value: Any) -> Any:
            none = ir.Constant(vector, ir.Undefined)
            return b.shuffle_vector(b.insert_element(none, value, i32(0)), none, every(0))

        def limited(operation: str, values: Any, limit: int) -> Any:
            kind = ir.FunctionType(vector, [vector, vector])
            function = b.module.globals.get(operation) or ir.Function(b.module, kind, operation)
            return b.call(function, [values, every(limit)])

        edges = b.add(spread(first), b.mul(ir.Constant(vector, list(range(LANES))), spread(step)))
        places = b.ashr(b.add(b.mul(edges, spread(slope)), every(MIDDLE)), every(INVERSE_BITS))
        places = limited(f"llvm.smin.v{LANES}i32", limited(f"llvm.smax.v{LANES}i32", places, 0), LAST)
        found = ir.Constant(vector, ir.Undefined)
        for lane in range(LANES):
            place = b.zext(b.extract_element(places, i32(lane)), i64)
            number = b.load(b.inttoptr(b.add(table, b.shl(place, i64(2))), i32.as_pointer()))
            found = b.insert_element(found, number, i32(lane))
        sums = b.inttoptr(below, vector.as_pointer())
        b.store(b.add(b.load(sums, align=4), b.mul(found, spread(part))), sums, align=4)
        return context.get_dummy_value()

    @import_module("numba.extending").intrinsic  # type: ignore[untyped-decorator]
    def edges(context: Any, below: Any, sigmoid: Any, first: Any, step: Any, slope: Any, part: Any) -> Any:
        return types.void(types.int64, types.int64, *[types.int32] * 4), generate

    return edges


if available():
    _edges = _make_edges()


@kernel("void(int32[:,::1], int64, int32[::1], int32[::1], int32[::1], int32[::1], int32[::1], int32[::1], float32[:,::1])")
def nibbles(
    outputs: Array,
    mixtures: int,
    centres: Array,
    above: Array,
    inverse: Array,
    sigmoid: Array,
    share: Array,
    below: Array,
    weights: Array,
) -> None:
    """Weights (n, 16) of the high nibble, or of the low one under the high nibbles `above` (n); empty: the high one.

    outputs: (n, at least 3 K) offsets, log-scales and logits. centres: (n). below: scratch (EDGES).
    """
    low = len(above) > 0
    step = np.int32(GREY if low else 16 * GREY)
    sums, table = below.ctypes.data, sigmoid.ctypes.data
    for i in range(len(weights)):
        start = np.int32((above[i] * 16 * GREY if low else 0) - GREY // 2 - centres[i])
        most = np.int32(-LOGIT_LIMIT)
        for k in range(mixtures):
            most = max(most, min(outputs[i, 2 * mixtures + k], np.int32(LOGIT_LIMIT)))
        total, last = np.int32(0), np.int32(0)
        for e in range(EDGES):
            below[e] = 0
        for k in range(mixtures):
            offset = min(max(outputs[i, k], np.int32(-OFFSET_LIMIT)), np.int32(OFFSET_LIMIT))
            scale = min(max(outputs[i, mixtures + k], np.int32(SCALE_LOW)), np.int32(SCALE_HIGH))
            logit = min(max(outputs[i, 2 * mixtures + k], np.int32(-LOGIT_LIMIT)), np.int32(LOGIT_LIMIT))
            slope, part = inverse[np.uint32(scale - SCALE_LOW)], share[np.uint32(most - logit)]
            total = np.int32(total + part)
            first = np.int32(start - offset)
            _edges(sums, table, first, step, slope, part)
            _edges(sums + 4 * LANES, table, np.int32(first + LANES * step), step, slope, part)
            if low:
                place = np.int32(np.int32(first + 16 * step) * slope + np.int32(MIDDLE)) >> np.int32(INVERSE_BITS)
                last = np.int32(last + np.int32(sigmoid[np.uint32(min(max(place, np.int32(0)), np.int32(LAST)))] * part))
        if not low or above[i] == 0:
            below[0] = 0
        below[16] = total << SIGMOID_BITS if not low or above[i] == 15 else last
        for e in range(len(below)):
            below[e] >>= np.int32(SPARE_BITS)
        for e in range(weights.shape[1]):
            weights[i, e] = np.float32(np.int32(below[e + 1] - below[e] + np.int32(1)))
