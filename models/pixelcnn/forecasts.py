"""A learned forecasting module over the maps of an evaluator: what it sees of a pixel, and what it says of the next ones."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..integer import Tensors
from ..quantisation import INPUT_BITS
from ..tensors import large_tensors, on_device, part_of
from . import learned
from .grid import Rows
from .network import PixelCNNConfig


class Seen(Protocol):
    """What a module wants of an evaluator. stride: rows from a pixel to the one below it. inside: whether a row is a pixel."""

    stride: int

    @property
    def inside(self) -> NDArray[np.bool_]: ...

    def symbols_at(self, pixels: Rows) -> NDArray[np.uint8]:
        """The symbols of pixels of any shape, (..., channels)."""

    def seen_at(self, pixels: Rows) -> NDArray[np.int8]:
        """What the first layers see of pixels, (..., seen)."""

    def representations_at(self, pixels: Rows) -> NDArray[np.int8]:
        """The shared representation h of pixels, (..., width)."""


class LearnedForecasts:
    """One of the modules that a weights file holds. steps: pixels that it forecasts; noise: what it is told of their noise."""

    def __init__(self, config: PixelCNNConfig, tensors: Tensors, evaluator: Seen, kind: str) -> None:
        """Raises ValueError if the model has no module of that kind."""
        self.config = c = config
        weights = part_of(tensors, f"forecasters.{kind.replace('+', '_')}.")
        if not weights:
            raise ValueError(f"this model has no forecasting module {kind!r}; there are {', '.join(c.forecasters) or 'none'}")
        self._front, self._sees_pixels = evaluator, kind == "x"
        bits = INPUT_BITS if self._sees_pixels else int(tensors["stream_bits"]) - int(tensors["left_bits"][-1])
        self._unit = 0.5**bits
        self._module = c.forecaster(kind)
        self._module.load_state_dict(large_tensors(on_device(weights, torch.device("cpu"))))
        self._taps = np.array([dy * evaluator.stride + dx for dy, dx in learned.TAPS])
        self.steps = c.forecast_steps
        self.noise = kind.partition("+")[2]

    def targets(self, pixels: Rows) -> tuple[Rows, NDArray[np.bool_]]:
        """The pixels from each of some pixels (n) on, (n, steps), and whether they are still in its image row."""
        targets = pixels[:, None] + np.arange(self.steps)
        return targets, np.logical_and.accumulate(self._front.inside[targets], axis=1)

    def tables(self, pixels: Rows, targets: Rows, in_row: NDArray[np.bool_], noise: Tensor | None) -> Tensor:
        """Probabilities (n, steps, channels, levels) at targets. See `Forecasts`."""
        if noise is not None:
            numbers = noise if self.noise == "gumbel" else learned.quantile_feature(noise).unsqueeze(3)
            noise = (numbers * torch.from_numpy(in_row)[..., None, None]).float()
        at = self._front.seen_at if self._sees_pixels else self._front.representations_at
        near = torch.from_numpy(at(pixels[:, None] + self._taps)).float().flatten(1) * self._unit
        return learned.table(self._module(near, noise), self._above(targets), self.config.step)

    def _above(self, targets: Rows) -> Tensor | None:
        """Grey levels above pixels (n, steps), around which a mixture is forecast; float32 (n, steps, channels)."""
        c, front = self.config, self._front
        if c.output != "mixture":
            return None
        above = targets - front.stride
        levels = np.where(front.inside[above][..., None], front.symbols_at(above).astype(np.float32) * c.step, np.float32(128))
        return torch.from_numpy(levels)
