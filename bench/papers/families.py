"""What families of generative models make of small pictures as codecs: Table 3 of van den Berg's "Generative models for discrete random
variables" for this project, with real files.

Every row packs all pictures into one file and unpacks it, makes a file of each of some pictures alone, and compares all that comes back.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...codec.api import picture_of
from ...codec.format import container
from ...codec.image import files as images
from ...codec.parallel import each
from ...codec.paths import groups as chains
from ...codec.paths import sets
from ...codec.paths.reading import Reading
from ...codec.paths.tiles import TiledEncoding
from ...codec.predictive.schedule import Schedule
from ...codec.predictive.statistics import Statistics
from ...codec.settings import Settings
from ...codec.weights import Loaded, load
from ...models import catalogue
from ...models.ardm.schedule import BUDGETS
from ...models.model import Flowing, Nibbles, Pixels, Predictable, Tiled, Turn
from ...models.staged import Calls, Staged
from ..compare.common import Log, processor, timed

SIDE = 32
TIMED = 64  # pictures that are decoded on one thread
ALONE = 64  # that have files of their own
GROUP = 64  # that are measured together
STREAMS = (container.Tag.TILES, container.Tag.GROUPS, container.Tag.STAGES)
PUBLISHED = (
    ("VDM (Kingma et al. 2021)", 1000, 8.0, 2.72),
    ("VDM (Kingma et al. 2021)", 500, 8.0, 2.72),
    ("OA-ARDM (Hoogeboom et al. 2021)", 500, 2.73, 2.73),
    ("ARDM-Upscale 4 (Hoogeboom et al. 2021)", 500, 2.71, 2.71),
    ("VDM (Kingma et al. 2021)", 100, 8.0, 2.91),
    ("OA-ARDM (Hoogeboom et al. 2021)", 100, 2.75, 2.75),
    ("ARDM-Upscale 4 (Hoogeboom et al. 2021)", 100, 2.76, 2.76),
    ("LBB (Ho et al. 2019)", None, 8.0, 3.12),
    ("IDF (Hoogeboom et al. 2019)", None, 3.34, 3.34),
    ("IDF++ (van den Berg et al. 2021)", None, 3.26, 3.26),
    ("HiLLoC (Townsend et al. 2020)", None, 4.19, 3.56),
    ("FLIF (Sneyers and Wuille 2016)", None, 4.19, 4.19),
)
"""Rows of the slides' Table 3, CIFAR-10: model, steps, bits a dimension of one image alone (8: or more), and of the data set."""


@dataclass(frozen=True)
class Way:
    """A model, and the schedule by which its files are decoded."""

    model: str
    name: str
    schedule: str = "auto"
    calls: int = 0  # of a stage, that files are written with
    slow: bool = False  # the set of all pictures is not decoded
    few: bool = False  # nor written: the first pictures only


def _stages(model: str, every: int, most: int) -> list[Way]:
    """Budgets of calls up to `most`; all pictures are written with so many as `every` says, or with none."""
    return [Way(model, f"{calls} calls a stage", calls=calls, few=calls != every) for calls in BUDGETS if calls <= most]


WAYS = (
    Way("cifar10", "ancestral", "ancestral", slow=True),
    Way("cifar10", "fixed point", "fixed-point", slow=True),
    Way("cifar10", "wavefront", "wavefront"),
    *_stages("cifar10-ardm", 50, 500),
    *_stages("cifar10-upscale", 0, 50),
    Way("cifar10-idf", "one pass"),
    Way("cifar10-idfpp", "one pass"),
)


class Counting:
    """The code that says known symbols, and counts what they cost."""

    def __init__(self, answers: Callable[[Turn, NDArray[np.float32]], Nibbles]) -> None:
        self._answers, self.bits = answers, 0.0

    def __call__(self, turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
        nibbles = self._answers(turn, weights)
        self.bits -= float(np.log2(weights[np.arange(len(nibbles)), nibbles] / weights.sum(1, dtype=np.float64)).sum())
        return nibbles


def _of_groups(model: Tiled, pictures: Sequence[Pixels], _: Calls) -> float:
    predictor = cast(Predictable, model.predictor(0))
    coded = chains.intervals(predictor, pictures, chains.PRECISION)
    return sum(float((chains.PRECISION - np.log2(part[1])).sum()) for part in coded)


def _of_flow(model: Tiled, pictures: Sequence[Pixels], _: Calls) -> float:
    flow = cast(Flowing, model)
    code = Counting(flow.answers(pictures))
    flow.walk([picture.shape[:2] for picture in pictures], [], 0, code)
    return code.bits


def _of_stages(model: Tiled, pictures: Sequence[Pixels], calls: Calls) -> float:
    staged = cast(Staged, model)
    code, tiles = Counting(staged.answers(pictures)), [np.zeros_like(picture) for picture in pictures]
    for stage in range(len(staged.stages)):
        tiles, _ = staged.walk(tiles, stage, calls, code)
    return code.bits


MEASURED: dict[str, Callable[[Tiled, Sequence[Pixels], Calls], float]] = {"groups": _of_groups, "flow": _of_flow, "stages": _of_stages}
"""Bits of the exact model's own for pictures, by how its symbols are coded. The calls are those of each stage, where there are stages."""


def own_bits(model: Tiled, pictures: Sequence[Pixels], calls: Calls, workers: int) -> float:
    """Bits a dimension of the exact model's own, without coding."""

    def work(first: int) -> float:
        with torch.inference_mode():
            return MEASURED[model.coding](model, pictures[first : first + GROUP], calls)

    return sum(each(work, range(0, len(pictures), GROUP), workers)) / sum(picture.size for picture in pictures)


def load_pictures(path: Path, count: int, side: int = SIDE) -> list[Pixels]:
    """The tiles of a mosaic, or pictures of a folder, of at most so many pixels a side. Raises ValueError if there is none."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    pictures: list[Pixels] = []
    for file in files:
        pixels = np.asarray(images.read(file.read_bytes(), str(file)).image.convert("RGB"))
        boxes = container.tile_boxes(pixels.shape[1], pixels.shape[0], side)
        pictures += [np.ascontiguousarray(pixels[top:bottom, left:right]) for left, top, right, bottom in boxes]
    if not pictures:
        raise ValueError(f"no pictures in {path}")
    return pictures[:count] if count else pictures


def run(data: Path, models: Sequence[str], count: int, threads: int, beside: Path | None, log: Log) -> dict[str, Any]:
    """Measure the models that are installed, or those of these names. count: of the first pictures; 0: all.

    beside: an earlier result, whose rows of other models are taken over. Raises ValueError if it is of other pictures or another machine.
    """
    settings = Settings(threads=threads)
    pictures = load_pictures(data, count)
    result: dict[str, Any] = {
        "pictures": len(pictures),
        "alone": min(ALONE, len(pictures)),
        "timed": min(TIMED, len(pictures)),
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": settings.workers,
        "rows": [],
        "published": [dict(zip(("model", "calls", "alone", "set"), row, strict=True)) for row in PUBLISHED],
    }
    before = json.loads(beside.read_text()) if beside else result
    if any(before[key] != result[key] for key in ("pictures", "processor", "threads")):
        raise ValueError(f"{beside} was measured with other pictures or on another machine")
    for model in dict.fromkeys(way.model for way in WAYS if not models or way.model in models):
        try:
            catalogue.find(model)
        except catalogue.WeightsNotFound:
            log(f"{model}: there are no weights")
            continue
        loaded = cast(Loaded[Tiled], load(model, settings))
        for calls in dict.fromkeys(way.calls for way in WAYS if way.model == model):
            ways = [way for way in WAYS if (way.model, way.calls) == (model, calls)]
            result["rows"] += _rows(loaded, ways, pictures, settings, log)
    measured = {row["model"] for row in result["rows"]}
    result["rows"] = [row for row in before["rows"] if row["model"] not in measured] + result["rows"]
    return result


def _rows(loaded: Loaded[Tiled], ways: Sequence[Way], pictures: Sequence[Pixels], settings: Settings, log: Log) -> list[dict[str, Any]]:
    """Rows of the ways of a model that write the same files."""
    calls, one = ways[0].calls, replace(settings, threads=1)
    first, every = _named(pictures[:TIMED]), _named(pictures)
    small, facts = _packed(loaded, first, calls, one, "timed_")
    facts |= {"model": loaded.name, "calls_a_stage": calls, "parameters": _parameters(loaded.name)}
    whole = b""
    if not ways[0].few:
        whole, more = _packed(loaded, every, calls, settings, "set_")
        facts |= more | _separate(loaded, pictures[:ALONE], calls, settings)
    rows = []
    for way in ways:
        schedule = Schedule(cast(Any, way.schedule))
        row = facts | {"way": way.name} | _unpacked(small, first, replace(one, schedule=schedule), "timed_")
        if whole and not way.slow:
            row |= _unpacked(whole, every, replace(settings, schedule=schedule), "set_")
        rows.append(row)
        log(f"{loaded.name:18} {way.name:18} {row['timed_calls']:8.1f} calls  {row['timed_bits']:.4f} bits/dim")
    return rows


def _named(pictures: Sequence[Pixels]) -> list[tuple[str, images.Picture]]:
    return [(f"{i:05}.png", images.from_pillow(Image.fromarray(picture))) for i, picture in enumerate(pictures)]


def _packed(
    loaded: Loaded[Tiled], named: Sequence[tuple[str, images.Picture]], calls: int, settings: Settings, prefix: str
) -> tuple[bytes, dict[str, Any]]:
    """One file of pictures; its bits a dimension, and the exact model's own."""
    pixels = [np.asarray(picture.image) for _, picture in named]
    data, seconds = timed(sets.pack_pictures, named, loaded.name, 0, settings, calls)
    return data, {
        f"{prefix}model_bits": own_bits(loaded.model, pixels, calls, settings.workers),
        f"{prefix}bytes": len(data),
        f"{prefix}bits": 8 * len(data) / sum(picture.size for picture in pixels),
        f"{prefix}encode_s": seconds,
    }


def _separate(loaded: Loaded[Tiled], pictures: Sequence[Pixels], calls: int, settings: Settings) -> dict[str, Any]:
    """Bits a dimension of files of one picture each, which must come back, and of the exact model."""
    dimensions, streams = sum(picture.size for picture in pictures), 0
    files, seconds = timed(_alone, pictures, loaded, calls, replace(settings, threads=1))
    for picture, file in zip(pictures, files, strict=True):
        _check(_decoded(file, settings), picture)
        section = container.read_header(file).section
        streams += sum(found.size for tag in STREAMS if (found := section(tag)))
    return {
        "alone_model_bits": own_bits(loaded.model, pictures, calls, settings.workers),
        "alone_bytes": sum(map(len, files)) / len(files),
        "alone_bits": 8 * sum(map(len, files)) / dimensions,
        "alone_streams": 8 * streams / dimensions,
        "alone_encode_s": seconds / len(files),
    }


def _alone(pictures: Sequence[Pixels], loaded: Loaded[Tiled], calls: int, settings: Settings) -> list[bytes]:
    """Files in which the model codes the pixels, though the stored form of some may be smaller."""
    return [TiledEncoding(picture_of(picture), loaded, 0, settings, calls).file(0) for picture in pictures]


def _decoded(data: bytes, settings: Settings) -> Pixels:
    from ...codec.api import decode_picture

    return np.asarray(decode_picture(Reading(data, container.read_header(data), False, settings), None, None)[0])


def _check(found: Pixels, picture: Pixels) -> None:
    if not np.array_equal(found, picture):
        raise RuntimeError("a picture does not come back")


def _parameters(model: str) -> int:
    """Weights and biases of the network that probabilities come from."""
    from safetensors.numpy import load_file

    arrays = load_file(catalogue.find(model).path)
    return sum(a.size for n, a in arrays.items() if n.endswith((".weight", ".bias")) and not n.startswith("forecasters."))


def _unpacked(data: bytes, named: Sequence[tuple[str, images.Picture]], settings: Settings, prefix: str) -> dict[str, float]:
    """Calls and seconds of unpacking a set, which must come back."""
    statistics: list[Statistics] = []
    reading = Reading(data, container.read_header(data), False, replace(settings, statistics=statistics))
    (back, _), seconds = timed(sets.unpack_pictures, reading, None)
    for (_, image), (_, picture) in zip(back, named, strict=True):
        _check(np.asarray(image), np.asarray(picture.image))
    return {f"{prefix}calls": float(np.mean([s.calls for s in statistics])), f"{prefix}decode_s": seconds}
