"""What to guess for the symbols that are not known yet. A wrong guess costs a call of the model and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ...models.pixelcnn import learned as forecast
from ..errors import PresageError

if TYPE_CHECKING:
    from .decoder import Decoder


@dataclass(frozen=True)
class Call:
    """What a call of the model has shown. rows: the pixels of all windows (n). given: what the model gave for their symbols
    from the guesses `fed`, uint8 (n, channels). place: every symbol's place in its image's coding order (n, channels). image:
    the image of every row. known: of every image, how many symbols are final."""

    rows: Tensor
    given: Tensor
    fed: Tensor
    place: Tensor
    image: Tensor
    known: Tensor

    @property
    def final(self) -> Tensor:
        """Which symbols are known now, bool (n, channels)."""
        return self.place < self.known[self.image].unsqueeze(1)


class Forecaster(Protocol):
    """Turns what a call has shown into the next guesses."""

    def __call__(self, decoder: Decoder, call: Call) -> Tensor:
        """Guesses for call.rows, uint8 (n, channels)."""


def fixed_point(decoder: Decoder, call: Call) -> Tensor:
    """What the model gave (algorithm 2)."""
    return call.given


def zeros(decoder: Decoder, call: Call) -> Tensor:
    """Zero for everything that is not known."""
    return torch.where(call.final, call.given, 0)


def last(decoder: Decoder, call: Call) -> Tensor:
    """The last known value of the image for everything that is not known."""
    is_last = call.place == (call.known[call.image] - 1).unsqueeze(1)
    row, channel = is_last.nonzero(as_tuple=True)
    value = torch.zeros(len(call.known), dtype=call.given.dtype, device=call.given.device)
    value[call.image[row]] = call.given[row, channel]
    return torch.where(call.final, call.given, value[call.image].unsqueeze(1))


def argmax(decoder: Decoder, call: Call) -> Tensor:
    """The model's most probable values, without noise, for everything that is not known."""
    return torch.where(call.final, call.given, decoder.probable[call.rows])


class Learned:
    """A forecasting module for the symbols that follow the known ones in their image row, the fixed point for all others."""

    def __init__(self, decoder: Decoder, kind: str, steps: int) -> None:
        """steps: symbols to forecast. Raises PresageError if the model has no such module."""
        network = decoder.network
        c = network.config
        prefix = f"forecasters.{kind.replace('+', '_')}."
        tensors = {k.removeprefix(prefix): v.float() for k, v in network.tensors.items() if k.startswith(prefix)}
        if not tensors:
            raise PresageError(f"this model has no forecasting module {kind!r}; there are {', '.join(c.forecasters) or 'none'}")
        inputs = c.seen if kind == "x" else c.width
        self._module = forecast.Forecaster(kind, inputs, c.forecast_steps, c.channels, c.levels, c.outputs, c.forecast_filters)
        self._module.load_state_dict(tensors)
        self._module.to(network.device)
        self._steps = min(steps, c.forecast_steps * c.channels)
        self._taps = torch.tensor([dy * decoder.front.stride + dx for dy, dx in forecast.TAPS], device=network.device)

    def __call__(self, decoder: Decoder, call: Call) -> Tensor:
        guess, front, c = call.given.clone(), decoder.front, decoder.network.config
        first = call.rows[(call.place <= call.known[call.image].unsqueeze(1)).any(1) & ~call.final.all(1)]  # one pixel an image
        if not len(first):
            return guess
        near = (front.seen_at if self._module.kind == "x" else front.representations_at)(first, self._taps)
        targets = first.unsqueeze(1) + torch.arange(c.forecast_steps, device=first.device)
        in_row = front.inside[targets].cumprod(1).bool()
        tables = forecast.table(self._module(near, self._noise(decoder, targets, in_row)), self._above(decoder, targets), c.step)
        symbols = decoder.draw(tables, targets)
        channels = torch.arange(c.channels, device=first.device)
        place = decoder.rank[targets].unsqueeze(2) * c.channels + channels
        known = call.known[decoder.image[first]].reshape(-1, 1, 1)
        ahead = torch.arange(targets.shape[1], device=first.device).unsqueeze(1) * c.channels + channels - known % c.channels
        index = decoder.index_of(call.rows)[targets].unsqueeze(2)
        chosen = in_row.unsqueeze(2) & (place >= known) & (ahead < self._steps) & (index >= 0)
        i, t, channel = chosen.nonzero(as_tuple=True)
        guess[index[i, t, 0], channel] = symbols[i, t, channel].to(guess.dtype)
        return guess

    def _noise(self, decoder: Decoder, targets: Tensor, present: Tensor) -> Tensor | None:
        """The noise of pixels (n, steps) as the module was trained with it; float32 (n, steps, channels, numbers)."""
        if not self._module.noise:
            return None
        if self._module.kind == "h+gumbel":
            return decoder.gumbel_at(targets) * present[..., None, None]
        quantiles = (decoder.quantiles[targets] + 0.5) / (1 << decoder.precision)
        return (forecast.quantile_feature(quantiles) * present.unsqueeze(2)).unsqueeze(3).float()

    @staticmethod
    def _above(decoder: Decoder, targets: Tensor) -> Tensor | None:
        """Grey levels above pixels (n, steps), around which a mixture is forecast; float32 (n, steps, channels)."""
        c, front = decoder.network.config, decoder.front
        if c.output != "mixture":
            return None
        levels = front.symbols[targets - front.stride].float() * c.step
        return torch.where(front.inside[targets - front.stride].unsqueeze(2), levels, 128.0)


def make(decoder: Decoder) -> Forecaster:
    """The forecaster of a decoder's schedule."""
    schedule = decoder.schedule
    if schedule.name == "forecast":
        return Learned(decoder, schedule.module, schedule.steps)
    named: dict[str, Forecaster] = {"zeros": zeros, "last": last, "argmax": argmax}
    return named.get(schedule.name, fixed_point)
