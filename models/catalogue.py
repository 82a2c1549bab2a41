"""Weights files: where they are, what they say of themselves, their hash. Standard library only, but for loading tensors.

A weights file is a safetensors file NAME-RELEASE.safetensors with the metadata `model` (which network reads it). A
released file never changes; retraining makes the next release.
"""

import hashlib
import json
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

PACKAGED = Path(__file__).resolve().parent / "weights"
HASH_BYTES = 16
_MAX_HEADER = 1 << 20
_PIECE = 1 << 20  # bytes that are read at a time


class WeightsNotFound(Exception):
    """No weights file of that name or hash; the message says where was looked."""


@dataclass(frozen=True)
class WeightsFile:
    """A weights file. `hash`: the start of the SHA-256 over the tensors, not over the file's metadata."""

    name: str
    path: Path
    hash: bytes
    size: int
    metadata: dict[str, str]


def folders(extra: Sequence[Path] = ()) -> list[Path]:
    """Where weights are looked for: the given folders, PRESAGE_MODELS, the package."""
    environment = [Path(p) for p in os.environ.get("PRESAGE_MODELS", "").split(os.pathsep) if p]
    return [*map(Path, extra), *environment, PACKAGED]


def read(path: Path) -> WeightsFile:
    """Name, hash and metadata of a weights file, which is read again only if it has changed. Raises ValueError if it is not one."""
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):  # a pipe would never end
        raise ValueError(f"{path} is not a file")
    return _read(path, about.st_size, about.st_mtime_ns)


@lru_cache(maxsize=256)
def _read(path: Path, size: int, changed: int) -> WeightsFile:
    with path.open("rb") as file:
        try:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER:
                raise ValueError("header too long")
            header: dict[str, Any] = json.loads(file.read(length))
            metadata = _texts(header.pop("__metadata__", {}))
            places = {name: _place(entry) for name, entry in sorted(header.items())}
            if sum(end - begin for begin, end in places.values()) != size - 8 - length:
                raise ValueError("arrays that are not its bytes")
            digest = hashlib.sha256()
            for name, (begin, end) in places.items():
                digest.update(f"{name} {header[name]['dtype']} {header[name]['shape']} ".encode())
                file.seek(8 + length + begin)
                while begin < end and (part := file.read(min(end - begin, _PIECE))):
                    digest.update(part)
                    begin += len(part)
        except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(f"{path} is not a weights file: {error}") from None
    return WeightsFile(path.stem, path, digest.digest()[:HASH_BYTES], size, metadata)


def _texts(metadata: Any) -> dict[str, str]:
    """Metadata, which are texts by texts. Raises ValueError."""
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("metadata that are no texts")
    return metadata


def _place(entry: Any) -> tuple[int, int]:
    """Where an array begins and ends. Raises ValueError, TypeError and KeyError."""
    begin, end = entry["data_offsets"]
    if not (type(begin) is type(end) is int and 0 <= begin <= end) or not isinstance(entry["dtype"], str):
        raise ValueError("an array without place and type")
    if not isinstance(entry["shape"], list) or not all(type(side) is int for side in entry["shape"]):
        raise ValueError("an array without a shape")
    return begin, end


def _paths(extra: Sequence[Path]) -> list[Path]:
    paths: list[Path] = []
    for folder in folders(extra):
        with suppress(OSError, ValueError):  # a folder that cannot be read has no weights
            paths += sorted(folder.glob("*.safetensors"))
    return paths


def _readable(paths: Iterable[Path]) -> Iterator[WeightsFile]:
    """Those of some files that are weights files, one after another."""
    for path in paths:
        with suppress(ValueError, OSError):
            yield read(path)


def available(extra: Sequence[Path] = ()) -> list[WeightsFile]:
    """All weights files that can be found."""
    return list(_readable(_paths(extra)))


def find(name: str, extra: Sequence[Path] = ()) -> WeightsFile:
    """The weights file of that name, or the newest release of that model; no other file is read. Raises WeightsNotFound."""
    paths = _paths(extra)
    releases = [(int(m[1]), path) for path in paths if (m := re.fullmatch(re.escape(name) + r"-(\d+)", path.stem))]
    newest = [path for _, path in sorted(releases, key=lambda release: -release[0])]
    for weights in _readable([*(path for path in paths if path.stem == name), *newest]):
        return weights
    raise WeightsNotFound(f"no model called {name!r} (looked in {_where(extra)}); `presage models` lists what there is")


def find_hash(name: str, digest: bytes, extra: Sequence[Path] = ()) -> WeightsFile:
    """The weights file with these tensors, whatever its name, though that name is tried first. Raises WeightsNotFound."""
    for weights in _readable(sorted(_paths(extra), key=lambda path: path.stem != name)):
        if weights.hash == digest:
            return weights
    other = "there is another file of that name with other weights, and " if any(p.stem == name for p in _paths(extra)) else ""
    raise WeightsNotFound(
        f"this file needs the weights {name!r} with hash {digest.hex()}: {other}none with that hash "
        f"(looked in {_where(extra)}; --model-path or PRESAGE_MODELS name more folders)"
    )


def _where(extra: Sequence[Path]) -> str:
    return ", ".join(str(folder) for folder in folders(extra))
