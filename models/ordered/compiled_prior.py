"""The prior over ordered codes in compiled loops, rows spread over threads."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..buffers import Buffers
from ..frequencies import spare_bits
from ..integer import IntLinear, Tensors
from ..kernels import attention, jit, products
from ..kernels import transformer as kernels
from ..kernels.products import Packed, padded
from ..kernels.tiles import COLUMNS, ROWS
from ..quantisation import INPUT_BITS
from ..teams import Team
from .prior import QUARTERS, TransformerConfig
from .rows import Front

PART = 32 * ROWS  # rows that a thread works on at a time
GROUP = 1 << 14  # rows whose weights are there at a time


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
        c, (_, h, w) = network.config, self.size
        self._row = c.heads * attention.width(c.head)  # numbers of a token
        size = self._row * sum(pictures * (h // side) * (w // side) * attention.width(len(layers)) for side, layers in c.segments())
        self._keys, self._values = np.empty((2, c.blocks, size), np.int8)
        self._grids = np.empty((0, 4), np.int64)  # those that were reached, see `attention.attend`
        self._first = self._end = 0  # layers of the last of them
        self._around = self._around_before = np.empty((0, 0), np.int64)
        self._buffers = [_Part(network) for _ in range(team.members)]

    def weights(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        c, rows = self.config, self.rows
        if self.layer == self._end:
            self._open(*c.segments()[len(self._grids)])
        self._grids[-1, 3] += 1
        step = min(PART, padded(-(-rows // self._team.members), ROWS))
        self._team.each(self._begin, self._parts(0, rows, step))
        for block in range(1, c.blocks):
            self._team.each(partial(self._continue, block), self._parts(0, rows, step))
        for start in range(0, rows, GROUP):
            group = slice(start, min(start + GROUP, rows))
            weights = np.empty((group.stop - start, c.entries), np.float32)
            self._team.each(partial(self._finish, weights, start), self._parts(start, group.stop, step))
            yield group, weights

    @staticmethod
    def _parts(first: int, end: int, step: int) -> list[slice]:
        return [slice(a, min(a + step, end)) for a in range(first, end, step)]

    def _open(self, side: int, layers: range) -> None:
        """Go on to the next grid."""
        c, rows, width = self.config, self.rows, padded(self.config.width, COLUMNS)
        around = self.around(side)
        start = 0
        if len(self._grids):
            before, (last, _, tokens, _) = len(self._around), self._grids[-1].tolist()
            start = last + before * tokens * self._row
            self._grids[:, 1] *= rows // before
        self._around_before = self._around if len(self._grids) else around
        self._around = around
        self._grids = np.append(self._grids, [[start, 1, attention.width(len(layers)), 0]], 0)
        self._first, self._end = layers.start, layers.stop
        self._stream = np.empty((rows, c.width), np.int32)
        self._seen = np.zeros((2, rows + 1, width), np.int16)  # what the rows around see, of this block and the one before

    def _begin(self, part: slice, member: int) -> None:
        """From the codes before to what the first block shows."""
        net, c = self._network, self.config
        b = self._buffers[member].first(part.stop - part.start)
        inner, table = self.layer > self._first, net.embedding[0 if c.shared or not self.layer else self.layer - 1]
        around = self._around if inner else self._around_before
        codes = np.full(len(around), c.entries) if self.codes is None else self.codes
        quarter = 1 << INPUT_BITS if len(self._grids) > 1 else 0
        kernels.tokens(part.start, self.rows // len(around), quarter, np.append(codes, c.entries), around, table, b.tokens)
        self._stream[part] = 0
        net.layers[f"ins.{self.layer}"].sums(b.tokens, b.more)
        self._attend(0, part, b)

    def _attend(self, block: int, part: slice, b: Any) -> None:
        """Add `more` and the attention of a block, and show the result."""
        net, c, own = self._network, self.config, self._stream[part]
        first, second, shift = net.bits[block]
        kernels.add(b.more, first, own, b.inputs)
        net.layers[f"blocks.{block}.qkv"].sums(b.inputs, b.qkv)
        caches = (self._keys[block], self._values[block], net.attention)
        attention.attend(part.start, c.heads, c.head, shift, self._grids, b.qkv, *caches, b.scores, b.factors, b.mixed, b.attended)
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

    def _finish(self, weights: NDArray[np.float32], start: int, part: slice, member: int) -> None:
        """From the last block to the weights of a group of rows that begins at `start`."""
        net, c = self._network, self.config
        b = self._buffers[member].first(part.stop - part.start)
        self._look_around(c.blocks - 1, part, b)
        kernels.add(b.more, net.last_bits, self._stream[part], b.inputs)
        net.layers[f"outs.{0 if c.shared else self.layer}"].sums(b.inputs, b.logits)
        kernels.categories(b.logits, net.spare, net.category, weights[part.start - start : part.stop - start])


class _Part(Buffers):
    """What a thread knows of the rows that it works on."""

    scratch = frozenset({"block", "scores", "factors", "mixed"})

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
        self.scores, self.mixed = np.empty(len(c.sides) + attention.LANES, np.int32), np.empty(attention.width(c.head), np.int32)
        self.factors = np.empty(max(c.head, len(c.sides) + len(c.segments())) + 1, np.int16)
        self.block = np.empty((products.BLOCK, layers["blocks.0.mix"].width), np.int32)
