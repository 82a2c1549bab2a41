"""The wavefront of `planes` in torch: the reference of the compiled loops, and what works on a GPU and where these are missing."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import back_ends, context
from ..back_ends import Prepared
from ..frequencies import Distribution, DistributionTables
from ..integer import IntLinear, Tensors
from ..model import Symbols
from ..photo.front import Front
from ..units import CHANNELS, ERROR_BLOCK, FRACTION, GREY, OUTSIDE, PIXEL_BLOCK, PREDICTIONS, SLOPE
from .network import CELL_BLOCK, ahead, values
from .units import KNOWN, SIDES

TOP, LEFT, RIGHT = 3, 8, 6  # places around a tile that blocks of its pixels look at


class ReferencePlanes:
    """The integer network: weights, tables and a back end on one device."""

    def __init__(self, tensors: Tensors, layers: Mapping[str, IntLinear], arithmetic: str | None, device: str) -> None:
        """Raises ValueError if no product is exact here."""
        self.device = torch.device(device)
        self.back_end = back_ends.choose(arithmetic, [layer.shape for layer in layers.values()], self.device)
        self.arithmetic = self.back_end.name
        tables = {name: torch.from_numpy(t).to(self.device) for name, t in tensors.items() if name.startswith("tables.")}
        self.tables = context.Tables(tables["tables.signed"], tables["tables.error"])
        self.distribution_tables = DistributionTables(tables["tables.inverse"], tables["tables.sigmoid"], tables["tables.share"])
        self.cell = [self._prepare(layers[f"cell.{i}"]) for i in range(2)]
        blocks = [layer for name, layer in layers.items() if name.startswith("blocks")]
        self.layers = [self._prepare(layer) for layer in (layers["trunk"], *blocks, layers["head"])]
        self.out = self._prepare(layers["out"])
        self.hidden = len(layers["cell.1"].bias)

    def front(self, sides: Sequence[Symbols]) -> "ReferenceFront":
        return ReferenceFront(self, sides)

    def _prepare(self, layer: IntLinear) -> Prepared:
        return Prepared.of(layer, self.back_end, self.device)

    def sums(self, x: Tensor, layer: Prepared) -> Tensor:
        """W x + b; int32 (n, outputs)."""
        return self.back_end.product(x, layer.weight).add_(layer.bias)

    def layer(self, x: Tensor, layer: Prepared) -> Tensor:
        """Sums back onto the grid 0..127; int8."""
        sums = self.sums(x, layer)
        if layer.skip is not None:
            sums.add_(x.int().bitwise_left_shift_(layer.skip))
        return sums.bitwise_right_shift_(layer.shift).clamp_(0, 127).to(torch.int8)


class ReferenceFront(Front):
    """The walk through a batch of tiles, whose state is kept as pictures with margins."""

    def __init__(self, network: ReferencePlanes, sides: Sequence[Symbols]) -> None:
        super().__init__([side.shape[:2] for side in sides])
        self.network, device = network, network.device
        cells = (self.tiles, self.height + TOP, self.width + LEFT + RIGHT)
        self._planes = torch.full((*cells, CHANNELS), OUTSIDE, dtype=torch.int16, device=device)
        self._errors = torch.zeros((*cells, PREDICTIONS * CHANNELS), dtype=torch.int16, device=device)
        self._residuals = torch.zeros((*cells, CHANNELS), dtype=torch.int8, device=device)
        self._hidden = torch.zeros((*cells, network.hidden), dtype=torch.int8, device=device)
        inside = (self.tiles, self.height, self.width)
        self._sides = torch.zeros((*inside, SIDES), dtype=torch.int16, device=device)
        self._ahead = torch.zeros((*inside, KNOWN - 2 * SIDES), dtype=torch.int8, device=device)
        for i, side in enumerate(sides):
            whole = torch.from_numpy(np.concatenate([np.zeros_like(side[..., :1]), side], -1)).to(device)
            here = values(whole)[..., 1:]
            self._sides[i, : side.shape[0], : side.shape[1]] = here
            self._ahead[i, : side.shape[0], : side.shape[1]] = ahead(here[None], network.tables)[0]

    def advance(self) -> None:
        """Nothing: all steps are kept."""

    def _block(self, state: Tensor, block: tuple[int, int]) -> Tensor:
        """A block of neighbours of every pixel of the step; (tiles, rows, cells, C)."""
        y, x = self._at
        steps, rows = block
        return torch.stack(
            [state[:, y + TOP - k, x + LEFT + SLOPE * k - d] for d in range(steps, 0, -1) for k in range(rows - 1, -1, -1)], 2
        )

    def look(self) -> None:
        net = self.network
        y = torch.arange(self.low, self.low + self.rows, device=net.device)
        self._at = y, self.step - SLOPE * y
        near = self._block(self._planes, PIXEL_BLOCK)
        self._predictions = context.predict(near)
        past = self._block(self._errors, ERROR_BLOCK)
        errors = past.sum(2, dtype=torch.int16).view(*past.shape[:2], PREDICTIONS, CHANNELS)
        self._combined = context.combine(self._predictions, errors)
        remembered = self._block(self._residuals, ERROR_BLOCK)
        self._input = context.network_input(near, errors, remembered, self._combined, net.tables)
        self._known = self._sides[:, *self._at]
        hints = context.hints(self._known - context.middle(self._combined[..., 1:]), net.tables).flatten(2)
        told = [self._input, self._block(self._hidden, CELL_BLOCK).flatten(2), hints, self._ahead[:, *self._at]]
        x = torch.cat(told, dim=2).flatten(0, 1)
        for layer in net.layers:
            x = net.layer(x, layer)
        self._output = net.sums(x, net.out).bitwise_right_shift_(net.out.shift)

    def begin(self, channel: int) -> None:
        centres = self._combined[..., 0].clamp(0, 255 * FRACTION).int() * (GREY // FRACTION)
        self._distribution = Distribution(self._output, centres.flatten(), self.network.distribution_tables)

    def weights(self, above: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        known = None if above is None else torch.from_numpy(above).to(self.network.device)
        weights: NDArray[np.float32] = self._distribution.nibble(known).cpu().numpy()
        return weights

    def put(self, channel: int, symbols: NDArray[np.uint8]) -> None:
        own = torch.from_numpy(symbols).to(self.network.device, torch.int16).view(self.tiles, -1, 1)
        self._values = torch.cat([own, self._known], 2)

    def finish(self) -> None:
        net = self.network
        errors = context.absolute_errors(self._values, self._predictions).flatten(2)
        residuals = net.tables.of_signed(self._values - context.middle(self._combined))
        hidden = torch.cat([self._input, residuals], dim=2).flatten(0, 1)
        for layer in net.cell:
            hidden = net.layer(hidden, layer)
        hidden = hidden.view(*errors.shape[:2], -1)
        first = np.arange(self.tiles)[:, None] * self.rows
        for tile, (a, b) in enumerate((self.bounds - first).tolist()):  # what smaller tiles do not have stays outside
            y, x = (place[a:b] for place in self._at)
            states = (self._planes, self._errors, self._residuals, self._hidden)
            for state, new in zip(states, (self._values, errors, residuals, hidden), strict=True):
                state[tile, y + TOP, x + LEFT] = new[tile, a:b]
