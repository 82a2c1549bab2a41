"""What is done with one file, by whoever does it: in a thread, another process, or on another machine of a cluster.

Only tasks and results travel, which are small; files are read and written where the work is done. A result is safe before it is told:
the file has its name in the archive when its entry is returned. Doing a task twice does no harm.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import DamagedFile, PresageError
from ..image.opening import format_of
from ..limits import Limits
from ..output import whole
from ..settings import Settings
from . import keeping
from .manifest import FILES, Entry
from .names import ENDING

PIECE = 1 << 20  # bytes that are copied at a time
MOST = 1 << 31  # bytes of a picture's file; larger ones are copied
stopping = threading.Event()
"""Ends work that is going on in threads of this process."""


class Stopped(BaseException):
    """The work was ended."""


@dataclass(frozen=True)
class Job:
    """What all tasks of an archive share, in a form that can be sent to another process."""

    tree: str  # where files come from, or go to
    archive: str
    partial: str  # a folder for files that are not whole yet, beside where they go
    exact: bool = False
    model: str = "photo"
    force: bool = False
    checking: bool = False
    threads: int = 1
    arithmetic: str | None = None
    device: str = "cpu"
    model_path: tuple[Path, ...] = ()
    limits: Limits = field(default_factory=Limits)

    def settings(self) -> Settings:
        """How the codec works for it."""

        def watched(_: float) -> None:
            if stopping.is_set():
                raise Stopped

        kept = ("threads", "arithmetic", "device", "model_path", "limits")
        return Settings(**{name: getattr(self, name) for name in kept}, progress=watched)


def job_of(tree: Path, archive: Path, partial: Path, settings: Settings) -> Job:
    """A job, with paths that mean the same to all who work on it."""
    folders = tuple(Path(path).resolve() for path in settings.model_path)
    return Job(
        str(tree.resolve()),
        str(archive.resolve()),
        str(partial.resolve()),
        arithmetic=settings.arithmetic,
        device=settings.device,
        model_path=folders,
        limits=settings.limits,
    )


@dataclass(frozen=True)
class Task:
    """A file that is to be archived or restored. entry: what is known of it. place: where it may be kept. copying: do not code it.

    known: the hash, if the file was archived before and may be the same.
    """

    entry: Entry
    place: str = ""
    known: str = ""
    copying: str = ""


@dataclass(frozen=True)
class Done:
    """What became of a task: its entry, or a message and exit code. note: something to be told though it went well."""

    entry: Entry | None = None
    message: str = ""
    code: int = 0
    note: str = ""
    same: bool = False  # what was known, or is already there


def attempt(act: Callable[[Job, Task], Done], job: Job, task: Task) -> Done:
    """What became of a task, whatever happens."""
    try:
        return act(job, task)
    except PresageError as error:
        return Done(message=str(error), code=error.exit_code)
    except OSError as error:
        return Done(message=error.strerror or str(error), code=1)
    except MemoryError:
        return Done(message="not enough memory", code=1)
    except Exception as error:
        return Done(message=f"{type(error).__name__}: {error} (this should not happen; please report it)", code=1)


# ------------------------------------------------------------------------------------------------------------- archiving


def archive_one(job: Job, task: Task) -> Done:
    """Keep a file of the tree in the archive."""
    started = time.perf_counter()
    path = os.path.join(job.tree, task.entry.path)
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)), "rb") as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise PresageError("it is no file any more")
        entry = replace(task.entry, bytes=before.st_size, mtime_ns=before.st_mtime_ns, mode=stat.S_IMODE(before.st_mode))
        if task.known:
            digest = hashlib.sha256()
            for piece in iter(lambda: file.read(PIECE), b""):
                digest.update(piece)
            if digest.hexdigest() == task.known:
                return Done(replace(entry, sha256=task.known), same=True)
            file.seek(0)
        done = _kept(job, task, entry, file)
        after = os.fstat(file.fileno())
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
        raise PresageError("it was changed while it was read; the next run takes it")
    assert done.entry is not None
    return replace(done, entry=replace(done.entry, seconds=round(time.perf_counter() - started, 4)))


def _kept(job: Job, task: Task, entry: Entry, file: BinaryIO) -> Done:
    """Code a file, or copy it."""
    head = file.read(16)
    kind, why, note, facts = format_of(head), task.copying, "", dict[str, Any]()
    if not kind:
        why = why or "no picture"
    elif entry.bytes > min(MOST, job.limits.memory):
        why = why or "too large a file"
    if not why:
        file.seek(0)
        source = file.read()
        try:
            made = keeping.coded(source, entry.path, job.exact, job.model, job.settings())
        except keeping.BetterCopied as reason:
            why, facts, note = str(reason), reason.facts, f"copied: {reason}" if reason.bug else ""
        else:
            stored = task.place + ENDING
            digest = _write(job, Path(job.archive, FILES, stored), iter([made.data]), replacing=True)[1]
            told = {"result": "coded", "stored": stored, "stored_bytes": len(made.data), "stored_sha256": digest, "format": kind}
            sha = hashlib.sha256(source).hexdigest()
            return Done(replace(entry, **(made.facts | told | {"sha256": sha, "bytes": len(source)})))
    file.seek(0)
    size, digest = _write(job, Path(job.archive, FILES, task.place), iter(lambda: file.read(PIECE), b""), replacing=True)
    told = {"result": "copied", "promise": "bytes", "why": why, "stored": task.place, "stored_bytes": size, "stored_sha256": digest}
    return Done(replace(entry, **(facts | told | {"sha256": digest, "bytes": size, "format": kind})), note=note)


# ------------------------------------------------------------------------------------------------------------- restoring


def restore_one(job: Job, task: Task) -> Done:
    """Give back a file of the archive, or only see whether that can be done."""
    entry, target = task.entry, Path(job.tree, task.entry.path)
    if not job.checking:
        check_inside(Path(job.tree), entry.path)
        if is_there(target, entry):
            return Done(entry, same=True)
        if os.path.lexists(target) and not (job.force and target.is_file() and not target.is_symlink()):
            raise PresageError(f"{target} exists; use -f to replace it" if target.is_file() else f"{target} is something else")
    check_inside(Path(job.archive, FILES), entry.stored)
    stored = Path(job.archive, FILES, entry.stored)
    if not stat.S_ISREG(os.lstat(stored).st_mode):
        raise DamagedFile(f"{stored} is no file")
    if entry.result == "copied":
        _restore_copy(job, entry, stored, target)
        return Done(entry)
    data = stored.read_bytes()
    if len(data) != entry.stored_bytes or hashlib.sha256(data).hexdigest() != entry.stored_sha256:
        raise DamagedFile(f"{stored} is not what was archived")
    made = keeping.back(data, entry, job.settings())
    if not job.checking:
        _write(job, target, iter([made]), replacing=job.force, entry=entry)
    return Done(entry)


def _restore_copy(job: Job, entry: Entry, stored: Path, target: Path) -> None:
    with stored.open("rb") as file:
        pieces = iter(lambda: file.read(PIECE), b"")
        if job.checking:
            digest = hashlib.sha256()
            for piece in pieces:
                digest.update(piece)
            if digest.hexdigest() != entry.sha256:
                raise DamagedFile(f"{stored} is not what was archived")
        else:
            _write(job, target, pieces, replacing=job.force, entry=entry)


def is_there(target: Path, entry: Entry) -> bool:
    """Whether a file was restored before: files get their times before their names."""
    try:
        about = os.lstat(target)
    except OSError:
        return False
    whole = about.st_size == entry.bytes or (entry.promise == "pixels" and about.st_size > 0)
    return stat.S_ISREG(about.st_mode) and about.st_mtime_ns == entry.mtime_ns and whole


def check_inside(folder: Path, path: str) -> None:
    """Raises DamagedFile if the way from a folder to a path is not one of folders: nothing is written or read through links."""
    for part in path.split("/")[:-1]:
        folder = folder / part
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise DamagedFile(f"{folder} is no folder")


# --------------------------------------------------------------------------------------------------------------- writing


def _make_folders(folder: Path, path: Path) -> None:
    """Make the folders on the way from a folder to a path. Raises OSError, and DamagedFile if something else is there."""
    for part in path.parts[:-1]:
        folder = folder / part
        with suppress(FileExistsError):
            folder.mkdir()
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise DamagedFile(f"{folder} is no folder")


def _write(job: Job, path: Path, pieces: Iterator[bytes], replacing: bool, entry: Entry | None = None) -> tuple[int, str]:
    """Write a file under its name when it is whole and on the disk; returns its size and SHA-256.

    entry: what it must be, and its times and mode. Raises OSError, and DamagedFile if it is not that.
    """
    partial = Path(job.partial, secrets.token_hex(12))
    size, digest = 0, hashlib.sha256()
    if entry is None:
        _make_folders(Path(job.archive, FILES), path.relative_to(Path(job.archive, FILES)))
    with whole(partial, path, replacing) as file:
        for piece in pieces:
            file.write(piece)
            digest.update(piece)
            size += len(piece)
        if entry is not None:
            if entry.promise == "bytes" and digest.hexdigest() != entry.sha256:
                raise DamagedFile(f"what is kept of {entry.path} is not what was archived")
            file.flush()  # what is written later would change the time
            os.chmod(partial, entry.mode & 0o777)
            os.utime(partial, ns=(entry.mtime_ns, entry.mtime_ns))
    return size, digest.hexdigest()
