"""One evaluator for every schedule: the feature maps of a batch of images, brought up to date at chosen pixels.

Every layer's output is kept for every pixel of every image, as rows of one table, with a gap of zero rows between image
rows that stands for everything outside. `evaluate` goes through the layers once; in each it computes only those of the
asked pixels whose inputs have changed since, and compares the result with what was there: integers are equal or not, so
where a change dies out nothing further is computed. A pixel whose inputs have never been complete is simply one that was
not asked for yet.

Encoding asks for all pixels at once, the wavefront for one step after the other, predictive decoding for a window, again
and again, until nothing changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .. import context, units
from ..frequencies import Quantiles
from ..quantisation import INPUT_BITS

if TYPE_CHECKING:
    from .exact import ExactPixelCNN

Offsets = Tensor


class _Map:
    """The output of a layer for all pixels: some tables of rows, and which rows must be computed again."""

    def __init__(self, rows: int, device: torch.device, *tables: tuple[int, torch.dtype]) -> None:
        self.tables = [torch.zeros((rows, width), dtype=dtype, device=device) for width, dtype in tables]
        self.stale = torch.ones(rows, dtype=torch.bool, device=device)

    def store(self, table: int, pixels: Tensor, values: Tensor, watch: bool) -> Tensor:
        """Write rows; returns the pixels whose rows were others before, or none of them if nobody watches."""
        buffer = self.tables[table]
        if not watch:
            buffer[pixels] = values
            return pixels[:0]
        changed = (buffer.index_select(0, pixels) != values).any(1)
        buffer[pixels] = values
        return pixels[changed]


class Evaluator:
    """`symbols`: what is known or guessed, uint8 (rows, channels) in coded order; `pixels[i]`: the rows of image i's pixels
    in coding order; `known`: whether a symbol (row, channel) is final."""

    def __init__(self, network: ExactPixelCNN, sizes: Sequence[tuple[int, int]]) -> None:
        """sizes: height and width of every image."""
        net, c = network, network.config
        self.network, self.sizes, device = network, sizes, network.device
        (first_up, first_left), (up, left) = c.first_taps(), c.block_taps()
        near = units.offsets(units.PIXEL_BLOCK) if net.relative else []
        every = [*first_up, *first_left, *up, *left, *near]
        self.gap = max(abs(dx) for _, dx in every)
        self._top = max(-dy for dy, _ in every)
        height, width = max(h for h, _ in sizes), max(w for _, w in sizes)
        self.stride = width + self.gap
        self.image_rows = (height + self._top) * self.stride
        rows = len(sizes) * self.image_rows + (self._top + 1) * self.stride + self.gap
        self.pixels: Sequence[Tensor] = [self._order(i, h, w) for i, (h, w) in enumerate(sizes)]
        self.inside = torch.zeros(rows, dtype=torch.bool, device=device)
        for pixels in self.pixels:
            self.inside[pixels] = True
        self.symbols = torch.zeros((rows, c.channels), dtype=torch.uint8, device=device)
        self._up_taps, self._left_taps = self._offsets(up), self._offsets(left)
        self._first_up_taps, self._first_left_taps = self._offsets(first_up), self._offsets(first_left)
        int8, int16 = torch.int8, torch.int16
        self._seen = torch.zeros((rows, c.seen), dtype=int8, device=device)
        if net.relative:
            self._planes = torch.full((rows, 3), units.OUTSIDE, dtype=int16, device=device)
            self._near_taps, self._error_taps = self._offsets(near), self._offsets(units.offsets(units.ERROR_BLOCK))
            self._predictor_taps = self._near_taps[context.PREDICTORS]
            count = units.PREDICTIONS * 3
            self._prediction = _Map(rows, device, (count, int16), (count, int16))  # predictions, their absolute errors
            self._combined = _Map(rows, device, (count, int16), (3, int16), (3, int8))  # errors, combined, companded residual
            self._residual = torch.zeros((rows, 3), dtype=int16, device=device)
            self._own = _Map(rows, device, (c.own, int8))
        streams = ((c.width, int16), (c.width, int8))
        self._up = [_Map(rows, device, *streams) for _ in range(c.blocks + 1)]
        self._left = [_Map(rows, device, *streams) for _ in range(c.blocks + 1)]
        self._heads = torch.ones(rows, dtype=torch.bool, device=device)

    def _offsets(self, taps: Iterable[tuple[int, int]]) -> Offsets:
        return torch.tensor([dy * self.stride + dx for dy, dx in taps], device=self.network.device)

    def _order(self, image: int, height: int, width: int) -> Tensor:
        """Rows of an image's pixels: raster order, or with a slope s by step x + s y, in a step from the top."""
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        rows = (image * self.image_rows + (y + self._top) * self.stride + x + self.gap).flatten()
        return rows[self.network.config.order(height, width)].to(self.network.device)

    def _near(self, table: Tensor, pixels: Tensor, taps: Offsets) -> Tensor:
        """The rows at some taps of pixels, side by side: (n, taps * width)."""
        places = (pixels.unsqueeze(1) + taps).flatten()
        rows: Tensor = table.index_select(0, places).view(len(pixels), -1)
        return rows

    @staticmethod
    def _mark(stale: Tensor, changed: Tensor, taps: Offsets) -> None:
        if len(changed):
            stale.index_fill_(0, (changed.unsqueeze(1) - taps).flatten(), True)

    # ------------------------------------------------------------------------------------------------ from symbols

    def put(self, pixels: Tensor, symbols: Tensor, watch: bool = True) -> None:
        """Set the symbols (n, channels) of pixels. `watch`: other pixels may have been evaluated with other symbols here."""
        self.symbols[pixels] = symbols
        if watch:
            self._heads[pixels] = True
        if not self.network.relative:
            tables = self.network.tensors["embedding"]
            seen = torch.cat([tables[i].index_select(0, symbols[:, i].int()) for i in range(symbols.shape[1])], 1)
            self._store_seen(pixels, seen, watch)
            return
        values = symbols.to(torch.int16) * self.network.config.step
        values[:, 1:] -= values[:, :1]
        self._planes[pixels] = values
        if watch:
            self._mark(self._prediction.stale, pixels, self._predictor_taps)
            self._mark(self._own.stale, pixels, self._near_taps)
        self._after_prediction(pixels, watch)
        self._after_combination(pixels, watch)

    def _store_seen(self, pixels: Tensor, seen: Tensor, watch: bool) -> None:
        self._seen[pixels] = seen
        if watch:
            self._mark(self._up[0].stale, pixels, self._first_up_taps)
            self._mark(self._left[0].stale, pixels, self._first_left_taps)

    def _after_prediction(self, pixels: Tensor, watch: bool) -> None:
        """The errors of the predictions, once a pixel's own symbols or its predictions are others."""
        predictions = self._prediction.tables[0].index_select(0, pixels).unflatten(1, (-1, 3))
        errors = context.absolute_errors(self._planes.index_select(0, pixels), predictions).flatten(1)
        changed = self._prediction.store(1, pixels, errors, watch)
        self._mark(self._combined.stale, changed, self._error_taps)

    def _after_combination(self, pixels: Tensor, watch: bool) -> None:
        """The residuals, and what later pixels see of a pixel."""
        residual = self._planes.index_select(0, pixels) - context.middle(self._combined.tables[1].index_select(0, pixels))
        self._residual[pixels] = residual
        companded = self.network.tables.of_signed(residual)
        changed = self._combined.store(2, pixels, companded, watch)
        self._mark(self._own.stale, changed, self._error_taps)
        self._store_seen(pixels, torch.cat([self._own.tables[0].index_select(0, pixels), companded], 1), watch)

    # -------------------------------------------------------------------------------------------------- evaluation

    def open(self, pixels: Tensor) -> None:
        """Have `evaluate` return pixels even if nothing has changed for them."""
        self._heads[pixels] = True

    def evaluate(self, pixels: Tensor, watch: bool = True) -> Tensor:
        """Bring the maps up to date at pixels; returns those whose distributions may be others than before.

        `watch` False: none of them was evaluated before, and nothing that was evaluated sees them. That is for networks
        with a slope, whose pixels are asked for in coding order.
        """
        asked = pixels
        if not watch:  # a pixel may be asked for again, for another of its channels
            pixels = pixels[self._left[-1].stale.index_select(0, pixels)]
        if self.network.relative:
            self._evaluate_context(pixels, watch)
        # without a slope the up stack also sees to its right: what is above a whole row is known before the row is
        above = pixels if self.network.config.slope else self._whole_rows(pixels)
        for i in range(self.network.config.blocks + 1):
            self._evaluate_up(i, above, watch)
            self._evaluate_left(i, pixels, watch)
        due: Tensor = asked[self._heads.index_select(0, asked)] if watch else asked
        self._heads[due] = False
        return due

    def _whole_rows(self, pixels: Tensor) -> Tensor:
        """All pixels of the image rows that some pixels are in."""
        rows = torch.unique(pixels // self.stride)
        places = (rows.unsqueeze(1) * self.stride + torch.arange(self.stride, device=rows.device)).flatten()
        inside: Tensor = places[self.inside[places]]
        return inside

    def _due(self, stale: Tensor, pixels: Tensor, watch: bool) -> Tensor:
        due = pixels[stale.index_select(0, pixels)] if watch else pixels
        stale[due] = False
        return due

    def _evaluate_context(self, pixels: Tensor, watch: bool) -> None:
        due = self._due(self._prediction.stale, pixels, watch)
        if len(due):
            predictions = context.predict(self._near(self._planes, due, self._near_taps).unflatten(1, (-1, 3))).flatten(1)
            changed = self._prediction.store(0, due, predictions, watch)
            if watch:
                self._combined.stale[changed] = True
                self._after_prediction(changed, watch)
        due = self._due(self._combined.stale, pixels, watch)
        if len(due):
            past = self._near(self._prediction.tables[1], due, self._error_taps).unflatten(1, (len(self._error_taps), -1))
            errors = past.sum(1, dtype=torch.int16)
            shape = (units.PREDICTIONS, 3)
            combined = context.combine(self._prediction.tables[0].index_select(0, due).unflatten(1, shape), errors.unflatten(1, shape))
            self._own.stale[self._combined.store(0, due, errors, watch)] = True
            changed = self._combined.store(1, due, combined, watch)
            if watch:
                self._own.stale[changed] = True
                self._heads[changed] = True
                self._after_combination(changed, watch)
        due = self._due(self._own.stale, pixels, watch)
        if len(due):
            near = self._near(self._planes, due, self._near_taps).unflatten(1, (-1, 3))
            errors, combined, _ = (t.index_select(0, due) for t in self._combined.tables)
            remembered = self._near(self._combined.tables[2], due, self._error_taps).unflatten(1, (-1, 3))
            own = context.network_input(near, errors.unflatten(1, (-1, 3)), remembered, combined, self.network.tables)
            changed = self._own.store(0, due, own, watch)
            if watch:
                self._left[0].stale[changed] = True
                seen = torch.cat([self._own.tables[0].index_select(0, changed), self._combined.tables[2].index_select(0, changed)], 1)
                self._store_seen(changed, seen, watch)

    def _evaluate_up(self, i: int, pixels: Tensor, watch: bool) -> None:
        net = self.network
        due = self._due(self._up[i].stale, pixels, watch)
        if not len(due):
            return
        if i == 0:
            stream = net.stream(net.sums(self._near(self._seen, due, self._first_up_taps), net.layers["first_up"]))
        else:
            before = self._up[i - 1]
            delta = net.gated(self._near(before.tables[1], due, self._up_taps), net.layers[f"up.{i - 1}"])
            stream = net.stream(delta.add_(before.tables[0].index_select(0, due)))
        self._finish(self._up, i, due, stream, net.up_bits[i], self._up_taps, watch)

    def _evaluate_left(self, i: int, pixels: Tensor, watch: bool) -> None:
        net = self.network
        due = self._due(self._left[i].stale, pixels, watch)
        if not len(due):
            return
        above = self._up[i].tables[1].index_select(0, due)
        if i == 0:
            parts = [self._near(self._seen, due, self._first_left_taps)]
            parts += [self._own.tables[0].index_select(0, due)] if net.relative else []
            stream = net.stream(net.sums(torch.cat([*parts, above], 1), net.layers["first"]))
        else:
            before = self._left[i - 1]
            seen = torch.cat([self._near(before.tables[1], due, self._left_taps), above], 1)
            stream = net.stream(net.gated(seen, net.layers[f"left.{i - 1}"]).add_(before.tables[0].index_select(0, due)))
        self._finish(self._left, i, due, stream, net.left_bits[i], self._left_taps, watch)

    def _finish(self, maps: list[_Map], i: int, due: Tensor, stream: Tensor, bits: int, taps: Offsets, watch: bool) -> None:
        """Store a stream and its activations, and mark what reads them."""
        moved = maps[i].store(0, due, stream, watch)
        changed = maps[i].store(1, due, self.network.activation(stream, bits), watch)
        if not watch:
            return
        last = i == self.network.config.blocks
        if not last:
            maps[i + 1].stale[moved] = True
            self._mark(maps[i + 1].stale, changed, taps)
        if maps is self._up:
            self._left[i].stale[changed] = True
        elif last:
            self._heads[changed] = True

    # ----------------------------------------------------------------------------------------------- distributions

    def representation(self, pixels: Tensor) -> Tensor:
        """The shared representation h of pixels, int8 (n, width)."""
        return self._left[-1].tables[1].index_select(0, pixels)

    def representations_at(self, pixels: Tensor, taps: Offsets) -> Tensor:
        """h at some taps of pixels, in the float network's units; float32 (n, taps * width)."""
        unit: float = 0.5**self.network.representation_bits
        return self._near(self._left[-1].tables[1], pixels, taps).float() * unit

    def seen_at(self, pixels: Tensor, taps: Offsets) -> Tensor:
        """The inputs at some taps of pixels, in the float network's units; float32 (n, taps * seen)."""
        return self._near(self._seen, pixels, taps).float() * 2.0**-INPUT_BITS

    def distribution(self, head_sums: Tensor, pixels: Tensor, channel: int, symbols: Tensor, precision: int) -> Quantiles:
        """The distributions of a channel of pixels, given the symbols (n, channels) of its earlier channels."""
        net = self.network
        if not net.relative:
            outputs = net.outputs(head_sums, channel, symbols[:, :channel].unbind(1))
            return net.quantiles(outputs, net.config.zero * units.GREY, precision)
        combined = self._combined.tables[1].index_select(0, pixels)
        values = symbols.to(torch.int16) * net.config.step
        earlier = [values[:, i] - (values[:, 0] if i else 0) - context.middle(combined[:, i]) for i in range(channel)]
        centres = combined[:, channel] + (units.FRACTION * values[:, 0] if channel else 0)
        centres = centres.clamp(0, 255 * units.FRACTION).int() * (units.GREY // units.FRACTION)
        return net.quantiles(net.outputs(head_sums, channel, earlier), centres, precision)

    def head_sums(self, pixels: Tensor) -> Tensor:
        """What `distribution` wants of pixels whose maps are up to date."""
        return self.network.head_sums(self.representation(pixels))
