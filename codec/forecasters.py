"""What to guess for the symbols that are not known yet. A wrong guess costs a call of the model and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ..models import forecast
from .errors import PresageError

if TYPE_CHECKING:
    from .predictive import Decoder


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
    """A forecasting module for the next pixels of every image row whose start is known, the fixed point for the others."""

    def __init__(self, decoder: Decoder, kind: str, steps: int) -> None:
        """Raises PresageError if the model has no such module."""
        network = decoder.network
        c = network.config
        prefix = f"forecasters.{kind.replace('+', '_')}."
        tensors = {k.removeprefix(prefix): v.float() for k, v in network.tensors.items() if k.startswith(prefix)}
        if not tensors:
            raise PresageError(f"this model has no forecasting module {kind!r}; there are {', '.join(c.forecasters) or 'none'}")
        inputs = c.seen if kind == "x" else c.width
        self._module = forecast.Forecaster(kind, inputs, c.forecast_steps, c.channels, c.levels, c.outputs, c.forecast_filters)
        self._module.load_state_dict(tensors)
        self._steps = min(steps, c.forecast_steps * c.channels)

    def __call__(self, decoder: Decoder, call: Call) -> Tensor:
        guess = call.given.clone()
        front, c = decoder.front, decoder.network.config
        fresh = ~call.final.all(1)  # pixels that are not wholly known
        # the first such pixel of each image row: the pixel to its left is known, or there is none
        first = call.rows[fresh]
        at = decoder.index_of(call.rows)
        unknown = torch.zeros(len(front.symbols), dtype=torch.bool, device=first.device)
        unknown[front.inside & (decoder.rank * c.channels >= call.known[decoder.image])] = True
        taps = torch.tensor([dy * front.stride + dx for dy, dx in forecast.TAPS], device=first.device)
        first = first[~unknown[first.unsqueeze(1) + taps].any(1)]
        if not len(first):
            return guess
        kind = self._module.kind
        near = front.seen_at(first, taps) if kind == "x" else front.representations_at(first, taps)
        targets = first.unsqueeze(1) + torch.arange(c.forecast_steps, device=first.device)
        present = unknown[targets] & (targets // front.stride == first.unsqueeze(1) // front.stride)
        noise = None
        if self._module.noise == 1:
            quantiles = (decoder.quantiles[targets] + 0.5) / (1 << decoder.precision)
            noise = (forecast.quantile_feature(quantiles) * present.unsqueeze(2)).unsqueeze(3).float()
        elif self._module.noise:
            noise = decoder.gumbel_at(targets) * present[..., None, None]
        above = None
        if c.output == "mixture":
            up = front.symbols[targets - front.stride].float() * c.step
            above = torch.where(front.inside[targets - front.stride].unsqueeze(2), up, 128.0)
        tables = forecast.table(self._module(near, noise), above, c.step)
        symbols = decoder.draw(tables, targets)
        places = torch.arange(targets.shape[1], device=first.device).unsqueeze(1) * c.channels + torch.arange(
            c.channels, device=first.device
        )
        wanted = present.unsqueeze(2) & (places < self._steps) & (at[targets] >= 0).unsqueeze(2)
        chosen = wanted & (
            decoder.rank[targets].unsqueeze(2) * c.channels + torch.arange(c.channels, device=first.device)
            >= call.known[decoder.image[targets]].unsqueeze(2)
        )
        i, t, channel = chosen.nonzero(as_tuple=True)
        guess[at[targets[i, t]], channel] = symbols[i, t, channel].to(guess.dtype)
        return guess


def make(decoder: Decoder) -> Forecaster:
    """The forecaster of a decoder's schedule."""
    schedule = decoder.schedule
    if schedule.name == "forecast":
        return Learned(decoder, schedule.module, schedule.steps)
    named: dict[str, Forecaster] = {"zeros": zeros, "last": last, "argmax": argmax}
    return named.get(schedule.name, fixed_point)
