"""The `jpeg` network in floating point, as it is trained; `exact.py` is its integer form.

There are two networks of one kind, for first components and for those that are given a first one. For every block a trunk sees its
neighbours, its edges and, of later components, the co-located blocks of earlier ones (`features.py`). Heads see the trunk's vector: one
tells the place of the last coefficient that is not 0; the others, group after group, the tokens of coefficients given all that was coded
of the block before. All of them are told of the component as a whole (`condition`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..quantisation import INPUT_BITS, FakeQuantiser, Linear, calibrate, module_list
from ..training.trainable import Trainable
from . import units
from .units import CLASS_BITS, GROUPS

KINDS = ("first", "later")
Batch = Mapping[str, Tensor]
"""Of n blocks, those with the largest last places first: `inputs`, `known`, `values` int16 (n, ...), `condition`, `seen` int8 (n, ...),
`last` int64 (n), `edges` int16 (n, groups, EDGES), `near` int32 (n, 64)."""


@dataclass(frozen=True)
class JpegConfig:
    told: int = 64  # of a component as a whole
    width: int = 192
    blocks: int = 1
    head: int = 64


class Part(nn.Module):
    """The network of first components, or of later ones."""

    quantised: Tensor
    class_first: Tensor
    bits: Tensor

    def __init__(self, config: JpegConfig, later: bool) -> None:
        super().__init__()
        self.config = config
        told, width, head = config.told, config.width, config.head
        self.condition = Linear(units.CONDITION, told)
        self.condition_grid = FakeQuantiser()
        self.inputs = units.OWN + later * units.SIDE
        self.trunk = Linear(self.inputs + told, width)
        self.blocks = module_list([Linear(width, width, gain=0.5) for _ in range(config.blocks)])
        self.grids = module_list([FakeQuantiser() for _ in range(config.blocks + 1)])
        self.last_head, self.last_grid = Linear(width + told, head), FakeQuantiser()
        self.last_out, self.low_out = Linear(head, 16, gain=0.1), Linear(head, 64, gain=0.1)
        self.heads = module_list([Linear(self.head_inputs(g), head) for g in range(len(GROUPS))])
        self.head_grids = module_list([FakeQuantiser() for _ in GROUPS])
        self.outs = module_list([Linear(head, 16 * (b - a), gain=0.1) for a, b in GROUPS])
        self.classes = module_list([Linear(head, 16 * (b - a), gain=0.1) for a, b in GROUPS])
        with torch.no_grad():
            for out, kinds in zip(self.outs, self.classes, strict=True):
                start = -torch.abs(torch.arange(16.0) - 7) * 0.5
                out.bias.copy_(start.repeat(len(out.bias) // 16))
                kinds.bias.copy_((-0.3 * torch.arange(16.0)).repeat(len(kinds.bias) // 16))
        self.register_buffer("quantised", torch.tensor(False))
        self.register_buffer("bits", torch.tensor(CLASS_BITS, dtype=torch.float32) * float(np.log(2)), persistent=False)
        self.register_buffer("class_first", torch.tensor(units.CLASSES), persistent=False)

    def head_inputs(self, group: int) -> int:
        """Trunk, component, last place, edges, and the coefficients of earlier groups with their magnitudes."""
        return self.config.width + self.config.told + units.LAST_SEEN + units.EDGES + 2 * (64 - GROUPS[group][1])

    def calibrate(self) -> None:
        config, bits = self.config, INPUT_BITS
        told = config.told, int(self.condition_grid.bits)
        self.condition.calibrate((units.CONDITION, bits))
        self.trunk.calibrate((self.inputs, bits), told)
        width = [int(grid.bits) for grid in self.grids]
        for block, before in zip(self.blocks, width, strict=False):
            block.calibrate((config.width, before))
        self.last_head.calibrate((config.width, width[-1]), told)
        self.last_out.calibrate((config.head, int(self.last_grid.bits)))
        self.low_out.calibrate((config.head, int(self.last_grid.bits)))
        for g, (head, grid) in enumerate(zip(self.heads, self.head_grids, strict=True)):
            head.calibrate((config.width, width[-1]), told, (self.head_inputs(g) - config.width - config.told, bits))
            for out in (self.outs[g], self.classes[g]):
                out.calibrate((config.head, int(grid.bits)))
        self.quantised.fill_(True)

    def forward(self, batch: Batch) -> Tensor:
        """Nats of blocks by symbol (2 + groups, n): last place in two parts, groups."""
        q, unit = bool(self.quantised), 2.0**-INPUT_BITS
        own = batch["inputs"].float() * unit
        told = self.condition_grid(self.condition(batch["condition"].float() * unit, quantised=q), q)
        y: Tensor = self.grids[0](self.trunk(own, told, quantised=q), q)
        for block, grid in zip(self.blocks, self.grids[1:], strict=True):
            y = grid(y + block(y, quantised=q), q)
        y = torch.cat([y, told], 1)
        last = batch["last"].long()
        z = self.last_grid(self.last_head(y, quantised=q), q)
        high = last >> units.LOW
        low = self.low_out(z, quantised=q).view(-1, 16, 4).gather(1, high[:, None, None].expand(-1, 1, 4)).squeeze(1)
        nats = [F.cross_entropy(self.last_out(z, quantised=q), high, reduction="none"), F.cross_entropy(low, last & 3, reduction="none")]
        known = batch["known"].float() * unit
        known = torch.cat([known, known.abs()], 1)
        for g, (a, _) in enumerate(GROUPS):
            rows = int((last >= a).sum())
            cost = self._group(g, rows, y[:rows], batch, known, q) if rows else y.new_zeros(0)
            nats.append(F.pad(cost, (0, len(y) - rows)))
        return torch.stack(nats)

    def _group(self, g: int, rows: int, y: Tensor, batch: Batch, known: Tensor, q: bool) -> Tensor:
        """Nats of a group of the first blocks."""
        a, b = GROUPS[g]
        rest = torch.cat([batch["seen"][:rows], batch["edges"][:rows, g]], 1).float() * 2.0**-INPUT_BITS
        rest = torch.cat([rest, known[:rows, b:64], known[:rows, 64 + b :]], 1)
        z = self.head_grids[g](self.heads[g](y, rest, quantised=q), q)
        near, final = batch["near"][:rows, a:b], batch["last"][:rows, None]
        difference = batch["values"][:rows, a:b].int() - near
        tokens = (difference + units.NEAR + 1).clamp(units.LESS, units.MORE).long()
        places = torch.arange(a, b)
        logits = self.outs[g](z, quantised=q).view(rows, b - a, 16)
        none = torch.zeros((rows, b - a, 16), dtype=torch.bool)
        none[..., units.NEAR + 1] = (places == final) & (near == 0) & (final > 0)
        none[..., 15] = True
        logits = logits.masked_fill(none, -16.0).flatten(0, 1)
        coded = places <= final
        cost = F.cross_entropy(logits, tokens.flatten(), reduction="none").view(tokens.shape) * coded
        far = (difference.abs() > units.NEAR) & coded
        total: Tensor = cost.sum(1)
        if bool(far.any()):
            row = far.any(1).nonzero().squeeze(1)
            far, difference = far[row], difference[row]
            beyond = (difference.abs() - units.NEAR - 1).clamp(min=0)
            kind = torch.searchsorted(self.class_first, beyond, right=True) - 1
            logits = self.classes[g](z.index_select(0, row), quantised=q).view(-1, 16)
            more = F.cross_entropy(logits, kind.flatten(), reduction="none").view(far.shape) + self.bits[kind]
            total = total.index_add(0, row, (more * far).sum(1))
        return total


class Jpeg(Trainable):
    """Both networks; `forward` gives nats of every block."""

    unit_name = "bits/block"

    def __init__(self, config: JpegConfig) -> None:
        super().__init__()
        self.config = config
        self.parts = cast("Mapping[str, Part]", nn.ModuleDict({kind: Part(config, kind == "later") for kind in KINDS}))

    def quantise(self, sample: Mapping[str, Batch]) -> None:  # type: ignore[override]
        for kind, part in self.parts.items():
            calibrate(part, sample[kind])
            part.calibrate()

    def describe(self, parts: Sequence[Any]) -> str:
        """Bits of a block of first and of later components of held-out files."""
        bits = [[float(self.parts[kind](part[kind]).sum(0).mean()) / self.unit for kind in KINDS] for part in parts]
        first, later = (sum(column) / len(column) for column in zip(*bits, strict=True))
        return f"{first:.2f} + {later:.2f} {self.unit_name}"

    def forward(self, batches: Mapping[str, Batch]) -> Tensor:
        """Nats of all blocks of both kinds, one after another."""
        return torch.cat([self.parts[kind](batches[kind]).sum(0) for kind in KINDS])
