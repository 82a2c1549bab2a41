"""What the benches share: the images of a folder, the machine, seconds, rate and distortion.

PSNR is over R, G and B together; MS-SSIM (Wang et al. 2003) is the mean over R, G and B. Between the points of a curve it is straight in
the logarithm of the rate.
"""

import itertools
import json
import multiprocessing
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Any, TypedDict, TypeVar, Unpack

import numpy as np
import torch
from PIL import Image

import presage

from ...codec.format.container import Mode
from ...codec.image import files as images
from .codecs import AnyCodec, Pixels

PACKAGES = ("torch", "constriction", "numpy", "Pillow", "imagecodecs")
LIBRARIES = ("libjxl", "openjpeg")
SMALLEST = 161  # pixels along a side that MS-SSIM needs
Log = Callable[[str], None]
Point = dict[str, float]
Curve = Sequence[Point]
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
    installed = {(distribution.name or "").lower(): distribution.version for distribution in distributions()}
    versions |= {package: installed.get(package.lower()) for package in PACKAGES}
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
    **options: Unpack[Options],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A result with a row for every image, in it what `measure` gives for each codec; and the earlier result.

    codecs: of `choose`. shown: the dB at 0.3 bpp in what was measured, for the log. Raises ValueError for a folder without images and
    for images that the earlier result lacks, ImportError without pytorch-msssim.
    """
    ms_ssim()
    chosen, notes = codecs
    threads, beside, log = options.get("threads", 2), options.get("beside"), options.get("log")
    earlier = json.loads(beside.read_text()) if beside else {"images": [], "codecs": {}}
    described = {codec.name: codec.description for codec in chosen}
    kept = {name: text for name, text in earlier["codecs"].items() if name not in described}
    known = {row["name"]: row["codecs"] for row in earlier["images"]}
    files = rgb_files(folder, options.get("limit"))
    if kept and (unknown := [path.name for path in files if path.name not in known]):
        raise ValueError(f"{beside} knows nothing of {', '.join(unknown)}")
    rows = []
    for row in _mapped(partial(_measure_image, chosen, measure, threads), files, options.get("jobs", 1)):
        row["codecs"] |= {name: known[row["name"]][name] for name in kept}
        rows.append(row)
        values = {name: shown(entry) for name, entry in row["codecs"].items()}
        if log:
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


# ------------------------------------------------------------------------------------------------ rate and distortion


def ms_ssim() -> Callable[[Pixels, Pixels], float]:
    """The function that measures MS-SSIM of two pictures of a size. Raises ImportError without pytorch-msssim."""
    try:
        import pytorch_msssim
    except ImportError:
        raise ImportError("MS-SSIM needs pytorch-msssim: pip install presage[bench]") from None

    def measure(a: Pixels, b: Pixels) -> float:
        if min(a.shape[:2]) < SMALLEST:
            raise ValueError(f"MS-SSIM needs images of at least {SMALLEST} x {SMALLEST} pixels")
        pair = [torch.from_numpy(np.array(p)).permute(2, 0, 1).unsqueeze(0).float() for p in (a, b)]
        return float(pytorch_msssim.ms_ssim(*pair, data_range=255))

    return measure


def bits_a_pixel(pixels: Pixels, size: int) -> float:
    """The rate of a file of a size in bytes."""
    return float(8 * size / (pixels.shape[0] * pixels.shape[1]))


def psnr(pixels: Pixels, decoded: Pixels) -> float:
    """In dB."""
    error = np.square(decoded.astype(np.float64) - pixels).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-9)))


def distances(pixels: Pixels, decoded: Pixels, size: int) -> Point:
    """What a file of a size in bytes costs and shows. Raises ImportError without pytorch-msssim."""
    similarity = ms_ssim()(pixels, decoded)
    return {
        "bytes": size,
        "bpp": bits_a_pixel(pixels, size),
        "psnr": psnr(pixels, decoded),
        "ms_ssim": similarity,
        "ms_ssim_db": float(-10 * np.log10(max(1e-9, 1 - similarity))),
    }


def mean_curve(curves: Sequence[Curve]) -> list[Point]:
    """The mean over images at every setting."""
    return [{key: fmean(point[key] for point in points) for key in points[0]} for points in zip(*curves, strict=True)]


def at_rate(curve: Curve, rate: float, measure: str) -> float:
    """The measure of a curve at a rate; NaN outside of what was measured."""
    rates, values = (np.array([point[key] for point in curve]) for key in ("bpp", measure))
    return float(np.interp(np.log(rate), np.log(rates), values, left=np.nan, right=np.nan))


def bd_rate(curve: Curve, other: Curve, measure: str) -> float:
    """How many more bytes a curve takes than another for the same measure, as a share: the mean of the difference of the logarithms
    of the rates, over the part that both reach (Bjontegaard 2001, with straight lines for polynomials)."""
    low = max(min(point[measure] for point in c) for c in (curve, other))
    high = min(max(point[measure] for point in c) for c in (curve, other))
    points = (np.array(sorted((point[measure], np.log(point["bpp"])) for point in c)).T for c in (curve, other))
    first, second = (np.interp(np.linspace(low, high, 500), values, log_rates) for values, log_rates in points)
    return float(np.expm1((first - second).mean()))
