"""Files of the command line: reading inputs, and writing outputs whole or not at all."""

import mmap
import os
import secrets
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import PresageError
from ..output import whole

STDIO = Path("-")


@dataclass(frozen=True)
class Item:
    """An input. inside: its path in the folder that was named, if one was."""

    path: Path
    inside: Path | None = None


class FileProblem(PresageError):
    """An input that cannot be read or an output that cannot be written; the message says what to do."""


def read(path: Path) -> bytes:
    """The bytes of a file or, for `-`, of standard input."""
    try:
        return sys.stdin.buffer.read() if path == STDIO else path.read_bytes()
    except (OSError, ValueError) as error:
        raise FileProblem(f"{path}: {_reason(error)}") from None


@contextmanager
def mapped(path: Path) -> Iterator[bytes | mmap.mmap]:
    """A file's bytes, read only where they are looked at; of pipes all of them."""
    if path == STDIO:
        yield read(path)
        return
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_size == 0:
                data: bytes | mmap.mmap = file.read()
            else:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise FileProblem(f"{path}: {_reason(error)}") from None
    try:
        yield data
    finally:
        if isinstance(data, mmap.mmap):
            data.close()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def check_output(path: Path, force: bool) -> None:
    """Refuse to replace a file without --force, and to write bytes to a terminal."""
    if path == STDIO:
        if sys.stdout.isatty():
            raise FileProblem("not writing binary data to a terminal; use -o FILE or a pipe")
        return
    if check_free(path, force) and not path.parent.is_dir():
        raise FileProblem(f"the folder {path.parent} does not exist")


def check_free(path: Path, force: bool) -> bool:
    """Refuse to replace a folder, or a file without --force; whether there is nothing of that name."""
    there = _mode(path)
    if there is not None and stat.S_ISDIR(there):
        raise FileProblem(f"{path} is not a file")
    if there is not None and stat.S_ISREG(there) and not force:
        raise FileProblem(f"{path} exists; use -f to replace it")
    return there is None


def check_distinct(outputs: Iterable[tuple[object, Path]]) -> None:
    """Refuse work of which one result would take the place of another, or of an input, given what each is made of and where it goes."""
    made = list(outputs)
    sources: dict[object, object] = {}
    inputs = {_identity(Path(str(source))) for source, _ in made if isinstance(source, Path) and source != STDIO}
    for source, path in made:
        if path == STDIO or _is_stream(path):
            continue
        identity = _identity(path)
        if sources.setdefault(identity, source) != source:
            raise FileProblem(f"{sources[identity]} and {source} would both be written to {path}; rename one of them")
        if identity in inputs:
            raise FileProblem(f"{path} is an input, and would be replaced by a result; choose another name")


def _mode(path: Path) -> int | None:
    """The mode of what a name stands for, or None if there is nothing. Raises FileProblem."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise FileProblem(f"{path}: {_reason(error)}") from None


def _identity(path: Path) -> object:
    """The same for all names of one file, through links, and on file systems that do not tell a from A."""
    try:
        about = path.stat()
        return about.st_dev, about.st_ino
    except (OSError, ValueError):
        return path.absolute()


def _is_stream(path: Path) -> bool:
    """Whether a name stands for a pipe or a device, which is written to and never replaced."""
    there = _mode(path)
    return there is not None and not stat.S_ISREG(there) and not stat.S_ISDIR(there)


def write(path: Path, data: bytes, force: bool) -> None:
    """Write a file under its final name only when it is complete, or to standard output for `-`; into pipes and devices.

    Whatever fails, and whenever the work is killed, the name stands for the old file or for the new one. Raises FileProblem.
    """
    check_output(path, force)
    try:
        if path == STDIO:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif _is_stream(path):
            with path.open("wb") as stream:
                stream.write(data)
        else:
            _write_whole(path.resolve() if path.is_symlink() else path, data, force)
    except FileExistsError:
        raise FileProblem(f"{path} exists; use -f to replace it") from None
    except (OSError, ValueError) as error:
        raise FileProblem(f"{path}: {_reason(error)}") from None


def _write_whole(path: Path, data: bytes, force: bool) -> None:
    """Write beside the final name, and give the name to what is on the disk. Raises OSError."""
    partial = path.parent / f".presage-{secrets.token_hex(8)}.partial"
    with whole(partial, path, force) as file:
        if force and path.is_file():
            with suppress(OSError):
                os.chmod(partial, stat.S_IMODE(path.stat().st_mode))
        file.write(data)


def items(paths: Iterable[Path], recursive: bool, suffix: str | tuple[str, ...], kind: str) -> list[Item]:
    """The inputs that paths name; a folder gives all files in it, or with `recursive` below it, with the suffix or one of several.

    Raises FileProblem for a folder without any; kind: what it then lacks.
    """
    every: list[Item] = []
    for path in paths:
        if path == STDIO or not path.is_dir():
            every.append(Item(path))
            continue
        inside = sorted(Path(folder, name) for folder, _, names in os.walk(path) for name in names)
        here = [p for p in inside if (recursive or p.parent == path) and p.suffix.lower().endswith(suffix)]
        if not here:
            raise FileProblem(f"{path}: no {kind} in this folder{'' if recursive else '; -r also looks below it'}")
        every += [Item(p, p.relative_to(path)) for p in here]
    return every


@dataclass(frozen=True)
class Outputs:
    """Where results go: to `path` (-o), or under their inputs' names with another suffix beside these or in `folder` (--out-dir)."""

    path: Path | None
    folder: Path | None
    force: bool
    suffix: str

    def of(self, item: Item) -> Path:
        """The result's path; in `folder` what was found in folders keeps its tree. Raises FileProblem."""
        if self.path is not None:
            return self.path
        if item.path == STDIO:
            return STDIO
        if not item.path.name:
            raise FileProblem(f"{item.path} is not a file")
        named = item.path if self.folder is None else self.folder / (item.inside or item.path.name)
        return named.with_suffix(self.suffix)

    def prepared(self, item: Item) -> Path:
        """The same, with its folders in `folder` made, and checked that it may be written."""
        path = self.of(item)
        if self.folder is not None:
            make_folder(path.parent)
        check_output(path, self.force)
        return path


def make_folder(folder: Path) -> None:
    """Make a folder, and those that it is in. Raises FileProblem."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RecursionError) as error:
        raise FileProblem(f"{folder}: {_reason(error)}") from None
