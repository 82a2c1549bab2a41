"""Spreading work over processor cores.

The work is many small tensor operations with a little Python between them, so threads of one process would spend their
time waiting for each other. Where the system can fork (Linux), parts therefore run in forked children, which share the
network and the pixels with their parent and send back only results. Elsewhere, and on a GPU, they run one after another.
"""

import multiprocessing
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

import torch

from .settings import Progress

T = TypeVar("T")
CAN_FORK = sys.platform == "linux"


def spread(work: Callable[[slice, Progress], list[T]], count: int, batch: int, workers: int, progress: Progress) -> list[T]:
    """The results of `work` for all of range(count), in batches of at most `batch`, as many at a time as there are workers."""
    batches = min(count, workers * -(-count // (workers * batch)))
    bounds = [count * i // batches for i in range(batches + 1)] if batches else [0]
    parts = [slice(a, b) for a, b in pairwise(bounds)]
    done = [0.0] * len(parts)

    def report(part: int, share: float) -> None:
        done[part] = share * (parts[part].stop - parts[part].start) / count
        progress(sum(done))

    def run(part: int, report: Callable[[int, float], None]) -> list[T]:
        with torch.inference_mode():
            return work(parts[part], lambda share: report(part, share))

    with threads(1):
        if workers > 1 and len(parts) > 1 and CAN_FORK:
            results = _in_children(run, len(parts), workers, report)
        else:
            results = [run(part, report) for part in range(len(parts))]
    return [item for result in results for item in result]


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads of its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def working(count: int) -> Iterator[None]:
    """Work in this process with so many threads, without gradients."""
    with threads(count), torch.inference_mode():
        yield


def _in_children(run: Callable[..., list[T]], parts: int, workers: int, report: Callable[[int, float], None]) -> list[list[T]]:
    context = multiprocessing.get_context("fork")
    children, pipes = [], []
    results: dict[int, list[T]] = {}
    try:
        for first in range(min(workers, parts)):
            receiver, sender = context.Pipe(duplex=False)
            child = context.Process(target=_child, args=(sender, run, range(first, parts, workers)), daemon=True)
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # torch's idle threads
                child.start()
            sender.close()
            children.append(child)
            pipes.append(receiver)
        while len(results) < parts:
            for pipe in wait(pipes):
                assert isinstance(pipe, Connection)
                _receive(pipe, pipes, results, report)
    finally:
        for child in children:
            if len(results) < parts:
                child.terminate()
            child.join()
    return [results[part] for part in range(parts)]


def _receive(pipe: Connection, pipes: list[Connection], results: dict[int, Any], report: Callable[[int, float], None]) -> None:
    try:
        what, part, value = pipe.recv()
    except EOFError:
        pipes.remove(pipe)
        if not pipes:
            raise MemoryError("a worker process was killed; was there enough memory?") from None
        return
    if what == "progress":
        report(part, value)
    elif what == "result":
        results[part] = value
    else:
        raise value


def _child(pipe: Connection, run: Callable[..., list[Any]], parts: Sequence[int]) -> None:
    """Work off some parts; ends by itself if the parent is gone."""
    last = [0.0]

    def report(part: int, share: float) -> None:
        if abs(share - last[0]) > 0.02:
            last[0] = share
            pipe.send(("progress", part, share))

    try:
        for part in parts:
            pipe.send(("result", part, run(part, report)))
    except BrokenPipeError:
        pass
    except Exception as error:  # handed to the parent, whoever made it
        pipe.send(("error", -1, error))
