"""From an archive to the tree that it was made of; or only the proof that this can be done."""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Unpack

from ..errors import DamagedFile, PresageError
from ..settings import Options, Settings
from .archiving import KILLED, ignore, runner
from .manifest import Entry, Manifest
from .names import key
from .tally import Listener, Tally
from .work import Task, check_inside, job_of, restore_one

UNFINISHED = ".presage-restoring"


def restore(
    archive: Path | str,
    target: Path | str | None,
    *,
    force: bool = False,
    jobs: int = 0,
    ray: str | None = None,
    listener: Listener = ignore,
    **options: Unpack[Options],
) -> Tally:
    """Give back the tree of an archive in a folder, with names, times, modes, links and empty folders. Each file is compared with its hash.

    target: None proves that it can be done, and writes nothing. force: replace files that are others. Files that were restored before
    are left. Nothing is written outside the folder. jobs, ray, listener, options: see `archive`.

    What fails is in the tally's `failures`. Raises PresageError if nothing can be done, and DamagedFile if it is no archive.
    """
    settings, manifest = Settings(**options), Manifest(Path(archive)).read()
    checking, tree = target is None, Path(target or archive)
    partial = tree / UNFINISHED
    while any(path == partial.name or path.startswith(f"{partial.name}/") for path in manifest.entries):
        partial = partial.with_name(partial.name + "~")
    tally = Tally(archiving=False)
    for damage in manifest.damaged:
        tally.fail(str(manifest.path), damage, DamagedFile.exit_code)
    files = [entry for entry in manifest.entries.values() if entry.kind == "file"]
    tally.files, tally.bytes = len(files), sum(entry.bytes for entry in files)
    listener(tally, {"event": "start"} | tally.facts())
    alike: dict[str, str] = {}
    if not checking:
        _make_folders(tree, partial, manifest, tally)
        alike = _alike(partial, manifest)
    for path, other in alike.items():
        tally.fail(path, f"{tree} does not tell it from {other}; restore to another file system", 1, manifest.entries[path].bytes)
    run, threads = runner(jobs, ray, settings, len(files))
    job = replace(job_of(tree, Path(archive), partial, settings), force=force, checking=checking, threads=threads)
    for result in run(restore_one, job, _tasks(manifest, alike)):
        if result is None:
            listener(tally, None)
            continue
        task, done = result
        path = task.entry.path
        if done is None or done.entry is None:
            message, code = (KILLED, 1) if done is None else (done.message, done.code)
            tally.fail(path, message, code, task.entry.bytes)
            listener(tally, {"event": "failed", "path": path, "error": message, "exit_code": code})
        else:
            tally.add(task.entry, done.same)
            listener(tally, {"event": "file", "path": path, "same": done.same, "bytes": task.entry.bytes})
    if not checking:
        shutil.rmtree(partial, ignore_errors=True)
        _make_links(tree, manifest, tally, alike)
        _finish_folders(tree, manifest, tally)
    tally.seconds = time.monotonic() - tally.started
    listener(tally, {"event": "end"} | tally.facts())
    return tally


def _tasks(manifest: Manifest, alike: Mapping[str, str]) -> Iterator[Task]:
    for entry in manifest.whole():
        if entry.kind == "file" and entry.path not in alike:
            yield Task(entry)


def _alike(partial: Path, manifest: Manifest) -> dict[str, str]:
    """Files and links that the file system would take for another one, which they name: where case or normalisation say nothing."""
    first: dict[str, str] = {}
    found: dict[str, str] = {}
    for path, entry in manifest.entries.items():
        if entry.kind != "folder" and first.setdefault(key(path), path) != path:
            found[path] = first[key(path)]
    if not found:
        return {}
    probe = partial / "\u00e4"
    probe.touch()
    folds = any((partial / other).exists() for other in ("\u00c4", "a\u0308"))
    probe.unlink()
    return found if folds else {}


def _make_folders(tree: Path, partial: Path, manifest: Manifest, tally: Tally) -> None:
    """Make all folders, which only we can use until they are full."""
    try:
        tree.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
    except OSError as error:
        raise PresageError(f"{tree}: {error.strerror}") from None
    wanted = {entry.path for entry in manifest.entries.values() if entry.kind == "folder"}
    for path in manifest.entries:
        while "/" in path:
            path = path.rpartition("/")[0]
            wanted.add(path)
    for path in sorted(wanted):
        try:
            check_inside(tree, path)
            with suppress(FileExistsError):
                os.mkdir(tree / path)
            if not stat.S_ISDIR(os.lstat(tree / path).st_mode):
                raise DamagedFile(f"{tree / path} is no folder")
            if not os.access(tree / path, os.W_OK | os.X_OK):
                os.chmod(tree / path, 0o700)
        except (OSError, DamagedFile) as error:
            tally.fail(path, _reason(error), 1)


def _make_links(tree: Path, manifest: Manifest, tally: Tally, alike: Mapping[str, str]) -> None:
    """Make links, when nothing is left that could be written through them."""
    for entry in manifest.entries.values():
        if entry.kind != "link" or entry.path in alike:
            continue
        path = tree / entry.path
        try:
            check_inside(tree, entry.path)
            if not (path.is_symlink() and os.readlink(path) == entry.target):
                os.symlink(entry.target, path)
            if os.utime in os.supports_follow_symlinks:
                os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)
        except (OSError, ValueError, DamagedFile) as error:
            tally.fail(entry.path, _reason(error), 1)


def _finish_folders(tree: Path, manifest: Manifest, tally: Tally) -> None:
    """Give folders their modes and times, those inside others first."""
    folders = [entry for entry in manifest.entries.values() if entry.kind == "folder"]
    for entry in sorted(folders, key=lambda entry: entry.path.count("/"), reverse=True):
        try:
            _finish(tree, entry)
        except (OSError, DamagedFile) as error:
            tally.fail(entry.path, _reason(error), 1)


def _finish(tree: Path, entry: Entry) -> None:
    check_inside(tree, entry.path)
    path = tree / entry.path
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        raise DamagedFile(f"{path} is no folder")
    os.utime(path, ns=(entry.mtime_ns, entry.mtime_ns))
    os.chmod(path, entry.mode & 0o777)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
