"""Presage beside other lossless codecs: real bytes, time, memory. Every codec's output is decoded and compared pixel by pixel."""

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, cast

import numpy as np

import presage

from ...codec import api
from ...codec.settings import Settings
from ...codec.weights import load
from ...models.photo.exact import ExactPhoto
from . import inside, memory
from .codecs import LOSSLESS, Codec, Pixels, choose, recorded_flif
from .common import Log, machine, read_pixels, rgb_files, timed

REFERENCE = "jxl9"
WARM_UP_SIDE = 64
SLOW = 5.0  # seconds
PORTABLE = "float32"
NOT_TIMED = dict.fromkeys(("encode_s", "decode_s", "encode_mb_s", "decode_mb_s", "encode_mib", "decode_mib"))


def run(
    folder: Path,
    names: Sequence[str],
    *,
    threads: int,
    repeats: int,
    limit: int | None,
    ladder: bool,
    checkpoint: Path | None,
    log: Log = lambda _: None,
) -> dict[str, Any]:
    """Measure codecs (none named: all that are installed) on the 8-bit RGB images of a folder; a dict for JSON and `reports.lossless`.

    Times are seconds, the median of `repeats` taken in turn; memory is MiB; bpsp is bits per sub-pixel. `ladder` and
    `checkpoint`: see `inside.ladder`. `log` takes a line for each image. Raises ValueError for a folder without images,
    unknown codecs and a checkpoint that does not fit, ImportError for a named codec that is not installed, and
    RuntimeError if a codec is not lossless.
    """
    files = rgb_files(folder, limit)
    shapes = {path.name: read_pixels(path).shape for path in files}
    chosen, notes = choose(LOSSLESS.values(), names)
    flif: dict[str, float] = {}
    if (not names or "flif" in names) and LOSSLESS["flif"].missing:
        flif = recorded_flif("kodak-flif.json", shapes).get("images", {})
        if names and not flif:
            raise ValueError(f"{LOSSLESS['flif'].missing}, and its sizes are recorded only for the Kodak images")
    if flif:
        notes = [note for note in notes if "flif" not in note] + ["FLIF: sizes recorded earlier (bench/recorded), not measured in this run"]
    with_presage = LOSSLESS["presage"] in chosen
    network = inside.float_network(checkpoint) if ladder and checkpoint and with_presage else None
    _warm_up(chosen, threads)
    rows: list[dict[str, Any]] = []
    for path in files:
        measured = _measure(path.name, read_pixels(path), chosen, threads, repeats)
        if flif:
            measured["flif"] = {"bpsp": flif[path.name], "bytes": None, "encode_s": None, "decode_s": None}
        height, width, _ = shapes[path.name]
        rows.append({"name": path.name, "width": width, "height": height, "codecs": measured})
        log(f"{path.name}  " + "  ".join(f"{name} {entry['bpsp']:.3f}" for name, entry in measured.items()))
    largest = max(files, key=lambda path: shapes[path.name][0] * shapes[path.name][1])
    mean: dict[str, dict[str, Any]] = {
        codec.name: _mean(rows, codec.name) | memory.measure(codec.name, largest, threads) | {"recorded": False} for codec in chosen
    }
    if flif:
        mean["flif"] = {"bpsp": fmean(flif[path.name] for path in files), **NOT_TIMED, "recorded": True}
    reference = mean.get(REFERENCE)
    result: dict[str, Any] = {
        "machine": machine(threads),
        "repeats": repeats,
        "images": rows,
        "notes": notes,
        "codecs": {name: codec.description for name, codec in LOSSLESS.items() if name in mean},
        "mean": mean,
        "relative_to_jxl9": {name: facts["bpsp"] / reference["bpsp"] - 1 for name, facts in mean.items()} if reference else {},
        "memory_image": largest.name,
    }
    if with_presage:
        result |= _presage_only(files[0], threads, repeats)
        if ladder:
            result["ladder"] = inside.ladder([(path.name, partial(read_pixels, path)) for path in files], network, threads)
    return result


def _warm_up(codecs: Sequence[Codec], threads: int) -> None:
    """Load libraries and the network."""
    noise = np.random.default_rng(0).integers(0, 256, (WARM_UP_SIDE, WARM_UP_SIDE, 3), np.uint8)
    for codec in codecs:
        codec.decode(codec.encode(noise, threads), threads)


def _measure(name: str, pixels: Pixels, codecs: Sequence[Codec], threads: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Bytes, bpsp and median seconds of every codec on one image; the codecs take turns, so that all see the same weather.

    A codec that encodes in more than SLOW seconds has only one turn.
    """
    times: dict[str, list[tuple[float, float]]] = {codec.name: [] for codec in codecs}
    sizes: dict[str, int] = {}
    for _ in range(repeats):
        for codec in codecs:
            if times[codec.name] and times[codec.name][0][0] > SLOW:
                continue
            data, encode_s = timed(codec.encode, pixels, threads)
            decoded, decode_s = timed(codec.decode, data, threads)
            if not np.array_equal(decoded, pixels):
                raise RuntimeError(f"{codec.name} does not give back the pixels of {name}")
            times[codec.name].append((encode_s, decode_s))
            sizes[codec.name] = len(data)
    return {key: {"bytes": size, "bpsp": 8 * size / pixels.size} | _medians(times[key]) for key, size in sizes.items()}


def _medians(times: Sequence[tuple[float, float]]) -> dict[str, float]:
    encode_s, decode_s = (median(seconds) for seconds in zip(*times, strict=True))
    return {"encode_s": encode_s, "decode_s": decode_s}


def _mean(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    """Means over images; MB/s are megabytes of pixels of all images over the time for all."""
    mean = {key: fmean(row["codecs"][name][key] for row in rows) for key in ("bpsp", "encode_s", "decode_s")}
    megabytes = fmean(3 * row["width"] * row["height"] for row in rows) / 1e6
    return mean | {"encode_mb_s": megabytes / mean["encode_s"], "decode_mb_s": megabytes / mean["decode_s"]}


def _presage_only(path: Path, threads: int, repeats: int) -> dict[str, Any]:
    """What is measured of Presage alone, on one image."""
    pixels = read_pixels(path)
    data = presage.encode(pixels, threads=threads)
    portable = partial(presage.decode, data, threads=threads, arithmetic=PORTABLE)
    if not np.array_equal(np.asarray(portable()), pixels):
        raise RuntimeError(f"{PORTABLE} arithmetic does not give back the pixels of {path.name}")
    seconds = median(timed(portable)[1] for _ in range(repeats))
    return {
        "model": presage.info(data).get("model"),
        "arithmetic": cast(ExactPhoto, load(api.DEFAULT_MODEL, Settings()).model).back_end.name,
        "first_image": path.name,
        "portable_float32": {"decode_s": seconds, "decode_mb_s": pixels.size / 1e6 / seconds},
        "time": inside.where_time_goes(data),
        "command_line": _command_line(path, threads, repeats),
    }


def _command_line(path: Path, threads: int, repeats: int) -> dict[str, float]:
    """Seconds from start to exit of `presage encode` and `presage decode`."""
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = f"{folder}/coded.psg", f"{folder}/decoded.png"

        def start(command: str, source: str, target: str) -> None:
            options = ["--force", "--quiet", "--threads", str(threads)]
            subprocess.run([sys.executable, "-m", "presage", command, source, "-o", target, *options], check=True)

        times = [(timed(start, "encode", str(path), coded)[1], timed(start, "decode", coded, decoded)[1]) for _ in range(repeats)]
        if not np.array_equal(read_pixels(Path(decoded)), read_pixels(path)):
            raise RuntimeError(f"the command line does not give back the pixels of {path.name}")
    return _medians(times)
