"""The list of a set: names, sizes and order of its images, compressed. Standard library only."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from mmap import mmap
from pathlib import PurePosixPath
from typing import Any

from ..errors import DamagedFile
from . import container
from .container import Header, Tag

MAX_LIST = 1 << 26  # bytes of a list
MAX_IMAGES = 1 << 20
LAST_NUMBER = re.compile(r"(?s)(.*?)([0-9]{1,15})([^0-9]*)")


def number_runs(names: Sequence[str]) -> list[Any]:
    """Names as a JSON list: a text for one name, or [prefix, first number, digits, suffix, count] for names that count up."""
    runs: list[Any] = []
    for name in names:
        match = LAST_NUMBER.fullmatch(name)
        last = runs[-1] if runs else None
        if match and isinstance(last, list):
            prefix, first, digits, suffix, count = last
            if match[1] == prefix and match[3] == suffix and match[2] == f"{first + count:0{digits}}":
                last[4] += 1
                continue
        runs.append([match[1], int(match[2]), len(match[2]), match[3], 1] if match else name)
    return [f"{r[0]}{r[1]:0{r[2]}}{r[3]}" if isinstance(r, list) and r[4] == 1 else r for r in runs]


def names_of(runs: Sequence[Any]) -> Iterator[str]:
    """The inverse of `number_runs`."""
    for run in runs:
        if isinstance(run, str):
            yield run
        else:
            prefix, first, digits, suffix, count = run
            yield from (f"{prefix}{first + i:0{digits}}{suffix}" for i in range(count))


def check_name(name: str) -> None:
    """Names are relative paths that stay where they are put. Raises ValueError."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise ValueError(f"{name!r} is not the name of a file in a folder")


def pack_list(names: Sequence[str], sizes: Sequence[tuple[int, int]]) -> dict[bytes, bytes]:
    """The section with the names and (width, height) of a set's images."""
    runs = [[*size, len(list(same))] for size, same in groupby(sizes)]
    text = json.dumps({"names": number_runs(names), "sizes": runs}, separators=(",", ":"), ensure_ascii=False)
    return {Tag.LIST: zlib.compress(text.encode(), 9)}


def read_list(data: bytes | mmap, header: Header) -> list[tuple[str, tuple[int, int]]]:
    """Name and (width, height) of every image of a set. Raises DamagedFile."""
    packed = container.read_section(data, header, Tag.LIST)
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(packed or b"", MAX_LIST)
        if not inflater.eof:
            raise ValueError("too long")
        listed = json.loads(text)
        runs = listed["names"]
        counts = [count for _, _, count in listed["sizes"]]
        if min(counts) < 1 or sum(counts) != sum(1 if isinstance(run, str) else run[4] for run in runs) or sum(counts) > MAX_IMAGES:
            raise ValueError("names and sizes do not match")
        sizes = [(width, height) for width, height, count in listed["sizes"] for _ in range(count)]
        if (
            any(not 0 < side <= container.MAX_SIDE for size in sizes for side in size)
            or sum(w * h for w, h in sizes) > container.MAX_PIXELS
        ):
            raise ValueError("sizes that this format does not allow")
        images = list(zip(names_of(runs), sizes, strict=True))
        for name, _ in images:
            check_name(name)
    except (zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedFile(f"the list of images is damaged: {error}") from None
    return images
