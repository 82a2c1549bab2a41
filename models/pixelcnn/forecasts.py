"""A learned forecasting module over the maps of an evaluator: what it sees of a pixel, and what it says of the next ones."""

import torch
from torch import Tensor

from ..tensors import large_tensors, part_of
from . import learned
from .evaluator import Evaluator


class LearnedForecasts:
    """One of the modules that a weights file holds. steps: pixels that it forecasts; noise: what it is told of their noise."""

    def __init__(self, evaluator: Evaluator, kind: str) -> None:
        """Raises ValueError if the model has no module of that kind."""
        network = evaluator.network
        self.config = c = network.config
        tensors = part_of(network.tensors, f"forecasters.{kind.replace('+', '_')}.")
        if not tensors:
            raise ValueError(f"this model has no forecasting module {kind!r}; there are {', '.join(c.forecasters) or 'none'}")
        self._front, self._sees_pixels = evaluator, kind == "x"
        self._module = c.forecaster(kind)
        self._module.load_state_dict(large_tensors(tensors))
        self._module.to(network.device)
        self._taps = torch.tensor([dy * evaluator.stride + dx for dy, dx in learned.TAPS], device=network.device)
        self.steps = c.forecast_steps
        self.noise = kind.partition("+")[2]

    def targets(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """The pixels from each of some pixels (n) on, (n, steps), and whether they are still in its image row."""
        targets = pixels.unsqueeze(1) + torch.arange(self.steps, device=pixels.device)
        return targets, self._front.inside[targets].cumprod(1).bool()

    def tables(self, pixels: Tensor, targets: Tensor, in_row: Tensor, noise: Tensor | None) -> Tensor:
        """Probabilities (n, steps, channels, levels) at targets. See `Forecasts`."""
        front = self._front
        if noise is not None:
            numbers = noise if self.noise == "gumbel" else learned.quantile_feature(noise).unsqueeze(3)
            noise = (numbers * in_row[..., None, None]).float()
        near = (front.seen_at if self._sees_pixels else front.representations_at)(pixels, self._taps)
        return learned.table(self._module(near, noise), self._above(targets), self.config.step)

    def _above(self, targets: Tensor) -> Tensor | None:
        """Grey levels above pixels (n, steps), around which a mixture is forecast; float32 (n, steps, channels)."""
        c, front = self.config, self._front
        if c.output != "mixture":
            return None
        levels = front.symbols[targets - front.stride].float() * c.step
        return torch.where(front.inside[targets - front.stride].unsqueeze(2), levels, 128.0)
