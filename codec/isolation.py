"""Keeping the host's settings of torch away from work whose integers must come out the same everywhere.

Two kinds of settings are undone: those of a thread (autocast, gradients, a default device), which each piece of work sets for itself, and
those of the process (type of new tensors, deterministic algorithms, precision of products, threads), which the first piece of work sets
and the last one gives back, so that pieces of work in several threads do not take each other's settings for the host's.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

_lock = threading.Lock()
_working = 0  # pieces of work that are going on in the process
_give_back: list[Callable[[], None]] = []


@contextmanager
def isolated() -> Iterator[None]:
    """Work that the host's settings of torch do not change, and that leaves these as they were; also a decorator.

    torch is not imported for it: a host that has not imported it has no settings either.
    """
    if "torch" not in sys.modules:
        yield
        return
    import torch  # waits for a thread that is just importing it

    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.amp.is_autocast_available(device) and (device == "cpu" or torch.cuda.is_available()):
                stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(of_the_process(torch))
        yield


@contextmanager
def of_the_process(torch: Any) -> Iterator[None]:
    """Work under settings of the process that are ours."""
    global _working
    with _lock:
        if not _working:
            _give_back.extend(_changed(torch))
        _working += 1
    try:
        yield
    finally:
        with _lock:
            _working -= 1
            while _give_back and not _working:
                _give_back.pop()()


def _changed(torch: Any) -> Iterator[Callable[[], None]]:
    """Set what is set for the whole process; yields what gives each of it back."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # work is spread over threads of our own
    yield lambda: torch.set_num_threads(threads)
    dtype = torch.get_default_dtype()
    if dtype != torch.float32:
        torch.set_default_dtype(torch.float32)
        yield lambda: torch.set_default_dtype(dtype)
    if torch.are_deterministic_algorithms_enabled():
        only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
        torch.use_deterministic_algorithms(False)
        yield lambda: torch.use_deterministic_algorithms(True, warn_only=only_warns)
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # the host has set it for one back end, in torch's newer way
        precision = ""
    if precision != "highest":
        products = torch.backends.mkldnn.matmul
        before = getattr(products, "fp32_precision", None)
        torch.set_float32_matmul_precision("highest")
        yield lambda: torch.set_float32_matmul_precision(precision) if precision else setattr(products, "fp32_precision", before)
