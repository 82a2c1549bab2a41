"""What fuzzing begins with: small files of all codings, by the tiny models of the tests and, where `real` says so, by released ones."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

import presage
from presage.codec import api
from presage.codec.paths.tiles import TiledEncoding
from presage.codec.settings import Settings
from presage.codec.weights import Loaded, load
from presage.models.model import Tiled

TESTS = Path(__file__).resolve().parent.parent
TINY = [TESTS / "data"]
SAMPLE = TESTS.parent / "samples" / "kodim23.png"
MAKING: Mapping[str, Any] = {"model_path": TINY, "threads": 1}


@cache
def golden(names: str) -> list[bytes]:
    """Golden files by their names."""
    return [(TESTS / "golden" / f"{name}.psg").read_bytes() for name in names.split()]


def piece(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A piece of a photograph."""
    return Image.open(SAMPLE).convert("RGB").crop((300, 200, 300 + width, 200 + height)).convert(mode)


def photo(real: bool) -> list[bytes]:
    seeds = [*golden("one"), *(_by_model(piece(9, 7, mode), "tiny", 8) for mode in ("RGB", "RGBA", "L", "LA"))]
    return seeds + [_by_model(piece(*size, mode), "photo", 8) for size, mode in (((8, 6), "RGB"), ((10, 9), "LA")) if real]


def _by_model(image: Image.Image, model: str, tile: int) -> bytes:
    """A file in which the model coded the pixels, though the stored form may be smaller."""
    settings = Settings(**MAKING)
    return TiledEncoding(api.picture_of(image), cast(Loaded[Tiled], load(model, settings)), tile, settings).file(0)


def planes(real: bool) -> list[bytes]:
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


def jpeg(real: bool) -> list[bytes]:
    return [*golden("jpeg"), *(presage.encode(data, model="tiny-jpeg", tile=8, **MAKING) for data in jpeg_files())]


def recognised(real: bool) -> list[bytes]:
    made = []
    for sampling in (0, 2):
        buffer = io.BytesIO()
        piece(96, 80).save(buffer, "JPEG", quality=80, subsampling=sampling)
        made.append(presage.encode(np.array(Image.open(buffer)), model="tiny-jpeg", tile=8, **MAKING))
    return golden("recognised") + made


def flow(real: bool) -> list[bytes]:
    by_model = [_by_model(piece(9, 7, mode), "tiny-flow", 8) for mode in ("RGB", "LA")]
    packed = {f"{i}.png": piece(5 + i % 2, 4) for i in range(3)}
    return [
        *by_model,
        presage.pack(packed, model="tiny-flow", **MAKING),
        *(_by_model(piece(9, 9), "cifar10-idfpp", 8) for _ in range(real)),
    ]


def chain(real: bool) -> list[bytes]:
    seeds = [_by_model(piece(9, 5), "tiny-chain", 8), _by_model(piece(9, 8, "1"), "tiny-bits", 8)]
    return seeds + [_by_model(piece(8, 8, mode), model, 8) for model, mode in (("cifar10", "RGB"), ("mnist", "1")) if real]


def sets(real: bool) -> list[bytes]:
    named = {f"d/{8 + i:02}.png": piece(6 + i // 2, 4) for i in range(3)}
    bits = {f"{i}": piece(5, 5, "1") for i in range(3)}
    by_tiny = [(named, "tiny-chain"), (bits, "tiny-bits"), (named, "tiny-categories")]
    by_real = [(named, "cifar10"), (bits, "mnist"), (named, "cifar10-latent")]
    return [presage.pack(images, model=model, **MAKING) for images, model in by_tiny + by_real * real]


def latent(real: bool) -> list[bytes]:
    by_tiny = [("RGB", "tiny-latent"), ("LA", "tiny-latent"), ("RGB", "tiny-categories")]
    by_real = [("RGB", "latent"), ("RGBA", "cifar10-latent")]
    return [presage.encode_lossy(piece(9, 8, mode), model=model, **MAKING) for mode, model in by_tiny + by_real * real]


def ordered(real: bool) -> list[bytes]:
    by_tiny = [("RGB", "tiny-ordered"), ("LA", "tiny-ordered"), ("RGB", "tiny-codes")]
    by_real = [("RGB", "ordered"), ("RGB", "cifar10-ordered")]
    written = [presage.encode_lossy(piece(16, 12, mode), model=model, **MAKING) for mode, model in by_tiny + by_real * real]
    return [*written, written[0][:-1]]


def digits(real: bool) -> list[bytes]:
    by_tiny = [("RGB", "tiny-progressive"), ("LA", "tiny-progressive")]
    written = [
        presage.encode_lossy(piece(16, 12, mode), model=model, **MAKING) for mode, model in by_tiny + [("RGB", "progressive")] * real
    ]
    return [*written, written[0][:-1]]


def stages(real: bool) -> list[bytes]:
    packed = {"a": piece(5, 4), "b": piece(3, 4)}
    models = ["tiny-ardm", *["cifar10-ardm", "cifar10-upscale"] * real]
    return [*golden("stages stages-cut"), *(presage.pack(packed, model=model, calls=20, **MAKING) for model in models)]


def stored(real: bool) -> list[bytes]:
    deep = (np.arange(70, dtype=np.uint16) * 900).reshape(10, 7)
    seeds = [
        *golden("palette bilevel cmyk gray16 deep"),
        presage.encode(deep),
        presage.encode(piece(20, 20).quantize(4)),
        presage.encode(deep_colour()),
    ]
    return seeds + [presage.encode(Image.new(mode, (300, 40), 1), model="tiny", **MAKING) for mode in ("RGB", "RGBA", "L")]


def deep_colour() -> bytes:
    """A PNG file with 16 bits a channel in colour."""
    rows = b"".join(b"\0" + bytes(range(24)) for _ in range(3))
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", 4, 3, 16, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    packed = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def meta(real: bool) -> list[bytes]:
    image = piece(8, 6)
    image.info |= {"dpi": (300, 300), "transparency": (1, 2, 3), "icc_profile": b"profile"}
    palette = piece(8, 6).quantize(4)
    palette.info["transparency"] = b"\0\xff"
    lossy = presage.encode_lossy(piece(9, 8), model="tiny-latent", **MAKING)
    return [presage.encode(image, model="tiny", **MAKING), presage.encode(palette), lossy]


def preview(real: bool) -> list[bytes]:
    return golden("preview")


def weights(real: bool) -> list[bytes]:
    paths = sorted((TESTS / "data").glob("*.safetensors"))
    return [path.read_bytes() for path in paths] + [(TESTS.parent / "models" / "weights" / "photo-1.safetensors").read_bytes()] * real


def picture(real: bool) -> list[bytes]:
    seeds = [deep_colour()]
    kinds = {"PNG": "1 L LA P RGB RGBA I;16", "BMP": "1 L P RGB", "GIF": "P L", "TIFF": "1 L RGB RGBA I;16", "PPM": "1 L RGB"}
    for kind, modes in (kinds | {"WEBP": "RGB RGBA", "JPEG": "L RGB"}).items():
        for mode in modes.split():
            buffer = io.BytesIO()
            image = piece(7, 5, "L").convert(mode) if mode == "I;16" else piece(7, 5, mode)
            image.save(buffer, kind, **({"dpi": (72, 72)} if kind in ("PNG", "TIFF") else {}))
            seeds.append(buffer.getvalue())
    return seeds
