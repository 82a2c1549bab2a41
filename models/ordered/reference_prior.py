"""The prior over ordered codes in torch: the reference, for CUDA, and where there are no kernels.

Integers of attention ride in floats, see `exact_prior.py`.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import back_ends
from ..back_ends import Prepared
from ..frequencies import category_weights
from ..integer import LARGEST, IntLinear, Tensors
from ..quantisation import INPUT_BITS
from ..teams import Team
from ..units import STREAM_LIMIT
from .prior import FARTHEST, QUARTERS, TransformerConfig
from .rows import Front

CHUNK = 2048  # rows that are worked on together, more or less
SMALL = 1 << 27  # numbers in the caches up to which they are kept as floats, ready for products


class BlockBits(NamedTuple):
    """Shifts of a block: from the stream to its two activations, from products of queries and keys to scores."""

    first: int
    second: int
    score: int


class ReferenceTransformer:
    """The integer network: weights, tables and a back end on one device."""

    def __init__(
        self, config: TransformerConfig, arrays: Tensors, layers: Mapping[str, IntLinear], arithmetic: str | None, device: str
    ) -> None:
        """Raises ValueError if no product is exact here."""
        self.config = c = config
        self.device = torch.device(device)
        self.back_end = back_ends.choose(arithmetic, [layer.shape for layer in layers.values()], self.device)
        self.arithmetic = self.back_end.name
        self.dtype = back_ends.batched_dtype(c.head, len(c.sides), self.device)
        self.layers = {n: Prepared.of(layer, self.back_end, self.device) for n, layer in layers.items()}
        names = ("embedding", "tables.category", "tables.attention")
        self.embedding, self.category, attention = (torch.from_numpy(arrays[name]).to(self.device) for name in names)
        self.attention = attention.to(self.dtype)
        self.bits = [BlockBits(*row) for row in arrays["block_bits"].tolist()]
        self.last_bits = int(arrays["last_bits"])

    def front(self, pictures: int, height: int, width: int, team: Team) -> "ReferenceFront":
        """The team is not needed: torch's products have threads of their own."""
        return ReferenceFront(self, pictures, height, width)

    def sums(self, x: Tensor, name: str) -> Tensor:
        """(W x + b) >> shift of a layer; int32 (n, outputs)."""
        layer = self.layers[name]
        return self.back_end.product(x, layer.weight).add_(layer.bias).bitwise_right_shift_(layer.shift)

    @staticmethod
    def activation(stream: Tensor, bits: int) -> Tensor:
        """The stream on the grid -127..127 of its readers; int8."""
        return ((stream + (1 << bits >> 1)) >> bits).clamp_(-LARGEST, LARGEST).to(torch.int8)


class _Segment:
    """A run of layers on one grid, for some pictures of one size."""

    def __init__(self, front: "ReferenceFront", side: int, layers: range) -> None:
        c, device = front.config, front.network.device
        self.layers, self.rows = layers, front.rows
        self.around = torch.from_numpy(front.around(side)).to(device)  # (rows, taps); `rows` itself is a row of zeros
        dtype = front.network.dtype if front.small else torch.int8
        shape = (self.rows, c.heads, len(layers), c.head)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(c.blocks)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(c.blocks)]


class ReferenceFront(Front):
    """The walk, in chunks of the next layer's rows."""

    def __init__(self, network: ReferenceTransformer, pictures: int, height: int, width: int) -> None:
        super().__init__(network.config, pictures, height, width)
        self.network, c = network, network.config
        sizes = [pictures * (height // side) * (width // side) for side in c.sides]
        self.small = 2 * c.blocks * c.heads * c.head * sum(sizes) <= SMALL
        self._segments: list[_Segment] = []  # those that were reached

    def _spans(self) -> list[tuple[int, int]]:
        """Chunks of coarse patches, as (first, end)."""
        per = self._segments[-1].rows // self.coarse
        step = max(1, CHUNK // per)
        return [(a, min(a + step, self.coarse)) for a in range(0, self.coarse, step)]

    def _seen(self) -> Tensor:
        """What the tokens of the next layer see of the layer before, without the quarters; int8 (rows, taps * embedding)."""
        c, net = self.network.config, self.network
        segment = self._segments[-1]
        if self.codes is None:
            return torch.zeros((segment.rows, c.taps * c.embedding), dtype=torch.int8, device=net.device)
        table = net.embedding[0 if c.shared else self.layer - 1]
        codes = torch.from_numpy(self.codes).to(net.device)
        padded = torch.cat([table[codes], table.new_zeros(1, c.embedding)])
        before = segment if self.layer - 1 in segment.layers else self._segments[-2]
        seen = padded.index_select(0, before.around.flatten()).view(before.rows, -1)
        return seen if before is segment else seen.repeat_interleave(QUARTERS, 0)

    def weights(self) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        net, c = self.network, self.network.config
        if not self._segments or self.layer not in self._segments[-1].layers:
            self._segments.append(_Segment(self, *c.segments()[len(self._segments)]))
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
            yield rows, category_weights(net.sums(y, f"outs.{0 if c.shared else self.layer}"), net.category).cpu().numpy()

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
