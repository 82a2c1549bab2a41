"""Presage beside other lossy codecs: distortion against real bytes. Every file is decoded by its codec, and measured on the pixels.

PSNR is over R, G and B together. MS-SSIM (Wang et al. 2003) is the mean over R, G and B. Curves are means over the images at each
setting of a codec; between settings they are straight in the logarithm of the rate.
"""

import json
import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

from . import lossy_codecs
from .codecs import Pixels
from .lossless import machine, read_pixels, rgb_files
from .lossy_codecs import Lossy

RATES = (0.15, 0.2, 0.25, 0.3, 0.4, 0.5)  # bits a pixel at which codecs are compared
SMALLEST = 161  # pixels along a side that MS-SSIM needs
Log = Callable[[str], None]
Similarity = Callable[[Pixels, Pixels], float]
MEASURES = ("psnr", "ms_ssim_db")


def run(
    folder: Path,
    names: Sequence[str],
    *,
    threads: int = 2,
    jobs: int = 1,
    limit: int | None = None,
    beside: Path | None = None,
    log: Log = lambda _: None,
) -> dict[str, Any]:
    """Measure codecs (none named: all that are installed) on the 8-bit RGB images of a folder; a dict for JSON and `lossy_report`.

    jobs: images that are worked on at a time, in processes. beside: a result of an earlier run on the same images, whose other
    codecs are taken over. Raises ValueError for a folder without images and unknown codecs, ImportError for what is not
    installed, RuntimeError if a decoded image has another size.
    """
    chosen, notes = lossy_codecs.choose(names)
    earlier = json.loads(beside.read_text()) if beside else {"images": [], "codecs": {}}
    kept = {name: text for name, text in earlier["codecs"].items() if name not in {codec.name for codec in chosen}}
    known = {row["name"]: row["codecs"] for row in earlier["images"]}
    ms_ssim()
    found = rgb_files(folder, limit)
    rows = []
    work = partial(_measure, [codec.name for codec in chosen], threads)
    for row in mapped(work, found, jobs):
        if kept and row["name"] not in known:
            raise ValueError(f"{beside} knows nothing of {row['name']}")
        row["codecs"] |= {name: known[row["name"]][name] for name in kept}
        rows.append(row)
        shown = "  ".join(f"{name} {at_rate(points, 0.3, 'psnr'):.2f}" for name, points in row["codecs"].items())
        log(f"{row['name']}  dB at 0.3 bpp: {shown}")
    described = {codec.name: codec.description for codec in chosen} | kept
    curves = {name: mean_curve([row["codecs"][name] for row in rows]) for name in described}
    result: dict[str, Any] = {"machine": machine(threads), "images": rows, "notes": notes}
    result["codecs"] = described
    result["curves"] = curves
    result["at_rates"] = {
        measure: {name: [at_rate(points, rate, measure) for rate in RATES] for name, points in curves.items()} for measure in MEASURES
    }
    if "presage" in curves:
        others = [name for name in curves if name != "presage"]
        result["bd_rate"] = {m: {name: bd_rate(curves["presage"], curves[name], m) for name in others} for m in MEASURES}
        result["images_above"] = {name: _images_above(rows, name) for name in others}
    return result


def mapped(work: Callable[[Path], dict[str, Any]], found: Sequence[Path], jobs: int) -> Iterator[dict[str, Any]]:
    """The work on every file, in their order; jobs: how many at a time, in processes."""
    if jobs == 1:
        yield from map(work, found)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(work, found)


def _measure(names: Sequence[str], threads: int, path: Path) -> dict[str, Any]:
    """All points of an image."""
    torch.set_num_threads(threads)
    pixels, similarity = read_pixels(path), ms_ssim()
    chosen = [lossy_codecs.CODECS[name] for name in names]
    measured = {codec.name: [_point(codec, setting, pixels, threads, similarity) for setting in codec.settings] for codec in chosen}
    return {"name": path.name, "width": pixels.shape[1], "height": pixels.shape[0], "codecs": measured}


def ms_ssim() -> Similarity:
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


def _point(codec: Lossy, setting: float, pixels: Pixels, threads: int, similarity: Similarity) -> dict[str, float]:
    """Real bytes and what they show."""
    started = time.perf_counter()
    data = codec.encode(pixels, setting, threads)
    between = time.perf_counter()
    decoded = codec.decode(data, threads)
    ended = time.perf_counter()
    if decoded.shape != pixels.shape:
        raise RuntimeError(f"{codec.name} gives back {decoded.shape} instead of {pixels.shape}")
    measured = {"setting": setting} | distances(pixels, decoded, len(data), similarity)
    return measured | {"encode_s": between - started, "decode_s": ended - between}


def distances(pixels: Pixels, decoded: Pixels, size: int, similarity: Similarity) -> dict[str, float]:
    """What a file of a size in bytes costs and shows; similarity: of `ms_ssim`."""
    error = np.square(decoded.astype(np.float64) - pixels).mean()
    alike = similarity(pixels, decoded)
    return {
        "bytes": size,
        "bpp": 8 * size / (pixels.shape[0] * pixels.shape[1]),
        "psnr": float(10 * np.log10(255**2 / max(error, 1e-9))),
        "ms_ssim": alike,
        "ms_ssim_db": float(-10 * np.log10(max(1e-9, 1 - alike))),
    }


def mean_curve(curves: Sequence[Sequence[dict[str, float]]]) -> list[dict[str, float]]:
    """The mean over images at every setting."""
    return [{key: fmean(point[key] for point in points) for key in points[0]} for points in zip(*curves, strict=True)]


def at_rate(points: Sequence[dict[str, float]], rate: float, measure: str) -> float:
    """The measure of a curve at a rate; NaN outside of what was measured."""
    rates, values = (np.array([point[key] for point in points]) for key in ("bpp", measure))
    return float(np.interp(np.log(rate), np.log(rates), values, left=np.nan, right=np.nan))


def bd_rate(curve: Sequence[dict[str, float]], other: Sequence[dict[str, float]], measure: str) -> float:
    """How many more bytes a curve takes than another for the same measure, as a share: the mean of the difference of the logarithms
    of the rates, over the part that both reach (Bjontegaard 2001, with straight lines for polynomials)."""
    pairs = [([p[measure] for p in c], np.log([p["bpp"] for p in c])) for c in (curve, other)]
    low, high = max(min(values) for values, _ in pairs), min(max(values) for values, _ in pairs)
    places = np.linspace(low, high, 500)
    first, second = (np.interp(places, *_increasing(values, logs)) for values, logs in pairs)
    return float(np.expm1((first - second).mean()))


def _increasing(values: Sequence[float], logs: Any) -> tuple[Any, Any]:
    order = np.argsort(values)
    return np.array(values)[order], np.array(logs)[order]


def _images_above(rows: Sequence[dict[str, Any]], name: str) -> dict[str, list[int]]:
    """Of how many images Presage has the better PSNR at each of RATES, and of how many both curves reach it."""
    above, both = [], []
    for rate in RATES:
        pairs = [[at_rate(row["codecs"][codec], rate, "psnr") for codec in ("presage", name)] for row in rows]
        pairs = [pair for pair in pairs if not np.isnan(pair).any()]
        above.append(sum(a > b for a, b in pairs))
        both.append(len(pairs))
    return {"above": above, "of": both}
