"""The manifest of an archive: a line of JSON for everything that is in it, appended when it is there. Standard library only.

docs/scale.md says what the fields mean. The last line of a path holds; `gone` takes it out again. A line that was torn when the
work was killed is cut off, and its file done again.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import DamagedFile, PresageError
from . import names

NAME, FILES, PARTIAL = "manifest.jsonl", "files", "partial"
HEAD = {"presage": "archive", "version": 1}
KINDS = ("file", "folder", "link", "gone")
SYNC_AFTER = 1.0  # seconds
LONGEST = 1 << 20  # bytes of a line
CHECK = b',"crc":"%08x"}\n'


@dataclass(frozen=True, slots=True)
class Entry:
    """A line: a file, folder or link of the tree. Fields that say nothing are left out of the line."""

    path: str  # in the tree, with "/" between names
    kind: str  # file, folder, link or gone
    mode: int = 0  # permission bits
    mtime_ns: int = 0
    target: str = ""  # of a link
    bytes: int = 0  # of the source
    sha256: str = ""  # of the source
    result: str = ""  # coded or copied
    promise: str = ""  # bytes: the very file comes back; pixels: a file with the same pixels and all that is beside them
    why: str = ""  # it was not coded
    stored: str = ""  # where it is in the folder of files
    stored_bytes: int = 0
    stored_sha256: str = ""
    format: str = ""  # JPEG, PNG, ...
    width: int = 0
    height: int = 0
    coding: str = ""
    model: str = ""
    seconds: float = 0.0  # all of the work on it
    codec_seconds: float = 0.0  # of these, encoding and decoding
    form: str = ""  # what a file has around its pixels, see `form.py`
    pixels: str = ""  # SHA-256 of mode, size and pixels, where pixels are promised

    def slim(self) -> Entry:
        """Only what plans need, to be kept in memory: a third of it."""
        kept = ("path", "kind", "mode", "mtime_ns", "target", "bytes", "sha256", "promise", "stored", "stored_bytes")
        return Entry(**{name: getattr(self, name) for name in kept})


def line_of(found: Entry) -> bytes:
    """An entry as a line of the manifest."""
    return _line({name: value for name, value in asdict(found).items() if value or name in ("path", "kind")})


def _line(said: dict[str, Any]) -> bytes:
    text = json.dumps(said, separators=(",", ":")).encode()[:-1]
    return text + CHECK % zlib.crc32(text)


def parsed(line: bytes) -> dict[str, Any]:
    """A line of a manifest as an object. Raises DamagedFile."""
    text, ending = line[: -len(CHECK % 0)], line[-len(CHECK % 0) :]
    try:
        if ending != CHECK % zlib.crc32(text):
            raise ValueError("its checksum is wrong")
        if len(line) > LONGEST:
            raise ValueError("it is too long")
        said = json.loads(text + b"}")
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"a line of the manifest is damaged: {error}") from None
    if not isinstance(said, dict):
        raise DamagedFile("a line of the manifest is no object")
    return said


def _check_head(line: bytes, path: Path) -> None:
    """Raises DamagedFile if the first line of a file is not that of a manifest."""
    try:
        said = parsed(line)
    except DamagedFile:
        said = {}
    if any(said.get(name) != value for name, value in HEAD.items()):
        raise DamagedFile(f"{path} is no manifest of an archive, or of a later version")


_TYPES: dict[str, tuple[type, ...]] = {"str": (str,), "int": (int,), "float": (int, float)}
_FIELDS = {field.name: _TYPES[str(field.type)] for field in fields(Entry)}


def _fits(value: Any, types: tuple[type, ...]) -> bool:
    """Whether a value is one of a field: a text, or a number of 64 bits."""
    if isinstance(value, str):
        return str in types
    return type(value) in types and -(2**63) <= value < 2**63


def entry(line: bytes) -> Entry:
    """A line of a manifest. Raises DamagedFile for what leads outside the tree or the archive, or is no entry."""
    known = {name: value for name, value in parsed(line).items() if name in _FIELDS}
    for name, value in known.items():
        if not _fits(value, _FIELDS[name]):
            raise DamagedFile(f"the manifest has a field {name} that is none")
    if known.get("kind") not in KINDS or "path" not in known:
        raise DamagedFile("the manifest has a line without path or kind")
    found = Entry(**known)
    names.check(found.path, os.name == "nt")
    if found.kind == "file":
        names.check(found.stored, os.name == "nt")
        if found.result not in ("coded", "copied") or found.promise not in ("bytes", "pixels"):
            raise DamagedFile("the manifest has a file of which it does not say what became of it")
    return found


class Manifest:
    """A manifest that is read and, if asked for, written. `entries`: all that is there, and what plans need of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / NAME
        self.entries: dict[str, Entry] = {}
        self.superseded: set[str] = set()  # where older versions were kept
        self.reused: set[str] = set()  # places whose files were lost, where others may be kept now
        self.damaged: list[str] = []  # what is wrong with which lines
        self._places: dict[str, int] = {}
        self._file = -1
        self._synced = 0.0
        self.size = 0  # bytes of whole lines

    def read(self) -> Manifest:
        """Read what is there. Raises DamagedFile if it is no manifest, and PresageError if it cannot be read."""
        try:
            with self.path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):  # torn
                        if number == 1 and not _line(HEAD).startswith(line):
                            raise DamagedFile(f"{self.path} is no manifest of an archive")
                        break
                    if number == 1:
                        _check_head(line, self.path)
                    else:
                        try:
                            self._note(entry(line), self.size)
                        except DamagedFile as error:
                            self.damaged.append(f"line {number}: {error}")
                    self.size += len(line)
        except OSError as error:
            raise PresageError(f"{self.path}: {error.strerror}") from None
        if self.superseded:  # places that are in use again are not
            in_use = {names.key(kept.stored) for kept in self.entries.values()}
            self.superseded = {stored for stored in self.superseded if names.key(stored) not in in_use}
        return self

    def _note(self, found: Entry, at: int) -> None:
        before = self.entries.pop(found.path, None)
        if before is not None and before.stored and before.stored != found.stored and before.stored not in self.reused:
            self.superseded.add(before.stored)
        self.superseded.discard(found.stored)
        self._places.pop(found.path, None)
        if found.kind != "gone":
            self.entries[found.path] = found.slim()
            self._places[found.path] = at

    def whole(self) -> Iterator[Entry]:
        """All that is there, with everything that its lines say."""
        with self.path.open("rb") as file:
            for path in sorted(self._places):
                file.seek(self._places[path])
                yield entry(file.readline())

    def full(self, path: str) -> Entry:
        """The entry of a path, with everything that its line says."""
        with self.path.open("rb") as file:
            file.seek(self._places[path])
            return entry(file.readline())

    # ---------------------------------------------------------------------------------------------------------- writing

    def open(self) -> Manifest:
        """Begin or go on: nobody else writes to it meanwhile. Raises PresageError and DamagedFile."""
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o666)
            lock(self._file, self.folder)
            self.read()
            if os.fstat(self._file).st_size > self.size:
                os.ftruncate(self._file, self.size)  # a torn line
            if not self.size:
                self._write(_line(HEAD))
        except OSError as error:
            raise PresageError(f"{self.path}: {error.strerror}") from None
        return self

    def append(self, found: Entry) -> None:
        """Add a line. Raises PresageError if it cannot be written."""
        at = self.size
        try:
            self._write(line_of(found))
        except OSError as error:
            raise PresageError(f"{self.path}: {error.strerror}") from None
        self._note(found, at)
        if time.monotonic() - self._synced > SYNC_AFTER:
            self.sync()

    def _write(self, line: bytes) -> None:
        try:
            if os.write(self._file, line) != len(line):
                raise OSError(28, "No space left on device")
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self.size)
            raise
        self.size += len(line)

    def sync(self) -> None:
        """Have everything written to the disk. Raises PresageError."""
        try:
            os.fsync(self._file)
        except OSError as error:
            raise PresageError(f"{self.path}: {error.strerror}") from None
        self._synced = time.monotonic()

    def close(self) -> None:
        """Have everything written to the disk, and let others write."""
        if self._file >= 0:
            try:
                self.sync()
            finally:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> Manifest:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def lock(file: int, folder: Path) -> None:
    """Keep others from writing as long as the file is open. Raises PresageError if somebody else does."""
    try:
        import fcntl

        locked: Callable[[], Any] = lambda: fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # noqa: E731
    except ImportError:  # Windows
        return
    try:
        locked()
    except BlockingIOError:
        raise PresageError(f"{folder}: another process is working on this archive; wait for it, or end it") from None
    except OSError:  # a file system without locks
        return
