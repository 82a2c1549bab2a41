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
from ..limits import Limits
from . import container
from .container import Header, Tag

MAX_LIST = 1 << 26  # bytes of a list
MAX_IMAGES = 1 << 20
MAX_DIGITS = 15
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
            yield from (f"{prefix}{str(first + i).zfill(digits)}{suffix}" for i in range(count))


def check_name(name: str) -> None:
    """Names are relative paths that stay where they are put, of letters that can be written. Raises ValueError."""
    path = PurePosixPath(name)
    if not path.name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise ValueError(f"{name[:80]!r} is not the name of a file in a folder")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name[:80]!r} is not a text in UTF-8") from None


def pack_list(names: Sequence[str], sizes: Sequence[tuple[int, int]]) -> dict[bytes, bytes]:
    """The section with the names and (width, height) of a set's images."""
    runs = [[*size, len(list(same))] for size, same in groupby(sizes)]
    text = json.dumps({"names": number_runs(names), "sizes": runs}, separators=(",", ":"), ensure_ascii=False)
    return {Tag.LIST: zlib.compress(text.encode(), 9)}


def read_list(data: bytes | mmap, header: Header, limits: Limits) -> list[tuple[str, tuple[int, int]]]:
    """Name and (width, height) of every image of a set. Raises DamagedFile, and LimitExceeded before anything large is made."""
    packed = container.read_section(data, header, Tag.LIST)
    try:
        listed = _parsed(packed or b"", limits)
        counts, names = _counts(listed["sizes"]), listed["names"]
        _check_runs(names, sum(counts), limits)
        pixels = sum(width * height * count for width, height, count in listed["sizes"])
        if pixels > container.MAX_PIXELS:
            raise ValueError("more pixels than this format allows")
        limits.check("pixels", pixels, "the set")
        sizes = ((width, height) for width, height, count in listed["sizes"] for _ in range(count))
        images = list(zip(names_of(names), sizes, strict=True))
        for name, _ in images:
            check_name(name)
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFile(f"the list of images is damaged: {error}") from None
    if len({name for name, _ in images}) < len(images):
        raise DamagedFile("the list of images is damaged: two images have one name")
    return images


def _parsed(packed: bytes, limits: Limits) -> dict[str, Any]:
    """The JSON object of a list, whose text is looked at before lists of Python's, which take thirty times its bytes, are made of it."""
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed, MAX_LIST)
    if not inflater.eof or inflater.unused_data:
        raise ValueError("too long, or bytes after its end")
    if text.count(b":") != 2 or text.count(b"[") > 3 * MAX_IMAGES:  # names have no colons
        raise ValueError("not the two lists of names and sizes")
    limits.check("memory", 16 * text.count(b"[") + 40 * text.count(b",") + 4 * len(text), "the list of images")
    listed = json.loads(text)
    if not isinstance(listed, dict) or set(listed) != {"names", "sizes"} or not all(isinstance(part, list) for part in listed.values()):
        raise ValueError("not the two lists of names and sizes")
    return listed


def _counts(sizes: Sequence[Any]) -> list[int]:
    """How many images have each of the sizes [width, height, count]. Raises ValueError."""
    for size in sizes:
        if not isinstance(size, list) or len(size) != 3 or not all(type(number) is int for number in size):
            raise ValueError("sizes are three whole numbers")
        if not all(0 < side <= container.MAX_SIDE for side in size[:2]) or not 0 < size[2] <= MAX_IMAGES:
            raise ValueError("sizes that this format does not allow")
    return [count for _, _, count in sizes]


def _check_runs(runs: Sequence[Any], images: int, limits: Limits) -> None:
    """Texts and [prefix, first, digits, suffix, count] that stand for so many names. Raises ValueError and LimitExceeded."""
    named = letters = longest = 0
    for run in runs:
        parts: Sequence[Any] = [run, 0, 0, "", 1] if isinstance(run, str) else run
        prefix, first, digits, suffix, count = parts
        kinds = type(prefix) is type(suffix) is str and type(first) is type(digits) is type(count) is int
        if not kinds or first < 0 or not 0 <= digits <= MAX_DIGITS or not 0 < count <= MAX_IMAGES or first + count > 10**MAX_DIGITS:
            raise ValueError("a name is a text, or a text, two numbers, a text and a count")
        length = len(prefix) + len(suffix) + (0 if isinstance(run, str) else max(digits, len(str(first + count))))
        named, letters, longest = named + count, letters + length * count, max(longest, length)
    if not 0 < named == images <= MAX_IMAGES:
        raise ValueError("names and sizes do not match")
    limits.check("images", images, "the set")
    limits.check("name", longest, "a name in the set")
    limits.check("memory", 4 * letters + 300 * images, "the list of images")
