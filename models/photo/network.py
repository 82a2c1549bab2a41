"""The `photo` network in floating point, as it is trained; `exact_photo.py` is its integer form.

For every pixel a small network sees the causal context (`context.py`) and the cached hidden vectors of six decoded
neighbours, and gives for G, then R, then B a mixture of logistics around the adaptive prediction. Each channel's head also
sees the residuals of the channels before it.

In the last part of training (`quantise`) activations are held on 0..127 times a power of two, and weights on int8 times a
power of two for every output: what `export.py` then writes as integers.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import context, logistic
from ..precision import working_dtype

M = TypeVar("M", bound=nn.Module)
INPUT_BITS = 5  # the network's inputs -127..127 count 1/32
CELL_BLOCK = (3, 2)  # whose hidden vectors are seen: W NE WW N WWW NW
CELLS = CELL_BLOCK[0] * CELL_BLOCK[1]
HINTS = 2  # numbers that tell a head about an earlier channel's residual


@dataclass(frozen=True)
class Config:
    hidden: int = 64  # cached vector of a decoded pixel
    width: int = 192
    blocks: int = 2
    head: int = 64
    mixtures: int = 5


def straight_through(exact: Tensor, smooth: Tensor) -> Tensor:
    """The value of `exact` with the gradient of `smooth`."""
    return smooth + (exact - smooth).detach()


class Linear(nn.Module):
    """A dense layer whose weights can be held on an int8 grid.

    `input_bits` says of every input that its integers count 2^-bits; `exponent` of every output that the integer sum
    counts 2^-exponent. An integer weight is then weight * 2^(exponent - input_bits), within -127..127.
    """

    exponent: Tensor
    input_bits: Tensor

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain * math.sqrt(2 / inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("exponent", torch.zeros(outputs, dtype=torch.int32))
        self.register_buffer("input_bits", torch.zeros(inputs, dtype=torch.int32))

    def choose(self, *parts: tuple[int, int]) -> None:
        """Take the finest weight grids, given (number of inputs, bits) of the parts of the input."""
        self.input_bits.copy_(torch.cat([torch.full((n,), bits) for n, bits in parts]))
        largest = (self.weight.detach() * torch.exp2(-self.input_bits.float())).abs().amax(1).clamp(min=2.0**-14)
        self.exponent.copy_(torch.floor(torch.log2(127.49 / largest)).clamp(8, 20))

    def units(self) -> Tensor:
        """Integer weights in a weight of 1, float32 (outputs, inputs)."""
        return torch.exp2(self.exponent.float().unsqueeze(1) - self.input_bits.float())

    def integers(self) -> Tensor:
        """The integer weights, as floats."""
        return (self.weight * self.units()).round().clamp(-127, 127)

    def on_grid(self) -> Tensor:
        return straight_through(self.integers() / self.units(), self.weight)

    def forward(self, *parts: Tensor, quantised: bool) -> Tensor:
        """W [parts] + b; the parts are kept apart so that no gradient is computed for those that need none."""
        weight = (self.on_grid() if quantised else self.weight).to(parts[0].dtype)
        pieces = weight.split([part.shape[-1] for part in parts], dim=1)
        result = F.linear(parts[0], pieces[0], self.bias.to(weight.dtype))
        for part, piece in zip(parts[1:], pieces[1:], strict=True):
            result = result + F.linear(part, piece)
        return result


def module_list(modules: Iterable[M]) -> Sequence[M]:
    """nn.ModuleList that says what it holds."""
    return cast("Sequence[M]", nn.ModuleList(modules))


class Grid(nn.Module):
    """A ReLU whose outputs can be held on the grid 0..127 times 2^-bits; signed: no ReLU, -127..127."""

    bits: Tensor
    largest: Tensor

    def __init__(self, signed: bool = False) -> None:
        super().__init__()
        self.signed = signed
        self.register_buffer("bits", torch.tensor(0, dtype=torch.int32))
        self.register_buffer("largest", torch.tensor(0.0))
        self.measuring = False

    def choose(self) -> None:
        """Take the finest grid that covers what was measured."""
        self.bits.copy_(torch.floor(torch.log2(127.5 / self.largest.clamp(min=2.0**-6))))

    def forward(self, x: Tensor, quantised: bool) -> Tensor:
        x = x if self.signed else F.relu(x)
        if self.measuring:
            self.largest.copy_(torch.maximum(self.largest, x.float().abs().flatten()[::7].kthvalue(int(0.999 * x.numel()) // 7).values))
        if not quantised:
            return x
        unit = torch.exp2(self.bits.float())
        largest = float(127 / unit)
        x = x.clamp(-largest if self.signed else 0.0, largest)
        return straight_through((x * unit + 0.5).floor() / unit, x)


def choose_grids(network: nn.Module, *sample: Any) -> None:
    """Choose the grids of all activations from what the network does with a sample of its inputs."""
    grids = [module for module in network.modules() if isinstance(module, Grid)]
    for grid in grids:
        grid.measuring = True
    with torch.no_grad():
        network(*sample)
    for grid in grids:
        grid.measuring = False
        grid.choose()


def multiplications(network: nn.Module) -> int:
    """Multiplications a pixel."""
    return sum(layer.weight.numel() for layer in network.modules() if isinstance(layer, Linear))


class Photo(nn.Module):
    """Float network; `forward` gives nats per sub-pixel for whole images."""

    quantised: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.cell = module_list([Linear(context.INPUTS + context.CHANNELS, config.hidden), Linear(config.hidden, config.hidden)])
        self.trunk = Linear(context.INPUTS + CELLS * config.hidden, config.width)
        self.blocks = module_list([Linear(config.width, config.width, gain=0.5) for _ in range(config.blocks)])
        self.heads = module_list([Linear(config.width + HINTS * c, config.head) for c in range(context.CHANNELS)])
        self.outs = module_list([Linear(config.head, 3 * config.mixtures, gain=0.1) for _ in range(context.CHANNELS)])
        for out in self.outs:
            out.bias.data.copy_(logistic.initial_bias(config.mixtures))
        self.cell_grids = module_list([Grid(), Grid()])
        self.grids = module_list([Grid() for _ in range(config.blocks + 1)])
        self.head_grids = module_list([Grid() for _ in range(context.CHANNELS)])
        self.register_buffer("quantised", torch.tensor(False))
        self.tables = context.Tables.make()
        self._nats = logistic.nats

    def compile_loss(self) -> None:
        """Fuse the loss; needs a C++ compiler or a GPU."""
        self._nats = torch.compile(logistic.nats)

    def quantise(self, sample: Tensor) -> None:
        """From now on weights and activations are on their grids, which are chosen from uint8 sample images (B, H, W, 3)."""
        choose_grids(self, sample)
        causal = (context.INPUTS, INPUT_BITS)
        first, second = (int(grid.bits) for grid in self.cell_grids)
        self.cell[0].choose(causal, (context.CHANNELS, INPUT_BITS))
        self.cell[1].choose((self.config.hidden, first))
        self.trunk.choose(causal, (CELLS * self.config.hidden, second))
        bits = [int(grid.bits) for grid in self.grids]
        for block, before in zip(self.blocks, bits, strict=False):
            block.choose((self.config.width, before))
        for c, (head, grid, out) in enumerate(zip(self.heads, self.head_grids, self.outs, strict=True)):
            head.choose((self.config.width, bits[-1]), (HINTS * c, INPUT_BITS))
            out.choose((self.config.head, int(grid.bits)))
        self.quantised.fill_(True)

    def macs(self) -> int:
        """Multiplications a pixel."""
        return multiplications(self)

    def outputs(self, inputs: Tensor, residuals: Tensor) -> Tensor:
        """Mixture parameters, float32 (3, B, H, W, 3 mixtures)."""
        q = bool(self.quantised)
        kind, unit = working_dtype(inputs.device), 2.0**-INPUT_BITS
        x = inputs.to(kind) * unit
        companded = self.tables.of_signed(residuals).to(kind) * unit
        hidden = torch.cat([x, companded], dim=-1)
        for layer, grid in zip(self.cell, self.cell_grids, strict=True):
            hidden = grid(layer(hidden, quantised=q), q)
        seen = context.shifted(hidden, CELL_BLOCK).flatten(-2).flatten(0, 2)
        y = self.grids[0](self.trunk(x.flatten(0, 2), seen, quantised=q), q)
        for block, grid in zip(self.blocks, self.grids[1:], strict=True):
            y = grid(y + block(y, quantised=q), q)
        fine = (residuals * 8).clamp(-127, 127).to(kind) * unit
        hints = torch.stack([companded, fine], dim=-1).flatten(0, 2)
        outputs = []
        for c, (head, grid, out) in enumerate(zip(self.heads, self.head_grids, self.outs, strict=True)):
            z = grid(head(y, hints[:, :c].flatten(1), quantised=q), q)
            outputs.append(out(z.float(), quantised=q))
        stacked: Tensor = torch.stack(outputs).unflatten(1, inputs.shape[:3])
        return stacked

    def forward(self, pixels: Tensor) -> Tensor:
        """Nats of every sub-pixel of uint8 RGB images (B, H, W, 3); float32 (3, B, H, W), channels G, R, B."""
        with torch.no_grad():
            inputs, combined, residuals = context.features(pixels, self.tables)
            centres = context.centres(combined, pixels[..., 1:2])
            symbols = pixels[..., [1, 0, 2]].float()
        first = (3, 0, 1, 2)
        return self._nats(self.outputs(inputs, residuals), symbols.permute(first).contiguous(), centres.permute(first).contiguous())
