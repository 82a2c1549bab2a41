"""Codes as calls of kernels: what gives a model the symbols of a step without the interpreter, see `kernels/program.py`."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .kernels.program import Program
from .model import Code, Places, Symbols


class Plan(Protocol):
    """A code as calls of kernels, the same ones in every step of a wavefront.

    known: the symbols of tiles (tiles, height, width, channels), which the walk looks up for it; None if it finds them out.
    """

    @property
    def known(self) -> Symbols | None: ...

    def answer(self, program: Program, weights: NDArray[np.float32], bounds: Places, nibbles: NDArray[np.int32]) -> None:
        """Add what makes nibbles (n), or what becomes of known ones, given their weights (n, 16), and `bounds` as in `Turn`."""

    def done(self, count: int, bounds: Places, share: float) -> None:
        """The program has run for a step of so many places. share: of the walk that is done, 0..1."""


def plan_of(code: Code) -> Plan | None:
    """A code as calls of kernels, if it can be had so: its method `plan` says."""
    make = getattr(code, "plan", None)
    return make() if make is not None else None
