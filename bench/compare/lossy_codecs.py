"""The lossy codecs that are measured, each with its settings from small files to large ones."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

import presage

from .codecs import Pixels, lacking


@dataclass(frozen=True)
class Lossy:
    """encode: (pixels, setting, threads) -> file. decode: (file, threads) -> pixels. needs: module, or feature of Pillow."""

    name: str
    description: str
    settings: Sequence[float]
    encode: Callable[[Pixels, float, int], bytes]
    decode: Callable[[bytes, int], Pixels]
    needs: str = ""
    feature: str = ""

    @property
    def missing(self) -> str:
        """What has to be installed first; empty if nothing."""
        return lacking(self.name, self.needs, feature=self.feature)


def _presage_encode(pixels: Pixels, quality: float, threads: int) -> bytes:
    return presage.encode_lossy(pixels, quality=quality, threads=threads)


def _presage_decode(data: bytes, threads: int) -> Pixels:
    return np.asarray(presage.decode(data, threads=threads))


def _pillow_encode(kind: str, options: dict[str, Any], pixels: Pixels, quality: float, threads: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, quality=round(quality), **options)
    return buffer.getvalue()


def pillow_decode(data: bytes, threads: int) -> Pixels:
    """The pixels of whatever Pillow reads."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def _j2k_encode(pixels: Pixels, bpp: float, threads: int) -> bytes:
    buffer = io.BytesIO()
    ratio = 24 / bpp
    Image.fromarray(pixels).save(
        buffer, "JPEG2000", quality_mode="rates", quality_layers=[ratio], irreversible=True, mct=1, no_jp2=True, num_resolutions=6
    )
    return buffer.getvalue()


def _jxl_encode(pixels: Pixels, distance: float, threads: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegxl_encode(pixels, lossless=False, distance=distance, effort=7, usecontainer=False, numthreads=threads))


def _jxl_decode(data: bytes, threads: int) -> Pixels:
    import imagecodecs

    return imagecodecs.jpegxl_decode(data, numthreads=threads)


JPEG: dict[str, Any] = {"optimize": True, "subsampling": "4:2:0"}
WEBP: dict[str, Any] = {"method": 6}
AVIF: dict[str, Any] = {"speed": 4, "subsampling": "4:2:0", "advanced": {"tune": "psnr"}}
_ALL = (
    Lossy("presage", "Presage, model `latent`", (0, 12, 24, 36, 48, 62, 80, 100), _presage_encode, _presage_decode),
    Lossy(
        "avif", "AVIF, 4:2:0, speed 4, tuned for PSNR (libavif, in Pillow)", (10, 16, 22, 28, 34, 40, 46, 52, 60, 68),
        partial(_pillow_encode, "AVIF", AVIF), pillow_decode, feature="avif",
    ),
    Lossy(
        "jxl", "JPEG XL, effort 7 (libjxl)", (20, 15, 12, 9, 7, 5.5, 4.5, 3.5, 2.8, 2.2, 1.6), _jxl_encode, _jxl_decode, needs="imagecodecs"
    ),
    Lossy(
        "webp", "WebP, method 6 (libwebp, in Pillow)", (0, 4, 10, 20, 35, 50, 65, 75, 82, 88),
        partial(_pillow_encode, "WEBP", WEBP), pillow_decode,
    ),
    Lossy(
        "j2k", "JPEG 2000, 9/7 wavelet, colour transform, bare codestream (OpenJPEG, in Pillow)",
        (0.08, 0.11, 0.15, 0.2, 0.27, 0.36, 0.48, 0.64, 0.85, 1.1), _j2k_encode, pillow_decode, feature="jpg_2000",
    ),
    Lossy(
        "jpeg", "JPEG, optimised Huffman tables, 4:2:0 (libjpeg-turbo, in Pillow)", (2, 5, 8, 12, 17, 24, 34, 46, 60, 72, 82),
        partial(_pillow_encode, "JPEG", JPEG), pillow_decode,
    ),
)  # fmt: skip
CODECS = {codec.name: codec for codec in _ALL}


def choose(names: Sequence[str]) -> tuple[list[Lossy], list[str]]:
    """The codecs to run, and a note for each that was left out; no names: all that are installed.

    Raises ValueError for an unknown name and ImportError for one that is named but not installed.
    """
    unknown = [name for name in names if name not in CODECS]
    if unknown:
        raise ValueError(f"no codec called {', '.join(unknown)}; there are {', '.join(CODECS)}")
    wanted = [codec for codec in _ALL if not names or codec.name in names]
    absent = [codec for codec in wanted if codec.missing]
    if names and absent:
        raise ImportError("; ".join(codec.missing for codec in absent))
    return [codec for codec in wanted if codec not in absent], [f"left out: {codec.missing}" for codec in absent]
