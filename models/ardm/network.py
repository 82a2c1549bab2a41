"""The `ardm` network in floating point, as it is trained; `exact.py` is its integer form.

One network without causal masks, whose input is what is known of all values, and whose output is a distribution of every value that is
not (Hoogeboom et al. 2022, section 3; Uria et al. 2014). It works on places of 2 x 2 pixels: residual layers over 3 x 3 places, some of
them further apart. A distribution is a mixture of logistics around an estimate from the values nearby (`stages.py`), within what
earlier stages say.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import context, logistic
from ..quantisation import INPUT_BITS, FakeQuantiser, Linear, calibrate, module_list
from ..training.trainable import Trainable
from ..units import LOGIT_RANGE, OFFSET_UNIT, SCALE_RANGE
from .stages import BASE, BINS, COARSE, COLOURS, EIGHTHS, FLAG, HIGHEST, KERNELS, KNOWN, LATER, MIDDLE, OWN, ArdmConfig, Kernel

UNIT = 2.0**-INPUT_BITS
FADING = 0.9995  # what is taken down of losses counts less with every step


def square(quarter: Kernel) -> Tensor:
    """The weights of all values around, given those of one quarter; (2 n - 1, 2 n - 1)."""
    away = [abs(i) for i in range(1 - len(quarter), len(quarter))]
    return torch.tensor([[float(quarter[y][x]) for x in away] for y in away])


def sums_around(values: Tensor, weights: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted sums of the values around, and of their weights; (B, 3, H, W)."""
    both = torch.cat([weights * values, weights], 1)
    kernels = kernel[None, None].expand(2 * COLOURS, 1, -1, -1)
    above, below = F.conv2d(both, kernels, padding=len(kernel) // 2, groups=2 * COLOURS).chunk(2, 1)
    return above, below


class Ardm(Trainable):
    """`forward` gives nats a value of uint8 pictures (B, H, W, 3): an unbiased estimate, by one step of each."""

    quantised: Tensor
    spent: Tensor
    drawn: Tensor

    def __init__(self, config: ArdmConfig) -> None:
        super().__init__()
        c = self.config = config
        self.first = Linear(9 * c.inputs, c.width)
        self.blocks = module_list([Linear(9 * c.width, c.width, gain=0.5) for _ in c.steps])
        self.head = Linear(c.width, c.head)
        self.out = Linear(c.head, c.outputs, gain=0.1)
        self.out.bias.data.copy_(logistic.initial_bias(c.mixtures).repeat(c.values))
        self.grids = module_list([FakeQuantiser() for _ in range(len(c.steps) + 2)])
        self.register_buffer("quantised", torch.tensor(False))
        self.register_buffer("spent", torch.zeros(len(c.stages), BINS))
        self.register_buffer("drawn", torch.zeros(len(c.stages), BINS))
        self.kernels = [square(quarter) for quarter in KERNELS]
        self.tables = context.Tables.make()
        self._nats = interval_nats
        self._seen = self.seen

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Also of a network that is told nothing of stages: what it would be told counts nothing at first."""
        taken, own = dict(state), self.state_dict()
        first = state["first.weight"].unflatten(1, (9, -1))
        taken["first.weight"] = F.pad(first, (0, self.config.inputs - first.shape[2])).flatten(1)
        super().adopt(own | {name: part for name, part in taken.items() if name in own and part.shape == own[name].shape})

    def compile_loss(self) -> None:
        self._nats = torch.compile(interval_nats)
        self._seen = torch.compile(self.seen)

    def quantise(self, sample: Tensor) -> None:
        calibrate(self, sample)
        bits = [int(grid.bits) for grid in self.grids]
        self.first.calibrate((9 * self.config.inputs, INPUT_BITS))
        for block, before in zip(self.blocks, bits, strict=False):
            block.calibrate((9 * self.config.width, before))
        self.head.calibrate((self.config.width, bits[-2]))
        self.out.calibrate((self.config.head, bits[-1]))
        self.quantised.fill_(True)

    def estimates(self, known: Tensor, low: Tensor, high: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """Estimates of values from those around, and the nearest that may be; eighths of a grey level, (B, 3, H, W) each.

        low, high: of what every value may be, in eighths. coarse: of what is not known, whether bits of earlier stages are.
        """
        weights = torch.where(known, float(KNOWN), coarse * float(COARSE))
        others = weights.sum(1, keepdim=True) - weights
        beside = (known.sum(1, keepdim=True) - known.int()) > 0
        nearest = (low + high) / 2
        found = nearest
        for number, kernel in enumerate(self.kernels):
            if number:
                some, none = LATER[number - 1]
                share = torch.where(beside, float(some), float(none))
                above, below = sums_around(nearest, torch.where(known, float(KNOWN), share), kernel)
            else:
                above, below = (OWN * part + part.sum(1, keepdim=True) for part in sums_around(nearest, weights, kernel))
                above, below = above + BASE * MIDDLE, below + BASE
            found = (above / below).floor()
            errors = weights * (torch.minimum(torch.maximum(found, low), high) - found)
            found = found + ((errors.sum(1, keepdim=True) - errors) / others.clamp(min=1)).floor()
            found = found.clamp(0, HIGHEST)
            nearest = torch.minimum(torch.maximum(found, low), high)
        return found, nearest

    def seen(self, pixels: Tensor, known: Tensor, stage: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Inputs (B, inputs, h, w) of all places, estimates in grey levels, lowest values and numbers of values that may be; (B, 3, H, W).

        pixels: (B, 3, H, W); known: whether each was coded in the stage (B), the same shape.
        """
        before, after = (torch.tensor(self.config.missing)[stage + i].view(-1, 1, 1, 1) for i in (0, 1))
        bits = torch.where(known, after, before).int()
        low, size = ((pixels.int() >> bits) << bits).float(), (1 << bits).float()
        coarse = (stage > 0).float().view(-1, 1, 1, 1)
        found, nearest = self.estimates(known, EIGHTHS * low, EIGHTHS * (low + size - 1), coarse)
        residuals = self.tables.of_signed(((nearest - found) / EIGHTHS).floor())
        parts = [known * (FLAG * UNIT), residuals * UNIT, ((nearest / EIGHTHS).floor() - 128).clamp(-127, 127) * UNIT]
        inputs = F.pixel_unshuffle(torch.cat(parts, 1), self.config.patch)
        if self.config.told:
            told = F.one_hot(stage, self.config.told) * (FLAG * UNIT)
            inputs = torch.cat([inputs, told[:, :, None, None].expand(-1, -1, *inputs.shape[2:])], 1)
        return inputs, nearest / EIGHTHS, low, size

    def outputs(self, inputs: Tensor) -> Tensor:
        """Parameters of all distributions, (B, 3, H, W, 3 mixtures)."""
        q = bool(self.quantised)
        y = self.grids[0](around(inputs, self.first, 1, q), q)
        for block, grid, step in zip(self.blocks, self.grids[1:], self.config.steps, strict=False):
            y = grid(y + around(y, block, step, q), q)
        z = self.grids[-1](dense(y, self.head, q), q)
        outputs = dense(z, self.out, q).unflatten(1, (self.config.values, -1)).transpose(1, 2).flatten(1, 2)
        found: Tensor = F.pixel_shuffle(outputs, self.config.patch).unflatten(1, (-1, COLOURS)).permute(0, 2, 3, 4, 1)
        return found

    def forward(self, symbols: Tensor) -> Tensor:
        pixels, count, stages = symbols.permute(0, 3, 1, 2), len(symbols), len(self.config.stages)
        generator = None if torch.is_grad_enabled() else torch.Generator().manual_seed(0)
        stage = torch.arange(count) % stages
        # evenly spread shares of what is known: the number of known values is then uniform
        share = (torch.randperm(count, generator=generator) + torch.rand(count, generator=generator)) / count
        known = torch.rand(pixels.shape, generator=generator) < share.view(-1, 1, 1, 1)
        inputs, centres, low, size = self._seen(pixels, known, stage)
        fine = 2.0 ** torch.tensor(self.config.missing)[stage + 1].view(-1, 1, 1, 1)
        start = (pixels / fine).floor() * fine
        outputs = self.outputs(inputs)
        nats = self._nats(outputs, start, start + fine, centres)
        if stages > 1:
            nats = nats - self._nats(outputs, low, low + size, centres)
        unknown = ~known
        mean = (nats * unknown).sum((1, 2, 3)) / unknown.sum((1, 2, 3)).clamp(min=1)
        if torch.is_grad_enabled():
            self._remember(stage, known.float().mean((1, 2, 3)), mean.detach())
        return stages * mean

    def _remember(self, stage: Tensor, share: Tensor, nats: Tensor) -> None:
        """Take down what values cost on an average when some share of all is known: the loss components of a schedule."""
        at = stage * BINS + (share.sqrt() * BINS).long().clamp(max=BINS - 1)
        for sums, values in ((self.spent, nats), (self.drawn, torch.ones_like(nats))):
            sums.mul_(FADING).view(-1).index_add_(0, at, values)


def around(x: Tensor, layer: Linear, step: int, quantised: bool) -> Tensor:
    """A layer of the 3 x 3 places around, row by row, so many rows and columns away; (B, n, h, w) -> (B, outputs, h, w)."""
    weights = layer.weights(quantised).unflatten(1, (3, 3, -1)).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return F.conv2d(x.contiguous(memory_format=torch.channels_last), weights, layer.bias, padding=step, dilation=step)


def dense(x: Tensor, layer: Linear, quantised: bool) -> Tensor:
    """A layer of every place alone; (B, n, h, w) -> (B, outputs, h, w)."""
    weights = layer.weights(quantised)[:, :, None, None].contiguous(memory_format=torch.channels_last)
    return F.conv2d(x.contiguous(memory_format=torch.channels_last), weights, layer.bias)


def interval_nats(output: Tensor, low: Tensor, end: Tensor, centres: Tensor) -> Tensor:
    """-log of the chance of the grey levels low ... end - 1, by a mixture as `logistic.nats` has it; (...)."""
    offset, scale, logit = output.unflatten(-1, (3, -1)).unbind(-2)
    inverse = torch.exp(-scale.clamp(*SCALE_RANGE))
    middle = centres.unsqueeze(-1) + offset * OFFSET_UNIT
    first, last = (low <= 0).unsqueeze(-1), (end >= 256).unsqueeze(-1)
    above = torch.where(last, 0.0, -F.softplus(-(end.unsqueeze(-1) - 0.5 - middle) * inverse))
    below = torch.where(first, 0.0, -F.softplus((low.unsqueeze(-1) - 0.5 - middle) * inverse))
    between = torch.where(first | last, 0.0, torch.log(-torch.expm1((low - end).unsqueeze(-1) * inverse)))
    logit = logit.clamp(-LOGIT_RANGE, LOGIT_RANGE)
    return torch.logsumexp(logit, -1) - torch.logsumexp(above + below + between + logit, -1)
