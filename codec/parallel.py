"""Spreading work over processor cores: threads of one process, since kernels and products release the interpreter's lock."""

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, TypeVar

from .isolation import of_the_process
from .settings import Progress

T = TypeVar("T")
A = TypeVar("A")


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


def each(work: Callable[[A], T], items: Sequence[A], workers: int) -> list[T]:
    """The results of short `work` for every item, in order, as many at a time as there are workers."""
    if workers == 1 or len(items) < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(workers, "presage") as pool:
        return list(pool.map(work, items))


def part_of(progress: Progress, start: int, count: int, total: int) -> Progress:
    """Tell the progress of `count` pieces from `start` on as that of all."""
    return lambda share: progress((start + share * count) / total)


class _Stopped(BaseException):
    """Ends a worker whose results nobody waits for."""


@contextmanager
def working() -> Iterator[None]:
    """Work in this thread, without gradients and without torch's own threads."""
    torch: Any = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "inference_mode"):  # not there, or just being imported
        yield
        return
    with of_the_process(torch), torch.inference_mode():
        yield


def end_with_parent() -> None:
    """Have this process not outlive a parent that was killed."""
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()
