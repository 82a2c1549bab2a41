"""What stands for latents of which only the first digits are known: the mean of their interval; and how precise the decoder is told that
they are. Comes after the entropy coder, in floating point.
"""

import torch
from torch import Tensor

from ..latent.network import QUALITIES, Transforms
from ..pixelcnn.network import between_knots
from .rounds import KINDS, PLANES, ProgressiveConfig, cells

ENOUGH = 20  # latents that a mean is taken of, at least
TRIED = 32  # precisions that are tried lie so many to the whole range


def mean_points(latents: Tensor, tops: tuple[int, ...]) -> Tensor:
    """Means of magnitudes above the lower end of their interval, (PLANES, channels, KINDS), by planes that are missing.

    latents: (B, h, w, channels).
    """
    found = torch.zeros(PLANES, len(tops), KINDS)
    magnitudes = latents.abs().int().flatten(0, 2)
    for depth in range(1, PLANES):
        bits = magnitudes >> depth
        above = (magnitudes - (bits << depth)).float()
        for kind in range(KINDS):
            own = (bits.clamp(max=KINDS) == kind + 1).float()
            count = own.sum(0)
            overall = (own * above).sum() / own.sum().clamp(min=1)
            if not bool(own.any()):
                overall = torch.tensor(((1 << depth) - 1) * 0.45)
            found[depth, :, kind] = torch.where(count >= ENOUGH, (own * above).sum(0) / count.clamp(min=1), overall)
    return found


def values(magnitudes: Tensor, negative: Tensor, depth: Tensor, points: Tensor) -> Tensor:
    """What stands for latents (..., channels), given the first bits of magnitudes, signs, and planes that are missing; float32."""
    kind = magnitudes.clamp(1, KINDS).long() - 1
    channel = torch.arange(magnitudes.shape[-1])
    size = (magnitudes.int() << depth.int()).float() + points[depth.long(), channel, kind]
    return torch.where(magnitudes > 0, torch.where(negative, -size, size), 0.0)


def decode(transforms: Transforms, found: Tensor, quality: int, precision: Tensor) -> Tensor:
    """Pixels in -1..1, (B, 3, H, W), of values of latents (B, h, w, channels) of a quality; precision: what the decoder is told (B)."""
    own = torch.full_like(precision, quality / (QUALITIES - 1))
    scale = (between_knots(transforms.gain, precision) - between_knots(transforms.gain, own)).exp()
    return transforms.decode_steps(found * scale[:, None, None], precision, torch.float32)


@torch.no_grad()
def best_precisions(transforms: Transforms, config: ProgressiveConfig, points: Tensor, latents: Tensor) -> Tensor:
    """After each number of rounds the precision for which decoded pixels come nearest to those of all rounds, (rounds + 1).

    Found from the last on: of what is known of latents (B, h, w, channels) after fewer rounds no higher one is tried.
    """
    latents = latents.int()
    board = torch.from_numpy(cells(*latents.shape[1:3]))
    count = len(latents)
    last = config.quality / (QUALITIES - 1)
    whole = decode(transforms, latents.float(), config.quality, torch.full((count,), last))
    depths = torch.from_numpy(config.depths())
    found, at = torch.ones(len(depths)) * last, last
    for number in range(len(depths) - 2, -1, -1):
        depth = depths[number][board]
        known = values(latents.abs() >> depth, latents < 0, depth.expand(latents.shape), points)

        def error(precision: float, known: Tensor = known) -> float:
            return float((decode(transforms, known, config.quality, torch.full((count,), precision)) - whole).square().mean())

        least = error(at)
        while at >= 1 / TRIED and (lower := error(at - 1 / TRIED)) <= least:
            at, least = at - 1 / TRIED, lower
        found[number] = at
    return found
