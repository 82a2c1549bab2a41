"""What to guess for the symbols that are not known yet. A wrong guess costs a call of the model and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..errors import PresageError

if TYPE_CHECKING:
    from .decoder import PredictiveDecoder


@dataclass(frozen=True)
class Call:
    """What a call of the model has shown. rows: the pixels of all windows (n). given: what the model gave for their symbols
    from the guesses `fed`, uint8 (n, channels). position: every symbol's position in its image's coding order (n, channels). image:
    the image of every row. known: of every image, how many symbols are final."""

    rows: Tensor
    given: Tensor
    fed: Tensor
    position: Tensor
    image: Tensor
    known: Tensor

    @property
    def final(self) -> Tensor:
        """Which symbols are known now, bool (n, channels)."""
        return self.position < self.known[self.image].unsqueeze(1)


class Forecaster(Protocol):
    """Turns what a call has shown into the next guesses."""

    def __call__(self, decoder: PredictiveDecoder, call: Call) -> Tensor:
        """Guesses for call.rows, uint8 (n, channels)."""


def fixed_point(decoder: PredictiveDecoder, call: Call) -> Tensor:
    """What the model gave (algorithm 2)."""
    return call.given


def zeros(decoder: PredictiveDecoder, call: Call) -> Tensor:
    """Zero for everything that is not known."""
    return torch.where(call.final, call.given, 0)


def last(decoder: PredictiveDecoder, call: Call) -> Tensor:
    """The last known value of the image for everything that is not known."""
    is_last = call.position == (call.known[call.image] - 1).unsqueeze(1)
    row, channel = is_last.nonzero(as_tuple=True)
    value = torch.zeros(len(call.known), dtype=call.given.dtype, device=call.given.device)
    value[call.image[row]] = call.given[row, channel]
    return torch.where(call.final, call.given, value[call.image].unsqueeze(1))


def argmax(decoder: PredictiveDecoder, call: Call) -> Tensor:
    """The model's most probable values, without noise, for everything that is not known."""
    return torch.where(call.final, call.given, decoder.probable[call.rows])


class Learned:
    """A forecasting module for the symbols that follow the known ones in their image row, the fixed point for all others."""

    def __init__(self, decoder: PredictiveDecoder, kind: str, steps: int) -> None:
        """steps: symbols to forecast. Raises PresageError if the model has no such module."""
        try:
            self._module = decoder.model.forecasts(kind, decoder.front)
        except ValueError as error:
            raise PresageError(str(error)) from None
        self._steps = min(steps, self._module.steps * decoder.model.depth)

    def __call__(self, decoder: PredictiveDecoder, call: Call) -> Tensor:
        guess, depth = call.given.clone(), decoder.model.depth
        first = call.rows[(call.position <= call.known[call.image].unsqueeze(1)).any(1) & ~call.final.all(1)]  # one pixel an image
        if not len(first):
            return guess
        targets, in_row = self._module.targets(first)
        symbols = decoder.draw(self._module.tables(first, targets, in_row, self._noise(decoder, targets)), targets)
        channels = torch.arange(depth, device=first.device)
        position = decoder.rank[targets].unsqueeze(2) * depth + channels
        known = call.known[decoder.image[first]].reshape(-1, 1, 1)
        ahead = torch.arange(targets.shape[1], device=first.device).unsqueeze(1) * depth + channels - known % depth
        index = decoder.index_of(call.rows)[targets].unsqueeze(2)
        chosen = in_row.unsqueeze(2) & (position >= known) & (ahead < self._steps) & (index >= 0)
        i, t, channel = chosen.nonzero(as_tuple=True)
        guess[index[i, t, 0], channel] = symbols[i, t, channel].to(guess.dtype)
        return guess

    def _noise(self, decoder: PredictiveDecoder, targets: Tensor) -> Tensor | None:
        """What the module wants to know of the noise of pixels (n, steps)."""
        if not self._module.noise:
            return None
        return (
            decoder.gumbel_at(targets) if self._module.noise == "gumbel" else (decoder.quantiles[targets] + 0.5) / (1 << decoder.precision)
        )


def make(decoder: PredictiveDecoder) -> Forecaster:
    """The forecaster of a decoder's schedule."""
    schedule = decoder.schedule
    if schedule.name == "forecast":
        return Learned(decoder, schedule.module, schedule.steps)
    named: dict[str, Forecaster] = {"zeros": zeros, "last": last, "argmax": argmax}
    return named.get(schedule.name, fixed_point)
