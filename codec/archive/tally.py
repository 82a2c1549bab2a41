"""How far the work on an archive is, and what came of it: numbers that a line, a program or a page shows. Standard library only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from .manifest import Entry

Event: TypeAlias = dict[str, Any]
Listener: TypeAlias = Callable[["Tally", Event | None], None]
"""Is called with what happened, or None from time to time."""


@dataclass
class Tally:
    """files, bytes: that are to be worked on. The others count what is done. failures: (path, message, exit code)."""

    archiving: bool = True  # or else restoring
    files: int = 0
    bytes: int = 0
    unchanged: int = 0
    done: int = 0
    bytes_done: int = 0  # of the sources
    worked: int = 0  # the same, with those that failed
    fresh_bytes: int = 0  # of the sources of what was not there already
    stored: int = 0  # bytes that these take in the archive
    manifest_bytes: int = 0
    pixels: int = 0
    codec_seconds: float = 0.0
    worker_seconds: float = 0.0
    coded: int = 0
    copied: Counter[str] = field(default_factory=Counter)  # files, by why they were copied
    as_pixels: int = 0  # files whose pixels are promised, not their bytes
    missing: list[str] = field(default_factory=list)  # in the archive, and no more in the tree
    failures: list[tuple[str, str, int]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def add(self, entry: Entry, same: bool) -> None:
        """A file that is done. same: there was nothing to do."""
        self.done += 1
        self.bytes_done += entry.bytes
        self.worked += entry.bytes
        if same:
            self.unchanged += 1
            return
        self.fresh_bytes += entry.bytes
        self.stored += entry.stored_bytes
        self.codec_seconds += entry.codec_seconds
        self.worker_seconds += entry.seconds
        if entry.result == "coded":
            self.coded += 1
            self.pixels += entry.width * entry.height
            self.as_pixels += entry.promise == "pixels"
        else:
            self.copied[entry.why] += 1

    def fail(self, path: str, message: str, code: int, size: int = 0) -> None:
        """Something that is not done, of so many bytes."""
        self.worked += size
        self.failures.append((path, message, code))

    @property
    def exit_code(self) -> int:
        """The worst of all failures."""
        return max((code for _, _, code in self.failures), default=0)

    @property
    def elapsed(self) -> float:
        """Seconds since the start, or that it took."""
        return self.seconds or time.monotonic() - self.started

    @property
    def share(self) -> float:
        """Of the work that is done, 0 to 1, by bytes."""
        return min(1.0, (self.worked + self.done) / (self.bytes + self.files)) if self.files else 1.0

    @property
    def left(self) -> float:
        """Seconds that are left, more or less; not a number before anything is done."""
        return self.elapsed * (1 - self.share) / self.share if self.share and self.done else float("nan")

    def facts(self) -> Event:
        """For programs."""
        return {
            "files": self.files,
            "done": self.done,
            "unchanged": self.unchanged,
            "coded": self.coded,
            "copied": sum(self.copied.values()),
            "as_pixels": self.as_pixels,
            "bytes": self.fresh_bytes,
            "manifest_bytes": self.manifest_bytes,
            "stored_bytes": self.stored,
            "pixels": self.pixels,
            "seconds": round(self.elapsed, 3),
            "codec_seconds": round(self.codec_seconds, 3),
            "worker_seconds": round(self.worker_seconds, 3),
            "failed": len(self.failures),
            "missing": len(self.missing),
        }
