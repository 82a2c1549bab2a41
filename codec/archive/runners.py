"""Who works on the files: threads of this process, or processes of this machine. `cluster.py` has the machines of a cluster.

A runner takes tasks as they come, a few more than it has workers, and gives back what became of each as it is done.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TypeAlias

from ..parallel import end_with_parent
from .work import Done, Job, Task, attempt, stopping

Act: TypeAlias = Callable[[Job, Task], Done]
Result: TypeAlias = tuple[Task, Done | None] | None
"""A task and what became of it, None if whoever worked on it was killed; or None, from time to time, if there is nothing to tell."""
Runner: TypeAlias = Callable[[Act, Job, Iterable[Task]], Iterator[Result]]
TICK = 0.5  # seconds
AHEAD = 2  # tasks for each worker that are handed out


def threads(count: int) -> Runner:
    """So many threads of this process."""

    def run(act: Act, job: Job, tasks: Iterable[Task]) -> Iterator[Result]:
        stopping.clear()
        waiting, pool = iter(tasks), ThreadPoolExecutor(count, "presage-file")
        going: dict[Future[Done], Task] = {}
        try:
            while True:
                for task in islice(waiting, AHEAD * count - len(going)):
                    going[pool.submit(attempt, act, job, task)] = task
                if not going:
                    return
                done = wait(going, TICK, FIRST_COMPLETED).done
                for future in done:
                    yield going.pop(future), future.result()
                if not done:
                    yield None
        finally:
            stopping.set()  # those that are still at work end with their next turn
            pool.shutdown(cancel_futures=True)
            stopping.clear()

    return run


def processes(count: int) -> Runner:
    """So many processes. What a process was killed with is tried again alone; if that kills its process too, the task has no result."""

    def run(act: Act, job: Job, tasks: Iterable[Task]) -> Iterator[Result]:
        waiting = iter(tasks)
        suspects: deque[Task] = deque()
        while True:
            pool = _pool(count)
            going: dict[Future[Done], Task] = {}
            try:
                while not suspects:
                    for task in islice(waiting, AHEAD * count - len(going)):
                        going[pool.submit(attempt, act, job, task)] = task
                    if not going:
                        return
                    done = wait(going, TICK, FIRST_COMPLETED).done
                    for future in done:
                        task = going.pop(future)
                        try:
                            yield task, future.result()
                        except BrokenProcessPool:
                            suspects.append(task)
                    if not done:
                        yield None
            except BrokenProcessPool:  # found out while handing out a task, which then is not among those that are going
                suspects.append(task)
            finally:
                suspects.extend(going.values())
                _end(pool)
            alone = _pool(1)
            while suspects:
                task = suspects.popleft()
                try:
                    yield task, alone.submit(attempt, act, job, task).result()
                except BrokenProcessPool:
                    alone.shutdown()
                    alone = _pool(1)
                    yield task, None
            alone.shutdown()

    return run


def _pool(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """A worker ends with its parent, and only with it: Ctrl-C reaches the parent too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent()


def _end(pool: ProcessPoolExecutor) -> None:
    """End processes without waiting for what they work on."""
    workers = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join()
