"""What the benches on a folder of images share: its files, the machine, seconds, and a measurement of every image."""

import itertools
import json
import multiprocessing
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import numpy as np
import torch
from PIL import Image

import presage

from ...codec.format.container import Mode
from ...codec.image import files as images
from .codecs import AnyCodec, Pixels
from .curves import ms_ssim

PACKAGES = ("torch", "constriction", "numpy", "Pillow", "imagecodecs")
LIBRARIES = ("libjxl", "openjpeg")
Log = Callable[[str], None]
T = TypeVar("T")


def rgb_files(folder: Path, limit: int | None = None) -> list[Path]:
    """The first files, by name, that Pillow reads as 8-bit RGB. Raises ValueError if there are none."""
    files = list(itertools.islice(filter(_is_rgb, sorted(folder.iterdir())), limit))
    if not files:
        raise ValueError(f"{folder} has no 8-bit RGB images")
    return files


def _is_rgb(path: Path) -> bool:
    try:
        picture = images.read(path.read_bytes(), str(path)) if path.is_file() else None
    except presage.ImageRefused:
        return False
    return picture is not None and picture.mode == Mode.RGB and picture.verbatim is None


def read_pixels(path: Path) -> Pixels:
    """The pixels of an image file as they are."""
    with Image.open(path) as image:
        return np.asarray(image)


def timed(function: Callable[..., T], *arguments: Any, clock: Callable[[], float] = time.perf_counter) -> tuple[T, float]:
    """What a function gives, and the seconds that it takes."""
    started = clock()
    result = function(*arguments)
    return result, clock() - started


def machine(threads: int) -> dict[str, Any]:
    """Processor, threads and versions, for a result."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    if find_spec("imagecodecs"):
        import imagecodecs

        known: Any = imagecodecs.version(dict)
        versions |= {library: known.get(library) for library in LIBRARIES}
    return {"processor": processor(), "threads": threads, "versions": versions}


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Options(TypedDict, total=False):
    """How a folder is measured. jobs: images that are worked on at a time, in processes. limit: only the first images.

    beside: a result of an earlier run on the same images, whose other codecs are taken over. log: takes a line for each image.
    """

    threads: int
    jobs: int
    limit: int | None
    beside: Path | None
    log: Log


def measure_folder(
    folder: Path,
    codecs: tuple[Sequence[AnyCodec], list[str]],
    measure: Callable[[AnyCodec, Pixels, int], Any],
    shown: Callable[[Any], float | None],
    *,
    threads: int = 2,
    jobs: int = 1,
    limit: int | None = None,
    beside: Path | None = None,
    log: Log = lambda _: None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A result with a row for every image, in it what `measure` gives for each codec; and the earlier result.

    codecs: of `choose`. shown: the dB at 0.3 bpp in what was measured, for the log. Raises ValueError for a folder without images and
    for images that the earlier result lacks, ImportError without pytorch-msssim.
    """
    ms_ssim()
    chosen, notes = codecs
    earlier = json.loads(beside.read_text()) if beside else {"images": [], "codecs": {}}
    described = {codec.name: codec.description for codec in chosen}
    kept = {name: text for name, text in earlier["codecs"].items() if name not in described}
    known = {row["name"]: row["codecs"] for row in earlier["images"]}
    files = rgb_files(folder, limit)
    if kept and (unknown := [path.name for path in files if path.name not in known]):
        raise ValueError(f"{beside} knows nothing of {', '.join(unknown)}")
    rows = []
    for row in _mapped(partial(_measure_image, chosen, measure, threads), files, jobs):
        row["codecs"] |= {name: known[row["name"]][name] for name in kept}
        rows.append(row)
        values = {name: shown(entry) for name, entry in row["codecs"].items()}
        log(f"{row['name']}  dB at 0.3 bpp: " + "  ".join(f"{name} {value:.2f}" for name, value in values.items() if value is not None))
    return {"machine": machine(threads), "images": rows, "notes": notes, "codecs": described | kept}, earlier


def _measure_image(codecs: Sequence[AnyCodec], measure: Callable[[AnyCodec, Pixels, int], Any], threads: int, path: Path) -> dict[str, Any]:
    torch.set_num_threads(threads)
    pixels = read_pixels(path)
    measured = {codec.name: measure(codec, pixels, threads) for codec in codecs}
    return {"name": path.name, "width": pixels.shape[1], "height": pixels.shape[0], "codecs": measured}


def _mapped(work: Callable[[Path], dict[str, Any]], files: Sequence[Path], jobs: int) -> Iterator[dict[str, Any]]:
    """The work on every file, in their order; jobs: how many at a time, in processes."""
    if jobs == 1:
        yield from map(work, files)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, files)
