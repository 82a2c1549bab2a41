"""Presage beside other lossless codecs: real bytes, time, memory. Every codec's output is decoded and compared pixel by pixel."""

import math
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from statistics import fmean, median
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import torch

import presage

from ...codec import api
from ...codec.coders import ans
from ...codec.format import container
from ...codec.settings import Settings
from ...codec.weights import load
from ...models.kernels.program import Program, Variable
from ...models.photo import compiled
from ...models.photo import network as photo
from ...models.photo.exact import ExactPhoto
from ...models.training.loop import averaged
from . import instructions, memory
from .codecs import LOSSLESS, RGB, Codec, Pixels, choose, presage_rgb, recorded_flif
from .common import Log, machine, read_pixels, rgb_files, timed

REFERENCE = "jxl9"
WARM_UP_SIDE = 64
SLOW = 5.0  # seconds
PORTABLE = "float32"
PARTS = {"products": "network", "photo": "contexts", "mixtures": "distributions", "ans_loops": "entropy coder"}
"""The files of kernels, and the parts of decoding that these are."""
WHOLE_PIXELS = 1 << 19  # an image of more is not given to the float network in one piece
FLOAT_TILES = 24  # tiles in a call of the float network
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
    by_instructions: bool = False,
    log: Log = lambda _: None,
) -> dict[str, Any]:
    """Measure codecs (none named: all that are installed) on the 8-bit RGB images of a folder; a dict for JSON and `reports.lossless`.

    Times are seconds, the median of `repeats` taken in turn; memory is MiB; bpsp is bits per sub-pixel. `ladder` and
    `checkpoint`: see `bits_ladder`. by_instructions: also the first image by instruction set, see `instructions`. `log` takes a
    line for each image. Raises ValueError for a folder without images, unknown codecs and a checkpoint that does not fit,
    ImportError for a named codec that is not installed, and RuntimeError if a codec is not lossless.
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
    network = float_network(checkpoint) if ladder and checkpoint and with_presage else None
    noise = np.random.default_rng(0).integers(0, 256, (WARM_UP_SIDE, WARM_UP_SIDE, 3), np.uint8)
    for codec in chosen:  # loads libraries and the network
        codec.decode(codec.encode(noise, threads), threads)
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
        if by_instructions:
            result["instructions"] = instructions.run(files[0], RGB, threads, repeats)
        if ladder:
            result["ladder"] = bits_ladder(files, network, threads)
    return result


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
    data = presage_rgb(pixels, threads)
    portable = partial(presage.decode, data, threads=threads, arithmetic=PORTABLE)
    if not np.array_equal(np.asarray(portable()), pixels):
        raise RuntimeError(f"{PORTABLE} arithmetic does not give back the pixels of {path.name}")
    seconds = median(timed(portable)[1] for _ in range(repeats))
    return {
        "model": presage.info(data).get("model"),
        "products": instructions.products(RGB),
        "arithmetic": cast(ExactPhoto, load(api.DEFAULT_MODEL, Settings()).model).network.arithmetic,
        "first_image": path.name,
        "portable_float32": {"decode_s": seconds, "decode_mb_s": pixels.size / 1e6 / seconds},
        "time": where_time_goes(data),
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


# -------------------------------------------------------------------------- inside Presage: where time goes, and what adds bits


def where_time_goes(data: bytes) -> list[dict[str, Any]]:
    """Seconds and shares of the parts of decoding a .psg file with one thread."""
    seconds = dict.fromkeys(PARTS.values(), 0.0)

    def one_by_one(self: Program, count: int, values: Sequence[tuple[Variable, int]]) -> None:
        self.fill(count, values)
        for i, kernel in enumerate(self.kernels):
            seconds[PARTS[kernel.__module__.rpartition(".")[2]]] += timed(self.play, slice(i, i + 1))[1]

    with patch.object(Program, "run", one_by_one):
        total = timed(partial(presage.decode, data, threads=1))[1]
    seconds["rest"] = total - sum(seconds.values())
    return [{"part": part, "seconds": s, "share": s / total} for part, s in seconds.items()]


def float_network(checkpoint: Path) -> photo.Photo:
    """The averaged network of a training checkpoint, in floating point. Raises ValueError if it does not fit."""
    network = photo.Photo(photo.PhotoConfig())
    try:
        network.load_state_dict(averaged(torch.load(checkpoint, map_location="cpu", weights_only=True)))
    except (KeyError, TypeError, RuntimeError, UnpicklingError) as error:
        raise ValueError(f"{checkpoint} is no checkpoint of the photo network: {error}") from None
    network.quantised.fill_(False)
    return network


@torch.no_grad()
def float_bits(network: photo.Photo, images: Sequence[Pixels]) -> float:
    """Bits of images of the same size, without any context between them."""
    stacks = torch.from_numpy(np.stack(images)).split(FLOAT_TILES)
    return sum(float(network(stack).sum(dtype=torch.float64)) for stack in stacks) / math.log(2)


def float_bits_in_tiles(network: photo.Photo, pixels: Pixels) -> float:
    """Bits of an image that is cut into the codec's tiles."""
    groups: dict[tuple[int, ...], list[Pixels]] = defaultdict(list)
    for left, top, right, bottom in container.tile_boxes(pixels.shape[1], pixels.shape[0], ExactPhoto.tile):
        tile = pixels[top:bottom, left:right]
        groups[tile.shape].append(tile)
    return sum(float_bits(network, group) for group in groups.values())


def coded_bits(pixels: Pixels) -> tuple[float, int, int]:
    """Bits of an image: ideal code length under the integer weights, streams of the entropy coder, whole file.

    Done in this process alone, where the counting can be seen.
    """
    ideal: list[float] = []
    sizes: list[int] = []
    add, streams = ans.Encoder.add, ans.Encoder.streams

    def counting(self: ans.Encoder, nibbles: ans.Nibbles, weights: ans.Weights, bounds: ans.Bounds, *keys: Any) -> None:
        for first, last in bounds.tolist():
            exact = weights[first:last].astype(np.float64)
            chosen = np.take_along_axis(exact, nibbles[first:last, None].astype(np.int64), 1)[:, 0]
            ideal.append(float(np.log2(exact.sum(1) / chosen).sum()))
        add(self, nibbles, weights, bounds, *keys)

    def measured(self: ans.Encoder) -> list[bytes]:
        written = streams(self)
        sizes.append(8 * sum(map(len, written)))
        return written

    turn_by_turn = patch.object(compiled, "plan_of", lambda code: None)
    with turn_by_turn, patch.object(ans.Encoder, "add", counting), patch.object(ans.Encoder, "streams", measured):
        size = len(presage_rgb(pixels, 1))
    return sum(ideal), sum(sizes), 8 * size


def bits_ladder(files: Sequence[Path], network: photo.Photo | None, threads: int) -> dict[str, Any]:
    """Mean bits per sub-pixel of every rung from the float network to the file, over images.

    Each rung has the percent that it adds to the one before. Without a float network its rungs are left out; with one,
    images that are too large for it in one piece, of which `note` tells; no rungs if no image is left.
    """
    names = ["float network on whole images", "float network on tiles"] if network else []
    names += ["integers on tiles", "entropy coder", "file"]
    rows: list[list[float]] = []
    skipped = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for path in files:
            pixels = read_pixels(path)
            if network and pixels.size > 3 * WHOLE_PIXELS:
                skipped.append(path.name)
                continue
            bits = [float_bits(network, [pixels]), float_bits_in_tiles(network, pixels)] if network else []
            rows.append([b / pixels.size for b in (*bits, *coded_bits(pixels))])
    finally:
        torch.set_num_threads(before)
    means = np.mean(rows, axis=0).tolist() if rows else []
    increments = [None, *(100 * (b / a - 1) for a, b in pairwise(means))]
    rungs = [{"rung": n, "bpsp": m, "increment_percent": i} for n, m, i in zip(names, means, increments, strict=False)]
    note = f"left out {', '.join(skipped)}: too large for the float network in one piece" if skipped else ""
    return {"rungs": rungs, "images": len(rows), "note": note}
