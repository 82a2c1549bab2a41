"""Compiling kernels on two processors at once, the first time that they are needed on a machine."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys

LAST = ("codec.origins.exceptions", "models.kernels.mixtures", "models.kernels.products", "models.kernels.planes", "models.kernels.photo")
"""Kernels that a command comes to last, the last ones first."""


def help_compiling() -> None:
    """Have a second process compile, from the other end, what this one will need; what it has finished is then found compiled.

    It ends with this process at the latest. Where it cannot be started, this process compiles all by itself.
    """
    if not sys.executable or (os.cpu_count() or 1) < 2:
        return
    package = __name__.removesuffix(".codec.cli.compiling")
    command = "; ".join(f"import {package}.{name}" for name in LAST)
    nothing = subprocess.DEVNULL
    try:
        helper = subprocess.Popen([sys.executable, "-c", command], stdin=nothing, stdout=nothing, stderr=nothing)
    except OSError:
        return
    atexit.register(_end, helper)


def _end(helper: subprocess.Popen[bytes]) -> None:
    helper.kill()
    helper.wait()
