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
SAMPLES = 48  # pixels whose forecasts are in the loss of a step


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
        return torch.unflatten(self.last(F.relu(self.first(torch.cat(parts, 1)))), 1, self.shape)


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


def loss(
    modules: Sequence[Forecaster], symbols: Tensor, seen: Tensor, y: Tensor, outputs: Tensor, centres: Tensor | None, step: int
) -> Tensor:
    """KL(ARM || forecast) in nats a symbol at random pixels, summed over the modules; the ARM's side is detached.

    symbols: (B, H, W, C), channels in coding order, `step` grey levels apart. seen, y: what modules see, (B, H, W, inputs).
    outputs, centres: the ARM's distributions, (C, B, H, W, outputs) and (B, H, W, C).
    """
    (images, height, width, _), device, forecast_steps = symbols.shape, symbols.device, modules[0].shape[0]
    t = torch.randint(forecast_steps, (SAMPLES,), device=device)  # pixel p + t is forecast at pixel p
    p = (torch.rand(SAMPLES, device=device) * (height * width - t)).long()
    image = torch.randint(images, (SAMPLES,), device=device)
    window = (p.unsqueeze(1) + torch.arange(forecast_steps, device=device)).clamp(max=height * width - 1)  # (n, T)
    chosen = image.unsqueeze(1) * height * width + window
    truth = symbols.flatten(0, 2)[chosen].permute(2, 0, 1).long()  # (C, n, T)
    with torch.no_grad():
        about = None if centres is None else centres.permute(3, 0, 1, 2).flatten(1)[:, chosen]
        target = table(outputs.flatten(1, 3)[:, chosen], about, step)  # (C, n, T, K)
    above = None if centres is None else F.pad(symbols[:, :-1] * step, (0, 0, 0, 0, 1, 0), value=128).flatten(1, 2)[image, p + t].float()
    at = (torch.arange(SAMPLES, device=device), t)
    total = torch.zeros((), device=device)
    for module in modules:
        padded = F.pad(seen if module.kind == "x" else y, (0, 0, 1, 1, 1, 0))
        near = torch.cat([padded[image, p // width + 1 + dy, p % width + 1 + dx] for dy, dx in TAPS], 1)
        noise = None
        if module.kind == "h+quantile":
            noise = quantile_feature(posterior_quantiles(target, truth)).permute(1, 2, 0).unsqueeze(-1)
        elif module.kind == "h+gumbel":
            noise = posterior_gumbel(target, truth).permute(1, 2, 0, 3)
        forecast = table(module(near, noise)[at], above, step)  # (n, C, K)
        total = total + divergence(target[:, *at].transpose(0, 1), forecast).mean()
    return total
