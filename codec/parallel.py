"""Spreading work over processor cores: threads of one process, since kernels and products release the interpreter's lock."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from typing import Any, TypeVar

from .settings import Progress

T = TypeVar("T")


def spread(work: Callable[[slice, Progress], Sequence[T]], count: int, batch: int, workers: int, progress: Progress) -> list[T]:
    """The results of `work` for all of range(count), in batches of at most `batch`, as many at a time as there are workers."""
    batches = min(count, workers * -(-count // (workers * batch)))
    bounds = [count * i // batches for i in range(batches + 1)] if batches else [0]
    parts = [slice(a, b) for a, b in pairwise(bounds)]
    done = [0.0] * len(parts)
    lock, stopped = threading.Lock(), threading.Event()

    def run(part: int) -> Sequence[T]:
        def report(share: float) -> None:
            if stopped.is_set():
                raise _Stopped
            with lock:
                done[part] = share * (parts[part].stop - parts[part].start) / count
                progress(sum(done))

        with working():
            return work(parts[part], report)

    if workers == 1 or len(parts) < 2:
        return [item for part in range(len(parts)) for item in run(part)]
    with ThreadPoolExecutor(workers, "presage") as pool:
        futures = [pool.submit(run, part) for part in range(len(parts))]
        try:
            return [item for future in futures for item in future.result()]
        except BaseException:  # the others end with their next turn
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _Stopped(BaseException):
    """Ends a worker whose results nobody waits for."""


_lock = threading.Lock()
_inside = 0  # who works with torch in this process at the moment
_before = 1  # torch's threads when nobody did


@contextmanager
def working() -> Iterator[None]:
    """Work in this thread: without gradients, and without torch's own threads, whose number belongs to the whole process."""
    global _inside, _before
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "set_num_threads"):  # not there, or just being imported
        yield
        return
    with _lock:
        if not _inside:
            _before = torch.get_num_threads()
            torch.set_num_threads(1)
        _inside += 1
    try:
        with torch.inference_mode() if hasattr(torch, "inference_mode") else nullcontext():
            yield
    finally:
        with _lock:
            _inside -= 1
            if not _inside:
                torch.set_num_threads(_before)
