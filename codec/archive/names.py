"""Names in an archive: where files are kept so that none collide, and which paths a manifest may say. Standard library only."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator
from os.path import basename, dirname, splitext

from ..errors import DamagedFile

LONGEST = 200  # bytes of a name that is kept as it is; the rest is room for suffixes
DEEPEST = 4096  # bytes of a path in a manifest
ENDING = ".psg"
UNUSUAL = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]|[ .]$')
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


def key(path: str) -> str:
    """The same for paths that a file system may take for one: those that differ only in case or in Unicode normalisation."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def check(path: str, windows: bool = False) -> str:
    """The path, if it leads from a folder to something in it. Raises DamagedFile.

    windows: that backslashes, colons and drives mean something there.
    """
    parts = path.split("/")
    unsafe = any(part in ("", ".", "..") for part in parts) or "\0" in path or (windows and any(set(part) & set("\\:") for part in parts))
    if unsafe or len(path) > DEEPEST:
        raise DamagedFile(f"the manifest has a path that leads elsewhere: {path[:100]!r}")
    return path


def portable(name: str) -> str:
    """A name that every file system takes, nearly as it was."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError:  # bytes that are no text
        size = LONGEST + 1
    plain = UNUSUAL.sub("_", name)
    if size <= LONGEST and plain == name and not RESERVED.match(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    shown = plain.encode("ascii", "replace").decode().replace("?", "_")
    root, ending = splitext(shown)
    return f"{root[:60]}~{digest}{ending[:12]}" if not UNUSUAL.search(ending[:12]) else f"{root[:60]}~{digest}"


class Names:
    """Gives every file of an archive a place of its own, under nearly the path that it had."""

    def __init__(self) -> None:
        self._kinds: dict[str, bool] = {}  # whether the name of a key is a folder
        self._folders = {"": ""}

    def take(self, stored: str) -> None:
        """A place that is in use."""
        self._kinds[key(stored)] = False
        while stored := dirname(stored):
            self._kinds.setdefault(key(stored), True)

    def free(self, stored: str) -> None:
        """A place that is not in use any more."""
        self._kinds.pop(key(stored), None)

    def place(self, path: str) -> str:
        """The place of a file, to which `.psg` may be added. It is in use from now on, with and without that."""
        folder = self._folder(dirname(path))
        for name in _candidates(portable(basename(path))):
            stored = f"{folder}/{name}" if folder else name
            if not {key(stored), key(stored + ENDING)} & self._kinds.keys():
                self.take(stored)
                self.take(stored + ENDING)
                return stored
        raise AssertionError("names never end")

    def settle(self, place: str, stored: str) -> None:
        """Of a place that was given only what became of it is in use; nothing, if that is empty."""
        self.free(place)
        self.free(place + ENDING)
        if stored:
            self.take(stored)

    def _folder(self, path: str) -> str:
        """The folder where files of a folder are kept."""
        if path not in self._folders:
            above = self._folder(dirname(path))
            for name in _candidates(portable(basename(path))):
                stored = f"{above}/{name}" if above else name
                if self._kinds.setdefault(key(stored), True):
                    self._folders[path] = stored
                    break
        return self._folders[path]


def _candidates(name: str) -> Iterator[str]:
    """The name, then others that are like it."""
    yield name
    root, ending = splitext(name)
    number = 2
    while True:
        yield f"{root}~{number}{ending}"
        number += 1
