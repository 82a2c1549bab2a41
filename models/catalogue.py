"""Weights files: where they are, what they say of themselves, their hash. Standard library only, but for loading tensors.

A weights file is a safetensors file NAME-RELEASE.safetensors with the metadata `model` (which network reads it). A
released file never changes; retraining makes the next release.
"""

import hashlib
import json
import os
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGED = Path(__file__).resolve().parent / "weights"
HASH_BYTES = 16
_MAX_HEADER = 1 << 20


class WeightsNotFound(Exception):
    """No weights file of that name or hash; the message says where was looked."""


@dataclass(frozen=True)
class Weights:
    """A weights file. `hash`: the start of the SHA-256 over the tensors, not over the file's metadata."""

    name: str
    path: Path
    hash: bytes
    size: int
    metadata: dict[str, str]


def folders(extra: Sequence[Path] = ()) -> list[Path]:
    """Where weights are looked for: the given folders, PRESAGE_MODELS, the package."""
    environment = [Path(p) for p in os.environ.get("PRESAGE_MODELS", "").split(os.pathsep) if p]
    return [*extra, *environment, PACKAGED]


def read(path: Path) -> Weights:
    """Name, hash and metadata of a weights file. Raises ValueError if it is not one."""
    data = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", data)
        if length > _MAX_HEADER:
            raise ValueError("header too long")
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
        digest = hashlib.sha256()
        for name, entry in sorted(header.items()):
            begin, end = entry["data_offsets"]
            digest.update(f"{name} {entry['dtype']} {entry['shape']} ".encode())
            digest.update(data[8 + length + begin : 8 + length + end])
    except (struct.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a weights file: {error}") from None
    return Weights(path.stem, path, digest.digest()[:HASH_BYTES], len(data), metadata)


def available(extra: Sequence[Path] = ()) -> list[Weights]:
    """All weights files that can be found."""
    found = []
    for folder in folders(extra):
        for path in sorted(folder.glob("*.safetensors")):
            try:
                found.append(read(path))
            except ValueError:
                continue
    return found


def find(name: str, extra: Sequence[Path] = ()) -> Weights:
    """The weights file of that name, or the newest release of that model. Raises WeightsNotFound."""
    everything = available(extra)
    for weights in everything:
        if weights.name == name:
            return weights
    releases = [(int(m[1]), w) for w in everything if (m := re.fullmatch(re.escape(name) + r"-(\d+)", w.name))]
    if releases:
        return max(releases, key=lambda release: release[0])[1]
    raise WeightsNotFound(f"no model called {name!r} (looked in {_where(extra)}); `presage models` lists what there is")


def find_hash(name: str, digest: bytes, extra: Sequence[Path] = ()) -> Weights:
    """The weights file with these tensors, whatever its name. Raises WeightsNotFound."""
    everything = available(extra)
    for weights in everything:
        if weights.hash == digest:
            return weights
    other = "there is another file of that name with other weights, and " if any(w.name == name for w in everything) else ""
    raise WeightsNotFound(
        f"this file needs the weights {name!r} with hash {digest.hex()}: {other}none with that hash "
        f"(looked in {_where(extra)}; --model-path or PRESAGE_MODELS name more folders)"
    )


def _where(extra: Sequence[Path]) -> str:
    return ", ".join(str(folder) for folder in folders(extra))
