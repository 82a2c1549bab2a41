"""The `transformer` prior in exact integers, one layer of codes after the other, with the keys and values of earlier tokens kept.

Patches are rows. In the coarsest grid they go row by row, picture after picture; in a finer one by the coarse patch that holds them,
its four quarters row by row. So the rows under a coarse patch lie together, and its keys and values serve all of them.

Attention is integer arithmetic as well: products of int8 queries and keys, weights 0..255 from a table, and a quotient that rounds. A
sum over T tokens is at most T x 255 x 127, which is proved to be below 2^24 when the weights are loaded, so float32 holds it.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .. import back_ends, integer
from ..back_ends import Prepared
from ..frequencies import category_weights
from ..integer import LARGEST, SUM_BITS, Tensors
from ..model import Code, Turn
from ..quantisation import INPUT_BITS
from ..tensors import on_device, read_settings
from ..units import CATEGORY_BITS, DEEPEST, STREAM_LIMIT
from .prior import FARTHEST, QUARTERS, WEIGHT, TransformerConfig

CHUNK = 2048  # rows that are worked on together, more or less
SMALL = 1 << 27  # numbers in the caches up to which they are kept as floats, ready for products


class BlockBits(NamedTuple):
    """Shifts of a block: from the stream to its two activations, from products of queries and keys to scores."""

    first: int
    second: int
    score: int


class ExactTransformer:
    """The integer network: weights, tables and a back end on one device."""

    def __init__(self, arrays: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        self.device = torch.device(device)
        tensors = on_device(arrays, self.device)
        self.config = c = TransformerConfig(**read_settings(arrays))
        layers = integer.linear_layers(arrays)
        tokens = len(c.sides)
        if max(tokens * WEIGHT * LARGEST, c.head * LARGEST**2) >= 1 << SUM_BITS:
            raise ValueError(f"attention over {tokens} tokens is not exact: a sum may reach 2^{SUM_BITS}")
        self.back_end = back_ends.choose(arithmetic, [layer.shape for layer in layers.values()], self.device)
        self.dtype = back_ends.batched_dtype(c.head, tokens, self.device)
        self.layers = {n: Prepared.of(layer, self.back_end, self.device) for n, layer in layers.items()}
        self.embedding, self.category = tensors["embedding"], tensors["tables.category"]
        self.attention = tensors["tables.attention"].to(self.dtype)
        self.bits = [BlockBits(*row) for row in tensors["block_bits"].tolist()]
        self.last_bits = int(tensors["last_bits"])
        if min(self.last_bits, *(min(row) for row in self.bits)) < 0:
            raise ValueError("the shifts of a block are not what this program knows")
        for name, length, most in (("attention", FARTHEST + 1, WEIGHT), ("category", DEEPEST + 1, 1 << CATEGORY_BITS)):
            table = tensors[f"tables.{name}"]
            if len(table) != length or int(table.min()) < 0 or int(table.max()) > most or int(table[0]) == 0:
                raise ValueError(f"the table of {name} is not what this program knows")

    def sums(self, x: Tensor, name: str) -> Tensor:
        """(W x + b) >> shift of a layer; int32 (n, outputs)."""
        layer = self.layers[name]
        return self.back_end.product(x, layer.weight).add_(layer.bias).bitwise_right_shift_(layer.shift)

    @staticmethod
    def activation(stream: Tensor, bits: int) -> Tensor:
        """The stream on the grid -127..127 of its readers; int8."""
        return ((stream + (1 << bits >> 1)) >> bits).clamp_(-LARGEST, LARGEST).to(torch.int8)


def order(side: int, coarsest: int, height: int, width: int) -> Tensor:
    """Raster indices of the patches of `side` places in a map of height x width places, in the order of the rows; int64."""
    ratio = coarsest // side
    h, w = height // side, width // side
    grid = torch.arange(h * w).view(h // ratio, ratio, w // ratio, ratio).transpose(1, 2).reshape(-1, ratio, ratio)
    while ratio > 1:  # quarter after quarter
        half = ratio // 2
        grid = grid.view(-1, 2, half, 2, half).transpose(2, 3).reshape(-1, half, half)
        ratio = half
    return grid.flatten()


class _Segment:
    """A run of layers on one grid, for some pictures of one size."""

    def __init__(self, network: ExactTransformer, side: int, layers: range, pictures: int, height: int, width: int, small: bool) -> None:
        c, device = network.config, network.device
        self.layers = layers
        h, w = height // side, width // side
        raster = order(side, c.sides[0], height, width)
        self.rows = pictures * h * w
        row_of = torch.empty_like(raster)
        row_of[raster] = torch.arange(h * w)
        grid = torch.full((pictures, h + 2, w + 2), self.rows)
        grid[:, 1:-1, 1:-1] = row_of.view(h, w) + torch.arange(pictures).view(-1, 1, 1) * h * w
        steps = [(dy, dx) for dy in range(3) for dx in range(3)] if c.taps == 9 else [(1, 1)]
        around = torch.stack([grid[:, dy : dy + h, dx : dx + w].flatten(1) for dy, dx in steps], -1)
        self.around = around[:, raster].flatten(0, 1).to(device)  # (rows, taps); `rows` itself is a row of zeros
        dtype = network.dtype if small else torch.int8
        shape = (self.rows, c.heads, len(layers), c.head)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(c.blocks)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(c.blocks)]


class Walk:
    """The prior over the codes of some pictures of one size, layer after layer.

    `weights` goes through the chunks of the next layer's rows; `tell` then says what the codes were.
    """

    def __init__(self, network: ExactTransformer, pictures: int, height: int, width: int) -> None:
        """height, width: of the map, in places; whole patches of the coarsest grid."""
        self.network, c = network, network.config
        sizes = [pictures * (height // side) * (width // side) for side in c.sides]
        self._small = 2 * c.blocks * c.heads * c.head * sum(sizes) <= SMALL
        self._size = (pictures, height, width)
        self._segments: list[_Segment] = []  # those that were reached
        self.layer = 0
        self._codes: Tensor | None = None
        self.coarse = sizes[0]

    @property
    def rows(self) -> int:
        """Rows of the layer whose weights were given last."""
        return self._segments[-1].rows

    def tell(self, codes: Tensor) -> None:
        """The codes (rows) of the layer whose weights were given last, int64; on to the next layer."""
        self._codes = codes
        self.layer += 1

    def _spans(self) -> list[tuple[int, int]]:
        """Chunks of coarse patches, as (first, end)."""
        per = self._segments[-1].rows // self.coarse
        step = max(1, CHUNK // per)
        return [(a, min(a + step, self.coarse)) for a in range(0, self.coarse, step)]

    def _seen(self) -> Tensor:
        """What the tokens of the next layer see of the layer before, without the quarters; int8 (rows, taps * embedding)."""
        c, net = self.network.config, self.network
        segment = self._segments[-1]
        if self._codes is None:
            return torch.zeros((segment.rows, c.taps * c.embedding), dtype=torch.int8, device=net.device)
        table = net.embedding[0 if c.shared else self.layer - 1]
        padded = torch.cat([table[self._codes], table.new_zeros(1, c.embedding)])
        before = segment if self.layer - 1 in segment.layers else self._segments[-2]
        seen = padded.index_select(0, before.around.flatten()).view(before.rows, -1)
        return seen if before is segment else seen.repeat_interleave(QUARTERS, 0)

    def weights(self) -> Iterator[tuple[slice, Tensor]]:
        """(rows, weights (n, entries)) of the next layer, in order: integers in float32, see `category_weights`."""
        net, c = self.network, self.network.config
        if not self._segments or self.layer not in self._segments[-1].layers:
            side, layers = c.segments()[len(self._segments)]
            self._segments.append(_Segment(net, side, layers, *self._size, self._small))
        segment = self._segments[-1]
        per = segment.rows // self.coarse
        chunks = [slice(a * per, b * per) for a, b in self._spans()]
        seen = self._seen()
        quarter = torch.zeros((QUARTERS, QUARTERS), dtype=torch.int8, device=net.device)
        if len(self._segments) > 1:
            quarter.fill_diagonal_(1 << INPUT_BITS)
        stream = torch.empty((segment.rows, c.width), dtype=torch.int32, device=net.device)
        for rows in chunks:
            which = torch.arange(rows.start, rows.stop, device=net.device) % QUARTERS
            x = torch.cat([seen[rows], quarter[which]], 1)
            stream[rows] = net.sums(x, f"ins.{self.layer}").clamp_(-STREAM_LIMIT, STREAM_LIMIT)
        middle = torch.zeros((segment.rows + 1, c.width), dtype=torch.int8, device=net.device)
        for i, bits in enumerate(net.bits):
            for (a, b), rows in zip(self._spans(), chunks, strict=True):
                x = net.activation(stream[rows], bits.first)
                mixed = self._attend(i, x, a, b)
                self._add(stream, rows, net.sums(mixed, f"blocks.{i}.out"))
                middle[rows] = net.activation(stream[rows], bits.second)
            for rows in chunks:
                x = middle.index_select(0, segment.around[rows].flatten()).view(rows.stop - rows.start, -1)
                y = net.sums(x, f"blocks.{i}.mix").clamp_(0, LARGEST).to(torch.int8)
                self._add(stream, rows, net.sums(y, f"blocks.{i}.back"))
        for rows in chunks:
            y = net.activation(stream[rows], net.last_bits)
            yield rows, category_weights(net.sums(y, f"outs.{0 if c.shared else self.layer}"), net.category)

    @staticmethod
    def _add(stream: Tensor, rows: slice, values: Tensor) -> None:
        stream[rows] = values.add_(stream[rows]).clamp_(-STREAM_LIMIT, STREAM_LIMIT)

    def _attend(self, block: int, x: Tensor, first: int, end: int) -> Tensor:
        """Attention of the rows under coarse patches first ... end - 1; x int8 (n, width) -> int8 (n, heads * head)."""
        net, c = self.network, self.network.config
        segment = self._segments[-1]
        per, n = segment.rows // self.coarse, len(x)
        token = self.layer - segment.layers.start
        own = net.sums(x, f"blocks.{block}.qkv").clamp_(-LARGEST, LARGEST).view(n, 3, c.heads, c.head)
        rows = slice(first * per, end * per)
        segment.keys[block][rows, :, token] = own[:, 1].to(segment.keys[block].dtype)
        segment.values[block][rows, :, token] = own[:, 2].to(segment.values[block].dtype)
        queries = own[:, 0].to(net.dtype)
        scores, caches = [], []
        for other in self._segments:
            share = other.rows // self.coarse
            part = slice(first * share, end * share)
            count = token + 1 if other is segment else len(other.layers)
            keys = other.keys[block][part, :, :count].to(net.dtype)
            caches.append(other.values[block][part, :, :count].to(net.dtype))
            together = queries.view(len(keys), -1, c.heads, c.head).transpose(1, 2)  # (coarser rows, heads, rows of each, head)
            products = together @ keys.transpose(-1, -2)
            scores.append(products.transpose(1, 2).reshape(n, c.heads, count))
        score = torch.cat(scores, -1).to(torch.int32)
        shift = net.bits[block].score
        score.add_(1 << shift >> 1).bitwise_right_shift_(shift)
        depth = score.amax(-1, keepdim=True).sub(score).clamp_(max=FARTHEST)
        weights = net.attention.index_select(0, depth.flatten()).view_as(score)
        total = weights.sum(-1, keepdim=True).to(torch.int32)
        mixed = torch.zeros((n, c.heads, c.head), dtype=torch.int32, device=net.device)
        for values, part in zip(caches, weights.split([v.shape[2] for v in caches], -1), strict=True):
            together = part.view(len(values), -1, c.heads, part.shape[-1]).transpose(1, 2)
            mixed += (together @ values).transpose(1, 2).reshape(n, c.heads, c.head).to(torch.int32)
        rounded = torch.div(mixed.mul_(2).add_(total), total * 2, rounding_mode="floor")
        return rounded.to(torch.int8).flatten(1)


def walk(network: ExactTransformer, pictures: int, height: int, width: int, layers: int, code: Code) -> list[Tensor]:
    """The codes of the first layers, in the order of the rows, as `code` gives them: the one walk for all directions.

    The channel of a turn is the layer, its places the rows; each picture's rows have a part.
    """
    front = Walk(network, pictures, height, width)
    total = sum((height // side) * (width // side) for side in network.config.sides[:layers]) * pictures
    known: list[Tensor] = []
    done = 0
    for layer in range(layers):
        parts: list[Tensor] = []
        for rows, weights in front.weights():
            own = front.rows // pictures
            edges = np.clip(np.arange(pictures + 1) * own, rows.start, rows.stop) - rows.start
            done += len(weights)
            turn = Turn(layer, 0, np.arange(rows.start, rows.stop), np.stack([edges[:-1], edges[1:]], 1), done / total)
            parts.append(torch.from_numpy(code(turn, weights.cpu().numpy())).to(network.device, torch.int64))
            if len(parts[-1]) < len(weights):
                return [*known, torch.cat(parts)]
        known.append(torch.cat(parts))
        front.tell(known[-1])
    return known
