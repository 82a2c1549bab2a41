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
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

import presage
from presage.codec import api
from presage.codec.format import container
from presage.codec.format.container import Coding, Tag
from presage.codec.image import files
from presage.codec.limits import Limits

from . import mutate

TESTS = Path(__file__).resolve().parent.parent
TINY = [TESTS / "data"]
LIMITS = Limits(pixels=1 << 14, memory=1_000_000_000, images=1 << 12, seconds=60)  # few pixels, so that many files are tried
MAKING: Mapping[str, Any] = {"model_path": TINY, "threads": 1}
OPTIONS: Mapping[str, Any] = {**MAKING, "limits": LIMITS}
SAMPLE = TESTS.parent / "samples" / "kodim23.png"


class Wrong(Exception):
    """Something that must not happen, and that no other exception says."""


@dataclass(frozen=True)
class Target:
    """real: seeds by the released models are among the others."""

    seeds: Callable[[bool], list[bytes]]
    change: Callable[[bytes, random.Random, list[bytes]], bytes]
    attempt: Callable[[bytes], str]


# --------------------------------------------------------------------------------------------------------------- files


@cache
def golden(names: str) -> list[bytes]:
    """Golden files by their names."""
    return [(TESTS / "golden" / f"{name}.psg").read_bytes() for name in names.split()]


def piece(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A piece of a photograph."""
    return Image.open(SAMPLE).convert("RGB").crop((300, 200, 300 + width, 200 + height)).convert(mode)


def photo_seeds(real: bool) -> list[bytes]:
    seeds = [*golden("one"), *(_by_model(piece(9, 7, mode), "tiny", 8) for mode in ("RGB", "RGBA", "L", "LA"))]
    return seeds + [_by_model(piece(*size, mode), "photo", 8) for size, mode in (((8, 6), "RGB"), ((10, 9), "LA")) if real]


def _by_model(image: Image.Image, model: str, tile: int) -> bytes:
    """A file in which the model coded the pixels, though the stored form may be smaller."""
    from presage.codec import weights
    from presage.codec.paths.tiles import TiledEncoding
    from presage.codec.settings import Settings
    from presage.codec.weights import Loaded
    from presage.models.model import Tiled

    settings = Settings(**MAKING)
    return TiledEncoding(api.picture_of(image), cast(Loaded[Tiled], weights.load(model, settings)), tile, settings).file(0)


def planes_seeds(real: bool) -> list[bytes]:
    return golden("planes") + [presage.encode(piece(40, 24), model="planes", tile=16, **MAKING) for _ in range(real)]


def jpeg_files() -> list[bytes]:
    """JPEG files of several kinds."""
    kinds: tuple[dict[str, Any], ...] = (
        {"quality": 90},
        {"quality": 80, "progressive": True},
        {"subsampling": 0, "restart_marker_blocks": 2},
    )
    made = []
    for mode, options in [("RGB", kind) for kind in kinds] + [("L", kinds[0]), ("CMYK", kinds[1])]:
        buffer = io.BytesIO()
        piece(40, 24, mode).save(buffer, "JPEG", **options)
        made.append(buffer.getvalue())
    return made


def jpeg_seeds(real: bool) -> list[bytes]:
    return [*golden("jpeg"), *(presage.encode(data, model="tiny-jpeg", tile=8, **MAKING) for data in jpeg_files())]


def changed_stream(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    return mutate.changed_bytes(data, rng, rng.choice(others))


def recognised_seeds(real: bool) -> list[bytes]:
    made = []
    for sampling in (0, 2):
        buffer = io.BytesIO()
        piece(96, 80).save(buffer, "JPEG", quality=80, subsampling=sampling)
        made.append(presage.encode(np.array(Image.open(buffer)), model="tiny-jpeg", tile=8, **MAKING))
    return golden("recognised") + made


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


def flow_seeds(real: bool) -> list[bytes]:
    by_model = [_by_model(piece(9, 7, mode), "tiny-flow", 8) for mode in ("RGB", "LA")]
    packed = {f"{i}.png": piece(5 + i % 2, 4) for i in range(3)}
    return [
        *by_model,
        presage.pack(packed, model="tiny-flow", **MAKING),
        *(_by_model(piece(9, 9), "cifar10-idfpp", 8) for _ in range(real)),
    ]


def chain_seeds(real: bool) -> list[bytes]:
    seeds = [_by_model(piece(9, 5), "tiny-chain", 8), _by_model(piece(9, 8, "1"), "tiny-bits", 8)]
    return seeds + [_by_model(piece(8, 8, mode), model, 8) for model, mode in (("cifar10", "RGB"), ("mnist", "1")) if real]


def set_seeds(real: bool) -> list[bytes]:
    named = {f"d/{8 + i:02}.png": piece(6 + i // 2, 4) for i in range(3)}
    bits = {f"{i}": piece(5, 5, "1") for i in range(3)}
    by_tiny = [(named, "tiny-chain"), (bits, "tiny-bits"), (named, "tiny-categories")]
    by_real = [(named, "cifar10"), (bits, "mnist"), (named, "cifar10-latent")]
    return [presage.pack(images, model=model, **MAKING) for images, model in by_tiny + by_real * real]


def latent_seeds(real: bool) -> list[bytes]:
    by_tiny = [("RGB", "tiny-latent"), ("LA", "tiny-latent"), ("RGB", "tiny-categories")]
    by_real = [("RGB", "latent"), ("RGBA", "cifar10-latent")]
    return [presage.encode_lossy(piece(9, 8, mode), model=model, **MAKING) for mode, model in by_tiny + by_real * real]


def ordered_seeds(real: bool) -> list[bytes]:
    by_tiny = [("RGB", "tiny-ordered"), ("LA", "tiny-ordered"), ("RGB", "tiny-codes")]
    by_real = [("RGB", "ordered"), ("RGB", "cifar10-ordered")]
    written = [presage.encode_lossy(piece(16, 12, mode), model=model, **MAKING) for mode, model in by_tiny + by_real * real]
    return [*written, written[0][:-1]]


def digits_seeds(real: bool) -> list[bytes]:
    by_tiny = [("RGB", "tiny-progressive"), ("LA", "tiny-progressive")]
    written = [
        presage.encode_lossy(piece(16, 12, mode), model=model, **MAKING) for mode, model in by_tiny + [("RGB", "progressive")] * real
    ]
    return [*written, written[0][:-1]]


def stages_seeds(real: bool) -> list[bytes]:
    return [*golden("stages stages-cut"), presage.pack({"a": piece(5, 4), "b": piece(3, 4)}, model="tiny-ardm", calls=20, **MAKING)]


def stored_seeds(real: bool) -> list[bytes]:
    deep = (np.arange(70, dtype=np.uint16) * 900).reshape(10, 7)
    source = io.BytesIO(_deep_colour())
    seeds = [
        *golden("palette bilevel cmyk gray16 deep"),
        presage.encode(deep),
        presage.encode(piece(20, 20).quantize(4)),
        presage.encode(source.getvalue()),
    ]
    return seeds + [presage.encode(Image.new(mode, (300, 40), 1), model="tiny", **MAKING) for mode in ("RGB", "RGBA", "L")]


def _deep_colour() -> bytes:
    """A PNG file with 16 bits a channel in colour."""
    rows = b"".join(b"\0" + bytes(range(24)) for _ in range(3))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def meta_seeds(real: bool) -> list[bytes]:
    image = piece(8, 6)
    image.info |= {"dpi": (300, 300), "transparency": (1, 2, 3), "icc_profile": b"profile"}
    palette = piece(8, 6).quantize(4)
    palette.info["transparency"] = b"\0\xff"
    lossy = presage.encode_lossy(piece(9, 8), model="tiny-latent", **MAKING)
    return [presage.encode(image, model="tiny", **MAKING), presage.encode(palette), lossy]


def preview_seeds(real: bool) -> list[bytes]:
    return golden("preview")


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


def weights_seeds(real: bool) -> list[bytes]:
    paths = sorted((TESTS / "data").glob("*.safetensors"))
    return [path.read_bytes() for path in paths] + [(TESTS.parent / "models" / "weights" / "photo-1.safetensors").read_bytes()] * real


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
        image = piece(9, 8)
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
            source = jpeg_files()[0]
            if presage.decode_file(api.encode(source, model="mutant", **options), **options) != source:
                raise Wrong("another JPEG file")
        except presage.DamagedFile as error:
            raise Wrong(f"what was written is not read: {error}") from error
        except presage.PresageError:
            pass
    return "WeightsError"


def picture_seeds(real: bool) -> list[bytes]:
    seeds = [_deep_colour()]
    kinds = {"PNG": "1 L LA P RGB RGBA I;16", "BMP": "1 L P RGB", "GIF": "P L", "TIFF": "1 L RGB RGBA I;16", "PPM": "1 L RGB"}
    for kind, modes in (kinds | {"WEBP": "RGB RGBA", "JPEG": "L RGB"}).items():
        for mode in modes.split():
            buffer = io.BytesIO()
            image = piece(7, 5, "L").convert(mode) if mode == "I;16" else piece(7, 5, mode)
            image.save(buffer, kind, **({"dpi": (72, 72)} if kind in ("PNG", "TIFF") else {}))
            seeds.append(buffer.getvalue())
    return seeds


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


def _files(seeds: Callable[[bool], list[bytes]], only: bytes | None = None) -> Target:
    return Target(seeds, lambda data, rng, others: mutate.changed_file(data, rng, others, only), attempt_file)


TARGETS: Mapping[str, Target] = {
    "photo": _files(photo_seeds),
    "planes": _files(planes_seeds),
    "chain": _files(chain_seeds),
    "set": _files(set_seeds),
    "latent": _files(latent_seeds),
    "ordered": _files(ordered_seeds),
    "digits": _files(digits_seeds),
    "flow": _files(flow_seeds),
    "stages": _files(stages_seeds),
    "stored": _files(stored_seeds),
    "jpeg": _files(jpeg_seeds),
    "recognised": _files(recognised_seeds),
    "stream": Target(lambda real: jpeg_files(), changed_stream, attempt_jpeg),
    "list": _files(set_seeds, Tag.LIST),
    "meta": _files(meta_seeds, Tag.META),
    "preview": _files(preview_seeds, Tag.PREVIEW),
    "weights": Target(weights_seeds, changed_weights, attempt_weights),
    "picture": Target(picture_seeds, changed_picture, attempt_picture),
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
