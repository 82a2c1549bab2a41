"""From a tree of files to an archive of it: what is new or changed is kept, checked, and then said in the manifest."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from ..errors import DamagedFile, PresageError
from ..settings import Options, Settings, processors
from . import cluster, runners
from .manifest import FILES, NAME, PARTIAL, Manifest
from .names import ENDING, Names
from .plan import Plan, Tree, plan, walk
from .runners import Runner
from .tally import Listener, Tally
from .work import Done, Task, archive_one, attempt, check_inside, job_of

KILLED = "what worked on it was killed; was there enough memory?"


def ignore(_: Tally, __: object) -> None:
    """Listen to nothing."""


def archive(
    source: Path | str,
    target: Path | str,
    *,
    model: str = "photo",
    exact: bool = False,
    forget: bool = False,
    jobs: int = 0,
    ray: str | None = None,
    listener: Listener = ignore,
    **options: Unpack[Options],
) -> Tally:
    """Keep a folder, with all that is below it, in an archive, another folder, which is begun or brought up to date.

    Photographs are coded without loss, JPEG files so that the very file comes back, everything else is copied; each is decoded and
    compared before it is kept. model: of photographs. exact: every file comes back byte for byte; without it, PNG and lossless WebP
    files come back with the same pixels and everything beside these, but compressed anew. forget: what is no longer in the folder
    leaves the archive. jobs: files at a time; 0: one for each processor. ray: the address of a Ray cluster to do it, whose machines
    all see both folders under these names; "": one that is started here. listener: is called with a `Tally` and an event, or None.
    options: see `Settings`; threads are those for each file, by default its share of the processors.

    What fails is in the tally's `failures`. Raises PresageError if nothing can be done.
    """
    tree, folder, settings = Path(source), Path(target), Settings(**options)
    check_folders(tree, folder)
    with begun(folder) as manifest:
        found = walk(tree)
        todo = plan(found, manifest, exact, forget)
        tally = _tally(found, todo)
        listener(tally, {"event": "start"} | tally.facts())
        _clean(manifest)
        names, manifest.reused = _names(manifest, todo), set(todo.lost)
        for entry in todo.lines:
            manifest.append(entry)
        run, threads = runner(jobs, ray, settings, len(todo.files))
        job = replace(job_of(tree, folder, folder / PARTIAL, settings), exact=exact, model=model, threads=threads)
        for result in run(archive_one, job, todo.tasks(names)):
            if result is None:
                listener(tally, None)
                continue
            task, done = result
            if done is None:  # it is copied, which takes no memory
                done = attempt(archive_one, job, replace(task, copying=KILLED))
                done = replace(done, note=done.note or KILLED)
            _record(manifest, names, tally, listener, task, done)
        _clean(manifest)
        tally.seconds, tally.manifest_bytes = time.monotonic() - tally.started, manifest.size
        listener(tally, {"event": "end"} | tally.facts())
    return tally


def _record(manifest: Manifest, names: Names, tally: Tally, listener: Listener, task: Task, done: Done) -> None:
    """Say in the manifest what became of a file. Raises PresageError if it cannot be written."""
    path, entry = task.entry.path, done.entry
    if entry is None:
        names.settle(task.place, "")
        tally.fail(path, done.message, done.code, task.entry.bytes)
        listener(tally, {"event": "failed", "path": path, "error": done.message, "exit_code": done.code})
        return
    if done.same:
        known = manifest.full(path)
        entry = replace(known, mode=entry.mode, mtime_ns=entry.mtime_ns)
    before = manifest.entries.get(path)
    manifest.append(entry)
    names.settle(task.place, "" if done.same else entry.stored)
    if not done.same:
        for left in {task.place, task.place + ENDING} - {entry.stored}:  # by a run that was killed
            with suppress(OSError):
                os.unlink(manifest.folder / FILES / left)
    if before is not None and before.stored in manifest.superseded:
        _clean(manifest)
        names.free(before.stored)
    tally.add(entry, done.same)
    if done.note:
        tally.notes.append((path, done.note))
    told = {name: getattr(entry, name) for name in ("bytes", "result", "stored_bytes", "why", "coding", "promise", "seconds")}
    listener(tally, {"event": "file", "path": path, "same": done.same} | {name: value for name, value in told.items() if value})


def check_folders(tree: Path, folder: Path) -> None:
    """Raises PresageError unless there is a folder to be archived, and the archive lies outside it."""
    if not tree.is_dir():
        raise PresageError(f"{tree} is no folder")
    inner, outer = folder.resolve(), tree.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise PresageError(f"{folder}: neither may an archive lie in the folder that it is of, nor the folder in it; choose another place")


@contextmanager
def begun(folder: Path) -> Iterator[Manifest]:
    """The manifest of an archive, new or old, for writing. Raises PresageError, and DamagedFile if the folder is something else."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / NAME).exists() and any(folder.iterdir()):
            raise PresageError(f"{folder} is no archive and not empty; choose another name")
    except OSError as error:
        raise PresageError(f"{folder}: {error.strerror}") from None
    with Manifest(folder) as manifest:
        manifest.open()
        shutil.rmtree(folder / PARTIAL, ignore_errors=True)
        for name in (FILES, PARTIAL):
            (folder / name).mkdir(exist_ok=True)
        try:
            yield manifest
        finally:
            shutil.rmtree(folder / PARTIAL, ignore_errors=True)


def runner(jobs: int, ray: str | None, settings: Settings, files: int) -> tuple[Runner, int]:
    """Who works, so many at a time, and with how many threads each: processes, which share nothing that they would wait for.

    Raises PresageError if there is no Ray.
    """
    if ray is not None:
        return cluster.machines(ray, jobs), settings.threads or 1
    count = max(1, min(jobs or (processors() if settings.device == "cpu" else 1), files))
    return runners.processes(count) if count > 1 else runners.threads(1), settings.threads or max(1, processors() // count)


def _tally(found: Tree, todo: Plan) -> Tally:
    tally = Tally(files=len(todo.files), bytes=sum(entry.bytes for entry, _ in todo.files), unchanged=todo.unchanged, missing=todo.missing)
    for path, reason in sorted(found.refused.items()):
        tally.fail(path, reason, 1)
    return tally


def _names(manifest: Manifest, todo: Plan) -> Names:
    """The places that are in use."""
    names = Names()
    for entry in manifest.entries.values():
        if entry.stored:
            names.take(entry.stored)
    for stored in todo.lost:
        names.free(stored)
    return names


def _clean(manifest: Manifest) -> None:
    """Remove what only older lines name, once the newer ones are on the disk."""
    if manifest.superseded:
        manifest.sync()
    for stored in manifest.superseded:
        _remove(manifest, stored)
    manifest.superseded.clear()


def _remove(manifest: Manifest, stored: str) -> None:
    """Remove a file of the archive, and its folders if they are empty."""
    with suppress(OSError, DamagedFile):
        check_inside(manifest.folder / FILES, stored)
        os.unlink(manifest.folder / FILES / stored)
        os.removedirs((manifest.folder / FILES / stored).parent)
    (manifest.folder / FILES).mkdir(exist_ok=True)
