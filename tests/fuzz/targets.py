"""What is fuzzed, and the rule: one of Presage's own exceptions or right pixels, under 1 GB and 10 seconds.

A target has seeds, a way to change them, and a way to try what comes out of it. Files are tried by everything that reads files.
"""

from __future__ import annotations

import io
import json
import random
import struct
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import presage
from presage.codec import api
from presage.codec.format import container
from presage.codec.format.container import Coding, Tag
from presage.codec.image import files
from presage.codec.limits import Limits

from . import mutate, seeds
from .seeds import MAKING

LIMITS = Limits(pixels=1 << 14, memory=1_000_000_000, images=1 << 12, seconds=60)  # few pixels, so that many files are tried
OPTIONS: Mapping[str, Any] = {**MAKING, "limits": LIMITS}


class Wrong(Exception):
    """Something that must not happen, and that no other exception says."""


@dataclass(frozen=True)
class Target:
    """real: seeds by the released models are among the others."""

    seeds: Callable[[bool], list[bytes]]
    change: Callable[[bytes, random.Random, list[bytes]], bytes]
    attempt: Callable[[bytes], str]


# --------------------------------------------------------------------------------------------------------------- files


def changed_stream(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return mutate.changed_bytes(data, rng, rng.choice(others))


def attempt_jpeg(data: bytes) -> str:
    """The bytes of what begins as a JPEG file does come back."""
    if not data.startswith(b"\xff\xd8"):
        return "other"
    try:
        written = presage.encode(data, model="tiny-jpeg", **OPTIONS)
    except presage.LimitExceeded:
        return "LimitExceeded"
    if presage.decode_file(written, **OPTIONS) != data or len(written) > len(data) + 100:
        raise Wrong("another JPEG file")
    _owned(lambda: presage.info(written, LIMITS))
    return "kept" if container.read_header(written).tile == 0 else "decoded"


def attempt_file(data: bytes) -> str:
    """Try all that reads files; what became of it. Raises Wrong, or what escaped."""
    outcomes = [_owned(lambda: presage.info(data, LIMITS))]
    try:
        header = container.read_header(data, partial=True)
    except presage.PresageError as error:
        outcomes.append(type(error).__name__)
        return outcomes[-1] if not _owned(lambda: presage.decode(data, **OPTIONS)) else "decoded"
    if header.coding in container.SETS:
        outcomes.append(_owned(lambda: _unpacked(data)))
    else:
        outcomes.append(_owned(lambda: _decoded(data, header)))
    if header.section(Tag.PREVIEW) or zlib.crc32(data) % 4 == 0:
        outcomes.append(_owned(lambda: presage.preview(data, 64, **OPTIONS)))
    if zlib.crc32(data) % 4 == 0:  # of one file in four also what is asked for less often
        outcomes.append(_owned(lambda: presage.recover(data, **OPTIONS)))
        outcomes.append(_owned(lambda: presage.decode(data, crop=(1, 1, 2, 2), **OPTIONS)))
        if header.coding == Coding.JPEG:
            outcomes.append(_owned(lambda: presage.recover_file(data, **OPTIONS)))
        if header.coding in container.CUT:
            outcomes.append(_owned(lambda: presage.truncate(data, fraction=0.7)))
            outcomes.append(_owned(lambda: presage.decode(data, codes=2, **OPTIONS)))
    return outcomes[1]


def _owned(act: Callable[[], object]) -> str:
    """What an act ends with, if it is one of Presage's own."""
    try:
        act()
    except presage.PresageError as error:
        return type(error).__name__
    return ""


def _decoded(data: bytes, header: container.Header) -> None:
    if header.coding == Coding.JPEG:
        if zlib.crc32(presage.decode_file(data, **OPTIONS)) != header.pixel_crc:
            raise Wrong("other bytes than the checksum says")
        _owned(lambda: presage.decode(data, **OPTIONS))
        return
    image = presage.decode(data, **OPTIONS)
    if (image.mode, image.size) != (container.PIL_MODES[header.mode], (header.width, header.height)):
        raise Wrong("another mode or size than the header says")
    coarse = header.coding in container.LOSSY or (header.coding in container.STAGED and len(data) < header.size)
    if not coarse and zlib.crc32(image.tobytes()) != header.pixel_crc:
        raise Wrong("other pixels than the checksum says")
    api_source = api.source_file(data)
    if api_source is not None and Image.open(io.BytesIO(api_source)).convert(image.mode).tobytes() != image.tobytes():
        raise Wrong("a source file of another picture")


def _unpacked(data: bytes) -> None:
    listed = presage.info(data, LIMITS)
    images = presage.unpack(data, **OPTIONS)
    if list(images) != listed["names"] or len(images) != listed["images"]:
        raise Wrong("other images than the list says")
    header, crc = container.read_header(data), 0
    for image in images.values():
        crc = zlib.crc32(image.tobytes(), crc)
    if header.coding == Coding.SET and crc != header.pixel_crc:
        raise Wrong("other pixels than the checksum says")


# ------------------------------------------------------------------------------------------------- weights and pictures


def changed_weights(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Other settings, shapes, metadata, or numbers."""
    (length,) = struct.unpack_from("<Q", data)
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    way = rng.randrange(6)
    if way < 2:
        begin, end = header.get("config", header[next(name for name in header if "config" in name or "trunk" in name)])["data_offsets"]
        settings = body[begin:end]
        try:
            text = mutate.json_text(mutate.changed_json(json.loads(settings), rng), rng)
        except ValueError:
            text = mutate.changed_bytes(settings, rng)
        text = text.ljust(end - begin)[: max(end - begin, len(text))]
        grown = len(text) - (end - begin)
        for entry in header.values():
            if "data_offsets" in entry and entry["data_offsets"][0] >= end and grown:
                entry["data_offsets"] = [place + grown for place in entry["data_offsets"]]
        for entry in header.values():
            if entry.get("data_offsets") == [begin, end]:
                entry["data_offsets"], entry["shape"] = [begin, begin + len(text)], [len(text)]
        body = body[:begin] + text + body[end:]
    elif way == 2:
        at = rng.randrange(max(1, len(body) - 8))
        body = body[:at] + rng.choice((b"\xff\x7f", b"\0\x7e", b"\xff" * 4, b"\0\0\0\x80", b"\x7f\x7f\x7f\x7f", b"\0" * 8)) + body[at:]
        body = body[: len(data) - 8 - length]
    elif way == 3:
        header = mutate.changed_json(header, rng)
    elif way == 4:
        name = rng.choice([name for name in header if name != "__metadata__"])
        shape = header[name]["shape"]
        header[name]["shape"] = rng.choice([shape[::-1], [1, *shape], [int(np.prod(shape))]])
    else:
        body = mutate.changed_bytes(body, rng)[: len(body)].ljust(len(body), b"\1")
    text = json.dumps(header).encode(errors="surrogatepass")
    return struct.pack("<Q", rng.choice((len(text),) * 20 + mutate.WIDE)) + text + body


def attempt_weights(data: bytes) -> str:
    """Files that hostile weights write must be read again by them."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "mutant-1.safetensors").write_bytes(data)
        options = {**OPTIONS, "model_path": [Path(folder)], "arithmetic": "int16"}
        image = seeds.piece(9, 8)
        for encode, picture in ((api.encode, image), (api.encode_lossy, image), (api.encode, image.convert("1"))):
            try:
                written = encode(picture, model="mutant", **options)
                shown = presage.decode(written, **options)
            except presage.DamagedFile as error:
                raise Wrong(f"what was written is not read: {error}") from error
            except presage.PresageError:
                continue
            if encode is api.encode and shown.tobytes() != picture.tobytes():
                raise Wrong("other pixels")
            return "decoded"
        try:
            source = seeds.jpeg_files()[0]
            if presage.decode_file(api.encode(source, model="mutant", **options), **options) != source:
                raise Wrong("another JPEG file")
        except presage.DamagedFile as error:
            raise Wrong(f"what was written is not read: {error}") from error
        except presage.PresageError:
            pass
    return "WeightsError"


def changed_picture(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return mutate.changed_png(data, rng) if data.startswith(b"\x89PNG") else mutate.changed_bytes(data, rng, rng.choice(others))


def attempt_picture(data: bytes) -> str:
    """What is taken comes back."""
    try:
        picture = files.read(data, limits=LIMITS)
    except presage.PresageError as error:
        return type(error).__name__
    if picture.image.width * picture.image.height > 1 << 12:
        return "large"
    shown = presage.decode(presage.encode(data, model="tiny", **OPTIONS), **OPTIONS)
    if shown.mode == "P" and shown.convert("RGB").tobytes() != picture.image.convert("RGB").tobytes():
        raise Wrong("other colours")
    if (shown.mode, shown.size, shown.tobytes()) != (picture.image.mode, picture.image.size, picture.image.tobytes()):
        raise Wrong("other pixels")
    for suffix in (".png", ".tif"):
        _owned(partial(files.to_file, shown, suffix))
    return "decoded"


def _files(first: Callable[[bool], list[bytes]], only: bytes | None = None) -> Target:
    return Target(first, lambda data, rng, others: mutate.changed_file(data, rng, others, only), attempt_file)


TARGETS: Mapping[str, Target] = {
    "photo": _files(seeds.photo),
    "planes": _files(seeds.planes),
    "chain": _files(seeds.chain),
    "set": _files(seeds.sets),
    "latent": _files(seeds.latent),
    "ordered": _files(seeds.ordered),
    "digits": _files(seeds.digits),
    "flow": _files(seeds.flow),
    "stages": _files(seeds.stages),
    "stored": _files(seeds.stored),
    "jpeg": _files(seeds.jpeg),
    "recognised": _files(seeds.recognised),
    "stream": Target(lambda real: seeds.jpeg_files(), changed_stream, attempt_jpeg),
    "list": _files(seeds.sets, Tag.LIST),
    "meta": _files(seeds.meta, Tag.META),
    "preview": _files(seeds.preview, Tag.PREVIEW),
    "weights": Target(seeds.weights, changed_weights, attempt_weights),
    "picture": Target(seeds.picture, changed_picture, attempt_picture),
}


def target_of(name: str) -> Target:
    """The target of a file of the corpus, whose name begins with the target's."""
    return TARGETS[name.partition("-")[0]]


def names(chosen: Sequence[str]) -> list[str]:
    """Targets by their names, or all. Raises ValueError."""
    unknown = set(chosen) - set(TARGETS)
    if unknown:
        raise ValueError(f"no target called {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    return list(chosen) or list(TARGETS)
