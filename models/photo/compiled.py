"""The wavefront of `photo` in compiled loops."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ..buffers import Buffers
from ..integer import IntLinear, Tensors, joined
from ..kernels import jit, mixtures, products
from ..kernels import photo as kernels
from ..kernels.photo import RING, TOP
from ..kernels.products import Packed
from ..kernels.program import Program, Variable
from ..model import Code, Size, Span, Symbols
from ..plans import Plan, plan_of
from ..units import CHANNELS, ERROR_LIMIT, HINT_LIMIT, HINTS, INPUTS, OUTSIDE, PREDICTIONS
from .front import Front


class CompiledNetwork:
    """What the kernels want of an integer network that sees causal contexts: tables, the layers of hidden vectors, and those that see them.

    told: numbers that its first layer is told beside context and hidden vectors.
    """

    arithmetic = jit.ARITHMETIC
    told = 0
    outs: Sequence[Packed]

    def __init__(self, tensors: Tensors, layers: Mapping[str, IntLinear]) -> None:
        """Raises ValueError if products are not exact here."""
        products.check([layer.shape for layer in layers.values()])
        self.signed, self.error = tensors["tables.signed"], tensors["tables.error"]
        self.inverse, self.sigmoid, self.share = (tensors[f"tables.{name}"] for name in ("inverse", "sigmoid", "share"))
        self.trust = (1 << 24) // np.square(np.arange(ERROR_LIMIT + 1) + 2) + 1
        self.cell = [Packed.of(layers[f"cell.{i}"]) for i in range(2)]
        blocks = [layer for name, layer in layers.items() if name.startswith("blocks")]
        self.layers = [Packed.of(layer) for layer in (layers["trunk"], *blocks)]
        self.hidden = len(layers["cell.1"].bias)


class RingFront(Front):
    """The walk through a batch of tiles. State is kept in rings of the last few steps, see `kernels/photo.py`."""

    def __init__(self, network: CompiledNetwork, sizes: Sequence[Size]) -> None:
        super().__init__(sizes)
        self._net = network
        cells = (RING, self.tiles, self.height + TOP)
        self._planes = np.full((*cells, CHANNELS), OUTSIDE, np.int16)
        self._errors = np.zeros((*cells, PREDICTIONS * CHANNELS), np.uint8)
        self._residuals = np.zeros((*cells, CHANNELS), np.int8)
        self._hidden = np.zeros((*cells, network.hidden), np.int16)
        self._rings = (self._planes, self._errors, self._residuals, self._hidden)
        self._every = Step(network, self.tiles * self.height)
        self._do: jit.Do = jit.at_once

    def walk(self, spans: Sequence[Span], code: Code) -> Symbols:
        plan = plan_of(code)
        return super().walk(spans, code) if plan is None else self._run(spans, plan)

    def _run(self, spans: Sequence[Span], plan: Plan) -> Symbols:
        """The same walk with a program for all of a step."""
        decoded = np.zeros((self.tiles, self.height, self.width, len(spans)), np.uint8)
        places, bounds = (Variable(), Variable(), Variable()), np.empty((self.tiles, 2), np.int64)
        program = self._program(spans, plan, decoded, places, bounds)
        for step in range(self.steps):
            if not self.go_to(step):
                self.advance()
                continue
            bounds[:] = self.bounds
            program.run(self.count, tuple(zip(places, (step, self.low, self.rows), strict=True)))
            plan.done(self.count, self.bounds, (step + 1) / self.steps)
        return decoded

    def _program(
        self, spans: Sequence[Span], plan: Plan, decoded: Symbols, places: tuple[Variable, Variable, Variable], bounds: NDArray[np.int64]
    ) -> Program:
        """What is done in every step."""
        program, now = Program(), self._every
        for array in now.rows():
            program.cut(array)
        self._do, self._now = program.add, now
        self.step, self.low, self.rows = places
        self.bounds = bounds
        self.advance()
        self._look()
        for channel, span in enumerate(spans):
            if span != Span.SAME:
                self.begin(channel)
                for half, nibbles in enumerate(now.nibbles):
                    weights = self.weights(now.nibbles[0] if half else None)
                    if plan.known is not None:
                        program.add(kernels.known, *places, plan.known, channel, half, nibbles)
                    plan.answer(program, weights, bounds, nibbles)
            program.add(kernels.join, *places, *now.nibbles, channel, now.symbols, decoded)
            self.put(channel, now.symbols)
        self.finish()
        self._do = jit.at_once
        return program

    def advance(self) -> None:
        self._do(kernels.advance, self.step, *self._rings)

    def look(self) -> None:
        self._now = self._every.first(self.count)
        self._look()

    def _look(self) -> None:
        net, now = self._net, self._now
        tables = (net.signed, net.error, net.trust)
        self._do(kernels.look, self.step, self.low, self.rows, *self._rings, *tables, now.inputs, now.predictions, now.combined)

    def represent(self) -> NDArray[np.int16]:
        """What the layers make of the inputs."""
        y: NDArray[np.int16] = self._now.inputs
        for layer, out in zip(self._net.layers, self._now.layers, strict=True):
            y = layer.activations(y, out, self._now.block, self._do)
        return y

    def weights(self, above: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        net, now = self._net, self._now
        above = np.empty(0, np.int32) if above is None else above
        count = net.outs[0].outputs // 3
        self._do(mixtures.nibbles, now.outputs, count, now.centres, above, net.inverse, net.sigmoid, net.share, now.edges, now.weights)
        weights: NDArray[np.float32] = now.weights
        return weights

    def put(self, channel: int, symbols: NDArray[np.uint8]) -> None:
        now = self._now
        self._do(kernels.put, channel, now.combined, symbols, now.green, now.values, now.away)

    def finish(self) -> None:
        net, now = self._net, self._now
        self._do(kernels.cell_input, now.inputs, now.away, net.signed, now.cells)
        hidden = now.cells
        for layer, out in zip(net.cell, now.hidden, strict=True):
            hidden = layer.activations(hidden, out, now.block, self._do)
        step = (self.step, self.low, self.rows, self.bounds)
        self._do(kernels.remember, *step, now.values, now.predictions, now.cells, hidden, *self._rings)


class Step(Buffers):
    """What is known of the pixels of a step."""

    scratch = frozenset({"block", "edges"})

    def __init__(self, net: CompiledNetwork, count: int) -> None:
        self.inputs = np.zeros((count, products.padded(INPUTS + 6 * net.hidden + net.told, products.INPUTS)), np.int16)
        self.predictions = np.empty((count, PREDICTIONS * CHANNELS), np.int16)
        self.combined, self.values, self.away = np.empty((3, count, CHANNELS), np.int16)
        self.layers, self.hidden = ([np.empty((count, layer.width), np.int16) for layer in some] for some in (net.layers, net.cell))
        self.outputs = np.empty((count, net.outs[0].width), np.int32)
        self.heads, self.features = np.empty((count, 0), np.int32), np.empty((count, 0), np.int16)  # where there are several heads
        self.centres, self.green = np.empty(count, np.int32), np.empty(count, np.int16)
        self.weights = np.empty((count, 16), np.float32)
        self.nibbles, self.symbols = [np.zeros(count, np.int32) for _ in range(2)], np.empty(count, np.uint8)
        self.cells = np.empty((count, products.padded(INPUTS + CHANNELS, products.INPUTS)), np.int16)
        widest = max(layer.width for layer in (*net.layers, *net.cell))
        self.block = np.empty((products.BLOCK, widest), np.int32)
        self.edges = np.empty(mixtures.EDGES, np.int32)


class CompiledPhoto(CompiledNetwork):
    """The integer network of `photo` for the kernels."""

    def __init__(self, tensors: Tensors, layers: Mapping[str, IntLinear]) -> None:
        super().__init__(tensors, layers)
        heads = [layers[f"heads.{c}"] for c in range(CHANNELS)]
        width = layers["trunk"].weight.shape[0]
        together = joined([IntLinear(np.ascontiguousarray(h.weight[:, :width]), h.bias, h.shift) for h in heads])
        self.shifts = together.shift
        self.heads = Packed.of(IntLinear(together.weight, together.bias, np.zeros_like(together.shift)))
        self.hints = [self._hint_tables(h.weight[:, width:]) for h in heads]
        self.outs = [Packed.of(layers[f"outs.{c}"]) for c in range(CHANNELS)]
        self.head = len(heads[0].bias)

    def _hint_tables(self, weight: NDArray[np.int8]) -> NDArray[np.int32]:
        """What a residual of each earlier channel adds to a head's sums; (earlier channels, 2 HINT_LIMIT + 1, head)."""
        residual = np.arange(-HINT_LIMIT, HINT_LIMIT + 1)
        middle = len(self.signed) // 2
        hint = np.stack([self.signed[middle + residual], (residual * 8).clip(-127, 127)], 1).astype(np.int32)
        parts = weight.astype(np.int32).reshape(len(weight), -1, HINTS).swapaxes(0, 1)
        return np.ascontiguousarray(hint @ parts.swapaxes(1, 2))

    def front(self, sizes: Sequence[Size]) -> "PhotoFront":
        return PhotoFront(self, sizes)


class PhotoFront(RingFront):
    """Each channel has a head, which is told the residuals of the channels before it."""

    def __init__(self, network: CompiledPhoto, sizes: Sequence[Size]) -> None:
        super().__init__(network, sizes)
        self.network, count = network, self.tiles * self.height
        self._every.heads = np.empty((count, network.heads.width), np.int32)
        self._every.features = np.empty((count, products.padded(network.head, products.INPUTS)), np.int16)

    def _look(self) -> None:
        super()._look()
        self.network.heads.sums(self.represent(), self._now.heads, self._do)

    def begin(self, channel: int) -> None:
        net, now = self.network, self._now
        self._do(kernels.tell, now.heads, channel * net.head, channel, now.away, net.hints[channel], net.shifts, now.features)
        net.outs[channel].sums(now.features, now.outputs, self._do)
        self._do(kernels.centre, now.combined, channel, now.green, now.centres)
