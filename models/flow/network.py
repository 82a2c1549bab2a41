"""The `flow` network in floating point, as it is trained; `exact.py` is its integer form.

Integer discrete flows (Hoogeboom et al. 2019; van den Berg et al. 2021, IDF++) over the residues modulo 256: a coupling is
z2 = (x2 + round(t(x1))) mod 256, which is invertible whatever t is, and leaves every value a byte. What a split codes, given what it
leaves, is a mixture of discretised logistics.

All layers are conditional networks of one kind. Of every colour they take the mean of what is given at a place as its *centre*; they
see 3 x 3 places relative to that, and give shifts of what a coupling changes, or mixtures around the centres.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import context, logistic
from ..quantisation import INPUT_BITS, FakeQuantiser, Linear, calibrate, module_list, straight_through
from ..training.trainable import Trainable
from ..units import GREY, OFFSET_LIMIT, OFFSET_UNIT, SIGNED_LIMIT
from .plan import AROUND, COLOURS, EXTRA, MIDDLE, FlowConfig, Step, steps

KNEE = 3.0  # of the companding, see `context.compand`
OUTSIDE = 2048.0  # value of what is outside the tile; becomes 0 in the network's input


def around(x: Tensor) -> Tensor:
    """The values at 3 x 3 places (B, h, w, 9, C), OUTSIDE where there is none."""
    height, width = x.shape[1:3]
    padded = F.pad(x, (0, 0, 1, 1, 1, 1), value=OUTSIDE)
    return torch.stack([padded[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in AROUND], 3)


def floor(x: Tensor) -> Tensor:
    """With the gradient of x."""
    return straight_through(x.floor(), x)


def modulo(x: Tensor) -> Tensor:
    """Modulo 256, with the gradient of x."""
    return straight_through(x.remainder(256), x)


class Companded(torch.autograd.Function):
    """Whole differences as inputs of a network, on their grid; with the gradient of the smooth function. Beyond 255 they are 0."""

    table = F.pad(context.compand(SIGNED_LIMIT, KNEE)[SIGNED_LIMIT - 255 : SIGNED_LIMIT + 256].float(), (0, 1)) / 2**INPUT_BITS
    slope = F.pad(127 / 2**INPUT_BITS / math.log1p(256 / KNEE) / (torch.arange(-255, 256).abs() + KNEE), (0, 1))

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        places = (x + 255.5).clamp_(max=511).int()
        ctx.save_for_backward(places)
        inputs: Tensor = Companded.table.to(x.device)[places]
        return inputs

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (places,) = ctx.saved_tensors
        through: Tensor = gradient * Companded.slope.to(gradient.device)[places]
        return through


class Conditional(nn.Module):
    """What channels are like, given others of the same places."""

    def __init__(self, step: Step, width: int, blocks: int, head: int, outputs: int, gain: float) -> None:
        """outputs: of every channel that is changed."""
        super().__init__()
        self.step = step
        self.first = Linear(9 * len(step.given) + EXTRA, width)
        self.blocks = module_list([Linear(9 * width, width, gain=0.5) for _ in range(blocks)])
        self.head = Linear(width, head)
        self.out = Linear(head, outputs * len(step.changed), gain=gain)
        self.first_grid, self.head_grid = FakeQuantiser(), FakeQuantiser()
        self.grids = module_list([FakeQuantiser() for _ in range(blocks)])
        self.width = width

    def centres(self, given: Tensor) -> Tensor:
        """The mean of what is given of every colour, or of everything where there is nothing of it, rounded down; (B, h, w, 3)."""
        parts = [F.one_hot(torch.tensor(part, device=given.device), given.shape[-1]).sum(0) for part in self.step.of_colours]
        chosen = torch.stack(parts).to(given.dtype)
        return floor((F.linear(given, chosen) + 0.5) / chosen.sum(1))

    def inputs(self, given: Tensor, centres: Tensor) -> Tensor:
        differences = around(given) - spread(centres, self.step.given_colours).unsqueeze(-2)
        extra = torch.stack([centres[..., 0] - centres[..., 1], centres[..., 2] - centres[..., 1], centres[..., 1] - MIDDLE], -1)
        companded: Tensor = Companded.apply(  # type: ignore[no-untyped-call]
            torch.cat([differences.flatten(-2), extra], -1)
        )
        return companded

    def forward(self, given: Tensor, centres: Tensor, quantised: bool) -> Tensor:
        """Outputs (B, h, w, changed, outputs)."""
        x = self.inputs(given, centres)
        y = self.first_grid(self.first(x, quantised=quantised), quantised)
        for block, grid in zip(self.blocks, self.grids, strict=True):
            kernel = block.weights(quantised).unflatten(1, (9, -1))
            y = grid(y + convolution(y, kernel, block.bias), quantised)
        z = self.head_grid(self.head(y, quantised=quantised), quantised)
        outputs: Tensor = self.out(z, quantised=quantised).unflatten(-1, (len(self.step.changed), -1))
        return outputs

    def choose_grids(self) -> None:
        self.first.calibrate((self.first.weight.shape[1], INPUT_BITS))
        bits = int(self.first_grid.bits)
        for block, grid in zip(self.blocks, self.grids, strict=True):
            block.calibrate((9 * self.width, bits))
            bits = int(grid.bits)
        self.head.calibrate((self.width, bits))
        self.out.calibrate((self.head.weight.shape[0], int(self.head_grid.bits)))


def spread(centres: Tensor, colours: Sequence[int]) -> Tensor:
    """Centres (..., 3) for channels of these colours; a product, whose gradient is cheaper than that of indexing."""
    chosen = F.one_hot(torch.tensor(colours, device=centres.device), COLOURS).to(centres.dtype)
    return F.linear(centres, chosen)


def convolution(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """3 x 3, of x (B, h, w, C) with weights (outputs, 9, C) in the order of AROUND."""
    order = [AROUND.index((dy, dx)) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]
    kernel = weight[:, order].unflatten(1, (3, 3)).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    return F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, padding=1).permute(0, 2, 3, 1)


class Flow(Trainable):
    """Float network; `forward` gives nats of every symbol of uint8 images (B, H, W, 3), whose sides are multiples of `config.side`."""

    quantised: Tensor

    def __init__(self, config: FlowConfig) -> None:
        super().__init__()
        self.config = c = config
        self.steps, self.kept = steps(c)
        layers = []
        for step in self.steps:
            width, blocks = (c.widths, c.blocks) if step.codes else (c.coupling_widths, c.coupling_blocks)
            gain = 0.1 if step.codes or not c.rezero else 0.0
            outputs = 3 * c.mixtures if step.codes else 1
            layer = Conditional(step, width[step.scale], blocks[step.scale], c.head, outputs, gain)
            if step.codes:
                layer.out.bias.data.copy_(logistic.initial_bias(c.mixtures).repeat(len(step.changed)))
            layers.append(layer)
        self.layers = module_list(layers)
        start = logistic.initial_bias(c.mixtures).unflatten(0, (3, -1)) + torch.tensor([0.0, 2.0, 0.0]).unsqueeze(1)
        start[0] *= 20
        self.last = nn.Parameter(start.flatten().repeat(COLOURS, 1))
        self.register_buffer("quantised", torch.tensor(False))
        self._nats = logistic.nats

    def compile_loss(self) -> None:
        self._nats = torch.compile(logistic.nats)

    def quantise(self, sample: Tensor) -> None:
        calibrate(self, sample)
        for layer in self.layers:
            layer.choose_grids()
        self.quantised.fill_(True)

    def forward(self, pixels: Tensor) -> Tensor:
        q = bool(self.quantised)
        x = pixels.float()
        symbols, mixtures = [], []
        scale = -1
        for step, layer in zip(self.steps, self.layers, strict=True):
            if step.scale > scale:
                scale, x = step.scale, squeeze(x)
                parts = dict(enumerate(x.unbind(-1)))
            given = torch.stack([parts[i] for i in step.given], -1)
            changed = torch.stack([parts.pop(i) for i in step.changed], -1)
            centres = layer.centres(given)
            outputs = layer(given, centres, q)
            if step.codes:
                own = spread(centres, step.changed_colours)
                symbols.append((changed - own).flatten(1))
                mixtures.append(outputs.flatten(1, 3))
                x = given
            else:
                limit = OFFSET_LIMIT / GREY
                shift = floor((outputs[..., 0] * OFFSET_UNIT).clamp(-limit, limit) + 0.5)
                parts.update(zip(step.changed, modulo(changed + shift).unbind(-1), strict=True))
        symbols.append((x - MIDDLE).flatten(1))
        mixtures.append(self.last.expand(*x.shape, -1).flatten(1, 3))
        values = modulo(torch.cat(symbols, 1) + MIDDLE)
        return self._nats(torch.cat(mixtures, 1), values, torch.full_like(values, MIDDLE))


def squeeze(x: Tensor) -> Tensor:
    """(B, 2 h, 2 w, C) -> (B, h, w, 4 C): the places of a patch, row by row."""
    x = x.unflatten(1, (-1, 2)).unflatten(3, (-1, 2))
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3)
