"""The `photo` network in floating point, as it is trained; `exact.py` is its integer form.

For every pixel a small network sees the causal context (`context.py`) and the cached hidden vectors of six decoded
neighbours, and gives for G, then R, then B a mixture of logistics around the adaptive prediction. Each channel's head also
sees the residuals of the channels before it.

In the last part of training (`quantise`) weights and activations are held on the grids of `quantisation.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import context, logistic, units
from ..precision import working_dtype
from ..quantisation import INPUT_BITS, FakeQuantiser, Linear, calibrate, module_list
from ..training.trainable import Trainable

CELL_BLOCK = (3, 2)  # whose hidden vectors are seen: W NE WW N WWW NW
CELLS = CELL_BLOCK[0] * CELL_BLOCK[1]


@dataclass(frozen=True)
class PhotoConfig:
    hidden: int = 64  # cached vector of a decoded pixel
    width: int = 192
    blocks: int = 2
    head: int = 64
    mixtures: int = 5


class Local(Trainable):
    """What sees a pixel's causal context and the cached hidden vectors around it; heads are up to networks of this kind.

    told: numbers that the trunk is told beside the context.
    """

    quantised: Tensor

    def __init__(self, config: PhotoConfig, told: int = 0) -> None:
        super().__init__()
        self.config, self.told = config, told
        self.cell = module_list([Linear(units.INPUTS + units.CHANNELS, config.hidden), Linear(config.hidden, config.hidden)])
        self.trunk = Linear(units.INPUTS + told + CELLS * config.hidden, config.width)
        self.blocks = module_list([Linear(config.width, config.width, gain=0.5) for _ in range(config.blocks)])
        self.cell_grids = module_list([FakeQuantiser(), FakeQuantiser()])
        self.grids = module_list([FakeQuantiser() for _ in range(config.blocks + 1)])
        self.register_buffer("quantised", torch.tensor(False))
        self.tables = context.Tables.make()
        self._nats = logistic.nats

    def compile_loss(self) -> None:
        self._nats = torch.compile(logistic.nats)

    def calibrate_heads(self, bits: int) -> None:
        """Choose the grids of the heads' weights, which see activations of so many bits."""
        raise NotImplementedError

    def quantise(self, sample: Tensor) -> None:
        calibrate(self, sample)
        first, second = (int(grid.bits) for grid in self.cell_grids)
        self.cell[0].calibrate((units.INPUTS, INPUT_BITS), (units.CHANNELS, INPUT_BITS))
        self.cell[1].calibrate((self.config.hidden, first))
        self.trunk.calibrate((units.INPUTS + self.told, INPUT_BITS), (CELLS * self.config.hidden, second))
        bits = [int(grid.bits) for grid in self.grids]
        for block, before in zip(self.blocks, bits, strict=False):
            block.calibrate((self.config.width, before))
        self.calibrate_heads(bits[-1])
        self.quantised.fill_(True)

    def represent(self, x: Tensor, hints: Tensor, told: Sequence[Tensor] = ()) -> Tensor:
        """What heads see of every pixel, (B H W, width).

        x: context (B, H, W, INPUTS). hints: of all residuals (B, H, W, 3, HINTS). told: more that the trunk is told (B, H, W, ...).
        """
        q = bool(self.quantised)
        hidden = torch.cat([x, hints[..., 0]], dim=-1)
        for layer, grid in zip(self.cell, self.cell_grids, strict=True):
            hidden = grid(layer(hidden, quantised=q), q)
        seen = context.shifted(hidden, CELL_BLOCK).flatten(-2).flatten(0, 2)
        own = torch.cat([x, *told], dim=-1) if told else x
        y: Tensor = self.grids[0](self.trunk(own.flatten(0, 2), seen, quantised=q), q)
        for block, grid in zip(self.blocks, self.grids[1:], strict=True):
            y = grid(y + block(y, quantised=q), q)
        return y


class Photo(Local):
    """Float network; `forward` gives nats per sub-pixel for whole images."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__(config)
        self.heads = module_list([Linear(config.width + units.HINTS * c, config.head) for c in range(units.CHANNELS)])
        self.outs = module_list([Linear(config.head, 3 * config.mixtures, gain=0.1) for _ in range(units.CHANNELS)])
        for out in self.outs:
            out.bias.data.copy_(logistic.initial_bias(config.mixtures))
        self.head_grids = module_list([FakeQuantiser() for _ in range(units.CHANNELS)])

    def calibrate_heads(self, bits: int) -> None:
        for c, (head, grid, out) in enumerate(zip(self.heads, self.head_grids, self.outs, strict=True)):
            head.calibrate((self.config.width, bits), (units.HINTS * c, INPUT_BITS))
            out.calibrate((self.config.head, int(grid.bits)))

    def outputs(self, inputs: Tensor, residuals: Tensor) -> Tensor:
        """Mixture parameters, float32 (3, B, H, W, 3 mixtures)."""
        q = bool(self.quantised)
        dtype, unit = working_dtype(inputs.device), 2.0**-INPUT_BITS
        hints = context.hints(residuals, self.tables).to(dtype) * unit
        y = self.represent(inputs.to(dtype) * unit, hints)
        hints = hints.flatten(0, 2)
        outputs = []
        for c, (head, grid, out) in enumerate(zip(self.heads, self.head_grids, self.outs, strict=True)):
            z = grid(head(y, hints[:, :c].flatten(1), quantised=q), q)
            outputs.append(out(z.float(), quantised=q))
        return torch.unflatten(torch.stack(outputs), 1, inputs.shape[:3])

    def forward(self, pixels: Tensor) -> Tensor:
        """Nats of every sub-pixel of uint8 RGB images (B, H, W, 3); float32 (3, B, H, W), channels G, R, B."""
        with torch.no_grad():
            inputs, combined, residuals = context.features(pixels, self.tables)
            centres = context.centres(combined, pixels[..., 1:2])
            symbols = pixels[..., [1, 0, 2]].float()
        first = (3, 0, 1, 2)
        return self._nats(self.outputs(inputs, residuals), symbols.permute(first).contiguous(), centres.permute(first).contiguous())
