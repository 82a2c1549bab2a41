"""The codecs that are measured: one table, one pair of functions each. Libraries are imported where they are used."""

import io
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

import presage

Pixels = NDArray[np.uint8]
"""RGB, (height, width, 3)."""
RECORDED_FLIF = Path(__file__).resolve().parents[1] / "recorded" / "kodak-flif.json"
KODAK_SHAPES = ((512, 768, 3), (768, 512, 3))


def lacking(name: str, needs: str = "", program: str = "", feature: str = "") -> str:
    """What a codec lacks here of a module, a program on PATH and a feature of Pillow, in words; empty if nothing."""
    if needs and find_spec(needs) is None:
        return f"{name} needs {needs}: pip install presage[bench]"
    if program and shutil.which(program) is None:
        return f"{name} needs the program {program!r} on PATH"
    if feature and not features.check(feature):
        return f"{name} needs a Pillow with {feature}"
    return ""


@dataclass(frozen=True)
class Codec:
    """encode: (pixels, threads) -> file. decode: (file, threads) -> pixels. needs: module and program without which it cannot run."""

    name: str
    description: str
    encode: Callable[[Pixels, int], bytes]
    decode: Callable[[bytes, int], Pixels]
    needs: str = ""
    program: str = ""

    @property
    def missing(self) -> str:
        """What has to be installed first; empty if nothing."""
        return lacking(self.name, self.needs, self.program)


def _presage_encode(pixels: Pixels, threads: int) -> bytes:
    return presage.encode(pixels, threads=threads)


def _presage_decode(data: bytes, threads: int) -> Pixels:
    return np.asarray(presage.decode(data, threads=threads))


def _pillow_encode(kind: str, options: dict[str, Any], pixels: Pixels, threads: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def _pillow_decode(data: bytes, threads: int) -> Pixels:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def _j2k_encode(pixels: Pixels, threads: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, mct=True, codecformat="j2k", numthreads=threads))


def _j2k_decode(data: bytes, threads: int) -> Pixels:
    import imagecodecs

    return imagecodecs.jpeg2k_decode(data, numthreads=threads)


def _jxl_encode(effort: int, pixels: Pixels, threads: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegxl_encode(pixels, lossless=True, effort=effort, numthreads=threads))


def _jxl_decode(data: bytes, threads: int) -> Pixels:
    import imagecodecs

    return imagecodecs.jpegxl_decode(data, numthreads=threads)


def flif_encode(pixels: Pixels, threads: int) -> bytes:
    """A file by the program `flif`. Raises CalledProcessError if it fails."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "image.ppm"), Path(name, "image.flif")
        Image.fromarray(pixels).save(source)
        subprocess.run(["flif", "-e", str(source), str(target)], check=True, capture_output=True)
        return target.read_bytes()


def flif_decode(data: bytes, threads: int) -> Pixels:
    """What `flif` makes of a file, or of its beginning. Raises CalledProcessError if it fails."""
    with tempfile.TemporaryDirectory() as name:
        source, target = Path(name, "image.flif"), Path(name, "image.ppm")
        source.write_bytes(data)
        subprocess.run(["flif", "-d", str(source), str(target)], check=True, capture_output=True)
        return _pillow_decode(target.read_bytes(), threads)


PNG: dict[str, Any] = {"optimize": True}
WEBP: dict[str, Any] = {"lossless": True, "quality": 100, "method": 6, "exact": True}
_ALL = (
    Codec("presage", "Presage, default model and tiles", _presage_encode, _presage_decode),
    Codec("jxl9", "JPEG XL lossless, effort 9 (libjxl)", partial(_jxl_encode, 9), _jxl_decode, "imagecodecs"),
    Codec("jxl7", "JPEG XL lossless, effort 7 (libjxl)", partial(_jxl_encode, 7), _jxl_decode, "imagecodecs"),
    Codec("flif", "FLIF, default options, program started for each file", flif_encode, flif_decode, program="flif"),
    Codec("webp", "WebP lossless, quality 100, method 6 (Pillow; one thread)", partial(_pillow_encode, "WEBP", WEBP), _pillow_decode),
    Codec("j2k", "JPEG 2000 reversible, colour transform, bare codestream (OpenJPEG)", _j2k_encode, _j2k_decode, "imagecodecs"),
    Codec("png", "PNG, optimize (Pillow; one thread)", partial(_pillow_encode, "PNG", PNG), _pillow_decode),
)
CODECS = {codec.name: codec for codec in _ALL}


def choose(names: Sequence[str]) -> tuple[list[Codec], list[str]]:
    """The codecs to run, in the table's order, and a note for each that was left out; no names: all that are installed.

    FLIF that is not installed is returned all the same: there may be recorded sizes. Raises ValueError for an unknown name
    and ImportError for one that is named but not installed.
    """
    unknown = [name for name in names if name not in CODECS]
    if unknown:
        raise ValueError(f"no codec called {', '.join(unknown)}; there are {', '.join(CODECS)}")
    wanted = [codec for codec in _ALL if not names or codec.name in names]
    absent = [codec for codec in wanted if codec.missing and codec.name != "flif"]
    if names and absent:
        raise ImportError("; ".join(codec.missing for codec in absent))
    return [codec for codec in wanted if codec not in absent], [f"left out: {codec.missing}" for codec in absent]


def recorded_flif(shapes: dict[str, tuple[int, ...]]) -> dict[str, float] | None:
    """Recorded bits per sub-pixel of FLIF by file name, or None unless all images (shape by name) are of the Kodak set."""
    known: dict[str, float] = json.loads(RECORDED_FLIF.read_text())["images"]
    if any(name not in known or shape not in KODAK_SHAPES for name, shape in shapes.items()):
        return None
    return {name: known[name] for name in shapes}
