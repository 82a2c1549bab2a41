"""The `planes` network in floating point, as it is trained: one plane of a picture, given what is known of two others.

It is the network of `photo` with one head. Its three planes are the one that is coded and two *side* planes, which are known as
wholes beforehand: beside what the context (`context.py`) tells of places that come before a pixel, the network sees the side planes
at the pixel and ahead of it. A picture in luma and halved chroma so takes three walks: one chroma plane alone, the other one given the
first, luma given both at its own size. Side planes that are not known are 128 everywhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import context, logistic, units
from ..precision import working_dtype
from ..quantisation import INPUT_BITS, FakeQuantiser, Linear, calibrate, module_list
from ..training.trainable import Trainable
from .units import AHEAD, KNOWN, UNKNOWN

CELL_BLOCK = (3, 2)  # whose hidden vectors are seen: W NE WW N WWW NW
CELLS = CELL_BLOCK[0] * CELL_BLOCK[1]


@dataclass(frozen=True)
class PlanesConfig:
    hidden: int = 64  # cached vector of a decoded pixel
    width: int = 192
    blocks: int = 2
    head: int = 64
    mixtures: int = 5


def values(planes: Tensor) -> Tensor:
    """uint8 planes (..., 3) as the context takes them: the side planes around 0; int16 (..., 3)."""
    return planes.to(torch.int16) - planes.new_tensor([0, UNKNOWN, UNKNOWN], dtype=torch.int16)


def ahead(sides: Tensor, tables: context.Tables) -> Tensor:
    """What the network is told of side planes (B, H, W, 2) ahead of every pixel, relative to them there; int8 (B, H, W, 2 x AHEAD).

    Outside the picture it is 0.
    """
    height, width = sides.shape[1:3]
    left, right = max(-dx for _, dx in AHEAD), max(dx for _, dx in AHEAD)
    bottom = max(dy for dy, _ in AHEAD)
    padded = F.pad(sides, (0, 0, left, right, 0, bottom), value=units.OUTSIDE)
    there = torch.stack([padded[:, dy : dy + height, left + dx : left + dx + width] for dy, dx in AHEAD], dim=3)
    return tables.of_signed(there - sides.unsqueeze(3)).flatten(3)


class Planes(Trainable):
    """Float network; `forward` gives nats per sample of the first plane."""

    quantised: Tensor

    def __init__(self, config: PlanesConfig) -> None:
        super().__init__()
        self.config = config
        self.cell = module_list([Linear(units.INPUTS + units.CHANNELS, config.hidden), Linear(config.hidden, config.hidden)])
        self.trunk = Linear(units.INPUTS + KNOWN + CELLS * config.hidden, config.width)
        self.blocks = module_list([Linear(config.width, config.width, gain=0.5) for _ in range(config.blocks)])
        self.head = Linear(config.width, config.head)
        self.out = Linear(config.head, 3 * config.mixtures, gain=0.1)
        self.out.bias.data.copy_(logistic.initial_bias(config.mixtures))
        self.cell_grids = module_list([FakeQuantiser(), FakeQuantiser()])
        self.grids = module_list([FakeQuantiser() for _ in range(config.blocks + 1)])
        self.head_grid = FakeQuantiser()
        self.register_buffer("quantised", torch.tensor(False))
        self.tables = context.Tables.make()
        self._nats = logistic.nats

    def compile_loss(self) -> None:
        self._nats = torch.compile(logistic.nats)

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of another run, or those of a `photo` network of the same sizes: its G is coded, nothing is known ahead."""
        if "heads.0.weight" in state:
            own = self.state_dict()
            renamed = {k.replace("heads.0.", "head.").replace("outs.0.", "out."): v for k, v in state.items()}
            renamed["head_grid.bits"], renamed["head_grid.largest"] = state["head_grids.0.bits"], state["head_grids.0.largest"]
            trunk = renamed["trunk.weight"]
            blank = trunk.new_zeros(len(trunk), KNOWN)
            renamed["trunk.weight"] = torch.cat([trunk[:, : units.INPUTS], blank, trunk[:, units.INPUTS :]], 1)
            renamed["trunk.input_bits"] = own["trunk.input_bits"]  # chosen anew with the grids
            state = {name: value for name, value in renamed.items() if name in own}
        self.load_state_dict({k: torch.tensor(False) if k == "quantised" else v for k, v in state.items()})

    def quantise(self, sample: Tensor) -> None:
        calibrate(self, sample)
        causal = (units.INPUTS, INPUT_BITS)
        first, second = (int(grid.bits) for grid in self.cell_grids)
        self.cell[0].calibrate(causal, (units.CHANNELS, INPUT_BITS))
        self.cell[1].calibrate((self.config.hidden, first))
        self.trunk.calibrate((units.INPUTS + KNOWN, INPUT_BITS), (CELLS * self.config.hidden, second))
        bits = [int(grid.bits) for grid in self.grids]
        for block, before in zip(self.blocks, bits, strict=False):
            block.calibrate((self.config.width, before))
        self.head.calibrate((self.config.width, bits[-1]))
        self.out.calibrate((self.config.head, int(self.head_grid.bits)))
        self.quantised.fill_(True)

    def outputs(self, inputs: Tensor, residuals: Tensor, known: Tensor) -> Tensor:
        """Mixture parameters, float32 (B, H, W, 3 mixtures)."""
        q = bool(self.quantised)
        dtype, unit = working_dtype(inputs.device), 2.0**-INPUT_BITS
        x = inputs.to(dtype) * unit
        hints = context.hints(residuals, self.tables).to(dtype) * unit
        hidden = torch.cat([x, hints[..., 0]], dim=-1)
        for layer, grid in zip(self.cell, self.cell_grids, strict=True):
            hidden = grid(layer(hidden, quantised=q), q)
        seen = context.shifted(hidden, CELL_BLOCK).flatten(-2).flatten(0, 2)
        told = torch.cat([x, hints[..., 1:, :].flatten(-2), known.to(dtype) * unit], dim=-1).flatten(0, 2)
        y = self.grids[0](self.trunk(told, seen, quantised=q), q)
        for block, grid in zip(self.blocks, self.grids[1:], strict=True):
            y = grid(y + block(y, quantised=q), q)
        z = self.head_grid(self.head(y, quantised=q), q)
        out: Tensor = self.out(z.float(), quantised=q).unflatten(0, inputs.shape[:3])
        return out

    def forward(self, planes: Tensor) -> Tensor:
        """Nats of every sample of the first of uint8 planes (B, H, W, 3), given the two others; float32 (B, H, W)."""
        with torch.no_grad():
            integers = values(planes)
            inputs, combined, residuals = context.features_of(integers, self.tables)
            known = ahead(integers[..., 1:], self.tables)
            centres = combined[..., 0].int().clamp(0, 255 * units.FRACTION).float() / units.FRACTION
            symbols = planes[..., 0].float()
        return self._nats(self.outputs(inputs, residuals, known), symbols, centres)
