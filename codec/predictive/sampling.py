"""Sampling: decoding of random bits through the very code that decodes files."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ...models.model import Layered, Model, Pixels, Predictable, Span, Symbols, Tiled, Walkable
from ...models.staged import Staged
from ..coders.turns import Draw, watched
from ..errors import ImageRefused
from ..isolation import isolated
from ..parallel import part_of, spread, working
from ..paths import stages, transforms
from ..paths.tiles import check_no_calls
from ..settings import Progress, Settings
from .decoder import Members, PredictiveDecoder
from .noise import Gumbel, RandomQuantiles
from .schedule import Schedule
from .statistics import Statistics

BATCH = 64  # images that are drawn together
PRECISION = 16  # bits of a quantile
SCALE = 100  # qualities are given as 0..SCALE


@dataclass(frozen=True)
class Sample:
    """The symbols of an image drawn from a model, uint8 (h, w, channels), and what drawing them took."""

    symbols: Symbols
    statistics: Statistics
    mistakes: NDArray[np.int32]  # (h, w): how often the first wrong guess was at a place
    converged: NDArray[np.int32]  # (h, w): the call in which a place took its final value

    @property
    def pixels(self) -> Pixels:
        """The same, of a model whose symbols are pixels."""
        return self.symbols


@isolated()
def draw(
    model: Predictable,
    count: int,
    size: tuple[int, int],
    seed: int,
    schedule: Schedule,
    threads: int = 1,
    gumbel: bool = False,
    batch: int = BATCH,
    progress: Progress = lambda _: None,
) -> list[Sample]:
    """Draw maps of size (height, width). The same seed gives the same ones, whatever the schedule, batch or threads.

    gumbel: Gumbel noise instead of quantiles; other maps. Raises ImageRefused for an empty size.
    """
    if min(size) < 1:
        raise ImageRefused(f"there are no samples of {size[1]} x {size[0]} pixels")
    height, width = model.places(*size)
    symbols = height * width * model.depth

    def work(part: slice, report: Progress) -> list[Sample]:
        images = range(part.start, part.stop)
        noise = Gumbel([symbols] * len(images), model.levels, PRECISION, seed, images) if gumbel else None
        groups = [Members(RandomQuantiles(symbols, PRECISION, seed, i), range(n, n + 1)) for n, i in enumerate(images)]
        decoder = PredictiveDecoder(model, [(height, width)] * len(images), groups, PRECISION, schedule, noise)
        drawn = decoder.run(report)
        return [_sample(s, statistics, model, size) for s, statistics in zip(drawn, decoder.statistics, strict=True)]

    return spread(work, count, batch, threads, progress)


def _sample(symbols: Symbols, statistics: Statistics, model: Predictable, size: tuple[int, int]) -> Sample:
    shape = symbols.shape
    mistakes, converged = (pixel_map(values, model, shape) for values in (statistics.mistakes, statistics.converged))
    inside = slice(size[0]), slice(size[1])  # patches may reach over the edge
    return Sample(model.from_symbols(symbols, *size), statistics, mistakes.sum(-1)[inside], converged.max(-1)[inside])


def pixel_map(values: NDArray[np.int32], model: Predictable, shape: Sequence[int]) -> NDArray[np.int32]:
    """Values of the symbols (h, w, depth) in coding order, where the symbols are in the map."""
    height, width, depth = shape
    places = np.empty((height * width, depth), np.int32)
    places[model.order(height, width)] = values.reshape(-1, depth)
    return model.to_map(places.reshape(shape))


@dataclass(frozen=True)
class Drawn:
    """Pictures drawn from a model, uint8 (H, W, 1 or 3) each. layers, of: codes of a patch that they have, and that there are.

    samples: what they took, for models that are drawn from predictively; mistakes, converged: (H, W) of each picture.
    """

    pictures: list[Pixels]
    layers: int = 0
    of: int = 0
    samples: Sequence[Sample] = ()
    mistakes: Sequence[NDArray[np.int32]] = ()
    converged: Sequence[NDArray[np.int32]] = ()


@isolated()
def draw_pictures(
    model: Model,
    count: int,
    size: tuple[int, int],
    seed: int,
    settings: Settings,
    *,
    quality: float = 50,
    gumbel: bool = False,
    batch: int = BATCH,
    layers: int | None = None,
    seconds: float | None = None,
    calls: int = 0,
) -> Drawn:
    """Draw pictures of (height, width) from any model; the same seed gives the same symbols.

    quality: 0..100, for models that have several. gumbel, batch: see `draw`, for models that can be decoded predictively.
    layers, seconds: of models of ordered codes, how many codes a patch has at most, and when to stop drawing them. calls: of models of
    stages, in which other pictures come of other numbers. Raises ImageRefused for what the model has not.
    """
    if model.coding == "digits":
        raise ImageRefused("digits are not drawn; of models with loss `latent` and `ordered` are there for that")
    if model.coding == "layers":
        if gumbel:
            raise ImageRefused("codes are drawn by their quantiles; leave out the Gumbel noise")
        return _draw_layers(cast(Layered, model), count, size, seed, settings, layers, seconds)
    if layers is not None or seconds is not None:
        raise ImageRefused("--codes and --seconds are for models of ordered codes")
    if model.coding == "stages":
        if gumbel:
            raise ImageRefused("values are drawn by their quantiles; leave out the Gumbel noise")
        return Drawn(_draw_stages(cast(Staged, model), count, size, seed, calls, settings))
    check_no_calls(calls)
    tiled = cast(Tiled, model)
    step = round(quality * (tiled.qualities - 1) / SCALE)
    predictor, map_size = tiled.predictor(step), tiled.size(*size)
    if predictor is None:
        drawn = _draw_walk(cast(Walkable, model), count, map_size, step, seed, settings)
        return Drawn([transforms.synthesise(model, tiled.dequantise(s[None], step), map_size, size, settings)[0] for s in drawn])
    samples = draw(predictor, count, map_size, seed, settings.schedule, settings.workers, gumbel, batch, settings.progress)
    pictures = [transforms.synthesise(model, tiled.dequantise(s.symbols[None], step), map_size, size, settings)[0] for s in samples]
    maps = [[_enlarged(values, model.stride, size) for values in (s.mistakes, s.converged)] for s in samples]
    return Drawn(pictures, 0, 0, samples, [m for m, _ in maps], [c for _, c in maps])


def _enlarged(values: NDArray[np.int32], stride: int, size: tuple[int, int]) -> NDArray[np.int32]:
    """A map as large as its pixels."""
    return values.repeat(stride, 0).repeat(stride, 1)[: size[0], : size[1]]


def _draw_walk(model: Walkable, count: int, size: tuple[int, int], quality: int, seed: int, settings: Settings) -> list[Symbols]:
    """Maps drawn in the turns of a walk."""

    def work(part: slice, report: Progress) -> list[Symbols]:
        code = watched(Draw(seed, range(part.start, part.stop)), report)
        return model.walk([size] * (part.stop - part.start), [Span.FULL] * model.channels, quality, code)

    return spread(work, count, model.batch, settings.workers, settings.progress)


def _draw_stages(model: Staged, count: int, size: tuple[int, int], seed: int, calls: int, settings: Settings) -> list[Symbols]:
    """Pictures drawn some bits at a time, of one tile each."""
    if max(size) > model.tile or min(size) < 1:
        raise ImageRefused(f"samples of this model have sides of 1 to {model.tile} pixels")
    calls = stages.calls_of(model, calls)

    def work(part: slice, report: Progress) -> list[Symbols]:
        code = Draw(seed, range(part.start, part.stop))
        drawn = [np.zeros((*size, model.channels), np.uint8) for _ in range(part.start, part.stop)]
        for stage in range(len(model.stages)):
            drawn, _ = model.walk(drawn, stage, calls, watched(code, part_of(report, stage, 1, len(model.stages))))
        return drawn

    return spread(work, count, model.batch, settings.workers, settings.progress)


def _draw_layers(
    model: Layered, count: int, size: tuple[int, int], seed: int, settings: Settings, layers: int | None, seconds: float | None
) -> Drawn:
    """Ordered codes of some layers, or as many as there is time for."""
    map_size = model.size(*size)
    deadline = None if seconds is None else time.monotonic() + seconds
    code = watched(Draw(seed, range(count), deadline), settings.progress)
    with working():
        wanted = len(model.sides) if layers is None else min(layers, len(model.sides))
        codes = model.walk(count, *map_size, wanted, code, settings.workers)
        whole = [c for c, n in zip(codes, model.counts(*map_size), strict=False) if len(c) == count * n]
        received = model.dequantise(whole, *map_size, count)
    settings.progress(1.0)
    return Drawn(list(transforms.synthesise(model, received, map_size, size, settings)), len(whole), len(model.sides))
