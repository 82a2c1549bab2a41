"""The `planes` network in floating point, as it is trained: one plane of a picture, given what is known of two others.

It is the network of `photo` with one head. Its three planes are the one that is coded and two *side* planes, which are known as
wholes beforehand: beside what the context (`context.py`) tells of places that come before a pixel, the network sees the side planes
at the pixel and ahead of it. A picture in luma and halved chroma so takes three walks: one chroma plane alone, the other one given the
first, luma given both at its own size. Side planes that are not known are 128 everywhere.
"""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import context, logistic, units
from ..photo.network import Local, PhotoConfig
from ..precision import working_dtype
from ..quantisation import INPUT_BITS, FakeQuantiser, Linear
from .units import AHEAD, KNOWN, UNKNOWN


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


class Planes(Local):
    """Float network; `forward` gives nats per sample of the first plane."""

    def __init__(self, config: PhotoConfig) -> None:
        super().__init__(config, KNOWN)
        self.head = Linear(config.width, config.head)
        self.out = Linear(config.head, 3 * config.mixtures, gain=0.1)
        self.out.bias.data.copy_(logistic.initial_bias(config.mixtures))
        self.head_grid = FakeQuantiser()

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

    def calibrate_heads(self, bits: int) -> None:
        self.head.calibrate((self.config.width, bits))
        self.out.calibrate((self.config.head, int(self.head_grid.bits)))

    def outputs(self, inputs: Tensor, residuals: Tensor, known: Tensor) -> Tensor:
        """Mixture parameters, float32 (B, H, W, 3 mixtures)."""
        q = bool(self.quantised)
        dtype, unit = working_dtype(inputs.device), 2.0**-INPUT_BITS
        hints = context.hints(residuals, self.tables).to(dtype) * unit
        y = self.represent(inputs.to(dtype) * unit, hints, [hints[..., 1:, :].flatten(-2), known.to(dtype) * unit])
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
