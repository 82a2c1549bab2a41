"""What a tree has, and what of it an archive lacks."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import PresageError
from .manifest import FILES, Entry, Manifest
from .names import Names
from .work import Task


@dataclass
class Tree:
    """What was found: entries by their paths, without hashes, and what cannot be taken, with the reason."""

    entries: dict[str, Entry] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)


def walk(folder: Path) -> Tree:
    """Everything below a folder; links are not followed."""
    tree, waiting = Tree(), [""]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(folder / inside) as found:
                for item in sorted(found, key=lambda item: item.name):
                    path = f"{inside}/{item.name}" if inside else item.name
                    try:
                        entry = _entry(item, path)
                    except OSError as error:
                        tree.refused[path] = error.strerror or str(error)
                        continue
                    if entry is None:
                        tree.refused[path] = "neither a file, nor a folder, nor a link"
                        continue
                    tree.entries[path] = entry
                    if entry.kind == "folder":
                        waiting.append(path)
        except OSError as error:
            tree.refused[inside or "."] = error.strerror or str(error)
    return tree


def _entry(item: os.DirEntry[str], path: str) -> Entry | None:
    about = item.stat(follow_symlinks=False)
    mode = stat.S_IMODE(about.st_mode)
    if stat.S_ISLNK(about.st_mode):
        return Entry(path, "link", mode, about.st_mtime_ns, os.readlink(item.path))
    if stat.S_ISDIR(about.st_mode):
        return Entry(path, "folder", mode, about.st_mtime_ns)
    return Entry(path, "file", mode, about.st_mtime_ns, bytes=about.st_size) if stat.S_ISREG(about.st_mode) else None


@dataclass
class Plan:
    """What is to be done.

    lines: folders, links and what is gone, which need no work. files: entries of files that are new or may be changed, with the hash if
    they may be the same. lost: what the archive has no more, whose places are free. unchanged: how many files are in the archive.
    missing: of these that are not in the tree any more.
    """

    lines: list[Entry] = field(default_factory=list)
    files: list[tuple[Entry, str]] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    unchanged: int = 0
    missing: list[str] = field(default_factory=list)

    def tasks(self, names: Names) -> Iterator[Task]:
        """The tasks, with places for the files."""
        for entry, known in self.files:
            yield Task(entry, names.place(entry.path), known)


def plan(tree: Tree, manifest: Manifest, exact: bool, forget: bool) -> Plan:
    """Compare a tree with an archive. exact: what comes back as pixels is to be done again. forget: what is gone is to go.

    Raises PresageError rather than forget everything.
    """
    made, above = Plan(), set[str]()
    for path in sorted(tree.entries):
        found, kept = tree.entries[path], manifest.entries.get(path)
        if found.kind == "file":
            there = kept is not None and kept.kind == "file" and _is_kept(manifest.folder, kept)
            if kept is None or not there or found.bytes != kept.bytes or (exact and kept.promise != "bytes"):
                made.files.append((found, ""))
                if kept is not None and kept.stored and not there:
                    made.lost.append(kept.stored)
            elif (found.mtime_ns, found.mode) != (kept.mtime_ns, kept.mode):
                made.files.append((found, kept.sha256))
            else:
                made.unchanged += 1
        elif found != kept:
            made.lines.append(found)
        if found.kind != "folder":
            above.add(path)
    for path in manifest.entries.keys() - tree.entries.keys():
        if any(parent in above for parent in _parents(path)):
            made.lines.append(Entry(path, "gone"))
        elif not any(parent in tree.refused for parent in (path, *_parents(path), ".")):  # where nobody could look
            made.missing.append(path)
    if forget and made.missing:
        if not tree.entries:
            raise PresageError("the folder is empty, and everything would be forgotten; is its disk there?")
        made.lines += [Entry(path, "gone") for path in made.missing]
        made.missing = []
    return made


def _parents(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def _is_kept(archive: Path, kept: Entry) -> bool:
    """Whether what an archive has of a file is there, as far as its size says."""
    try:
        about = os.lstat(archive / FILES / kept.stored)
    except OSError:
        return False
    return stat.S_ISREG(about.st_mode) and about.st_size == kept.stored_bytes
