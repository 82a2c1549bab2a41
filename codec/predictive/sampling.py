"""Sampling: decoding of random bits through the very code that decodes files."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...models import symbols as conversion
from ...models.latent.exact import ExactLatent
from ...models.pixelcnn.exact import ExactPixelCNN
from ..errors import ImageRefused
from ..isolation import isolated
from ..parallel import Progress, spread
from ..paths.groups import PRECISION, Pixels
from .decoder import Decoder, Members, Statistics
from .noise import Gumbel, RandomQuantiles
from .schedule import Schedule

BATCH = 64  # images that are drawn together


@dataclass(frozen=True)
class Sample:
    """An image drawn from a model, uint8 (H, W, 1 or 3), and what drawing it took."""

    pixels: Pixels
    statistics: Statistics
    mistakes: NDArray[np.int32]  # (H, W): how often the first wrong guess was at a pixel
    converged: NDArray[np.int32]  # (H, W): the call in which a pixel took its final value


@isolated()
def draw(
    network: ExactPixelCNN,
    count: int,
    size: tuple[int, int],
    seed: int,
    schedule: Schedule,
    threads: int = 1,
    gumbel: bool = False,
    batch: int = BATCH,
    progress: Progress = lambda _: None,
) -> list[Sample]:
    """Draw images of size (height, width). The same seed gives the same images, whatever the schedule, batch or threads.

    gumbel: Gumbel noise instead of quantiles; other images. Raises ImageRefused for a size that the model has not.
    """
    c = network.config
    if size[0] % c.patch or size[1] % c.patch or min(size) < 1:
        raise ImageRefused(f"the sides of a sample are multiples of {c.patch} for this model")
    height, width = conversion.symbol_size(*size, c)
    symbols = height * width * c.channels

    def work(part: slice, report: Progress) -> list[Sample]:
        images = range(part.start, part.stop)
        noise = Gumbel([symbols] * len(images), c.levels, PRECISION, seed, images) if gumbel else None
        groups = [Members(RandomQuantiles(symbols, PRECISION, seed, i), range(n, n + 1)) for n, i in enumerate(images)]
        decoder = Decoder(network, [(height, width)] * len(images), groups, PRECISION, schedule, noise)
        found = decoder.run(report)
        return [_sample(s, statistics, network, size) for s, statistics in zip(found, decoder.statistics, strict=True)]

    return spread(work, count, batch, threads if network.device.type == "cpu" else 1, progress)


def draw_pictures(
    network: ExactLatent, quality: int, count: int, size: tuple[int, int], seed: int, schedule: Schedule, **options: Any
) -> list[Sample]:
    """Draw latents from a prior and decode them; as `draw`, but maps show the latents, each as large as its pixels."""
    drawn = draw(network.prior_at(quality), count, network.size(*size), seed, schedule, **options)
    side = network.config.side
    found = []
    with torch.inference_mode():
        for sample in drawn:
            symbols = sample.pixels[None]
            pixels = network.synthesise(symbols, (0, symbols.shape[1], 0, symbols.shape[2]), quality)[0, : size[0], : size[1]]
            maps = [values.repeat(side, 0).repeat(side, 1)[: size[0], : size[1]] for values in (sample.mistakes, sample.converged)]
            found.append(Sample(pixels, sample.statistics, *maps))
    return found


def _sample(symbols: Pixels, statistics: Statistics, network: ExactPixelCNN, size: tuple[int, int]) -> Sample:
    pixels = conversion.to_pixels(symbols, network.config, *size)
    shape = symbols.shape
    return Sample(
        pixels,
        statistics,
        pixel_map(statistics.mistakes, network, shape).sum(-1),
        pixel_map(statistics.converged, network, shape).max(-1),
    )


def pixel_map(values: NDArray[np.int32], network: ExactPixelCNN, shape: Sequence[int]) -> NDArray[np.int32]:
    """Values of the symbols in coding order as an image, (H, W, image channels)."""
    height, width, channels = shape
    places = np.empty((height * width, channels), np.int32)
    places[network.config.order(height, width).numpy()] = values.reshape(-1, channels)
    return conversion.unfold(places.reshape(shape), network.config.patch)
