"""The codecs that are measured, without loss and with loss. Libraries are imported where they are used."""

import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

import presage

Pixels = NDArray[np.uint8]
"""RGB, (height, width, 3)."""
RECORDED = Path(__file__).resolve().parents[1] / "recorded"
KODAK = {f"kodim{number:02}.png" for number in range(1, 25)}
KODAK_SHAPES = ((512, 768, 3), (768, 512, 3))
RGB = "photo-1"  # a release by its name looks for no origins


@dataclass(frozen=True)
class Codec:
    """encode: (pixels, threads) -> file, or (pixels, threads, setting) -> file where there are settings, from small files to large ones.

    decode: (file, threads) -> pixels. needs, program, feature: module, program on PATH and feature of Pillow without which it cannot run.
    option: what asks for it, if not its name.
    """

    name: str
    description: str
    encode: Callable[..., Any]
    decode: Callable[[bytes, int], Pixels]
    settings: Sequence[float] = field(default=(), kw_only=True)
    needs: str = field(default="", kw_only=True)
    program: str = field(default="", kw_only=True)
    feature: str = field(default="", kw_only=True)
    option: str = field(default="", kw_only=True)

    @property
    def missing(self) -> str:
        """What has to be installed first; empty if nothing."""
        if self.needs and find_spec(self.needs) is None:
            return f"{self.name} needs {self.needs}: pip install presage[bench]"
        if self.program and shutil.which(self.program) is None:
            return f"{self.name} needs the program {self.program!r} on PATH"
        if self.feature and not features.check(self.feature):
            return f"{self.name} needs a Pillow with {self.feature}"
        return ""


AnyCodec = TypeVar("AnyCodec", bound=Codec)


def choose(known: Iterable[AnyCodec], names: Sequence[str]) -> tuple[list[AnyCodec], list[str]]:
    """The codecs to run, in the order in which they are known, and a note for each that was left out; no names: all that are installed.

    FLIF that is not installed is left out, named or not: there may be recorded figures. Raises ValueError for an unknown name and
    ImportError for one that is named but not installed.
    """
    known = list(known)
    options = [codec.option or codec.name for codec in known]
    if unknown := [name for name in names if name not in options]:
        raise ValueError(f"no codec called {', '.join(unknown)}; there are {', '.join(dict.fromkeys(options))}")
    wanted = [codec for codec, option in zip(known, options, strict=True) if not names or option in names]
    absent = [codec for codec in wanted if codec.missing]
    if names and any(codec.name != "flif" for codec in absent):
        raise ImportError("; ".join(codec.missing for codec in absent))
    return [codec for codec in wanted if codec not in absent], [f"left out: {codec.missing}" for codec in absent]


def recorded_flif(file: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Recorded figures of FLIF; empty unless all images (shape by name) are of the Kodak set."""
    if shapes.keys() - KODAK or any(shape not in KODAK_SHAPES for shape in shapes.values()):
        return {}
    recorded: dict[str, Any] = json.loads((RECORDED / file).read_text())
    return recorded


# ---------------------------------------------------------------------------------------------------------- libraries


def pillow_encode(format: str, options: dict[str, Any], pixels: Pixels, threads: int = 1, quality: float | None = None) -> bytes:
    """A file by Pillow, which works in one thread."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options, **({} if quality is None else {"quality": quality}))
    return buffer.getvalue()


def pillow_decode(data: bytes, threads: int = 1) -> Pixels:
    """The pixels of a file that Pillow reads."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def presage_decode(data: bytes, threads: int, **options: Any) -> Pixels:
    """The pixels of a file of Presage; options: of `presage.decode`."""
    return np.asarray(presage.decode(data, threads=threads, **options))


def presage_rgb(pixels: Pixels, threads: int) -> bytes:
    """The file by the model of RGB pixels, whatever these come from."""
    return presage.encode(pixels, model=RGB, threads=threads)


def _presage_encode(pixels: Pixels, threads: int, quality: float | None = None) -> bytes:
    return presage.encode(pixels, threads=threads) if quality is None else presage.encode_lossy(pixels, quality=quality, threads=threads)


def _presage_effort(effort: int, pixels: Pixels, threads: int, quality: float) -> bytes:
    return presage.encode_lossy(pixels, quality=quality, effort=effort, threads=threads)


def _imagecodecs(function: str, options: dict[str, Any], data: Any, threads: int, distance: float | None = None) -> Any:
    """What a function of imagecodecs makes of pixels or of a file."""
    import imagecodecs

    return getattr(imagecodecs, function)(data, numthreads=threads, **options, **({} if distance is None else {"distance": distance}))


def _j2k_lossy(pixels: Pixels, threads: int, bpp: float) -> bytes:
    return pillow_encode("JPEG2000", J2K | {"quality_layers": [24 / bpp]}, pixels)


def _heic_encode(pixels: Pixels, threads: int, quality: float) -> bytes:
    _heif()
    return pillow_encode("HEIF", HEIC, pixels, quality=quality)


def _heic_decode(data: bytes, threads: int) -> Pixels:
    _heif()
    return pillow_decode(data)


def _heif() -> None:
    """Have Pillow know the format."""
    import_module("pillow_heif").register_heif_opener()


def flif_encode(pixels: Pixels, threads: int) -> bytes:
    """A file by the program `flif`. Raises CalledProcessError if it fails."""
    return _flif("-e", "ppm", pillow_encode("PPM", {}, pixels), "flif")


def flif_decode(data: bytes, threads: int) -> Pixels:
    """What `flif` makes of a file, or of its beginning. Raises CalledProcessError if it fails."""
    return pillow_decode(_flif("-d", "flif", data, "ppm"))


def _flif(direction: str, suffix: str, data: bytes, target_suffix: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, f"image.{suffix}"), Path(folder, f"image.{target_suffix}")
        source.write_bytes(data)
        subprocess.run(["flif", direction, str(source), str(target)], check=True, capture_output=True)
        return target.read_bytes()


# ------------------------------------------------------------------------------------------------------------- tables

PNG: dict[str, Any] = {"optimize": True}
WEBP_LOSSLESS: dict[str, Any] = {"lossless": True, "quality": 100, "method": 6, "exact": True}
WEBP: dict[str, Any] = {"method": 6}
QUALITIES = (0, 12, 24, 36, 48, 62, 80, 100)
JPEG: dict[str, Any] = {"optimize": True, "subsampling": "4:2:0"}
AVIF: dict[str, Any] = {"speed": 4, "subsampling": "4:2:0", "advanced": {"tune": "psnr"}}
HEIC: dict[str, Any] = {"chroma": 420, "enc_params": {"preset": "placebo", "tune": "psnr"}}
J2K: dict[str, Any] = {"quality_mode": "rates", "irreversible": True, "mct": 1, "no_jp2": True, "num_resolutions": 6}
J2K_LOSSLESS: dict[str, Any] = {"level": 0, "reversible": True, "mct": True, "codecformat": "j2k"}
JXL: dict[str, Any] = {"lossless": False, "effort": 7, "usecontainer": False}


def _pillow(name: str, description: str, format: str, options: dict[str, Any], settings: Sequence[float] = (), feature: str = "") -> Codec:
    return Codec(name, description, partial(pillow_encode, format, options), pillow_decode, settings=settings, feature=feature)


def _library(name: str, description: str, prefix: str, options: dict[str, Any], settings: Sequence[float] = ()) -> Codec:
    encode, decode = partial(_imagecodecs, f"{prefix}_encode", options), partial(_imagecodecs, f"{prefix}_decode", {})
    return Codec(name, description, encode, decode, settings=settings, needs="imagecodecs")


_LOSSLESS = (
    Codec("presage", "Presage, default model and tiles", _presage_encode, presage_decode),
    Codec("presage-rgb", "Presage, photo-1: RGB pixels, whatever they come from", presage_rgb, presage_decode),
    _library("jxl9", "JPEG XL lossless, effort 9 (libjxl)", "jpegxl", {"lossless": True, "effort": 9}),
    _library("jxl7", "JPEG XL lossless, effort 7 (libjxl)", "jpegxl", {"lossless": True, "effort": 7}),
    Codec("flif", "FLIF, default options, program started for each file", flif_encode, flif_decode, program="flif"),
    _pillow("webp", "WebP lossless, quality 100, method 6 (Pillow; one thread)", "WEBP", WEBP_LOSSLESS),
    _library("j2k", "JPEG 2000 reversible, colour transform, bare codestream (OpenJPEG)", "jpeg2k", J2K_LOSSLESS),
    _pillow("png", "PNG, optimize (Pillow; one thread)", "PNG", PNG),
)
_LOSSY = (
    Codec("presage", "Presage, model `latent`, effort 5, which is the default", _presage_encode, presage_decode, settings=QUALITIES),
    *(
        Codec(f"presage-{e}", f"Presage, model `latent`, effort {e}", partial(_presage_effort, e), presage_decode, settings=QUALITIES)
        for e in (1, 3, 9)
    ),
    _pillow(
        "avif", "AVIF, 4:2:0, speed 4, tuned for PSNR (libavif, in Pillow)", "AVIF", AVIF,
        (10, 16, 22, 28, 34, 40, 46, 52, 60, 68), feature="avif",
    ),
    _pillow(
        "avif444", "AVIF, 4:4:4, speed 2, tuned for PSNR (libavif, in Pillow)", "AVIF", AVIF | {"speed": 2, "subsampling": "4:4:4"},
        (10, 16, 22, 28, 34, 40, 46, 52, 60, 68), feature="avif",
    ),
    Codec(
        "heic", "HEIC, 4:2:0, slowest preset (x265, in pillow-heif)", _heic_encode, _heic_decode,
        settings=(5, 12, 20, 28, 36, 44, 52, 60, 68), needs="pillow_heif",
    ),
    _library("jxl", "JPEG XL, effort 7 (libjxl)", "jpegxl", JXL, (20, 15, 12, 9, 7, 5.5, 4.5, 3.5, 2.8, 2.2, 1.6)),
    _pillow("webp", "WebP, method 6 (libwebp, in Pillow)", "WEBP", WEBP, (0, 4, 10, 20, 35, 50, 65, 75, 82, 88)),
    Codec(
        "j2k", "JPEG 2000, 9/7 wavelet, colour transform, bare codestream (OpenJPEG, in Pillow)", _j2k_lossy, pillow_decode,
        settings=(0.08, 0.11, 0.15, 0.2, 0.27, 0.36, 0.48, 0.64, 0.85, 1.1), feature="jpg_2000",
    ),
    _pillow(
        "jpeg", "JPEG, optimised Huffman tables, 4:2:0 (libjpeg-turbo, in Pillow)", "JPEG", JPEG,
        (2, 5, 8, 12, 17, 24, 34, 46, 60, 72, 82),
    ),
)  # fmt: skip
LOSSLESS = {codec.name: codec for codec in _LOSSLESS}
LOSSY = {codec.name: codec for codec in _LOSSY}
