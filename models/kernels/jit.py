"""Compiling a kernel, or finding it compiled: once on a machine, where there is a folder for it that can be written."""

import os
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeAlias, TypeVar

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
"""An argument of a kernel, whose type and shape stand in the signature."""
Function = TypeVar("Function", bound=Callable[..., Any])
Do: TypeAlias = Callable[..., None]
"""Calls a kernel with its arguments, at once or as part of a program (`program.py`)."""
KERNELS = "PRESAGE_KERNELS"
"""The environment variable that switches kernels off: `torch`."""
ARITHMETIC = "int16"
"""The name of the kernels' products among the back ends."""
INSTALLED = find_spec("numba") is not None
ASKED = "PRESAGE_ARITHMETIC"
"""The environment variable that says who multiplies where nothing else does."""
_notices: list[Callable[[], None]] = []  # who is to be told when something is compiled
_listeners: list[Any] = []


def available() -> bool:
    """Whether kernels can be compiled here, and are not switched off."""
    return INSTALLED and os.environ.get(KERNELS, "numba") != "torch"


def asked(arithmetic: str | None) -> str | None:
    """The arithmetic that is asked for: what a caller says, or else the environment."""
    return arithmetic or os.environ.get(ASKED) or None


def wanted(arithmetic: str | None) -> bool:
    """Whether a network is to be evaluated by kernels, given the arithmetic that is asked for, or None."""
    return available() and (asked(arithmetic) or ARITHMETIC) == ARITHMETIC


def target() -> tuple[str, set[str]]:
    """The processor that kernels are compiled for, and its features, or none where they are not."""
    if not INSTALLED:
        return "", set()
    config: Any = import_module("numba.core.config")
    llvm: Any = import_module("llvmlite.binding")
    if config.CPU_FEATURES is None:
        features = {name for name, there in llvm.get_host_cpu_features().items() if there}
    else:
        features = {name[1:] for name in config.CPU_FEATURES.split(",") if name.startswith("+")}
    return config.CPU_NAME or llvm.get_host_cpu_name(), features


def kernel(*signatures: str) -> Callable[[Function], Function]:
    """Compile a function for these signatures when its module is imported; without signatures when a kernel of its file calls it."""

    def decorate(function: Function) -> Function:
        if not available():
            return function
        numba: Any = import_module("numba")
        _listen()
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
        if not signatures:
            options["no_cpython_wrapper"] = True  # saves time in compiling
        types = [list(signatures)] if signatures else []
        try:
            compiled: Function = numba.njit(*types, cache=True, **options)(function)
        except RuntimeError:  # no folder for compiled code can be written
            compiled = numba.njit(*types, **options)(function)
        return compiled

    return decorate


def at_once(function: Callable[..., None], *arguments: Any) -> None:
    """Call a kernel."""
    function(*arguments)


def callback(signature: str) -> Callable[[Function], Any]:
    """Compile a function that kernels of other files call by its `address`: they know nothing else of it, and so need not be compiled
    anew when it changes."""

    def decorate(function: Function) -> Any:
        if not available():
            return function
        numba: Any = import_module("numba")
        try:
            return numba.cfunc(signature, cache=True)(function)
        except RuntimeError:
            return numba.cfunc(signature)(function)

    return decorate


def _make_call() -> Any:
    """The intrinsic (address of a callback, its nine integers)."""
    ir: Any = import_module("llvmlite.ir")
    types: Any = import_module("numba.types")
    intrinsic: Any = import_module("numba.extending").intrinsic
    i64 = ir.IntType(64)

    def generate(context: Any, b: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [i64] * 9)
        b.call(b.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    @intrinsic  # type: ignore[untyped-decorator]
    def call(context: Any, address: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any, i: Any) -> Any:
        return types.void(*[types.int64] * 10), generate

    return call


def on_compiling(notice: Callable[[], None]) -> None:
    """Call `notice` before the next kernel of this process is compiled, once; kernels that are found compiled don't count."""
    _notices[:] = [notice]


def _listen() -> None:
    """Have numba say when it compiles."""
    if _listeners:
        return
    event: Any = import_module("numba.core.event")

    class Listener(event.Listener):  # type: ignore[misc]
        def on_start(self, event: Any) -> None:
            if _notices:
                _notices.pop()()

        def on_end(self, event: Any) -> None:
            pass

    _listeners.append(Listener())
    event.register("numba:compile", _listeners[0])


if available():
    call = _make_call()
