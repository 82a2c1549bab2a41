"""The wavefront of `photo` in torch: the reference of the compiled loops, and what works on a GPU and where these are missing.

State is kept in skewed storage [step][tile][row], where the block of neighbours of every pixel of a step is one strided copy; only the
last few steps are held.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import back_ends, context, units
from ..back_ends import Prepared
from ..frequencies import Distribution, DistributionTables
from ..integer import IntLinear, Tensors, joined
from ..model import Size
from ..units import CHANNELS, HINT_LIMIT
from .front import Front
from .network import CELL_BLOCK

HISTORY = max(units.PIXEL_BLOCK[0], units.ERROR_BLOCK[0], CELL_BLOCK[0])  # steps that a step looks back
RING = 64  # steps held; when they are full the last HISTORY are moved to the front
TOP = max(units.PIXEL_BLOCK[1], units.ERROR_BLOCK[1], CELL_BLOCK[1]) - 1  # rows above row 0


class ReferenceNetwork:
    """What torch wants of an integer network that sees causal contexts: tables, and layers for a back end on one device."""

    def __init__(self, tensors: Tensors, layers: Mapping[str, IntLinear], arithmetic: str | None, device: str) -> None:
        """Raises ValueError if no product is exact here."""
        self.device = torch.device(device)
        self.back_end = back_ends.choose(arithmetic, [layer.shape for layer in layers.values()], self.device)
        self.arithmetic = self.back_end.name
        tables = {name: torch.from_numpy(t).to(self.device) for name, t in tensors.items() if name.startswith("tables.")}
        self.tables = context.Tables(tables["tables.signed"], tables["tables.error"])
        self.distribution_tables = DistributionTables(tables["tables.inverse"], tables["tables.sigmoid"], tables["tables.share"])
        self.cell = [self.prepare(layers[f"cell.{i}"]) for i in range(2)]
        blocks = [layer for name, layer in layers.items() if name.startswith("blocks")]
        self.layers = [self.prepare(layer) for layer in (layers["trunk"], *blocks)]
        self.hidden = len(layers["cell.1"].bias)

    def prepare(self, layer: IntLinear) -> Prepared:
        return Prepared.of(layer, self.back_end, self.device)

    def sums(self, x: Tensor, layer: Prepared) -> Tensor:
        """W x + b; int32 (n, outputs)."""
        return self.back_end.product(x, layer.weight).add_(layer.bias)

    def through(self, x: Tensor, layers: Sequence[Prepared]) -> Tensor:
        """What layers make of int8 (n, inputs), on the grid 0..127; int8."""
        for layer in layers:
            sums = self.sums(x, layer)
            if layer.skip is not None:
                sums.add_(x.int().bitwise_left_shift_(layer.skip))
            x = sums.bitwise_right_shift_(layer.shift).clamp_(0, 127).to(torch.int8)
        return x


class TorchFront(Front):
    """A walk whose distributions are torch's."""

    distribution: Distribution

    def weights(self, above: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        return self.distribution.nibbles(above)


class ReferencePhoto(ReferenceNetwork):
    """The integer network of `photo`."""

    def __init__(self, tensors: Tensors, layers: Mapping[str, IntLinear], arithmetic: str | None, device: str) -> None:
        """Raises ValueError if no product is exact here."""
        super().__init__(tensors, layers, arithmetic, device)
        heads = [layers[f"heads.{c}"] for c in range(CHANNELS)]
        width = len(layers["trunk"].bias)
        self.heads = self.prepare(joined([IntLinear(np.ascontiguousarray(h.weight[:, :width]), h.bias, h.shift) for h in heads]))
        self.hints = [self._hint_tables(torch.from_numpy(h.weight[:, width:]).to(self.device)) for h in heads]
        self.outs = [self.prepare(layers[f"outs.{c}"]) for c in range(CHANNELS)]

    def front(self, sizes: Sequence[Size]) -> "ReferenceFront":
        return ReferenceFront(self, sizes)

    def _hint_tables(self, weight: Tensor) -> list[Tensor]:
        """What a residual of each earlier channel adds to a head's sums; int32 (2 HINT_LIMIT + 1, head) each."""
        residual = torch.arange(-HINT_LIMIT, HINT_LIMIT + 1, device=self.device)
        hint = torch.stack([self.tables.of_signed(residual), (residual * 8).clamp(-127, 127)], dim=1).int()
        parts = weight.int().unflatten(1, (-1, 1, units.HINTS)).unbind(1)
        return [(hint.unsqueeze(1) * part.squeeze(1)).sum(2, dtype=torch.int32) for part in parts]


class ReferenceFront(TorchFront):
    """The walk through a batch of tiles."""

    def __init__(self, network: ReferencePhoto, sizes: Sequence[Size]) -> None:
        super().__init__(sizes)
        self.network = network
        device = network.device
        self._even = all(size == (self.height, self.width) for size in sizes)
        cells = (RING, self.tiles, self.height + TOP)
        self._planes = torch.full((*cells, CHANNELS), units.OUTSIDE, dtype=torch.int16, device=device)
        self._errors = torch.zeros((*cells, units.PREDICTIONS * CHANNELS), dtype=torch.int16, device=device)
        self._residuals = torch.zeros((*cells, CHANNELS), dtype=torch.int8, device=device)
        self._hidden = torch.zeros((*cells, network.hidden), dtype=torch.int8, device=device)
        self._at = HISTORY - 1  # place of the current step in the rings

    def _block(self, ring: Tensor, block: tuple[int, int]) -> Tensor:
        """A block of neighbours of every pixel of the step; (tiles, rows, cells * C)."""
        steps, rows = block
        by_step, by_tile, by_row, _ = ring.stride()
        start = (self._at - steps) * by_step + (self.low + TOP - rows + 1) * by_row
        shape = (self.tiles, self.rows, steps, rows * ring.shape[3])
        return ring.as_strided(shape, (by_tile, by_row, by_step, 1), start).flatten(2)

    def advance(self) -> None:
        self._at += 1
        if self._at == RING:
            for ring in (self._planes, self._errors, self._residuals, self._hidden):
                ring[:HISTORY] = ring[-HISTORY:].clone()
            self._planes[HISTORY:] = units.OUTSIDE
            for ring in (self._errors, self._residuals, self._hidden):
                ring[HISTORY:] = 0
            self._at = HISTORY

    def look(self) -> None:
        net = self.network
        near = self._block(self._planes, units.PIXEL_BLOCK).unflatten(2, (-1, CHANNELS))
        self._predictions = context.predict(near)
        past = self._block(self._errors, units.ERROR_BLOCK).unflatten(2, (units.REMEMBERED, -1))
        errors = past.sum(2, dtype=torch.int16).view_as(self._predictions)
        self._combined = context.combine(self._predictions, errors)
        residuals = self._block(self._residuals, units.ERROR_BLOCK).unflatten(2, (-1, CHANNELS))
        self._input = context.network_input(near, errors, residuals, self._combined, net.tables)
        seen = torch.cat([self._input, self._block(self._hidden, CELL_BLOCK)], dim=2).flatten(0, 1)
        self._heads = net.sums(net.through(seen, net.layers), net.heads)
        shape = (self.tiles, self.rows)
        self._values = torch.empty((*shape, CHANNELS), dtype=torch.int16, device=net.device)
        self._green = torch.zeros(shape, dtype=torch.int16, device=net.device)
        self._away = torch.empty_like(self._values)  # residuals

    def begin(self, channel: int) -> None:
        net = self.network
        out, size = net.outs[channel], self._heads.shape[1] // CHANNELS
        part = slice(channel * size, (channel + 1) * size)
        sums = self._heads[:, part]
        for earlier, table in enumerate(net.hints[channel]):
            sums.add_(table.index_select(0, self._away[..., earlier].flatten().clamp(-HINT_LIMIT, HINT_LIMIT).int() + HINT_LIMIT))
        features = sums.bitwise_right_shift_(net.heads.shift[part]).clamp_(0, 127).to(torch.int8).contiguous()
        output = net.sums(features, out).bitwise_right_shift_(out.shift)
        centres = self._combined[..., channel] + units.FRACTION * self._green
        centres = centres.clamp(0, 255 * units.FRACTION).int() * (units.GREY // units.FRACTION)
        self.distribution = Distribution(output, centres.flatten(), net.distribution_tables)

    def put(self, channel: int, symbols: NDArray[np.uint8]) -> None:
        value = torch.from_numpy(symbols).to(self.network.device, torch.int16).view(self.tiles, -1) - self._green
        if channel == 0:
            self._green = value.clone()
        self._values[..., channel] = value
        self._away[..., channel] = value - context.middle(self._combined[..., channel])

    def finish(self) -> None:
        net, here, rows = self.network, self._at, slice(self.low + TOP, self.low + self.rows + TOP)
        errors = context.absolute_errors(self._values, self._predictions).flatten(2)
        residuals = net.tables.of_signed(self._away)
        hidden = net.through(torch.cat([self._input, residuals], dim=2).flatten(0, 1), net.cell)
        self._planes[here, :, rows] = self._values
        self._errors[here, :, rows] = errors
        self._residuals[here, :, rows] = residuals
        self._hidden[here, :, rows] = hidden.view(*errors.shape[:2], -1)
        if not self._even:
            self._clear_outside(here)

    def _clear_outside(self, here: int) -> None:
        """Undo what was remembered of places that smaller tiles do not have."""
        first, last = self.low + TOP, self.low + self.rows + TOP
        for tile, (a, b) in enumerate((self.bounds - np.arange(self.tiles)[:, None] * self.rows + first).tolist()):
            for rows in (slice(first, min(a, last)), slice(min(b, last), last)):
                self._planes[here, tile, rows] = units.OUTSIDE
                for ring in (self._errors, self._residuals, self._hidden):
                    ring[here, tile, rows] = 0
