"""The evaluator of `pixelcnn` in torch: the reference of the compiled loops, and what works on a GPU and where these are missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import back_ends, context, units
from ..back_ends import Prepared
from ..frequencies import Categories, Distribution, DistributionTables, Mixtures
from ..integer import IntLinear, Tensors, joined
from ..model import Size, Symbols
from ..tensors import on_device
from ..units import HINT_LIMIT, STREAM_LIMIT
from .grid import Grid, Rows
from .network import GATE_LEVELS, PixelCNNConfig

Offsets = Tensor


class ReferencePixelCNN:
    """The integer network: weights, tables and a back end on one device."""

    def __init__(
        self, config: PixelCNNConfig, tensors: Tensors, layers: Mapping[str, IntLinear], arithmetic: str | None, device: str
    ) -> None:
        """Raises ValueError if no product is exact here."""
        self.config = c = config
        self.device = torch.device(device)
        self.tensors = on_device({name: array for name, array in tensors.items() if not name.startswith("forecasters.")}, self.device)
        self.width = c.width
        heads = [layers[f"heads.{i}"] for i in range(c.channels)]
        together = joined([IntLinear(np.ascontiguousarray(h.weight[:, : c.width]), h.bias, h.shift) for h in heads])
        used = [together, *(layer for name, layer in layers.items() if not name.startswith("heads"))]
        self.back_end = back_ends.choose(arithmetic, [layer.shape for layer in used], self.device)
        self.arithmetic = self.back_end.name
        self.layers = {name: self._prepare(layer) for name, layer in layers.items() if not name.startswith("heads")}
        self.head = self._prepare(together)
        self._gate = self.tensors["tables.gate"]
        self.up_bits, self.left_bits = tensors["up_bits"].tolist(), tensors["left_bits"].tolist()
        self.relative = c.context == "relative"
        if self.relative:
            self.tables = context.Tables(self.tensors["tables.signed"], self.tensors["tables.error"])
        if c.output == "mixture":
            self._mixture = DistributionTables(*(self.tensors[f"tables.{name}"] for name in ("inverse", "sigmoid", "share")))
        self._told = [self._hint_table(heads, i) for i in range(c.channels - 1)]

    def evaluator(self, sizes: Sequence[Size]) -> ReferenceEvaluator:
        return ReferenceEvaluator(self, sizes)

    def biased(self, added: NDArray[np.int32]) -> ReferencePixelCNN:
        """The same with more in the biases of the up-left stack's first layer."""
        network = copy(self)
        first = self.layers["first"]
        network.layers = self.layers | {"first": replace(first, bias=first.bias + torch.from_numpy(added).to(self.device))}
        return network

    def _prepare(self, layer: IntLinear) -> Prepared:
        return Prepared.of(layer, self.back_end, self.device)

    def _hint_table(self, heads: Sequence[IntLinear], channel: int) -> Tensor:
        """What the symbol (or residual) of a channel adds to the sums of all later heads; int32 (values, later * head)."""
        if self.relative:
            residual = torch.arange(-HINT_LIMIT, HINT_LIMIT + 1, device=self.device)
            values = torch.stack([self.tables.of_signed(residual), (residual * 8).clamp(-127, 127)], dim=1)
        else:
            values = self.tensors["embedding"][channel]
        at = self.width + channel * values.shape[1]
        parts = [head.weight[:, at : at + values.shape[1]] for head in heads[channel + 1 :]]
        weight = torch.from_numpy(np.concatenate(parts)).to(self.device)
        return (values.float() @ weight.float().t()).int()  # exact: a part of a sum that stays below 2^24

    def sums(self, x: Tensor, layer: Prepared) -> Tensor:
        """(W x + b) >> shift; int32 (n, outputs)."""
        return self.back_end.product(x, layer.weight).add_(layer.bias).bitwise_right_shift_(layer.shift)

    def gated(self, x: Tensor, layer: Prepared) -> Tensor:
        """a * sigmoid(b) of a layer's outputs (a, b); int32 (n, width)."""
        a, b = self.sums(x, layer).split(self.width, 1)
        gate = self._gate.index_select(0, (b.clamp(-128, 127) + 128).flatten()).view(b.shape)
        return (gate.mul_(a) + (1 << (GATE_LEVELS - 1))) >> GATE_LEVELS

    @staticmethod
    def stream(values: Tensor) -> Tensor:
        """Values of a residual stream, int16."""
        return values.clamp_(-STREAM_LIMIT, STREAM_LIMIT).to(torch.int16)

    @staticmethod
    def activation(stream: Tensor, bits: int) -> Tensor:
        """A residual stream on the grid -127..127 of its readers; int8."""
        return ((stream.int() + (1 << bits >> 1)) >> bits).clamp_(-127, 127).to(torch.int8)

    def head_sums(self, y: Tensor) -> Tensor:
        """The part of all heads' sums that the shared representation y, int8 (n, width), gives; int32 (n, channels * head)."""
        return self.back_end.product(y, self.head.weight).add_(self.head.bias)

    def tell(self, head_sums: Tensor, channel: int, values: Tensor) -> None:
        """Add what the symbols (or residuals) of a channel (n) say to the sums of all later heads, in place."""
        place = values.clamp(-HINT_LIMIT, HINT_LIMIT).int() + HINT_LIMIT if self.relative else values.int()
        head_sums[:, (channel + 1) * self.config.head :].add_(self._told[channel].index_select(0, place))

    def outputs(self, head_sums: Tensor, channel: int) -> Tensor:
        """Parameters of a channel's distributions, int32 (n, outputs), of sums that have been told of the channels before it."""
        size = self.config.head
        part = slice(channel * size, (channel + 1) * size)
        z = (head_sums[:, part] >> self.head.shift[part]).clamp_(0, 127).to(torch.int8)
        return self.sums(z, self.layers[f"outs.{channel}"])

    def quantiles(self, outputs: Tensor, centres: Tensor | int, precision: int) -> Categories | Mixtures:
        """The distributions; centres: int32 (n), or one for all, in 1/GREY grey levels, for mixtures."""
        if self.config.output == "categorical":
            return Categories(outputs, self.tensors["tables.category"], precision)
        return Mixtures(Distribution(outputs, centres, self._mixture), self.config.levels, precision)


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


@dataclass
class Heads:
    """The sums of all heads, int32 (n, channels * head), and of how many channels they have been told."""

    sums: Tensor
    told: int = 0


class ReferenceEvaluator(Grid):
    """See `model.Evaluator`."""

    def __init__(self, network: ReferencePixelCNN, sizes: Sequence[Size]) -> None:
        """sizes: height and width of every image."""
        self.network, self._device = network, network.device
        net, c, device = network, network.config, network.device
        super().__init__(c, sizes)
        rows = self.rows
        self._symbols = torch.zeros((rows, c.channels), dtype=torch.uint8, device=device)
        self._first_up_taps, self._first_left_taps, self._up_taps, self._left_taps = (self._on_device(taps) for taps in self.taps)
        int8, int16 = torch.int8, torch.int16
        self._seen = torch.zeros((rows, c.seen), dtype=int8, device=device)
        if net.relative:
            self._planes = torch.full((rows, 3), units.OUTSIDE, dtype=int16, device=device)
            self._near_taps = self._on_device(self.offsets(self.near))
            self._error_taps = self._on_device(self.offsets(units.offsets(units.ERROR_BLOCK)))
            self._predictor_taps = self._near_taps[context.PREDICTORS]
            count = units.PREDICTIONS * 3
            self._prediction = _Map(rows, device, (count, int16), (count, int16))  # predictions, their absolute errors
            self._combined = _Map(rows, device, (count, int16), (3, int16), (3, int8))  # errors, combined, companded residual
            self._own = _Map(rows, device, (c.own, int8))
        streams = ((c.width, int16), (c.width, int8))
        self._up = [_Map(rows, device, *streams) for _ in range(c.blocks + 1)]
        self._left = [_Map(rows, device, *streams) for _ in range(c.blocks + 1)]
        self._heads = torch.ones(rows, dtype=torch.bool, device=device)

    def _on_device(self, numbers: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(numbers).to(self._device)

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

    def put(self, rows: Rows, values: Symbols, watch: bool = True) -> None:
        pixels, symbols = self._on_device(rows), torch.from_numpy(np.ascontiguousarray(values)).to(self._device)
        self._symbols[pixels] = symbols
        if watch:
            self._heads[pixels] = True
        if not self.network.relative:
            tables = self.network.tensors["embedding"]
            seen = torch.cat([tables[i].index_select(0, symbols[:, i].int()) for i in range(symbols.shape[1])], 1)
            self._store_seen(pixels, seen, watch)
            return
        planes = symbols.to(torch.int16) * self.network.config.step
        planes[:, 1:] -= planes[:, :1]
        self._planes[pixels] = planes
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
        companded = self.network.tables.of_signed(residual)
        changed = self._combined.store(2, pixels, companded, watch)
        self._mark(self._own.stale, changed, self._error_taps)
        self._store_seen(pixels, torch.cat([self._own.tables[0].index_select(0, pixels), companded], 1), watch)

    # -------------------------------------------------------------------------------------------------- evaluation

    def open(self, pixels: Rows) -> None:
        self._heads[self._on_device(pixels)] = True

    def evaluate(self, rows: Rows, watch: bool = True) -> Rows:
        asked = pixels = self._on_device(rows)
        if not watch:  # a pixel may be asked for again, for another of its channels
            pixels = pixels[self._left[-1].stale.index_select(0, pixels)]
        if self.network.relative:
            self._evaluate_context(pixels, watch)
        # without a slope the up stack also sees to its right: what is above a whole row is known before the row is
        above = pixels if self.network.config.slope else self._on_device(self.whole_rows(pixels.cpu().numpy()))
        for i in range(self.network.config.blocks + 1):
            self._evaluate_up(i, above, watch)
            self._evaluate_left(i, pixels, watch)
        due: Tensor = asked[self._heads.index_select(0, asked)] if watch else asked
        self._heads[due] = False
        return np.asarray(due.cpu().numpy())

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

    def head_sums(self, pixels: Rows) -> Heads:
        return Heads(self.network.head_sums(self._left[-1].tables[1].index_select(0, self._on_device(pixels))))

    def distribution(self, heads: Heads, pixels: Rows, channel: int, symbols: Symbols, precision: int) -> Categories | Mixtures:
        net, rows = self.network, self._on_device(pixels)
        known = torch.from_numpy(np.ascontiguousarray(symbols)).to(self._device)
        values = known.to(torch.int16) * net.config.step
        combined = self._combined.tables[1].index_select(0, rows) if net.relative else values
        for i in range(heads.told, channel):
            net.tell(
                heads.sums, i, values[:, i] - (values[:, 0] if i else 0) - context.middle(combined[:, i]) if net.relative else known[:, i]
            )
        heads.told = max(heads.told, channel)
        outputs = net.outputs(heads.sums, channel)
        if not net.relative:
            return net.quantiles(outputs, net.config.zero * units.GREY, precision)
        centres = combined[:, channel] + (units.FRACTION * values[:, 0] if channel else 0)
        return net.quantiles(outputs, centres.clamp(0, 255 * units.FRACTION).int() * (units.GREY // units.FRACTION), precision)

    # ---------------------------------------------------------------------------------------------- for forecasts

    def symbols_at(self, pixels: Rows) -> NDArray[np.uint8]:
        return self._at(self._symbols, pixels)

    def seen_at(self, pixels: Rows) -> NDArray[np.int8]:
        return self._at(self._seen, pixels)

    def representations_at(self, pixels: Rows) -> NDArray[np.int8]:
        return self._at(self._left[-1].tables[1], pixels)

    def _at(self, table: Tensor, pixels: Rows) -> NDArray[Any]:
        return np.asarray(table[self._on_device(pixels)].cpu().numpy())
