"""How often predictive decoding calls the model: Tables 1 and 3 of Wiggers and Hoogeboom (2020) for this project.

Once for sampling, and once for decoding real pictures; shares of the calls of the ancestral loop, one for every symbol,
counted for each image by itself. A call evaluates the network once at every pixel that is asked for and has changed; in
turn, the heads of a pixel's channels then follow one another within the call.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any, cast

import numpy as np
import torch
from PIL import Image

from ...codec.format import container
from ...codec.image import files as images
from ...codec.image.pixels import coarser
from ...codec.paths import groups as chains
from ...codec.paths import sets
from ...codec.paths.reading import Reading
from ...codec.predictive import sampling
from ...codec.predictive.schedule import Schedule
from ...codec.predictive.statistics import Statistics
from ...codec.settings import Settings, quiet
from ...codec.weights import load as load_model
from ...models.model import Pixels, Tiled
from ...models.pixelcnn.exact import ExactPixelCNN
from ..compare.common import Log, processor, timed

WINDOWS = (8, 16, 32, 64, 128, 256, 0)
PRECISIONS = (10, 12, 14, 16, 20, 24)
TIMED = 64  # images of the comparison of times
SLOW = ("ancestral", "zeros", "last", "argmax", "forecast")  # nearly a call a symbol where symbols have many values
PROBES = 3  # full forward passes that are timed
FULL = "full forward a symbol"
PARTS = ("sampling", "decoding", "windows", "precision", "times", "packed")
Outcome = tuple[list[Statistics], float]
Packed = tuple[list[container.Group], int, bool]


def methods(network: ExactPixelCNN) -> dict[str, Schedule]:
    """The rows of the tables."""
    c = network.config
    forecast = partial(Schedule, "forecast", in_turn=False)
    rows = {
        "ancestral": Schedule("ancestral"),
        "zeros": Schedule("zeros", in_turn=False),
        "last": Schedule("last", in_turn=False),
        "argmax, no noise": Schedule("argmax", in_turn=False),
        "fixed point, at once": Schedule("fixed-point", in_turn=False),
        **{f"+ forecasting, T = {steps}": forecast(steps=steps) for steps in (1, 5, 20)},
        "+ forecasting, T = 20, not shared": forecast(module="x"),
        "+ forecasting, T = 20, noise": forecast(module="h+quantile"),
        "fixed point, in turn": Schedule("fixed-point"),
        **({"wavefront": Schedule("wavefront")} if c.slope else {}),
    }
    return {name: s for name, s in rows.items() if s.name != "forecast" or s.module in c.forecasters}


def load(path: Path, side: int, network: ExactPixelCNN, stochastic: bool) -> list[Pixels]:
    """Pictures of a folder, or the tiles of a mosaic, as a model takes them; stochastic: white with probability grey / 255."""
    channels = 3 if network.config.latents else network.channels
    files = sorted(p for p in path.iterdir() if p.suffix.lower() in (".png", ".webp")) if path.is_dir() else [path]
    random = np.random.default_rng(0)
    pictures = []
    for file in files:
        pixels = np.asarray(images.read(file.read_bytes(), str(file)).image.convert("RGB"))[..., :channels]
        for left, top, right, bottom in container.tile_boxes(pixels.shape[1], pixels.shape[0], side):
            tile = pixels[top:bottom, left:right]
            if stochastic:
                tile = np.where(random.random(tile.shape) * 255 < tile, np.uint8(255), np.uint8(0))
            pictures.append(tile if network.config.latents else coarser(tile, network.grey_levels))
    return pictures


def run(
    model: str,
    data: Path | None,
    batches: int,
    batch: int,
    stochastic: bool,
    slow_batches: int,
    parts: Sequence[str],
    threads: int,
    log: Log,
) -> dict[str, Any]:
    """Measure a model. data: pictures to decode. slow_batches: for the rows that make nearly a call a symbol, unless
    symbols have two levels only; 0: without these rows. parts: of PARTS; by default all. threads: for the packed file of all pictures."""
    settings = Settings(threads=threads)
    loaded = load_model(model, settings)
    whole, side = cast(Tiled, loaded.model), loaded.side
    if whole.predictor(0) is None:
        raise ValueError(f"{loaded.name} draws no samples predictively; `presage models` lists those that do")
    network = cast(ExactPixelCNN, whole.predictor(0))
    pictures = load(data, side, network, stochastic) if data else []
    tiles = pictures  # what is coded
    drawn = (side, side)  # the size of what is drawn
    if whole.lossy:
        if whole.qualities > 1:
            raise ValueError(f"{loaded.name} has many qualities; the calls of models with one are measured")
        tiles, drawn = sets.maps_of(whole, pictures, settings), whole.size(side, side)
    rows = {name: s for name, s in methods(network).items() if slow_batches or s.name not in SLOW}
    fewer = slow_batches if network.config.levels > 2 else batches
    result: dict[str, Any] = {
        "model": loaded.name,
        "weights": loaded.hash.hex(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "batches": batches,
        "batch": batch,
        "symbols": drawn[0] * drawn[1] * network.channels,
        "stochastic": stochastic,
    }
    torch.set_num_threads(1)
    chosen = [part for part in (parts or PARTS) if tiles or part == "sampling"]
    sample = partial(_sampled, network, batch, drawn)
    with torch.inference_mode():
        if "sampling" in chosen:
            result["sampling"] = _table(rows, batches, fewer, log, sample)
            if network.config.levels <= 32:
                gumbel = {"fixed point, Gumbel noise": Schedule("fixed-point", in_turn=False)}
                result["sampling"] |= _table(gumbel, batches, fewer, log, partial(sample, gumbel=True))
            result["sampling"][FULL] = _full(network, [drawn] * batch, log)
        if "decoding" in chosen:
            parted = [tiles[b * batch : (b + 1) * batch] for b in range(min(batches, len(tiles) // batch))]
            packed = [chains.encode_tiles(network, part, 1, quiet) for part in parted]
            result["decoding"] = _table(rows, len(parted), fewer, log, lambda s, b: _decoded(network, parted[b], packed[b], s))
        if {"windows", "times"} & set(chosen):
            decode = partial(_decoded, network, tiles[:TIMED], chains.encode_tiles(network, tiles[:TIMED], 1, quiet))
        if "windows" in chosen:
            result["windows"] = [{"window": w} | _summary([decode(Schedule("fixed-point", window=w))]) for w in WINDOWS]
        if "precision" in chosen:
            result["precision"] = [_precision(network, tiles[:TIMED], p, log) for p in PRECISIONS if 1 << p > 2 * network.config.levels]
        if "times" in chosen:
            result["times"] = {"images": len(tiles[:TIMED]), FULL: _full(network, [t.shape[:2] for t in tiles[:TIMED]], log)["seconds"]}
            ways = {"ancestral, cached": Schedule("ancestral"), "fixed point": Schedule("fixed-point")}
            ways |= {f"fixed point, window {w}": Schedule("fixed-point", window=w) for w in (32, 64)}
            ways |= {name: s for name, s in rows.items() if name == "wavefront"} | {"auto": Schedule("auto")}
            for name, schedule in ways.items():
                result["times"][name] = min(decode(schedule)[1] for _ in range(1 if schedule.name == "ancestral" else 2))
                log(f"{len(tiles[:TIMED])} images, {name:28} {result['times'][name]:8.2f} s")
    if "packed" in chosen:
        result["packed"] = _packed(loaded.name, network, pictures, tiles, settings, log)
    return result


def _sampled(network: ExactPixelCNN, batch: int, size: tuple[int, int], schedule: Schedule, seed: int, gumbel: bool = False) -> Outcome:
    samples, seconds = timed(partial(sampling.draw, network, batch, size, seed, schedule, gumbel=gumbel, batch=batch))
    return [sample.statistics for sample in samples], seconds


def _decoded(network: ExactPixelCNN, tiles: Sequence[Pixels], packed: Packed, schedule: Schedule) -> Outcome:
    groups, precision, together = packed
    sizes = [(tile.shape[0], tile.shape[1]) for tile in tiles]
    (decoded, statistics), seconds = timed(chains.decode_groups, network, groups, sizes, precision, together, schedule, 1, quiet)
    if not all(np.array_equal(a, b) for a, b in zip(decoded, tiles, strict=True)):
        raise RuntimeError(f"{schedule}: the decoded pictures differ")
    return statistics, seconds


def _summary(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """Mean and Bessel-corrected deviation over batches."""
    every = list(outcomes)
    shares = [np.mean([s.share for s in statistics]) for statistics, _ in every]
    evaluations = [np.mean([s.heads / s.pixels for s in statistics]) for statistics, _ in every]
    seconds = [spent for _, spent in every]
    return {
        "batches": len(every),
        "share": float(np.mean(shares)),
        "share_deviation": float(np.std(shares, ddof=1)) if len(every) > 1 else 0.0,
        "evaluations": float(np.mean(evaluations)),
        "seconds": float(np.mean(seconds)),
        "seconds_deviation": float(np.std(seconds, ddof=1)) if len(every) > 1 else 0.0,
    }


def _table(rows: dict[str, Schedule], batches: int, fewer: int, log: Log, one: Callable[[Schedule, int], Outcome]) -> dict[str, Any]:
    table: dict[str, Any] = {}
    for name, schedule in rows.items():
        table[name] = _summary(one(schedule, b) for b in range(min(batches, fewer) if schedule.name in SLOW else batches))
        log(f"{name:34} {table[name]['share']:8.2%} of the calls  {table[name]['seconds']:8.2f} s")
    return table


def _full(network: ExactPixelCNN, sizes: Sequence[tuple[int, ...]], log: Log) -> dict[str, float]:
    """A forward pass over whole images for every symbol, from the time of a few of them."""
    patches = [network.places(*size) for size in sizes]
    times = []
    for _ in range(PROBES):
        front = network.evaluator(patches)
        rows = np.concatenate(list(front.pixels))
        symbols = np.zeros((len(rows), network.config.channels), np.uint8)
        started = perf_counter()
        front.put(rows, symbols, watch=False)
        front.evaluate(rows)
        head_sums = front.head_sums(rows)
        for channel in range(network.config.channels):
            front.distribution(head_sums, rows, channel, symbols, chains.PRECISION).find(np.zeros_like(rows))
        times.append(perf_counter() - started)
    calls = patches[0][0] * patches[0][1] * network.config.channels
    seconds = float(np.median(times)) * calls
    log(f"{FULL:34} {1:8.2%} of the calls  {seconds:8.2f} s ({calls} x the median of {PROBES})")
    return {"share": 1.0, "share_deviation": 0.0, "evaluations": float(calls), "batches": 1, "seconds": seconds, "seconds_deviation": 0.0}


def _precision(network: ExactPixelCNN, tiles: Sequence[Pixels], precision: int, log: Log) -> dict[str, float]:
    """What the bits of a quantile cost in size and in calls."""
    packed = chains.encode_tiles(network, tiles, 1, quiet, precision=precision)
    summary = _summary([_decoded(network, tiles, packed, Schedule("fixed-point", window=_window(network)))])
    bits = sum(8 * len(g.stream) for g in packed[0]) / sum(tile.size for tile in tiles)
    log(f"precision {precision}: {bits:.4f} bits/dim, {summary['share']:.2%} of the calls")
    return {"precision": precision, "bits": bits} | summary


def _window(network: ExactPixelCNN) -> int:
    """Pixels that are guessed ahead where the window is not what is measured."""
    return 64 if network.config.levels > 2 else 0


def _packed(
    name: str, network: ExactPixelCNN, pictures: Sequence[Pixels], tiles: Sequence[Pixels], settings: Settings, log: Log
) -> dict[str, Any]:
    """Real bytes of a packed file of all pictures beside the model's own code length, and decoding it. tiles: what is coded."""
    mode = "RGB" if pictures[0].shape[2] == 3 else "1" if network.config.levels == 2 else "L"
    colours = pictures if mode == "RGB" else [picture[..., 0] for picture in pictures]
    named = [(f"{i:05}.png", images.from_pillow(Image.fromarray(picture).convert(mode))) for i, picture in enumerate(colours)]
    data, spent = timed(sets.pack_pictures, named, name, 0, settings)
    header = container.read_header(data)
    streams = container.GroupStreams(data, header, len(tiles))
    precision = streams.precision
    with torch.inference_mode():
        ideal = sum(
            float((precision - np.log2(part[1])).sum())
            for start in range(0, len(tiles), chains.ENCODED)
            for part in chains.intervals(network, tiles[start : start + chains.ENCODED], precision)
        )
    stream = sum(len(streams[i].stream) for i in range(len(streams)))
    values = sum(picture.size for picture in pictures)
    packed: dict[str, Any] = {
        "images": len(tiles),
        "bytes": len(data),
        "bits_per_dimension": 8 * len(data) / values,
        "model_bits_per_dimension": ideal / values,
        "groups": len(streams),
        "bits_over_the_model_a_group": (8 * stream - ideal) / len(streams),
        "container_bytes": len(data) - stream,
        "encode_seconds": spent,
    }
    window = _window(network)
    ways = {"fixed_point": Schedule("fixed-point", window=window), "at_once": Schedule("fixed-point", False, window), "auto": Schedule()}
    for label, schedule in ways.items():
        statistics: list[Statistics] = []
        reading = Reading(data, header, False, replace(settings, schedule=schedule, statistics=statistics))
        (back, _), seconds = timed(sets.unpack_pictures, reading, None)
        packed[label] = _summary([(statistics, seconds)])
        if network.config.latents:  # that the latents are those that were coded is checked in unpacking
            errors = [np.square(np.asarray(a) / 127.5 - p / 127.5).mean() for (_, a), p in zip(back, pictures, strict=True)]
            packed["squared_error"] = float(np.mean(errors))  # of pixels in -1..1, as in the paper
        elif any(a.tobytes() != b.image.tobytes() for (_, a), (_, b) in zip(back, named, strict=True)):
            raise RuntimeError("the unpacked pictures differ")
    log(f"{len(tiles)} packed images: {packed['bits_per_dimension']:.4f} bits/dim, {packed['fixed_point']['share']:.2%} of the calls")
    return packed
