"""The wavefront of `planes` in torch: the reference of the compiled loops, and what works on a GPU and where these are missing."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import context
from ..frequencies import Distribution
from ..integer import IntLinear, Tensors
from ..model import Symbols
from ..photo.network import CELL_BLOCK
from ..photo.reference import ReferenceNetwork, TorchFront
from ..units import CHANNELS, ERROR_BLOCK, FRACTION, GREY, OUTSIDE, PIXEL_BLOCK, PREDICTIONS, SLOPE
from .network import ahead, values
from .units import KNOWN, SIDES

TOP, LEFT, RIGHT = 3, 8, 6  # places around a tile that blocks of its pixels look at


class ReferencePlanes(ReferenceNetwork):
    """The integer network of `planes`: its one head is the last of its layers."""

    def __init__(self, tensors: Tensors, layers: Mapping[str, IntLinear], arithmetic: str | None, device: str) -> None:
        """Raises ValueError if no product is exact here."""
        super().__init__(tensors, layers, arithmetic, device)
        self.layers.append(self.prepare(layers["head"]))
        self.out = self.prepare(layers["out"])

    def front(self, sides: Sequence[Symbols]) -> "ReferenceFront":
        return ReferenceFront(self, sides)


class ReferenceFront(TorchFront):
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
        x = net.through(torch.cat(told, dim=2).flatten(0, 1), net.layers)
        self._output = net.sums(x, net.out).bitwise_right_shift_(net.out.shift)

    def begin(self, channel: int) -> None:
        centres = self._combined[..., 0].clamp(0, 255 * FRACTION).int() * (GREY // FRACTION)
        self.distribution = Distribution(self._output, centres.flatten(), self.network.distribution_tables)

    def put(self, channel: int, symbols: NDArray[np.uint8]) -> None:
        own = torch.from_numpy(symbols).to(self.network.device, torch.int16).view(self.tiles, -1, 1)
        self._values = torch.cat([own, self._known], 2)

    def finish(self) -> None:
        net = self.network
        errors = context.absolute_errors(self._values, self._predictions).flatten(2)
        residuals = net.tables.of_signed(self._values - context.middle(self._combined))
        hidden = net.through(torch.cat([self._input, residuals], dim=2).flatten(0, 1), net.cell)
        hidden = hidden.view(*errors.shape[:2], -1)
        first = np.arange(self.tiles)[:, None] * self.rows
        for tile, (a, b) in enumerate((self.bounds - first).tolist()):  # what smaller tiles do not have stays outside
            y, x = (place[a:b] for place in self._at)
            states = (self._planes, self._errors, self._residuals, self._hidden)
            for state, new in zip(states, (self._values, errors, residuals, hidden), strict=True):
                state[tile, y + TOP, x + LEFT] = new[tile, a:b]
