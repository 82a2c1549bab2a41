"""Refinement: the latents of a picture are moved by gradient through decoder and prior before they are rounded.

An encoder network gives in one pass what is good for most pictures; a few steps down the gradient of rate + weight * error give what is
good for this one. Whoever decodes sees other latents and nothing else. Between two integers a latent is rounded softly: to the mean of the
distribution that stochastic Gumbel annealing draws from (Yang, Bamler and Mandt 2020, "Improving inference for neural image compression",
section 3.1), at a temperature that falls. Means instead of samples need tens of steps where samples need hundreds.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..autoencoder import network_input
from ..pixelcnn.network import PixelCNN
from ..precision import working_dtype
from ..refinable import Refined, Report
from .network import ZERO, Transforms

MOMENTS = 0.6, 0.6  # of Adam; short ones, for there are few steps
HOT, COLD = 0.7, 0.1  # temperatures
SLOWEST = 0.1  # the last step's length, relative to the first one's
UNIT = 127.5**2 / 3  # squared grey levels, the mean over R, G and B, in a squared unit of what the decoder gives
NEAREST = 1e-4  # to an integer, where the slope of soft rounding is taken
TOLD = 0.4  # of what the gradient foretells of the code lengths of later symbols, so much comes true when a latent moves by 1


class Plan(NamedTuple):
    """steps: how many while the temperature falls once. length: of the first one, in units of the latents. every: steps between looks at
    the prior. falls: of the temperature. choices: between integers, before the last one, which knows what file is asked for."""

    steps: int
    length: float
    every: int = 3
    falls: int = 1
    choices: int = 0


PLANS = {
    2: Plan(3, 0.1),
    3: Plan(4, 0.08),
    4: Plan(5, 0.08),
    5: Plan(8, 0.05),
    6: Plan(8, 0.05, choices=1),
    7: Plan(8, 0.05, falls=2, choices=1),
    8: Plan(8, 0.05, every=2, falls=3, choices=1),
    9: Plan(12, 0.05, every=1, falls=3, choices=1),
}
"""By effort; 1 is no refinement."""


class Refiner:
    """Latents of a window of pictures at one quality. All tensors are on one device."""

    def __init__(
        self, transforms: Transforms, prior: PixelCNN, condition: Tensor, pixels: Tensor, inside: tuple[int, int], place: float
    ) -> None:
        """pixels: uint8 (B, H, W, 3), of which the first `inside` rows and columns count. place: the quality in 0..1; condition: what the
        prior is told of it."""
        self.transforms, self.prior, self.condition = transforms, prior, condition
        self.dtype = working_dtype(pixels.device)
        self.quality = torch.full((len(pixels),), place, device=pixels.device)
        self.rows, self.columns = inside
        self.weight = transforms.config.low * (transforms.config.high / transforms.config.low) ** place
        self._pixels = network_input(pixels, torch.float32)[:, :, : self.rows, : self.columns]
        self._channels = torch.arange(transforms.config.channels, device=pixels.device)

    def moved(self, features: Tensor, plan: Plan, report: Report) -> Tensor:
        """Features (B, h, w, channels), moved and rounded: integers around 0, in floats."""
        y = self.transforms.scaled(features, self.quality)
        first = second = outputs = told = y
        for number in range(plan.falls * plan.steps):
            step = number % plan.steps
            done = step / max(1, plan.steps - 1)
            low, share, slope = soft_rounding(y, HOT * (COLD / HOT) ** done)
            values = low + share
            start, rise = self._embedded(low)
            if step % plan.every == 0:
                outputs, told = self._look(values, start + rise * share.unsqueeze(-1))
            gradient = self.weight * self._error_gradient(values) + self._slope(outputs, values) + (told * rise).sum(-1)
            gradient *= slope
            first = torch.lerp(first, gradient, 1 - MOMENTS[0]) if step else (1 - MOMENTS[0]) * gradient
            second = torch.lerp(second, gradient.square_(), 1 - MOMENTS[1]) if step else (1 - MOMENTS[1]) * gradient.square()
            length = plan.length * (1 - (1 - SLOWEST) * done) / (1 - MOMENTS[0] ** (step + 1)) * (1 - MOMENTS[1] ** (step + 1)) ** 0.5
            report((number + 1) / (plan.falls * plan.steps + plan.choices + 1))
            y = (y - length * first / (second.sqrt() + 1e-8)).clamp(-ZERO, self.prior.config.levels - 1 - ZERO)
        return y.round()

    def costs(self, integers: Tensor) -> Refined:
        """What rounded latents cost."""
        at, rise = self._embedded(integers)
        outputs, told = self._look(integers, at)
        below = at - self._embedded(integers - 1)[0]
        foretold = torch.stack([-(told * below).sum(-1), torch.zeros_like(integers), (told * rise).sum(-1)])
        bits = torch.stack([self._bits(outputs, integers + move) for move in (-1, 0, 1)])
        gradient, curvature = self._error(integers)
        numbers = (bits + TOLD * foretold, self.weight * gradient, self.weight * curvature)
        return Refined((integers + ZERO).to(torch.uint8).cpu().numpy(), *(part.cpu().numpy() for part in numbers))

    def _embedded(self, low: Tensor) -> tuple[Tensor, Tensor]:
        """What the prior sees of integers (B, h, w, channels), and how much more of the next ones; (B, h, w, channels, numbers) each."""
        table, last = self.prior.embedding, self.prior.config.levels - 1
        symbols = (low + ZERO).long().clamp(0, last)
        start = table[self._channels, symbols]
        return start, table[self._channels, (symbols + 1).clamp(max=last)] - start

    def _look(self, values: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """The prior's parameters for latents that are seen so, and the gradient of all code lengths, in bits, by what is seen."""
        prior = self.prior
        hints = seen.detach().to(self.dtype).requires_grad_()
        own = self.condition.to(self.dtype).expand(*values.shape[:3], -1)
        with torch.enable_grad():
            outputs = prior.outputs(prior.features(own, hints.flatten(-2)), hints)
            (told,) = torch.autograd.grad(self._bits(outputs, values).sum(), hints)
        return outputs.detach(), told.float()

    def _bits(self, outputs: Tensor, values: Tensor) -> Tensor:
        """Code lengths of latents (B, h, w, channels), which need not be integers."""
        nats = self.prior.nats(outputs, values + ZERO, torch.full_like(values, ZERO))
        return nats.permute(1, 2, 3, 0) / math.log(2)

    def _slope(self, outputs: Tensor, values: Tensor) -> Tensor:
        """The gradient of the code lengths by the values themselves."""
        at = values.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(self._bits(outputs, at).sum(), at)[0]

    def _error_gradient(self, values: Tensor) -> Tensor:
        """Of the squared error in grey levels, the mean over R, G and B summed over the picture."""
        return self._error(values, curved=False)[0]

    def _error(self, values: Tensor, curved: bool = True) -> tuple[Tensor, Tensor]:
        """The same and, if wanted, the second derivative by one latent of each channel (channels), as it is for a linear decoder.

        That is twice the diagonal of J^T J, which is the mean over the picture of the squares of J^T v where v are random signs.
        """
        at = values.detach().requires_grad_()
        with torch.enable_grad():
            decoded = self.transforms.decode_steps(at, self.quality, self.dtype)
            error = (decoded[:, :, : self.rows, : self.columns] - self._pixels).square().sum() * UNIT
            (gradient,) = torch.autograd.grad(error, at, retain_graph=curved)
            if not curved:
                return gradient, gradient
            random = torch.rand(decoded.shape, generator=torch.Generator().manual_seed(0)).to(decoded)
            (product,) = torch.autograd.grad((decoded * (random - 0.5).sign()).sum(), at)
        return gradient, 2 * UNIT * product.square().mean((0, 1, 2))


def soft_rounding(y: Tensor, temperature: float) -> tuple[Tensor, Tensor, Tensor]:
    """The integer below, the share of the way to the one above, 0..1, and the slope of that at y."""
    low = y.floor()
    part = (y - low).clamp(NEAREST, 1 - NEAREST)
    share = ((part.atanh() - (1 - part).atanh()) / temperature).sigmoid()
    slope = share * (1 - share) / temperature * (1 / (1 - part.square()) + 1 / (1 - (1 - part).square()))
    return low, share, slope
