"""Files of the command line: reading inputs, and writing outputs whole or not at all."""

import mmap
import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import PresageError

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
    except OSError as error:
        raise FileProblem(f"{path}: {error.strerror or error}") from None


@contextmanager
def mapped(path: Path) -> Iterator[bytes | mmap.mmap]:
    """A file's bytes, read only where they are looked at."""
    if path == STDIO:
        yield read(path)
        return
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                yield b""
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise FileProblem(f"{path}: {error.strerror or error}") from None


def check_output(path: Path, force: bool) -> None:
    """Refuse to replace a file without --force, and to write bytes to a terminal."""
    if path == STDIO:
        if sys.stdout.isatty():
            raise FileProblem("not writing binary data to a terminal; use -o FILE or a pipe")
    elif _is_stream(path):
        return
    elif path.exists() and not path.is_file():
        raise FileProblem(f"{path} is not a file")
    elif path.exists() and not force:
        raise FileProblem(f"{path} exists; use -f to replace it")
    elif not path.parent.is_dir():
        raise FileProblem(f"the folder {path.parent} does not exist")


def check_distinct(outputs: Iterable[tuple[object, Path]]) -> None:
    """Refuse work of which one result would take the name of another, given what each is made of and where it goes."""
    sources: dict[Path, object] = {}
    for source, path in outputs:
        if path != STDIO and not _is_stream(path) and sources.setdefault(path, source) != source:
            raise FileProblem(f"{sources[path]} and {source} would both be written to {path}; rename one of them")


def _is_stream(path: Path) -> bool:
    """Whether a name stands for a pipe or a character device, which is written to and never replaced."""
    return path.is_fifo() or path.is_char_device()


def write(path: Path, data: bytes, force: bool) -> None:
    """Write a file under its final name only when it is complete, or to standard output for `-`; into pipes and devices."""
    check_output(path, force)
    if path == STDIO:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        if _is_stream(path):
            path.write_bytes(data)
            return
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if force:
            os.replace(partial, path)
        else:
            os.link(partial, path)  # fails if somebody made the file meanwhile
    except FileExistsError:
        raise FileProblem(f"{path} exists; use -f to replace it") from None
    except OSError as error:
        raise FileProblem(f"{path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            os.unlink(partial)


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
    except OSError as error:
        raise FileProblem(f"{folder}: {error.strerror or error}") from None
