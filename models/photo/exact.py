"""The `photo` network in exact integers, evaluated along the wavefront of many tiles at once.

Pixel (y, x) of a tile belongs to step x + 2 y: everything its distribution depends on was decoded in earlier steps, and all
pixels of a step, in all tiles, are evaluated together. State is kept in skewed storage [step][tile][row], where the block
of neighbours of every pixel of a step is one strided copy; only the last few steps are held.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .. import context, frequencies, integer
from ..context import CHANNELS, HINT_LIMIT, SLOPE, TO_CODED
from ..frequencies import Distribution, DistributionTables
from ..integer import IntLinear, Prepared
from ..model import Code, Known, Lossless, Size, Span, Symbols, Turn, Way
from . import network as photo

HISTORY = max(context.PIXEL_BLOCK[0], context.ERROR_BLOCK[0], photo.CELL_BLOCK[0])  # steps that a step looks back
RING = 64  # steps held; when they are full the last HISTORY are moved to the front
TOP = max(context.PIXEL_BLOCK[1], context.ERROR_BLOCK[1], photo.CELL_BLOCK[1]) - 1  # rows above row 0


class ExactPhoto(Lossless):
    """The integer network: weights, tables and a back end on one device. Symbols are G, R, B; of gray pictures only G is coded."""

    coding: Way = "tiles"
    tile = 128
    batch = 48

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
        heads = [layers[f"heads.{c}"] for c in range(CHANNELS)]
        self.width = heads[0].weight.shape[1]
        self.heads = self._prepare(IntLinear(*(torch.cat(parts) for parts in zip(*map(self._without_hints, heads), strict=True))))
        self.hints = [self._hint_tables(h.weight[:, self.width :]) for h in heads]
        self.outs = [self._prepare(layers[f"outs.{c}"]) for c in range(CHANNELS)]
        self.hidden = self.cell[1].bias.numel()

    def _prepare(self, layer: IntLinear) -> Prepared:
        return Prepared.of(layer, self.back_end)

    def _without_hints(self, head: IntLinear) -> tuple[Tensor, Tensor, Tensor]:
        return head.weight[:, : self.width].contiguous(), head.bias, head.shift

    def _hint_tables(self, weight: Tensor) -> list[Tensor]:
        """What a residual of each earlier channel adds to a head's sums; int32 (2 HINT_LIMIT + 1, head) each."""
        residual = torch.arange(-HINT_LIMIT, HINT_LIMIT + 1, device=self.device)
        hint = torch.stack([self.tables.of_signed(residual), (residual * 8).clamp(-127, 127)], dim=1).int()
        parts = weight.int().unflatten(1, (-1, 1, context.HINTS)).unbind(1)
        return [(hint.unsqueeze(1) * part.squeeze(1)).sum(2, dtype=torch.int32) for part in parts]

    def sums(self, x: Tensor, layer: Prepared) -> Tensor:
        """W x + b; int32 (n, outputs)."""
        return self.back_end.product(x, layer.weight).add_(layer.bias)

    def activation(self, sums: Tensor, layer: Prepared) -> Tensor:
        """Sums back onto the grid 0..127; int8."""
        return sums.bitwise_right_shift_(layer.shift).clamp_(0, 127).to(torch.int8)

    def layer(self, x: Tensor, layer: Prepared) -> Tensor:
        sums = self.sums(x, layer)
        if layer.skip is not None:
            sums.add_(x.int().bitwise_left_shift_(layer.skip))
        return self.activation(sums, layer)

    def predictor(self, quality: int) -> None:
        """Nothing: the network is evaluated along the wavefront only."""

    def answers(self, tiles: Sequence[Symbols]) -> Known:
        return Known([tile[..., TO_CODED] for tile in tiles], self.device)

    def spans(self, tiles: Sequence[Symbols]) -> list[Span]:
        gray = all((tile == tile[..., :1]).all() for tile in tiles)
        return [Span.FULL, *([Span.SAME if gray else Span.FULL] * (CHANNELS - 1))]

    def walk(self, sizes: Sequence[Size], spans: Sequence[Span], quality: int, code: Code, known: Known | None = None) -> list[Symbols]:
        """Symbols in the order (step, channel, half, row): for each step G, then R, then B, of each the high nibbles of all rows first."""
        front = Wavefront(self, sizes)
        pixels = torch.empty((front.tiles, front.height, front.width, CHANNELS), dtype=torch.uint8, device=self.device)
        start = torch.arange(front.tiles, device=self.device).unsqueeze(1) * front.height * front.width
        for step in range(front.steps):
            if not front.start(step):
                continue
            rows = torch.arange(front.low, front.high, device=self.device)
            columns = step - SLOPE * rows
            at, share = (start + rows * front.width + columns).flatten(), (step + 1) / front.steps
            parts = [slice(i * len(rows) + a, i * len(rows) + max(a, b)) for i, (a, b) in enumerate(front.spans)]
            for channel, span in enumerate(spans):
                if span != Span.SAME:
                    distribution = front.distribution(channel)
                    high = code(Turn(channel, 0, at, parts, share), distribution.nibble())
                    low = code(Turn(channel, 1, at, parts, share), distribution.nibble(high))
                    symbols = (high * 16 + low).to(torch.uint8).view(front.tiles, -1)
                front.put(channel, symbols)
                pixels[:, rows, columns, channel] = symbols
            front.finish()
        return [tile[:h, :w, TO_CODED] for tile, (h, w) in zip(pixels.cpu().numpy(), sizes, strict=True)]


class Wavefront:
    """The walk through a batch of tiles, for encoder and decoder alike.

    for step in range(wavefront.steps):
        if not wavefront.start(step):
            continue  # no pixel belongs to it
        for channel in range(3):
            distribution = wavefront.distribution(channel)
            wavefront.put(channel, symbols)  # known or just decoded
        wavefront.finish()

    A step evaluates rows `low` to `high` - 1 of every tile; tile i really has the rows low + spans[i][0] to
    low + spans[i][1] - 1 of them, and what is said of the others is ignored.
    """

    def __init__(self, network: ExactPhoto, sizes: Sequence[tuple[int, int]]) -> None:
        """sizes: height and width of every tile."""
        self.network = network
        device = network.device
        self.sizes = sizes
        self.height, self.width = max(h for h, _ in sizes), max(w for _, w in sizes)
        self._even = all(size == (self.height, self.width) for size in sizes)
        self.steps = self.width + SLOPE * (self.height - 1)
        self.tiles = len(sizes)
        cells = (RING, self.tiles, self.height + TOP)
        self._planes = torch.full((*cells, CHANNELS), context.OUTSIDE, dtype=torch.int16, device=device)
        self._errors = torch.zeros((*cells, context.PREDICTIONS * CHANNELS), dtype=torch.int16, device=device)
        self._residuals = torch.zeros((*cells, CHANNELS), dtype=torch.int8, device=device)
        self._hidden = torch.zeros((*cells, network.hidden), dtype=torch.int8, device=device)
        self._at = HISTORY - 1  # place of the current step in the rings

    def _block(self, ring: Tensor, block: tuple[int, int]) -> Tensor:
        """A block of neighbours of every pixel of the step; (tiles, rows, cells * C)."""
        steps, rows = block
        by_step, by_tile, by_row, _ = ring.stride()
        start = (self._at - steps) * by_step + (self.low + TOP - rows + 1) * by_row
        shape = (self.tiles, self.high - self.low, steps, rows * ring.shape[3])
        return ring.as_strided(shape, (by_tile, by_row, by_step, 1), start).flatten(2)

    def start(self, step: int) -> bool:
        """Go to a step: everything that does not depend on its symbols. False if no pixel belongs to it."""
        net = self.network
        self.step = step
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
        self.spans = [(a - self.low, b - self.low) for a, b in (_rows(step, h, w) for h, w in self.sizes)]
        near = self._block(self._planes, context.PIXEL_BLOCK).unflatten(2, (-1, CHANNELS))
        self._predictions = context.predict(near)
        past = self._block(self._errors, context.ERROR_BLOCK).unflatten(2, (context.REMEMBERED, -1))
        errors = past.sum(2, dtype=torch.int16).view_as(self._predictions)
        self._combined = context.combine(self._predictions, errors)
        residuals = self._block(self._residuals, context.ERROR_BLOCK).unflatten(2, (-1, CHANNELS))
        self._input = context.network_input(near, errors, residuals, self._combined, net.tables)
        seen = torch.cat([self._input, self._block(self._hidden, photo.CELL_BLOCK)], dim=2).flatten(0, 1)
        y = net.layer(seen, net.trunk)
        for block in net.blocks:
            y = net.layer(y, block)
        self._heads = net.sums(y, net.heads)
        shape = (self.tiles, self.high - self.low)
        self._values = torch.empty((*shape, CHANNELS), dtype=torch.int16, device=net.device)
        self._green = torch.zeros(shape, dtype=torch.int16, device=net.device)
        self._away = torch.empty_like(self._values)  # residuals
        return True

    def distribution(self, channel: int) -> Distribution:
        """The distributions of a channel (0, 1, 2 = G, R, B), tile by tile, row by row."""
        net = self.network
        out, size = net.outs[channel], self._heads.shape[1] // CHANNELS
        part = slice(channel * size, (channel + 1) * size)
        sums = self._heads[:, part]
        for earlier, table in enumerate(net.hints[channel]):
            sums.add_(table.index_select(0, self._away[..., earlier].flatten().clamp(-HINT_LIMIT, HINT_LIMIT).int() + HINT_LIMIT))
        features = sums.bitwise_right_shift_(net.heads.shift[part]).clamp_(0, 127).to(torch.int8).contiguous()
        output = net.sums(features, out).bitwise_right_shift_(out.shift)
        centres = self._combined[..., channel] + context.FRACTION * self._green
        centres = centres.clamp(0, 255 * context.FRACTION).int() * (frequencies.PLACE // context.FRACTION)
        return Distribution(output, centres.flatten(), net.distribution_tables)

    def put(self, channel: int, symbols: Tensor) -> None:
        """The step's symbols of a channel, uint8 (tiles, rows); places outside a tile are ignored."""
        value = symbols.to(torch.int16) - self._green
        if channel == 0:
            self._green = value.clone()
        self._values[..., channel] = value
        self._away[..., channel] = value - context.middle(self._combined[..., channel])

    def finish(self) -> None:
        """Remember the step's pixels for their neighbours."""
        net, here, rows = self.network, self._at, slice(self.low + TOP, self.high + TOP)
        errors = context.absolute_errors(self._values, self._predictions).flatten(2)
        residuals = net.tables.of_signed(self._away)
        hidden = torch.cat([self._input, residuals], dim=2).flatten(0, 1)
        for layer in net.cell:
            hidden = net.layer(hidden, layer)
        self._planes[here, :, rows] = self._values
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
