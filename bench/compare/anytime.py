"""What one file an image shows when it is cut: PSNR and MS-SSIM against the bytes that are left, for Presage and for other codecs.

PSNR and MS-SSIM are those of `lossy`. Every number is of a real file, cut to real bytes and decoded.
"""

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..papers import prior_savings
from . import anytime_codecs
from .anytime_codecs import CURVE, RATES, Anytime, budget
from .codecs import Pixels
from .lossless import machine, read_pixels, rgb_files
from .lossy import Log, Similarity, at_rate, distances, mapped, mean_curve, ms_ssim

MEASURES = ("bpp", "psnr", "ms_ssim", "ms_ssim_db")
TENTHS = tuple(round(tenth / 10, 1) for tenth in range(1, 11))  # shares of a model's own file
FINE = 20  # cuts of a model's file, in steps of one ratio from just after the header to the whole file
BELOW = 0.8  # share of the file up to which a model shall be above the others
NEAR = 0.1  # dB from the whole file's PSNR
Point = dict[str, float]


def run(
    folder: Path,
    names: Sequence[str],
    *,
    models: Sequence[str] = ("ordered",),
    model_path: Sequence[Path] = (),
    threads: int = 2,
    jobs: int = 1,
    limit: int | None = None,
    beside: Path | None = None,
    log: Log = lambda _: None,
) -> dict[str, Any]:
    """Measure codecs (none named: all that are installed) on the 8-bit RGB images of a folder; a dict for JSON and `anytime_report`.

    models: Presage's, for the name `presage`; model_path: where else to look for their weights. jobs: images that are worked on
    at a time, in processes. beside: a result of an earlier run on the same images, whose other codecs are taken over. Raises
    ValueError for a folder without images and unknown codecs, ImportError for what is not installed, RuntimeError if a decoded
    image has another size, and what Presage raises.
    """
    chosen, notes = anytime_codecs.choose(names, models, model_path)
    earlier = json.loads(beside.read_text()) if beside else {"images": [], "codecs": {}, "models": {}, "recorded": {}}
    kept = {name: text for name, text in earlier["codecs"].items() if name not in {codec.name for codec in chosen}}
    known = {row["name"]: row["codecs"] for row in earlier["images"]}
    ms_ssim()
    found = rgb_files(folder, limit)
    if kept and (unknown := [path.name for path in found if path.name not in known]):
        raise ValueError(f"{beside} knows nothing of {', '.join(unknown)}")
    rows = []
    for row in mapped(partial(_measure, chosen, threads), found, jobs):
        row["codecs"] |= {name: known[row["name"]][name] for name in kept}
        rows.append(row)
        points = {name: entry["rates"]["0.3"] for name, entry in row["codecs"].items()}
        log(f"{row['name']}  dB at 0.3 bpp: " + "  ".join(f"{name} {p['psnr']:.2f}" for name, p in points.items() if p))
    recorded = {}
    if "flif" not in {codec.name for codec in chosen} | kept.keys() and (not names or "flif" in names or "flif" in earlier["recorded"]):
        found_flif = anytime_codecs.recorded_flif({row["name"]: (row["height"], row["width"], 3) for row in rows})
        if found_flif:
            recorded = {"flif": found_flif}
            notes = [note for note in notes if "flif" not in note] + ["FLIF: figures recorded earlier, not measured in this run"]
    entries = {codec.name: [row["codecs"][codec.name] for row in rows] for codec in chosen}
    entries |= {name: [row["codecs"][name] for row in rows] for name in kept}
    ours = [codec.name for codec in chosen if codec.model] + [name for name in earlier["models"] if name in kept]
    result: dict[str, Any] = {"machine": machine(threads), "images": rows, "notes": notes}
    result["codecs"] = {codec.name: codec.description for codec in chosen} | kept
    result["recorded"] = recorded
    result["curves"] = {name: _curve(found) for name, found in entries.items()}
    result["at_rates"] = _at_rates(entries, recorded)
    result["reached"] = {name: [_reached(found, rate) for rate in RATES] for name, found in entries.items()}
    result["models"] = {name: _of_model(entries[name], [row["name"] for row in rows]) for name in ours}
    measured = [codec.name for codec in chosen if codec.decode_all]
    result["savings"] = [prior_savings.run(found, name, threads, model_path) for name in measured] or earlier.get("savings", [])
    if len(ours) > 1:
        result["models_compared"] = _compared({name: entries[name] for name in ours})
    return result


# --------------------------------------------------------------------------------------------------------- measuring


def _measure(chosen: Sequence[Anytime], threads: int, path: Path) -> dict[str, Any]:
    """All cuts of an image."""
    torch.set_num_threads(threads)
    pixels, similarity = read_pixels(path), ms_ssim()
    measured = {codec.name: _cuts(codec, pixels, threads, similarity) for codec in chosen}
    return {"name": path.name, "width": pixels.shape[1], "height": pixels.shape[0], "codecs": measured}


def _cuts(codec: Anytime, pixels: Pixels, threads: int, similarity: Similarity) -> dict[str, Any]:
    """One file, cut at every rate; for a model of Presage also at every tenth and finely. A point is None where nothing is left."""
    started = time.perf_counter()
    source = codec.encode(pixels, threads)
    encode_s = time.perf_counter() - started
    whole = codec.whole(source)
    rates = {str(rate): budget(pixels, rate) for rate in (RATES if codec.model else CURVE)}
    tenths: list[int] = []
    fine: list[int] = []
    if codec.model and whole is not None:
        tenths = [int(share * whole) for share in TENTHS]
        fine = np.geomspace(_smallest(partial(codec.cut, source), whole), whole, FINE).round().astype(int).tolist()
    files: dict[int, bytes | None] = {}
    for size in {*rates.values(), *tenths, *fine, *([] if whole is None else [whole])}:
        files[size] = data = codec.cut(source, size)
        if data is not None and len(data) > size:
            raise RuntimeError(f"{codec.name} leaves {len(data)} bytes where {size} were asked for")
    by_length = {len(data): data for data in files.values() if data is not None}
    shown = _decoded(codec, source, by_length, threads)
    if wrong := [decoded.shape for decoded in shown.values() if decoded.shape != pixels.shape]:
        raise RuntimeError(f"{codec.name} gives back {wrong[0]} instead of {pixels.shape}")
    points = {length: distances(pixels, decoded, length, similarity) for length, decoded in shown.items()}

    def at(size: int) -> Point | None:
        data = files[size]
        return None if data is None else points[len(data)]

    entry: dict[str, Any] = {"encode_s": encode_s, "rates": {rate: at(size) for rate, size in rates.items()}}
    entry["whole"] = None if whole is None else at(whole)
    if fine and whole is not None:
        entry |= {"tenths": [at(size) for size in tenths], "fine": [at(size) for size in fine]}
        started = time.perf_counter()
        decoded = codec.decode(by_length[whole], threads)
        entry["decode_s"] = time.perf_counter() - started
        if not np.array_equal(decoded, shown[whole]):
            raise RuntimeError(f"{codec.name} decodes all cuts together to other pixels than one")
    return entry


def _decoded(codec: Anytime, source: Any, files: dict[int, bytes], threads: int) -> dict[int, Pixels]:
    """The pixels of files by their lengths."""
    if codec.decode_all is None:
        return {length: codec.decode(data, threads) for length, data in files.items()}
    lengths = sorted(files)
    return dict(zip(lengths, codec.decode_all(source, lengths, threads), strict=True))


def _smallest(cut: Callable[[int], bytes | None], whole: int) -> int:
    """The fewest bytes to which a file can be cut."""
    low, high = 0, whole
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if cut(middle) is None else (low, middle)
    return high


# ------------------------------------------------------------------------------------------------- means over images


def _mean(points: Sequence[Point | None]) -> Point | None:
    """The mean over images; None unless all of them have the point."""
    there = [[point] for point in points if point is not None]
    return mean_curve(there)[0] if len(there) == len(points) else None


def _curve(entries: Sequence[dict[str, Any]]) -> list[Point]:
    """Means at every cut, by bytes."""
    if "fine" in entries[0]:
        return [point for points in zip(*(entry["fine"] for entry in entries), strict=True) if (point := _mean(points))]
    means = [_mean([entry["rates"][str(rate)] for entry in entries]) for rate in CURVE]
    whole = _mean([entry["whole"] for entry in entries])
    there = [point for point in means if point and not (whole and point["bytes"] >= whole["bytes"])]
    return [*there, whole] if whole else there


def _reached(entries: Sequence[dict[str, Any]], rate: float) -> int:
    """For how many images there is a file at a rate."""
    return sum(entry["rates"][str(rate)] is not None for entry in entries)


def _at_rates(entries: dict[str, list[dict[str, Any]]], recorded: dict[str, Any]) -> dict[str, dict[str, list[float | None]]]:
    """By measure and codec: means at RATES and of whole files; None where there is none. bpp: what was really spent."""
    table: dict[str, dict[str, list[float | None]]] = {measure: {} for measure in MEASURES}
    for name, of_images in entries.items():
        points = [_mean([entry["rates"][str(rate)] for entry in of_images]) for rate in RATES]
        points.append(_mean([entry["whole"] for entry in of_images]))
        for measure in MEASURES:
            table[measure][name] = [point[measure] if point else None for point in points]
    for name, facts in recorded.items():
        values = [at_rate(facts["points"], rate, "psnr") for rate in RATES]
        table["psnr"][name] = [None if np.isnan(value) else value for value in values] + [None]
    return table


# -------------------------------------------------------------------------------------------------- Presage's models


def _of_model(entries: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Whether more bytes show more: the largest fall of the mean PSNR (and of an image's) from one fine cut to the next, dB; from
    which share of the file on the mean PSNR is within NEAR of the whole file's.
    """
    fine, whole = _curve(entries), fmean(entry["whole"]["psnr"] for entry in entries)
    falls = [before["psnr"] - after["psnr"] for before, after in pairwise(fine)]
    worst = int(np.argmax(falls))
    of_images = [max(before["psnr"] - after["psnr"] for before, after in pairwise(entry["fine"])) for entry in entries]
    far = np.flatnonzero(_percents(entries) < whole - NEAR)
    return {
        "whole": _mean([entry["whole"] for entry in entries]),
        "tenths": [_mean([entry["tenths"][i] for entry in entries]) for i in range(len(TENTHS))],
        "fine_cuts": len(fine),
        "smallest_bytes": fine[0]["bytes"],
        "largest_fall_db": max(0.0, falls[worst]),
        "largest_fall_at_bpp": fine[worst]["bpp"] if falls[worst] > 0 else None,
        "largest_fall_of_an_image_db": max(0.0, max(of_images)),
        "image_of_largest_fall": names[int(np.argmax(of_images))] if max(of_images) > 0 else None,
        "share_within_near": float(far[-1] + 2) / 100 if len(far) else 0.01,
        "near_db": NEAR,
        "encode_s": fmean(entry["encode_s"] for entry in entries),
        "decode_s": fmean(entry["decode_s"] for entry in entries),
    }


def _psnr_at(entry: dict[str, Any], sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """PSNR of a model's file cut to sizes in bytes, between its cuts straight in the logarithm of the bytes; NaN below the smallest."""
    points = [*entry["rates"].values(), *entry["tenths"], *entry["fine"]]
    by_size = {point["bytes"]: point["psnr"] for point in points if point is not None}
    known = sorted(by_size)
    values: NDArray[np.float64] = np.interp(np.log(sizes), np.log(known), [by_size[size] for size in known], left=np.nan)
    return values


def _percents(entries: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Mean PSNR at 1, 2, ... 100 percent of every image's own file."""
    shares = np.arange(1, 101) / 100
    of_images = [_psnr_at(entry, shares * entry["whole"]["bytes"]) for entry in entries]
    mean: NDArray[np.float64] = np.stack(of_images).mean(0)
    return mean


def _compared(entries: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Mean PSNR of several models at the same shares of their own files, and at the same bits a pixel (tenths of the mean rate of the
    first one's whole files); and whether the first is above all others wherever less than BELOW of the file is left.
    """
    whole = fmean(entry["whole"]["bpp"] for entry in next(iter(entries.values())))
    rates = np.array(TENTHS) * whole
    percents = {name: _percents(found) for name, found in entries.items()}
    same_rate = {
        name: np.stack([_psnr_at(entry, rates * entry["whole"]["bytes"] / entry["whole"]["bpp"]) for entry in found]).mean(0)
        for name, found in entries.items()
    }
    tenths = {name: values[9::10] for name, values in percents.items()}
    low = [percent for percent in range(1, 100) if percent / 100 < BELOW]
    return {
        "below": BELOW,
        "shares": list(TENTHS),
        "psnr_at_shares": {name: _plain(values) for name, values in tenths.items()},
        "bpp": rates.tolist(),
        "psnr_at_bpp": {name: _plain(values) for name, values in same_rate.items()},
        "above_at_shares": bool(_above(tenths)[np.array(TENTHS) < BELOW].all()),
        "above_at_bpp": bool(_above(same_rate)[np.array(TENTHS) < BELOW].all()),
        "percents_not_above": [percent for percent in low if not _above(percents)[percent - 1]],
    }


def _above(psnr: dict[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Where the first is above all others; where one shows nothing yet, nobody is."""
    first, *others = psnr.values()
    above: NDArray[np.bool_] = np.logical_and.reduce([(first > other) | np.isnan(first) | np.isnan(other) for other in others])
    return above


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
