"""What archiving a folder will take, from a sample of its files: bytes, time, memory. Nothing is written."""

from __future__ import annotations

import hashlib
import math
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from os.path import splitext
from pathlib import Path
from typing import Any, BinaryIO, Unpack

from .. import estimate
from ..format.container import Coding, Mode
from ..image.opening import format_of, opened
from ..settings import Options, Settings, processors
from . import keeping
from .archiving import check_folders
from .manifest import NAME, Entry, Manifest
from .plan import plan, walk
from .work import MOST

COUNT, SECONDS = 40, 60.0  # of the sample, at most
PART = 1 << 24  # bytes that are read of a file that would be copied
UNKNOWN = 0.3  # of a file's bytes, of whose kind only one was tried
LARGEST = 8  # files whose pictures are looked at for the memory they need


@dataclass(frozen=True)
class Expected:
    """files, bytes: to be archived. stored: bytes that they will take, and twice the standard error of that. seconds: with so many
    jobs. memory: bytes, of all of them. sampled: files that were tried."""

    files: int
    bytes: int
    stored: int
    give_or_take: int
    seconds: float
    jobs: int
    memory: int
    sampled: int

    def facts(self) -> dict[str, Any]:
        """For programs."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True)
class _Tried:
    """A file of the sample: bytes before and after, and seconds."""

    bytes: int
    stored: int
    seconds: float


def expected(
    source: Path | str,
    target: Path | str,
    *,
    model: str = "photo",
    exact: bool = False,
    jobs: int = 0,
    count: int = COUNT,
    seconds: float = SECONDS,
    **options: Unpack[Options],
) -> Expected:
    """What `archive` will take for what is new or changed, by at most `count` files in about so many seconds.

    Files are taken by chance, always the same, of each suffix in turn. Raises PresageError, and WeightsError.
    """
    settings = Settings(**options)
    tree, manifest = Path(source), Manifest(Path(target))
    check_folders(tree, Path(target))
    if (Path(target) / NAME).exists():
        manifest.read()
    entries = [entry for entry, _ in plan(walk(tree), manifest, exact, False).files]
    kinds: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        kinds[splitext(entry.path)[1].lower()].append(entry)
    tried, end, warm = defaultdict[str, list[_Tried]](list), time.monotonic() + seconds, set[str]()
    alone = replace(settings, threads=settings.threads or 1)
    for kind, entry in _in_turn(kinds, count):
        if kind not in warm:  # loading a model, or compiling it, is not what a file takes
            warm.add(kind)
            _try(tree, entry, exact, model, alone)
        tried[kind].append(_try(tree, entry, exact, model, alone))
        if time.monotonic() > end:
            break
    jobs = jobs or processors()
    sums = [_sums(kinds[kind], tried[kind] or [t for several in tried.values() for t in several]) for kind in kinds]
    return Expected(
        len(entries),
        sum(entry.bytes for entry in entries),
        round(sum(stored for stored, _, _ in sums)),
        round(2 * math.sqrt(sum(variance for _, variance, _ in sums))),
        sum(took for _, _, took in sums) / jobs,
        jobs,
        _memory(tree, entries, jobs, settings),
        sum(map(len, tried.values())),
    )


def _in_turn(kinds: dict[str, list[Entry]], count: int) -> Iterator[tuple[str, Entry]]:
    """At most `count` files by chance, one of each kind in turn, those of most bytes first."""
    chance = random.Random(0)
    largest = sorted(kinds, key=lambda kind: sum(entry.bytes for entry in kinds[kind]), reverse=True)
    drawn = [[(kind, entry) for entry in chance.sample(kinds[kind], min(count, len(kinds[kind])))] for kind in largest]
    every = (pair for turn in zip_longest(*drawn) for pair in turn if pair is not None)
    for _, pair in zip(range(count), every, strict=False):
        yield pair


def _try(tree: Path, entry: Entry, exact: bool, model: str, settings: Settings) -> _Tried:
    """Code a file in memory; of what would be copied only a part is read."""
    started, stored, read = time.perf_counter(), entry.bytes, entry.bytes
    try:
        with (tree / entry.path).open("rb") as file:
            if _is_picture(file, entry, settings):
                stored = len(keeping.coded(file.read(), entry.path, exact, model, settings).data)
            else:
                part = file.read(PART)
                hashlib.sha256(part)
                read = len(part)
    except (keeping.BetterCopied, OSError):
        stored = entry.bytes
    return _Tried(entry.bytes, stored, (time.perf_counter() - started) * entry.bytes / max(1, read))


def _is_picture(file: BinaryIO, entry: Entry, settings: Settings) -> bool:
    """Whether a file would be read whole, to be coded."""
    kind = format_of(file.read(16))
    file.seek(0)
    return bool(kind) and entry.bytes <= min(MOST, settings.limits.memory)


def _sums(entries: Sequence[Entry], tried: Sequence[_Tried]) -> tuple[float, float, float]:
    """Bytes that files of a kind will take, by the ratio of those that were tried; the variance of that; and seconds."""
    total, size = sum(entry.bytes for entry in entries), sum(t.bytes for t in tried)
    if not size:
        return float(total), 0.0, sum(t.seconds for t in tried) * len(entries) / max(1, len(tried))
    ratio, count = sum(t.stored for t in tried) / size, len(tried)
    spread = sum((t.stored - ratio * t.bytes) ** 2 for t in tried) / max(1, count - 1)
    if count == 1:  # which says nothing of the spread
        spread = (UNKNOWN * size) ** 2
    left = max(0.0, 1 - count / len(entries))
    return ratio * total, left * spread * len(entries) ** 2 / count, sum(t.seconds for t in tried) * total / size


def _memory(tree: Path, entries: Sequence[Entry], jobs: int, settings: Settings) -> int:
    """Bytes for as many of the largest files at a time as there are jobs."""
    needed = []
    for entry in sorted(entries, key=lambda entry: entry.bytes, reverse=True)[: max(LARGEST, jobs)]:
        needed.append(estimate.BASE)
        try:
            with (tree / entry.path).open("rb") as file:
                data = file.read() if _is_picture(file, entry, settings) else b""
            with opened(data) as image:
                needed[-1] = estimate.encoding(image.width * image.height, Mode.RGB, Coding.COLOUR).memory + 2 * entry.bytes
        except Exception:  # no picture, or a damaged one: it is copied
            continue
    return sum(sorted(needed, reverse=True)[:jobs]) or estimate.BASE
