"""Presage beside other lossy codecs: distortion against real bytes. Every file is decoded by its codec, and measured on the pixels.

Curves are means over the images at each setting of a codec.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from .codecs import LOSSY, Codec, Pixels, choose
from .common import Options, Point, at_rate, bd_rate, distances, mean_curve, measure_folder, timed

RATES = (0.15, 0.2, 0.25, 0.3, 0.4, 0.5)  # bits a pixel at which codecs are compared
MEASURES = ("psnr", "ms_ssim_db")


def run(folder: Path, names: Sequence[str], **options: Unpack[Options]) -> dict[str, Any]:
    """Measure codecs (none named: all that are installed) on the 8-bit RGB images of a folder; a dict for JSON and `reports.lossy`.

    What is raised: see `measure_folder` and `choose`; RuntimeError if a decoded image has another size.
    """
    result, _ = measure_folder(folder, choose(LOSSY.values(), names), _points, lambda points: at_rate(points, 0.3, "psnr"), **options)
    rows = result["images"]
    curves = {name: mean_curve([row["codecs"][name] for row in rows]) for name in result["codecs"]}
    result["curves"] = curves
    result["at_rates"] = {m: {name: [at_rate(curve, rate, m) for rate in RATES] for name, curve in curves.items()} for m in MEASURES}
    if "presage" in curves:
        others = [name for name in curves if name != "presage"]
        result["bd_rate"] = {m: {name: bd_rate(curves["presage"], curves[name], m) for name in others} for m in MEASURES}
        result["images_above"] = {name: _images_above(rows, name) for name in others}
    return result


def _points(codec: Codec, pixels: Pixels, threads: int) -> list[Point]:
    """Real bytes at every setting, and what they show."""
    points = []
    for setting in codec.settings:
        data, encode_s = timed(codec.encode, pixels, threads, setting)
        decoded, decode_s = timed(codec.decode, data, threads)
        if decoded.shape != pixels.shape:
            raise RuntimeError(f"{codec.name} gives back {decoded.shape} instead of {pixels.shape}")
        seconds = {"encode_s": encode_s, "decode_s": decode_s}
        points.append({"setting": setting} | distances(pixels, decoded, len(data)) | seconds)
    return points


def _images_above(rows: Sequence[dict[str, Any]], name: str) -> dict[str, list[int]]:
    """Of how many images Presage has the better PSNR at each of RATES, and of how many both curves reach it."""
    above, both = [], []
    for rate in RATES:
        pairs = [[at_rate(row["codecs"][codec], rate, "psnr") for codec in ("presage", name)] for row in rows]
        pairs = [pair for pair in pairs if not np.isnan(pair).any()]
        above.append(sum(a > b for a, b in pairs))
        both.append(len(pairs))
    return {"above": above, "of": both}
