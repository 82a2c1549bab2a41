"""Presage beside other lossless codecs: real bytes, time, memory. Every codec's output is decoded and compared pixel by pixel."""

import itertools
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean, median
from typing import Any, cast

import numpy as np
from PIL import Image

import presage

from ...codec import api
from ...codec.format.container import Mode
from ...codec.image import files as images
from ...codec.settings import Settings
from ...codec.weights import load
from ...models.photo.exact import ExactPhoto
from . import codecs, inside, memory
from .codecs import Codec, Pixels

REFERENCE = "jxl9"
PACKAGES = ("torch", "constriction", "numpy", "Pillow", "imagecodecs")
LIBRARIES = ("libjxl", "openjpeg")
WARM_UP_SIDE = 64
SLOW = 5.0  # seconds
PORTABLE = "float32"
Log = Callable[[str], None]


def run(
    folder: Path,
    codecs: list[str],
    *,
    threads: int,
    repeats: int,
    limit: int | None,
    ladder: bool,
    checkpoint: Path | None,
    log: Log = lambda _: None,
) -> dict[str, Any]:
    """Measure codecs (none named: all that are installed) on the 8-bit RGB images of a folder; a dict for JSON and `table`.

    Times are seconds, the median of `repeats` taken in turn; memory is MiB; bpsp is bits per sub-pixel. `ladder` and
    `checkpoint`: see `inside.ladder`. `log` takes a line for each image. Raises ValueError for a folder without images,
    unknown codecs and a checkpoint that does not fit, ImportError for a named codec that is not installed, and
    RuntimeError if a codec is not lossless.
    """
    found = rgb_files(folder, limit)
    chosen, notes = _chosen(codecs, found)
    live = [codec for codec in chosen if not codec.missing]
    with_presage = any(codec.name == "presage" for codec in live)
    network = inside.float_network(checkpoint) if ladder and checkpoint and with_presage else None
    _warm_up(live, threads)
    shapes = {path.name: read_pixels(path).shape for path in found}
    recorded = _recorded(chosen, shapes)
    rows: list[dict[str, Any]] = []
    for path in found:
        measured = _measure(path.name, read_pixels(path), live, threads, repeats) | {
            name: sizes[path.name] for name, sizes in recorded.items()
        }
        height, width, _ = shapes[path.name]
        rows.append({"name": path.name, "width": width, "height": height, "codecs": measured})
        log(f"{path.name}  " + "  ".join(f"{name} {entry['bpsp']:.3f}" for name, entry in measured.items()))
    largest = max(found, key=lambda path: shapes[path.name][0] * shapes[path.name][1])
    result: dict[str, Any] = {"machine": machine(threads), "repeats": repeats, "images": rows, "notes": notes}
    result["codecs"] = {codec.name: codec.description for codec in chosen}
    result["mean"] = {codec.name: _mean(rows, codec, memory.measure(codec.name, largest, threads)) for codec in live}
    result["mean"] |= {name: _recorded_mean(sizes) for name, sizes in recorded.items()}
    reference = result["mean"].get(REFERENCE)
    result["relative_to_jxl9"] = {name: mean["bpsp"] / reference["bpsp"] - 1 for name, mean in result["mean"].items()} if reference else {}
    result["memory_image"] = largest.name
    if with_presage:
        result |= _presage_only(found[0], threads, repeats)
        if ladder:
            result["ladder"] = inside.ladder([(path.name, partial(read_pixels, path)) for path in found], network, threads)
    return result


def rgb_files(folder: Path, limit: int | None = None) -> list[Path]:
    """The first files, by name, that Pillow reads as 8-bit RGB. Raises ValueError if there are none."""
    found = list(itertools.islice(filter(_is_rgb, sorted(folder.iterdir())), limit))
    if not found:
        raise ValueError(f"{folder} has no 8-bit RGB images")
    return found


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


def _chosen(names: Sequence[str], found: Sequence[Path]) -> tuple[list[Codec], list[str]]:
    """The codecs, with FLIF only if it can run or its sizes are recorded. Raises as `codecs.choose`, and ValueError."""
    chosen, notes = codecs.choose(names)
    if any(codec.missing for codec in chosen):
        if codecs.recorded_flif({path.name: read_pixels(path).shape for path in found}) is not None:
            return chosen, [*notes, "FLIF: sizes recorded earlier (bench/recorded), not measured in this run"]
        (flif,) = (codec for codec in chosen if codec.missing)
        if names:
            raise ValueError(f"{flif.missing}, and its sizes are recorded only for the Kodak images")
        return [codec for codec in chosen if codec is not flif], [*notes, f"left out: {flif.missing}"]
    return chosen, notes


def _recorded(chosen: Sequence[Codec], shapes: dict[str, tuple[int, ...]]) -> dict[str, dict[str, dict[str, Any]]]:
    """Entries of codecs that cannot run, by codec and image."""
    if all(not codec.missing for codec in chosen):
        return {}
    nothing = {"bytes": None, "encode_s": None, "decode_s": None}
    return {"flif": {name: {"bpsp": bpsp} | nothing for name, bpsp in (codecs.recorded_flif(shapes) or {}).items()}}


def _warm_up(live: Sequence[Codec], threads: int) -> None:
    """Load libraries and the network."""
    noise = np.random.default_rng(0).integers(0, 256, (WARM_UP_SIDE, WARM_UP_SIDE, 3), np.uint8)
    for codec in live:
        codec.decode(codec.encode(noise, threads), threads)


def _timed(function: Callable[[], Any]) -> tuple[Any, float]:
    started = time.perf_counter()
    result = function()
    return result, time.perf_counter() - started


def _measure(name: str, pixels: Pixels, live: Sequence[Codec], threads: int, repeats: int) -> dict[str, dict[str, Any]]:
    """Bytes, bpsp and median seconds of every codec on one image; the codecs take turns, so that all see the same weather.

    A codec that encodes in more than SLOW seconds has only one turn.
    """
    times: dict[str, list[tuple[float, float]]] = {codec.name: [] for codec in live}
    sizes: dict[str, int] = {}
    for _ in range(repeats):
        for codec in live:
            if times[codec.name] and times[codec.name][0][0] > SLOW:
                continue
            data, encode_s = _timed(partial(codec.encode, pixels, threads))
            decoded, decode_s = _timed(partial(codec.decode, data, threads))
            if not np.array_equal(decoded, pixels):
                raise RuntimeError(f"{codec.name} does not give back the pixels of {name}")
            times[codec.name].append((encode_s, decode_s))
            sizes[codec.name] = len(data)
    measured: dict[str, dict[str, Any]] = {}
    for key, size in sizes.items():
        seconds = {"encode_s": median(e for e, _ in times[key]), "decode_s": median(d for _, d in times[key])}
        measured[key] = {"bytes": size, "bpsp": 8 * size / pixels.size} | seconds
    return measured


def _mean(rows: Sequence[dict[str, Any]], codec: Codec, mib: tuple[float, float]) -> dict[str, Any]:
    """Means over images; MB/s are megabytes of pixels of all images over the time for all."""
    entries = [row["codecs"][codec.name] for row in rows]
    bpsp, encode_s, decode_s = (fmean(entry[key] for entry in entries) for key in ("bpsp", "encode_s", "decode_s"))
    megabytes = fmean(3 * row["width"] * row["height"] for row in rows) / 1e6
    return {
        "bpsp": bpsp,
        "encode_s": encode_s,
        "decode_s": decode_s,
        "encode_mb_s": megabytes / encode_s,
        "decode_mb_s": megabytes / decode_s,
        "encode_mib": mib[0],
        "decode_mib": mib[1],
        "recorded": False,
    }


def _recorded_mean(sizes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    unknown = dict.fromkeys(("encode_s", "decode_s", "encode_mb_s", "decode_mb_s", "encode_mib", "decode_mib"))
    return {"bpsp": fmean(entry["bpsp"] for entry in sizes.values()), **unknown, "recorded": True}


def _presage_only(path: Path, threads: int, repeats: int) -> dict[str, Any]:
    """What is measured of Presage alone, on one image."""
    pixels = read_pixels(path)
    data = presage.encode(pixels, threads=threads)
    portable = partial(presage.decode, data, threads=threads, arithmetic=PORTABLE)
    if not np.array_equal(np.asarray(portable()), pixels):
        raise RuntimeError(f"{PORTABLE} arithmetic does not give back the pixels of {path.name}")
    seconds = median(_timed(portable)[1] for _ in range(repeats))
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
    times = []
    with tempfile.TemporaryDirectory() as folder:
        coded, decoded = Path(folder, "coded.psg"), Path(folder, "decoded.png")

        def start(*arguments: Any) -> None:
            command = [sys.executable, "-m", "presage", *map(str, arguments), "--force", "--quiet", "--threads", str(threads)]
            subprocess.run(command, check=True)

        for _ in range(repeats):
            _, encode_s = _timed(partial(start, "encode", path, "-o", coded))
            _, decode_s = _timed(partial(start, "decode", coded, "-o", decoded))
            times.append((encode_s, decode_s))
        if not np.array_equal(read_pixels(decoded), read_pixels(path)):
            raise RuntimeError(f"the command line does not give back the pixels of {path.name}")
    return {"encode_s": median(e for e, _ in times), "decode_s": median(d for _, d in times)}


def machine(threads: int) -> dict[str, Any]:
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
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def table(result: dict[str, Any]) -> str:
    """Markdown tables of a result of `run`."""
    from ..reports.tables import markdown

    return markdown(result)
