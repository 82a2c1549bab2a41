"""Learned forecasting modules: what will the symbols of the next pixels be? (Wiggers and Hoogeboom 2020, section 2.4.)

A forecaster looks at what is valid when the pixels before p are known, and gives a distribution for each of the next
`steps` pixels p, p + 1, ... in raster order. Forecasts never reach the entropy coder, so this is floating point: a wrong
one costs a call and nothing else.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import logistic

TAPS = ((-1, -1), (-1, 0), (-1, 1), (0, -1))  # a strictly triangular 3 x 3 window
KINDS = ("h", "x", "h+quantile", "h+gumbel")
SMALLEST = 1e-9


class Forecaster(nn.Module):
    """kind: what it sees. `h`: the ARM's shared representation; `x`: the pixels themselves, not sharing anything;
    `h+quantile`, `h+gumbel`: also the noise of the forecast window."""

    def __init__(self, kind: str, inputs: int, steps: int, channels: int, levels: int, outputs: int, filters: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"forecasters are {', '.join(KINDS)}, not {kind!r}")
        self.kind, self.shape = kind, (steps, channels, outputs)
        self.noise = {"h+quantile": 1, "h+gumbel": levels}.get(kind, 0)
        self.first = nn.Linear(len(TAPS) * inputs + steps * channels * self.noise, filters)
        self.last = nn.Linear(filters, steps * channels * outputs)

    def forward(self, near: Tensor, noise: Tensor | None) -> Tensor:
        """near: what is seen at TAPS, (n, taps * inputs). noise: (n, steps, channels, numbers), 0 where there is none.

        Returns the distributions' parameters, float32 (n, steps, channels, outputs).
        """
        parts = [near.float()] if noise is None else [near.float(), noise.flatten(1)]
        result: Tensor = self.last(F.relu(self.first(torch.cat(parts, 1)))).unflatten(1, self.shape)
        return result


def quantile_feature(quantiles: Tensor) -> Tensor:
    """What a forecaster is told of quantiles in (0, 1): the number that is as rare under a normal distribution."""
    feature: Tensor = torch.special.ndtri(quantiles.clamp(1e-4, 1 - 1e-4))
    return feature


def posterior_quantiles(probabilities: Tensor, symbols: Tensor) -> Tensor:
    """Draw the quantiles that would have given these symbols: uniform in a symbol's interval. (n, K), (n) -> (n)."""
    above = probabilities.cumsum(-1).gather(-1, symbols.unsqueeze(-1)).squeeze(-1)
    size = probabilities.gather(-1, symbols.unsqueeze(-1)).squeeze(-1)
    return above - size * torch.rand_like(size)


def gumbel(like: Tensor) -> Tensor:
    """Standard Gumbel noise."""
    return -torch.log(-torch.log(torch.rand_like(like).clamp(1e-20, 1 - 1e-7)))


def posterior_gumbel(probabilities: Tensor, symbols: Tensor) -> Tensor:
    """Draw the Gumbel noise that would have given these symbols (appendix B, equations 14 and 15). (n, K), (n) -> (n, K).

    The largest perturbed logit is Gumbel whatever the symbol; the others are Gumbel cut off at it.
    """
    logits = probabilities.clamp(min=SMALLEST).log()
    index = symbols.unsqueeze(-1)
    top = gumbel(logits.gather(-1, index))  # the maximum of all perturbed logits, which sum to probability 1
    others = gumbel(logits) + logits
    cut = -torch.log(torch.exp(-top) + torch.exp(-others))
    return cut.scatter(-1, index, top) - logits


def divergence(target: Tensor, forecast: Tensor) -> Tensor:
    """KL(target || forecast) in nats of tables of probabilities (..., K); equation 9."""
    target, forecast = target.clamp(min=SMALLEST), forecast.clamp(min=SMALLEST)
    return (target * (target.log() - forecast.log())).sum(-1)


def table(parameters: Tensor, centres: Tensor | None, step: int) -> Tensor:
    """Probabilities of all symbols, (..., K), from a forecast's or the ARM's parameters."""
    return parameters.softmax(-1) if centres is None else logistic.probabilities(parameters, centres, step)


def sample_targets(shape: Sequence[int], steps: int, count: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Random pixels p and steps t with p + t inside the picture: image, p and p + t as raster indices, (count) each."""
    images, height, width = shape
    t = torch.randint(steps, (count,), device=device)
    p = (torch.rand(count, device=device) * (height * width - t)).long()
    return torch.randint(images, (count,), device=device), p, p + t
