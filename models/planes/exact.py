"""The `planes` network in exact integers, evaluated along the wavefront of many tiles at once, as `photo/exact.py` does it."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .. import context, frequencies, integer
from ..context import CHANNELS, SLOPE
from ..frequencies import Distribution, DistributionTables
from ..integer import IntLinear, Prepared
from ..model import Code, Known, Lossless, Size, Symbols, Turn, Way
from . import network as planes

HISTORY = max(context.PIXEL_BLOCK[0], context.ERROR_BLOCK[0], planes.CELL_BLOCK[0])  # steps that a step looks back
RING = 64  # steps held; when they are full the last HISTORY are moved to the front
TOP = max(context.PIXEL_BLOCK[1], context.ERROR_BLOCK[1], planes.CELL_BLOCK[1]) - 1  # rows above row 0


class ExactPlanes(Lossless):
    """The integer network: weights, tables and a back end on one device. Symbols are the levels of the plane that is coded."""

    coding: Way = "planes"
    tile = 128
    batch = 48
    channels = depth = 1

    def __init__(self, tensors: Mapping[str, Tensor], arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        self.device = torch.device(device)
        tensors = {name: tensor.to(self.device) for name, tensor in tensors.items()}
        layers = integer.linear_layers(tensors)
        self.back_end = integer.choose(arithmetic, [layer.shape for layer in layers.values()], self.device)
        self.tables = context.Tables(tensors["tables.signed"], tensors["tables.error"])
        self.distribution_tables = DistributionTables(tensors["tables.inverse"], tensors["tables.sigmoid"], tensors["tables.share"])
        self.cell = [self._prepare(layers[f"cell.{i}"]) for i in range(2)]
        self.trunk = self._prepare(layers["trunk"])
        self.blocks = [self._prepare(layer) for name, layer in layers.items() if name.startswith("blocks")]
        self.head, self.out = self._prepare(layers["head"]), self._prepare(layers["out"])
        self.hidden = self.cell[1].bias.numel()

    def _prepare(self, layer: IntLinear) -> Prepared:
        return Prepared.of(layer, self.back_end)

    def sums(self, x: Tensor, layer: Prepared) -> Tensor:
        """W x + b; int32 (n, outputs)."""
        return self.back_end.product(x, layer.weight).add_(layer.bias)

    def layer(self, x: Tensor, layer: Prepared) -> Tensor:
        """Sums back onto the grid 0..127; int8."""
        sums = self.sums(x, layer)
        if layer.skip is not None:
            sums.add_(x.int().bitwise_left_shift_(layer.skip))
        return sums.bitwise_right_shift_(layer.shift).clamp_(0, 127).to(torch.int8)

    def predictor(self, quality: int) -> None:
        """Nothing: the network is evaluated along the wavefront only."""

    def answers(self, tiles: Sequence[Symbols]) -> Known:
        """The code that answers with the levels of tiles (h, w, 1) of the plane."""
        return Known(tiles, self.device)

    def walk(self, sides: Sequence[Symbols], code: Code) -> list[Symbols]:
        """Tiles (h, w, 1) of the plane, given those (h, w, 2) of the side planes. Symbols in the order (step, half, row)."""
        front = Wavefront(self, sides)
        symbols = torch.zeros((front.tiles, front.height * front.width), dtype=torch.uint8, device=self.device)
        start = torch.arange(front.tiles, device=self.device).unsqueeze(1) * symbols.shape[1]
        for step in range(front.steps):
            if not front.start(step):
                continue
            at, share = start + front.inside, (step + 1) / front.steps
            rows = front.high - front.low
            parts = [slice(i * rows + a, i * rows + max(a, b)) for i, (a, b) in enumerate(front.spans)]
            distribution = front.distribution()
            high = code(Turn(0, 0, at.flatten(), parts, share), distribution.nibble())
            low = code(Turn(0, 1, at.flatten(), parts, share), distribution.nibble(high))
            found = (high * 16 + low).to(torch.uint8).view(front.tiles, -1)
            symbols[:, front.inside] = found
            front.finish(found)
        tiles = symbols.view(front.tiles, front.height, front.width, 1).cpu().numpy()
        return [tile[: side.shape[0], : side.shape[1]] for tile, side in zip(tiles, sides, strict=True)]


class Wavefront:
    """The walk through a batch of tiles. A step evaluates rows `low` to `high` - 1 of every tile, whose places are `inside`;

    tile i really has the rows low + spans[i][0] to low + spans[i][1] - 1 of them, and what is said of the others is ignored.
    """

    def __init__(self, network: ExactPlanes, sides: Sequence[Symbols]) -> None:
        """sides: uint8 (h, w, 2) for every tile."""
        self.network = network
        device = network.device
        self.sizes = [side.shape[:2] for side in sides]
        self.height, self.width = max(h for h, _ in self.sizes), max(w for _, w in self.sizes)
        self._even = all(size == (self.height, self.width) for size in self.sizes)
        self.steps = self.width + SLOPE * (self.height - 1)
        self.tiles = len(sides)
        self._sides = torch.zeros((self.tiles, self.height, self.width, planes.SIDES), dtype=torch.int16, device=device)
        self._ahead = torch.zeros((self.tiles, self.height, self.width, planes.SIDES * len(planes.AHEAD)), dtype=torch.int8, device=device)
        for i, side in enumerate(sides):
            values = torch.from_numpy(side).to(device).to(torch.int16) - planes.UNKNOWN
            self._sides[i, : side.shape[0], : side.shape[1]] = values
            self._ahead[i, : side.shape[0], : side.shape[1]] = planes.ahead(values[None], network.tables)[0]
        self._sides, self._ahead = self._sides.flatten(1, 2), self._ahead.flatten(1, 2)
        cells = (RING, self.tiles, self.height + TOP)
        self._planes = torch.full((*cells, CHANNELS), context.OUTSIDE, dtype=torch.int16, device=device)
        self._errors = torch.zeros((*cells, context.PREDICTIONS * CHANNELS), dtype=torch.int16, device=device)
        self._residuals = torch.zeros((*cells, CHANNELS), dtype=torch.int8, device=device)
        self._hidden = torch.zeros((*cells, network.hidden), dtype=torch.int8, device=device)
        self._at = HISTORY - 1  # place of the current step in the rings

    def _block(self, ring: Tensor, block: Size) -> Tensor:
        """A block of neighbours of every pixel of the step; (tiles, rows, cells * C)."""
        steps, rows = block
        by_step, by_tile, by_row, _ = ring.stride()
        start = (self._at - steps) * by_step + (self.low + TOP - rows + 1) * by_row
        shape = (self.tiles, self.high - self.low, steps, rows * ring.shape[3])
        return ring.as_strided(shape, (by_tile, by_row, by_step, 1), start).flatten(2)

    def start(self, step: int) -> bool:
        """Go to a step. False if no pixel belongs to it."""
        self._at += 1
        if self._at == RING:
            for ring in (self._planes, self._errors, self._residuals, self._hidden):
                ring[:HISTORY] = ring[-HISTORY:].clone()
            self._planes[HISTORY:] = context.OUTSIDE
            for ring in (self._errors, self._residuals, self._hidden):
                ring[HISTORY:] = 0
            self._at = HISTORY
        self.low, self.high = _rows(step, self.height, self.width)
        if self.low >= self.high:
            return False
        rows = torch.arange(self.low, self.high, device=self.network.device)
        self.inside = rows * self.width + step - SLOPE * rows
        self.spans = [(a - self.low, b - self.low) for a, b in (_rows(step, h, w) for h, w in self.sizes)]
        return True

    def distribution(self) -> Distribution:
        """The distributions of the step's symbols, tile by tile, row by row."""
        net = self.network
        near = self._block(self._planes, context.PIXEL_BLOCK).unflatten(2, (-1, CHANNELS))
        self._predictions = context.predict(near)
        past = self._block(self._errors, context.ERROR_BLOCK).unflatten(2, (context.REMEMBERED, -1))
        errors = past.sum(2, dtype=torch.int16).view_as(self._predictions)
        self._combined = context.combine(self._predictions, errors)
        residuals = self._block(self._residuals, context.ERROR_BLOCK).unflatten(2, (-1, CHANNELS))
        self._input = context.network_input(near, errors, residuals, self._combined, net.tables)
        self._known = self._sides[:, self.inside]
        hints = context.hints(self._known - context.middle(self._combined[..., 1:]), net.tables).flatten(2)
        told = [self._input, hints, self._ahead[:, self.inside], self._block(self._hidden, planes.CELL_BLOCK)]
        y = net.layer(torch.cat(told, dim=2).flatten(0, 1), net.trunk)
        for block in net.blocks:
            y = net.layer(y, block)
        output = net.sums(net.layer(y, net.head), net.out).bitwise_right_shift_(net.out.shift)
        centres = self._combined[..., 0].clamp(0, 255 * context.FRACTION).int() * (frequencies.PLACE // context.FRACTION)
        return Distribution(output, centres.flatten(), net.distribution_tables)

    def finish(self, symbols: Tensor) -> None:
        """Remember the step's symbols, uint8 (tiles, rows), for their neighbours; places outside a tile are ignored."""
        net, here, rows = self.network, self._at, slice(self.low + TOP, self.high + TOP)
        values = torch.cat([symbols.to(torch.int16).unsqueeze(2), self._known], dim=2)
        errors = context.absolute_errors(values, self._predictions).flatten(2)
        residuals = net.tables.of_signed(values - context.middle(self._combined))
        hidden = torch.cat([self._input, residuals], dim=2).flatten(0, 1)
        for layer in net.cell:
            hidden = net.layer(hidden, layer)
        self._planes[here, :, rows] = values
        self._errors[here, :, rows] = errors
        self._residuals[here, :, rows] = residuals
        self._hidden[here, :, rows] = hidden.view(*errors.shape[:2], -1)
        if not self._even:
            self._clear_outside(here)

    def _clear_outside(self, here: int) -> None:
        """Undo what was remembered of places that smaller tiles do not have."""
        for tile, (first, last) in enumerate(self.spans):
            for rows in (slice(self.low + TOP, self.low + TOP + max(0, first)), slice(self.low + TOP + max(first, last), self.high + TOP)):
                self._planes[here, tile, rows] = context.OUTSIDE
                for ring in (self._errors, self._residuals, self._hidden):
                    ring[here, tile, rows] = 0


def _rows(step: int, height: int, width: int) -> tuple[int, int]:
    """First and past-the-last row of a tile in a step."""
    return max(0, -(-(step - width + 1) // SLOPE)), min(height - 1, step // SLOPE) + 1
