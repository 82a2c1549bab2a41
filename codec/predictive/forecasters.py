"""What to guess for the symbols that are not known yet. A wrong guess costs a call of the model and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import PresageError

if TYPE_CHECKING:
    from torch import Tensor

    from .decoder import PredictiveDecoder

Symbols = NDArray[np.uint8]
Places = NDArray[np.int64]


@dataclass(frozen=True)
class Call:
    """What a call of the model has shown. rows: the pixels of all windows (n). given: what the model gave for their symbols
    from the guesses `fed`, uint8 (n, channels). position: every symbol's position in its image's coding order (n, channels). image:
    the image of every row. known: of every image, how many symbols are final."""

    rows: Places
    given: Symbols
    fed: Symbols
    position: Places
    image: Places
    known: Places

    @property
    def final(self) -> NDArray[np.bool_]:
        """Which symbols are known now, (n, channels)."""
        return self.position < self.known[self.image][:, None]


class Forecaster(Protocol):
    """Turns what a call has shown into the next guesses."""

    def __call__(self, decoder: PredictiveDecoder, call: Call) -> Symbols:
        """Guesses for call.rows, uint8 (n, channels)."""


def zeros(decoder: PredictiveDecoder, call: Call) -> Symbols:
    """Zero for everything that is not known."""
    return np.where(call.final, call.given, np.uint8(0))


def last(decoder: PredictiveDecoder, call: Call) -> Symbols:
    """The last known value of the image for everything that is not known."""
    row, channel = np.nonzero(call.position == (call.known[call.image] - 1)[:, None])
    value = np.zeros(len(call.known), np.uint8)
    value[call.image[row]] = call.given[row, channel]
    return np.where(call.final, call.given, value[call.image][:, None])


def argmax(decoder: PredictiveDecoder, call: Call) -> Symbols:
    """The model's most probable values, without noise, for everything that is not known."""
    return np.where(call.final, call.given, decoder.probable[call.rows])


class Learned:
    """A forecasting module for the symbols that follow the known ones in their image row, the fixed point for all others."""

    def __init__(self, decoder: PredictiveDecoder, kind: str, steps: int) -> None:
        """steps: symbols to forecast. Raises PresageError if the model has no such module."""
        try:
            self._module = decoder.model.forecasts(kind, decoder.front)
        except ValueError as error:
            raise PresageError(str(error)) from None
        self._steps = min(steps, self._module.steps * decoder.model.depth)

    def __call__(self, decoder: PredictiveDecoder, call: Call) -> Symbols:
        guess, depth = call.given.copy(), decoder.model.depth
        ahead_of = (call.position <= call.known[call.image][:, None]).any(1) & ~call.final.all(1)
        first = call.rows[ahead_of]  # one pixel an image
        if not len(first):
            return guess
        targets, in_row = self._module.targets(first)
        symbols = self._drawn(decoder, first, targets, in_row)
        channels = np.arange(depth)
        position = decoder.rank[targets][:, :, None] * depth + channels
        known = call.known[decoder.image[first]].reshape(-1, 1, 1)
        ahead = np.arange(targets.shape[1])[:, None] * depth + channels - known % depth
        index = np.full(decoder.front.rows, -1)
        index[call.rows] = np.arange(len(call.rows))
        at = index[targets][:, :, None]
        i, t, channel = np.nonzero(in_row[:, :, None] & (position >= known) & (ahead < self._steps) & (at >= 0))
        guess[at[i, t, 0], channel] = symbols[i, t, channel]
        return guess

    def _drawn(self, decoder: PredictiveDecoder, first: Places, targets: Places, in_row: NDArray[np.bool_]) -> Symbols:
        """Symbols of pixels (n, steps) by what the module says of them, with the noise that they will get."""
        import torch  # the module is a network

        gumbel: Tensor | None = None
        if decoder.has_noise or self._module.noise == "gumbel":
            gumbel = torch.from_numpy(np.stack([decoder.noise(decoder.number(targets, c)) for c in range(decoder.model.depth)], 2))
        quantiles = (torch.from_numpy(decoder.quantiles[targets]) + 0.5) / (1 << decoder.precision)
        told = {"": None, "gumbel": gumbel}.get(self._module.noise, quantiles)
        tables = self._module.tables(first, targets, in_row, told)
        if decoder.has_noise:
            assert gumbel is not None
            drawn = (tables.clamp(min=1e-9).log() + gumbel).argmax(-1)
        else:
            drawn = (tables.cumsum(-1)[..., :-1] <= quantiles.unsqueeze(-1)).sum(-1)
        return np.asarray(drawn.to(torch.uint8).numpy())


def make(decoder: PredictiveDecoder) -> Forecaster | None:
    """The forecaster of a decoder's schedule; nothing for the fixed point, which takes what the model gave (algorithm 2)."""
    schedule = decoder.schedule
    if schedule.name == "forecast":
        return Learned(decoder, schedule.module, schedule.steps)
    named: dict[str, Forecaster] = {"zeros": zeros, "last": last, "argmax": argmax}
    return named.get(schedule.name)
