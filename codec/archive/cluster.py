"""Who works on the files: a cluster of machines by Ray (https://docs.ray.io), whose machines all see the same folders.

A task is a file; what travels is its name, and its line of the manifest. Worker processes keep the models that they have loaded, so
that weights are read once by each. Ray does again what a killed worker was doing; since a file has its name only when it is whole,
and its line is written here when it is told, nothing is lost and nothing is there twice.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import PresageError
from .runners import AHEAD, TICK, Act, Result, Runner
from .work import Done, Job, Task, attempt

RETRIES = 3  # of a task whose worker was killed


def machines(address: str, jobs: int) -> Runner:
    """The machines of a cluster, by the address of its head; "" starts one on this machine, with `jobs` processors if that is not 0.

    Raises PresageError without Ray.
    """
    try:
        ray: Any = import_module("ray")
    except ImportError:
        raise PresageError("there is no Ray here; `pip install presage[cluster]` installs it, or leave out --ray") from None

    def run(act: Act, job: Job, tasks: Iterable[Task]) -> Iterator[Result]:
        started = _connect(ray, address, jobs)
        try:
            _check_shared(ray, job)
            yield from _spread(ray, act, job, tasks, jobs)
        finally:
            if started:
                ray.shutdown()

    return run


def _connect(ray: Any, address: str, jobs: int) -> bool:
    """Join a cluster, or start one; whether it was this that did it. Raises PresageError."""
    if ray.is_initialized():
        return False
    options: dict[str, Any] = {"address": address or "local"}  # which starts one, whatever else runs here
    if not address:
        options |= {"num_cpus": jobs or None, "include_dashboard": False}
    # what tasks need of this process: where the program and more weights are
    known = {name: os.environ[name] for name in ("PYTHONPATH", "PRESAGE_MODELS", "PRESAGE_KERNELS") if name in os.environ}
    try:
        ray.init(**options, log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": known} if known else None)
    except Exception as error:  # Ray raises anything
        raise PresageError(f"the cluster {address or 'of this machine'} cannot be reached: {error}") from None
    return True


def _check_shared(ray: Any, job: Job) -> None:
    """Raises PresageError unless every machine of the cluster sees what this one has just written."""
    mark = secrets.token_hex(12)
    path = Path(job.partial if not job.checking else job.archive, f"shared-{mark}")
    if job.checking:  # which writes nothing
        path = Path(job.archive, "manifest.jsonl")
    else:
        path.write_text(mark)
    try:
        see = ray.remote(num_cpus=0)(os.path.exists)
        alive = [node for node in ray.nodes() if node["Alive"]]
        affinity = import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy
        seen = ray.get([see.options(scheduling_strategy=affinity(node["NodeID"], soft=False)).remote(str(path)) for node in alive])
        blind = [node["NodeManagerHostname"] for node, sees in zip(alive, seen, strict=True) if not sees]
    finally:
        if not job.checking:
            path.unlink(missing_ok=True)
    if blind:
        raise PresageError(f"{', '.join(sorted(blind))}: {path.parent} is not there; all machines must see the same folders")


def _spread(ray: Any, act: Act, job: Job, tasks: Iterable[Task], jobs: int) -> Iterator[Result]:
    work = ray.remote(num_cpus=job.threads, max_retries=RETRIES)(attempt)
    shared, waiting = ray.put(job), iter(tasks)
    going: dict[Any, Task] = {}
    while True:
        room = AHEAD * (jobs or max(1, int(ray.cluster_resources().get("CPU", 1)) // job.threads))
        for task in islice(waiting, room - len(going)):
            going[work.remote(act, shared, task)] = task
        if not going:
            return
        done, _ = ray.wait(list(going), timeout=TICK)
        for reference in done:
            task = going.pop(reference)
            yield task, _result(ray, reference)
        if not done:
            yield None


def _result(ray: Any, reference: Any) -> Done | None:
    """What became of a task; None if its workers were killed again and again."""
    try:
        done: Done = ray.get(reference)
    except ray.exceptions.RayError:
        return None
    return done
