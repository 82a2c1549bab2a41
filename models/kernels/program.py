"""Kernels that run one after another without the interpreter: threads that wait for its lock lose more time than short kernels take.

A program is a tape of int64, for every call the address of the kernel's machine code and its arguments as numba passes them: an integer as
it is; of an array two pointers to who owns it (nobody), its numbers, bytes a number, address, shape and strides. In front of them come two
pointers to where a result and a trouble are put. What differs from run to run is written over.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from . import jit
from .jit import Array, kernel

MOST = 112  # arguments of a call, after numba took arrays apart; all calls are given as many, and ignore what is left over
OWNERS = (0, 0)
SHAPE = len(OWNERS) + 3  # where an array's shape begins


class Variable(int):
    """An argument that has another value each run."""


def _make_enter() -> Any:
    """The intrinsic (address of a kernel, of its arguments, of room for its result): its status, 0 if there was no trouble."""
    ir: Any = import_module("llvmlite.ir")
    types: Any = import_module("numba.types")
    i64 = ir.IntType(64)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        address, first, room = arguments
        function = b.inttoptr(address, ir.FunctionType(ir.IntType(32), [i64] * (2 + MOST)).as_pointer())
        given = b.inttoptr(first, i64.as_pointer())
        passed = [b.load(b.gep(given, [i64(i)])) for i in range(MOST)]
        return b.sext(b.call(function, [room, b.add(room, i64(8)), *passed]), i64)

    @import_module("numba.extending").intrinsic  # type: ignore[untyped-decorator]
    def enter(context: Any, address: Any, first: Any, room: Any) -> Any:
        return types.int64(types.int64, types.int64, types.int64), generate

    return enter


if jit.available():
    _enter = _make_enter()


@kernel("int64(int64[::1], int64[::1], int64[::1])")
def play(tape: Array, calls: Array, room: Array) -> int:
    """Make the calls that begin at these places of the tape; 0, or the status of the first that failed. room: scratch (2)."""
    for i in range(len(calls)):
        place = tape.ctypes.data + 8 * calls[i]
        status: int = _enter(tape[calls[i]], place + 8, room.ctypes.data)
        if status != 0:
            return status
    return 0


class Program:
    """Calls of kernels, given once and run many times."""

    def __init__(self) -> None:
        self._cut: set[int] = set()
        self._kept: list[Any] = []  # what the tape has addresses of
        self._cells: list[int] = []
        self.kernels: list[Any] = []  # that are called, in their order
        self._calls: list[int] = []
        self._variables: dict[int, list[int]] = {}
        self._counts: list[int] = []
        self._sizes: list[int] = []  # of a row of the arrays at `_counts`
        self._room = np.zeros(2, np.int64)
        self._tape: Array = np.empty(0, np.int64)

    def cut(self, array: Array) -> Array:
        """The same array, of which each run uses another number of rows, as many of all such arrays."""
        self._cut.add(id(array))
        self._kept.append(array)
        return array

    def add(self, function: Any, *arguments: Any) -> None:
        """A call. Raises TypeError for other arguments than the kernel has."""
        compiled = function.overloads[function.signatures[0]]
        typeof: Any = import_module("numba").typeof
        wanted = compiled.signature.args
        given = tuple(wanted[i] if isinstance(a, int) else typeof(a) for i, a in enumerate(arguments[: len(wanted)]))
        if given != wanted or len(arguments) != len(wanted):
            raise TypeError(f"{function.__name__} wants {wanted}, not {given}")
        self.kernels.append(function)
        self._calls.append(len(self._cells))
        self._cells.append(compiled.library.get_pointer_to_function(compiled.fndesc.mangled_name))
        for argument in arguments:
            self._give(argument)
        if len(self._cells) - self._calls[-1] > 1 + MOST:
            raise TypeError(f"{function.__name__} has more than {MOST} arguments")

    def _give(self, argument: Any) -> None:
        at = len(self._cells)
        if isinstance(argument, np.ndarray):
            self._kept.append(argument)
            if id(argument) in self._cut:
                self._counts.append(at)
                self._sizes.append(argument[:1].size)
            self._cells += [*OWNERS, argument.size, argument.itemsize, argument.ctypes.data, *argument.shape, *argument.strides]
            return
        if isinstance(argument, Variable):
            self._variables.setdefault(id(argument), []).append(at)
        self._cells.append(int(argument))

    def run(self, count: int, values: Sequence[tuple[Variable, int]]) -> None:
        """Make all calls with so many rows and these values. Raises MemoryError."""
        self.fill(count, values)
        self.play(slice(None))

    def play(self, calls: slice) -> None:
        """Make some of the calls as they stand. Raises MemoryError."""
        if play(self._tape, self._starts[calls], self._room):
            raise MemoryError("a kernel found no room for what it works on")

    def fill(self, count: int, values: Sequence[tuple[Variable, int]]) -> None:
        """Write down so many rows and these values."""
        if not len(self._tape):
            self._tape = np.array([*self._cells, *[0] * MOST], np.int64)
            self._starts, self._places, self._each = (np.array(part, np.int64) for part in (self._calls, self._counts, self._sizes))
        self._tape[self._places + SHAPE] = count
        self._tape[self._places + len(OWNERS)] = count * self._each
        for variable, value in values:
            self._tape[self._variables.get(id(variable), [])] = value
