"""From the integer outputs of a network to integer frequencies: the one place that decides what the entropy coder sees.

`photo` codes a symbol 0..255 as two nibbles (`Distribution.nibble`). The weight of a nibble is the difference of a
cumulative distribution at its two edges: a mixture of K logistics around a centre, evaluated with integer tables. Each
nibble so needs 15 edges of K logistics instead of a softmax over 256 values.

The float form of the same distribution, used in training, is in `logistic.py`.

For the chain coder a distribution is a cumulative frequency C: symbol s owns the quantiles C_s <= u < C_(s+1) of 0 <= u < 2^P.
From integer weights with the cumulative sums E, C_s = s + floor(E_s (2^P - K) / E_K): it ends at 2^P by construction, and
every symbol has at least one quantile.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .units import (
    CATEGORY_BITS,
    DEEPEST,
    GREY,
    INVERSE_BITS,
    LEVEL,
    LOGIT_LIMIT,
    LOGIT_UNIT,
    OFFSET_LIMIT,
    OFFSET_UNIT,
    REACH,
    SCALE_HIGH,
    SCALE_LOW,
    SHARE_BITS,
    SIGMOID_BITS,
    SPARE_BITS,
    STEPS,
)

Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class DistributionTables:
    """Made with floating point once, and then stored with the weights."""

    inverse: Tensor  # int32: sigmoid table steps for a unit of distance, by log-scale
    sigmoid: Tensor  # int32 (2 * REACH * STEPS): 0..2^SIGMOID_BITS
    share: Tensor  # int32 (2 * LOGIT_LIMIT + 1): exp(-i / LEVEL), 2^SHARE_BITS at 0

    @cached_property
    def edges(self) -> Tensor:
        """0..16 as int32 (17, 1)."""
        return torch.arange(17, dtype=torch.int32, device=self.sigmoid.device).unsqueeze(1)

    @staticmethod
    def make() -> "DistributionTables":
        scale = torch.exp(torch.arange(SCALE_LOW, SCALE_HIGH + 1, dtype=torch.float64) / LEVEL)
        inverse = (STEPS / GREY / scale * (1 << INVERSE_BITS)).round().int()
        place = torch.arange(-REACH * STEPS, REACH * STEPS, dtype=torch.float64) / STEPS
        sigmoid = (torch.sigmoid(place) * (1 << SIGMOID_BITS)).round().int()
        share = (torch.exp(-torch.arange(2 * LOGIT_LIMIT + 1, dtype=torch.float64) / LEVEL) * (1 << SHARE_BITS)).round().int()
        return DistributionTables(inverse, sigmoid, share)


def output_bits(mixtures: int) -> Tensor:
    """The network's integer outputs count 2^-bits: offsets 1 / (GREY * OFFSET_UNIT), scales and logits 1 / LEVEL; (3 K)."""
    return torch.tensor([GREY.bit_length() - 1 + int(OFFSET_UNIT).bit_length() - 1] * mixtures + [LEVEL.bit_length() - 1] * 2 * mixtures)


def _looked_up(table: Tensor, places: Tensor) -> Tensor:
    """The entries of a table at int32 places of any shape."""
    return table.index_select(0, places.flatten()).view_as(places)


class Distribution:
    """The distributions of n symbols."""

    def __init__(self, output: Tensor, centres: Tensor | int, tables: DistributionTables) -> None:
        """output: int32 (n, 3 K) in units of `output_bits`. centres: int32 (n), or one for all, in 1/GREY grey levels."""
        offset, scale, logit = output.t().unflatten(0, (3, -1)).unbind(0)  # each (K, n)
        self.tables = tables
        self.inverse = _looked_up(tables.inverse, scale.clamp(SCALE_LOW, SCALE_HIGH).sub_(SCALE_LOW))
        mean = centres + offset.clamp(-OFFSET_LIMIT, OFFSET_LIMIT)
        self.origin = (REACH * STEPS << INVERSE_BITS) - mean * self.inverse  # where edge 0 falls in the sigmoid's table
        logit = logit.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
        self.share = _looked_up(tables.share, logit.amax(0) - logit)

    def cumulative(self, edges: Tensor) -> Tensor:
        """C at edges (m, n) or (m, 1), which are in 1/GREY grey levels; int32 (m, n), increasing along m."""
        place = (edges.unsqueeze(1) * self.inverse).add_(self.origin).bitwise_right_shift_(INVERSE_BITS)
        place.clamp_(0, 2 * REACH * STEPS - 1)
        sigmoid = _looked_up(self.tables.sigmoid, place)
        return sigmoid.mul_(self.share).sum(1, dtype=torch.int32)

    def nibble(self, above: Tensor | None = None) -> Tensor:
        """Weights of the sixteen values of the high nibble, or of the low one under the high nibbles `above` (n).

        Integers in float32 (n, 16), each at least 1, with a sum below 2^24. The two end symbols take the tails.
        """
        total = self.share.sum(0, dtype=torch.int32).mul_(1 << SIGMOID_BITS)
        if above is None:
            c = self.cumulative(self.tables.edges * (16 * GREY) - GREY // 2)
            c[0] = 0
            c[16] = total
        else:
            above = above.int()
            c = self.cumulative((self.tables.edges + 16 * above) * GREY - GREY // 2)
            c[0].masked_fill_(above == 0, 0)
            torch.where(above == 15, total, c[16], out=c[16])
        c.bitwise_right_shift_(SPARE_BITS)
        weights = torch.empty((c.shape[1], 16), dtype=torch.float32, device=c.device)
        return weights.copy_((c[1:] - c[:-1]).add_(1).t())

    def nibbles(self, above: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        """The same as arrays."""
        known = None if above is None else torch.from_numpy(above).to(self.share.device)
        weights: NDArray[np.float32] = self.nibble(known).cpu().numpy()
        return weights


def _arrays(*tensors: Tensor) -> tuple[Any, ...]:
    return tuple(tensor.contiguous().cpu().numpy() for tensor in tensors)


class TorchQuantiles(ABC):
    """See `model.Quantiles`: distributions of n symbols of `levels` values over the quantiles 0..2^precision - 1, in torch."""

    def __init__(self, levels: int, precision: int, device: torch.device) -> None:
        self.levels, self.precision, self._device = levels, precision, device

    @abstractmethod
    def weight_below(self, symbols: Tensor) -> Tensor:
        """E at symbols (n, m) in 0..levels, int64."""

    def below(self, symbols: Tensor) -> Tensor:
        """C at symbols (n, m) in 0..levels, int64."""
        weight = self.weight_below(symbols)
        return symbols + weight.mul_((1 << self.precision) - self.levels).div_(self._total, rounding_mode="floor")

    @cached_property
    def _total(self) -> Tensor:
        return self.weight_below(torch.tensor([[self.levels]], device=self._device))

    def intervals(self, symbols: NDArray[Any]) -> tuple[Int64, Int64]:
        first = self._tensor(symbols).unsqueeze(1)
        low, high = self.below(torch.cat([first, first + 1], 1)).unbind(1)
        return _arrays(low, high - low)

    def table(self) -> Int64:
        table: Int64 = self.below(torch.arange(self.levels + 1, device=self._device).unsqueeze(0)).diff(dim=1).cpu().numpy()
        return table

    def find(self, quantiles: Int64) -> tuple[Int64, Int64, Int64]:
        """`levels` is a multiple of 16."""
        wanted = self._tensor(quantiles).unsqueeze(1)
        first = torch.zeros_like(wanted)
        for width in (16, 1):  # the sixteenth that holds it, then the symbol
            count = self.levels // 16 if width == 16 else 16
            candidates = first + width * torch.arange(1, count + 1, device=self._device)
            below = self.below(candidates)
            first = first + width * (below[:, :-1] <= wanted).sum(1, keepdim=True)
        low, end = self.below(torch.cat([first, first + 1], 1)).unbind(1)
        return _arrays(first.squeeze(1), low, end - low)

    def _tensor(self, numbers: NDArray[Any]) -> Tensor:
        return torch.from_numpy(numbers.astype(np.int64)).to(self._device)


class Mixtures(TorchQuantiles):
    """Mixtures of logistics in bins of 256 / levels grey levels."""

    def __init__(self, distribution: Distribution, levels: int, precision: int) -> None:
        super().__init__(levels, precision, distribution.share.device)
        self.distribution = distribution

    def weight_below(self, symbols: Tensor) -> Tensor:
        step = 256 // self.levels
        edges = (symbols.t() * (step * GREY) - step * GREY // 2).int()
        total = self.distribution.share.sum(0, dtype=torch.int32) << SIGMOID_BITS
        weight = torch.where(symbols.t() <= 0, 0, torch.where(symbols.t() >= self.levels, total, self.distribution.cumulative(edges)))
        return (weight >> (SPARE_BITS)).t().long()

    def nibbles(self, above: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        return self.distribution.nibbles(above)


def category_table() -> Tensor:
    """exp(-i / LOGIT_UNIT) with CATEGORY_BITS, int32 (DEEPEST + 1). Made with floating point once, stored with the weights."""
    return (torch.exp(-torch.arange(DEEPEST + 1, dtype=torch.float64) / LOGIT_UNIT) * (1 << CATEGORY_BITS)).round().int()


def spare_bits(levels: int) -> int:
    """By which weights of so many categories are shifted, so that their sum stays below 2^24."""
    return next(s for s in range(CATEGORY_BITS) if levels * ((1 << CATEGORY_BITS >> s) + 1) < 1 << 24)


def category_weights(logits: Tensor, table: Tensor) -> Tensor:
    """Weights for an entropy coder, from integer logits (n, levels) in 1 / LOGIT_UNIT.

    Integers in float32 (n, levels), each at least 1, with a sum below 2^24.
    """
    depth = (logits.amax(1, keepdim=True) - logits).clamp_(max=DEEPEST)
    weights = table.index_select(0, depth.flatten()).view_as(depth)
    return weights.bitwise_right_shift_(spare_bits(logits.shape[1])).add_(1).float()


class Categories(TorchQuantiles):
    """A weight for every symbol, from integer logits (n, levels) in 1 / LOGIT_UNIT."""

    def __init__(self, logits: Tensor, table: Tensor, precision: int) -> None:
        super().__init__(logits.shape[1], precision, logits.device)
        depth = (logits.amax(1, keepdim=True) - logits).clamp_(max=DEEPEST)
        weights = table.index_select(0, depth.flatten()).view_as(depth)
        self._below = torch.zeros((logits.shape[0], self.levels + 1), dtype=torch.int64, device=logits.device)
        torch.cumsum(weights, 1, out=self._below[:, 1:])

    def weight_below(self, symbols: Tensor) -> Tensor:
        return self._below.gather(1, symbols.expand(self._below.shape[0], -1))

    def find(self, quantiles: Int64) -> tuple[Int64, Int64, Int64]:
        below = self.below(torch.arange(self.levels + 1, device=self._device).unsqueeze(0))
        symbols = (below[:, 1:] <= self._tensor(quantiles).unsqueeze(1)).sum(1, keepdim=True)
        low = below.gather(1, symbols)
        return _arrays(symbols.squeeze(1), low.squeeze(1), (below.gather(1, symbols + 1) - low).squeeze(1))
