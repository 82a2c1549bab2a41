"""Tiles of products in registers, spelled out for LLVM: the sums of rows x COLUMNS outputs live there while the inputs go by.

A step takes four bytes of a row and multiplies them with every output's weights. Either these are two int16 (x86: vpmaddwd, with VNNI
vpdpwssd; ARM: smull, smlal), on any processor, or, with VNNI, four uint8 (vpdpbusd), twice as many.
"""

from importlib import import_module
from typing import Any

from . import jit

QUADS = jit.available() and {"avx512vnni", "avx512vl"} <= jit.target()[1]
"""Whether this processor multiplies four bytes at a time; its vectors are then of 64 bytes, those of others of 32."""
COLUMNS = 16  # outputs of a tile
LANES = 16 if QUADS else 8  # outputs of a vector
ROWS, FEW = (12, 4) if QUADS else (6, 3)  # of a tile
STEP = 4 * COLUMNS  # bytes of a tile's weights that a step takes


def _make_tile(rows: int) -> Any:
    """The intrinsic (x, x row bytes, w, steps, bias, out, out row bytes): addresses of int16 or uint8, int16 or int8, int32 and int32."""
    ir: Any = import_module("llvmlite.ir")
    types: Any = import_module("numba.types")
    intrinsic: Any = import_module("numba.extending").intrinsic

    i32, i64 = ir.IntType(32), ir.IntType(64)
    sums, pairs = ir.VectorType(i32, LANES), ir.VectorType(ir.IntType(16), 2 * LANES)
    wide, lanes = ir.VectorType(i32, 2 * LANES), ir.VectorType(i32, LANES)
    even, odd = (ir.Constant(lanes, [2 * i + first for i in range(LANES)]) for first in (0, 1))
    every = ir.Constant(lanes, [0] * LANES)
    add_quads = ir.InlineAsm(ir.FunctionType(sums, [sums, sums, sums]), "vpdpbusd $3, $2, $0", "=v,0,v,v", False)

    def add_products(b: Any, total: Any, spread: Any, weights: Any) -> Any:
        """total + four bytes of a row, in every lane, times those of the outputs."""
        if QUADS:
            return b.call(add_quads, [total, spread, weights])
        product = b.mul(*(b.sext(b.bitcast(factor, pairs), wide) for factor in (spread, weights)))
        both = [b.shuffle_vector(product, ir.Constant(wide, ir.Undefined), half) for half in (even, odd)]
        return b.add(total, b.add(*both))

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        x, x_row, w, count, bias, out, out_row = arguments
        vectors = range(COLUMNS // LANES)
        before, loop, end = b.basic_block, b.append_basic_block("steps"), b.append_basic_block("end")
        starts = [b.load(b.inttoptr(b.add(bias, i64(4 * LANES * c)), sums.as_pointer()), align=4) for c in vectors]
        b.branch(loop)
        b.position_at_end(loop)
        at = b.phi(i64)
        at.add_incoming(i64(0), before)
        totals = [[b.phi(sums) for _ in vectors] for _ in range(rows)]
        weights = [b.add(w, b.add(b.mul(at, i64(STEP)), i64(4 * LANES * c))) for c in vectors]
        columns = [b.load(b.inttoptr(p, sums.as_pointer()), align=4) for p in weights]
        for r, row in enumerate(totals):
            place = b.add(x, b.add(b.mul(x_row, i64(r)), b.mul(at, i64(4))))
            four = b.insert_element(ir.Constant(sums, ir.Undefined), b.load(b.inttoptr(place, i32.as_pointer()), align=1), i32(0))
            spread = b.shuffle_vector(four, ir.Constant(sums, ir.Undefined), every)
            for c, total in enumerate(row):
                total.add_incoming(starts[c], before)
                total.add_incoming(add_products(b, total, spread, columns[c]), loop)
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


def _make_narrow() -> Any:
    """The intrinsic (x, out, count): of int16 at x, -128..127, uint8 at out that are 128 more. Addresses, and a multiple of four."""
    ir: Any = import_module("llvmlite.ir")
    types: Any = import_module("numba.types")
    intrinsic: Any = import_module("numba.extending").intrinsic
    i64 = ir.IntType(64)

    def convert(b: Any, x: Any, out: Any, begin: Any, stop: Any, width: int) -> Any:
        """So many numbers a step, while there are; where it ended."""
        words, octets = (ir.VectorType(ir.IntType(bits), width) for bits in (16, 8))
        before, test, loop, end = b.basic_block, *(b.append_basic_block(name) for name in ("test", "some", "end"))
        b.branch(test)
        b.position_at_end(test)
        at = b.phi(i64)
        at.add_incoming(begin, before)
        following = b.add(at, i64(width))
        b.cbranch(b.icmp_signed("<=", following, stop), loop, end)
        b.position_at_end(loop)
        some = b.load(b.inttoptr(b.add(x, b.add(at, at)), words.as_pointer()), align=2)
        moved = b.trunc(b.add(some, ir.Constant(words, [128] * width)), octets)
        b.store(moved, b.inttoptr(b.add(out, at), octets.as_pointer()), align=1)
        at.add_incoming(following, loop)
        b.branch(test)
        b.position_at_end(end)
        return at

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        x, out, count = arguments
        convert(b, x, out, convert(b, x, out, i64(0), count, 32), count, 4)
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def narrow(context: Any, x: Any, out: Any, count: Any) -> Any:
        return types.void(*[types.int64] * 3), generate

    return narrow


tile_of_rows: Any = None
tile_of_few: Any = None
tile_of_row: Any = None
narrow: Any = None
if jit.available():
    if QUADS:
        import_module("llvmlite.binding").initialize_native_asmparser()
    tile_of_rows, tile_of_few, tile_of_row = _make_tile(ROWS), _make_tile(FEW), _make_tile(1)
    narrow = _make_narrow()
