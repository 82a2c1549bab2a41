"""The prior over ordered codes in compiled loops, rows spread over threads."""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..frequencies import spare_bits
from ..integer import IntLinear, Tensors
from ..kernels import jit, products
from ..kernels import transformer as kernels
from ..kernels.products import COLUMNS, ROWS, Packed, padded
from ..quantisation import INPUT_BITS
from ..teams import Team
from .prior import QUARTERS, TransformerConfig
from .rows import Front

PART = 32 * ROWS  # rows that a thread works on at a time
GROUP = 1 << 14  # rows whose weights are there at a time
Caches = list[tuple[NDArray[np.int8], NDArray[np.int8]]]
"""Of every block keys (rows, heads, head, tokens) and values (rows, heads, tokens, head)."""


class CompiledTransformer:
    """The integer network for the kernels."""

    arithmetic = jit.ARITHMETIC

    def __init__(self, config: TransformerConfig, tensors: Tensors, layers: Mapping[str, IntLinear]) -> None:
        """Raises ValueError if products are not exact here."""
        products.check([layer.shape for layer in layers.values()])
        self.config = config
        self.layers = {name: Packed.of(_widened(layer)) for name, layer in layers.items()}
        self.attention, self.category = tensors["tables.attention"], tensors["tables.category"]
        self.embedding = np.pad(tensors["embedding"], ((0, 0), (0, 1), (0, 0)))  # its last row stands for what is outside
        self.bits: list[list[int]] = tensors["block_bits"].tolist()
        self.last_bits, self.spare = int(tensors["last_bits"]), spare_bits(config.entries)

    def front(self, pictures: int, height: int, width: int, team: Team) -> "CompiledFront":
        return CompiledFront(self, pictures, height, width, team)


def _widened(layer: IntLinear) -> IntLinear:
    """With weights of 0 for inputs up to whole tiles, so that it reads what a layer with whole tiles of outputs writes."""
    inputs = layer.weight.shape[1]
    return IntLinear(np.pad(layer.weight, ((0, 0), (0, padded(inputs, COLUMNS) - inputs))), layer.bias, layer.shift)


class CompiledFront(Front):
    """The walk. A block's activations are read by the rows around, so every block is two pieces of work for all rows of a layer."""

    def __init__(self, network: CompiledTransformer, pictures: int, height: int, width: int, team: Team) -> None:
        super().__init__(network.config, pictures, height, width)
        self._network, self._team = network, team
        self._segments: list[tuple[int, int, Caches]] = []  # those that were reached: rows, tokens, caches of the blocks
        self._buffers = [_Part(network) for _ in range(team.members)]

    def weights(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        c, rows = self.config, self.rows
        first = sum(tokens for _, tokens, _ in self._segments)
        if self.layer == first:
            self._open(*c.segments()[len(self._segments)])
        step = min(PART, padded(-(-rows // self._team.members), ROWS))
        self._team.each(self._begin, self._parts(0, rows, step))
        for block in range(1, c.blocks):
            self._team.each(lambda part, member, block=block: self._continue(block, part, member), self._parts(0, rows, step))
        for start in range(0, rows, GROUP):
            group = slice(start, min(start + GROUP, rows))
            weights = np.empty((group.stop - start, c.entries), np.float32)

            def finish(part: slice, member: int, weights: NDArray[np.float32] = weights, start: int = start) -> None:
                self._finish(part, weights[part.start - start : part.stop - start], member)

            self._team.each(finish, self._parts(start, group.stop, step))
            yield group, weights

    @staticmethod
    def _parts(first: int, end: int, step: int) -> list[slice]:
        return [slice(a, min(a + step, end)) for a in range(first, end, step)]

    def _open(self, side: int, layers: range) -> None:
        """Go on to the next grid."""
        c, rows, width = self.config, self.rows, padded(self.config.width, COLUMNS)
        before = self._around if self._segments else None
        self._around = self.around(side)
        self._around_before = self._around if before is None else before
        keys, values = (rows, c.heads, c.head, len(layers)), (rows, c.heads, len(layers), c.head)
        self._segments.append((rows, len(layers), [(np.empty(keys, np.int8), np.empty(values, np.int8)) for _ in range(c.blocks)]))
        self._first = layers.start
        self._stream = np.empty((rows, c.width), np.int32)
        self._seen = np.zeros((2, rows + 1, width), np.int16)  # what the rows around see, of this block and the one before

    def _begin(self, part: slice, member: int) -> None:
        """From the codes before to what the first block shows."""
        net, c = self._network, self.config
        b = self._buffers[member].first(part.stop - part.start)
        inner, table = self.layer > self._first, net.embedding[0 if c.shared or not self.layer else self.layer - 1]
        around = self._around if inner else self._around_before
        codes = np.full(len(around), c.entries) if self.codes is None else self.codes
        quarter = 1 << INPUT_BITS if len(self._segments) > 1 else 0
        kernels.tokens(part.start, self.rows // len(around), quarter, np.append(codes, c.entries), around, table, b.tokens)
        self._stream[part] = 0
        net.layers[f"ins.{self.layer}"].sums(b.tokens, b.more)
        self._attend(0, part, b)

    def _attend(self, block: int, part: slice, b: Any) -> None:
        """Add `more` and the attention of a block, and show the result."""
        net, c, own = self._network, self.config, self._stream[part]
        first, second, shift = net.bits[block]
        kernels.add(b.more, first, own, b.inputs)
        token = self.layer - self._first
        keys, values = self._segments[-1][2][block]
        net.layers[f"blocks.{block}.qkv"].sums(b.inputs, b.qkv)
        kernels.show(part.start, token, b.qkv, b.queries, keys, values)
        spans, at = [], 0
        for rows, tokens, caches in self._segments:
            count = token + 1 if caches[block][0] is keys else tokens
            spans.append((part.start, self.rows // rows, count, at))
            kernels.score(*spans[-1], b.queries, caches[block][0], b.scores)
            at += count
        kernels.attend(at, shift, net.attention, b.scores, b.totals)
        b.mixed[:] = 0
        for span, (_, _, caches) in zip(spans, self._segments, strict=True):
            kernels.mix(*span, b.scores, caches[block][1], b.mixed)
        kernels.divide(b.mixed, b.totals, b.attended)
        net.layers[f"blocks.{block}.out"].sums(b.attended, b.more)
        kernels.add(b.more, second, own, self._seen[block % 2, part])

    def _look_around(self, block: int, part: slice, b: Any) -> None:
        """What the rows around make of a row, into `more`."""
        net = self._network
        kernels.gather(self._around[part], self._seen[block % 2], self.config.width, b.around)
        net.layers[f"blocks.{block}.mix"].activations(b.around, b.hidden, b.block)
        net.layers[f"blocks.{block}.back"].sums(b.hidden, b.more)

    def _continue(self, block: int, part: slice, member: int) -> None:
        """From one block to the next."""
        b = self._buffers[member].first(part.stop - part.start)
        self._look_around(block - 1, part, b)
        self._attend(block, part, b)

    def _finish(self, part: slice, weights: NDArray[np.float32], member: int) -> None:
        """From the last block to the weights."""
        net, c = self._network, self.config
        b = self._buffers[member].first(part.stop - part.start)
        self._look_around(c.blocks - 1, part, b)
        kernels.add(b.more, net.last_bits, self._stream[part], b.inputs)
        net.layers[f"outs.{0 if c.shared else self.layer}"].sums(b.inputs, b.logits)
        kernels.categories(b.logits, net.spare, net.category, weights)


class _Part:
    """What a thread knows of the rows that it works on, an array each."""

    def __init__(self, net: CompiledTransformer) -> None:
        c, layers = net.config, net.layers
        inner, width = c.heads * c.head, padded(c.width, COLUMNS)
        self.tokens = np.zeros((PART, padded(c.taps * c.embedding + QUARTERS, COLUMNS)), np.int16)
        self.inputs = np.zeros((PART, width), np.int16)
        self.around = np.zeros((PART, padded(c.taps * c.width, COLUMNS)), np.int16)
        self.attended = np.zeros((PART, padded(inner, COLUMNS)), np.int16)
        self.hidden = np.zeros((PART, padded(c.hidden, COLUMNS)), np.int16)
        self.more = np.empty((PART, width), np.int32)
        self.qkv = np.empty((PART, padded(3 * inner, COLUMNS)), np.int32)
        self.logits = np.empty((PART, padded(c.entries, COLUMNS)), np.int32)
        self.queries, self.mixed = np.empty((2, PART, c.heads, c.head), np.int32)
        self.scores = np.empty((PART, c.heads, len(c.sides)), np.int32)
        self.totals = np.empty((PART, c.heads), np.int32)
        self.block = np.empty((products.BLOCK, layers["blocks.0.mix"].width), np.int32)

    def first(self, count: int) -> Any:
        """The same of so many rows."""
        return SimpleNamespace(**{name: array if name == "block" else array[:count] for name, array in vars(self).items()})
