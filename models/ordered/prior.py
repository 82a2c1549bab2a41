"""The Transformer prior of the `ordered` networks in floating point, as it is trained; `exact_prior.py` is its integer form.

A *token* (patch, layer) predicts the code of a layer in a patch. It starts from the code before it, there and in the eight patches
around, attends to all earlier tokens of its patch and of the coarser patches that hold it (Vaswani et al. 2017, masked), and sees in
every block the tokens of the same layer around it. So all codes of a layer are predicted in one call, given all earlier layers.

There is no normalisation: a residual stream on a fine grid, read through activations in 8 bits. 1 / sqrt(d) is in the query's
weights. In the last part of training (`quantise`) everything is on the grids of `quantisation.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..pixelcnn.network import TapLinear
from ..precision import working_dtype
from ..quantisation import INPUT_BITS, STREAM_BITS, FakeQuantiser, Linear, calibrate, module_list, round_inputs, round_to, straight_through

SCORE_BITS = 5  # scores of attention count 1/32
WEIGHT = 255  # the largest weight of attention
FARTHEST = 256  # scores that are further below the largest, in their units, have the last weight of the table
AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]  # a patch and those around it, row by row
QUARTERS = 4  # inputs that say which quarter of the coarser patch a patch is


@dataclass(frozen=True)
class TransformerConfig:
    sides: Sequence[int] = (4,)  # places along a patch, of every layer; never growing
    entries: int = 128  # codewords of a codebook
    shared: bool = False  # one embedding and one output matrix for all layers
    neighbours: bool = True  # whether patches see those around them
    width: int = 96
    blocks: int = 2
    heads: int = 2
    head: int = 32  # numbers of a head
    hidden: int = 128
    embedding: int = 8  # numbers of a code

    @property
    def taps(self) -> int:
        """Patches that a patch sees of a layer."""
        return 9 if self.neighbours else 1

    def segments(self) -> list[tuple[int, range]]:
        """Runs of layers with patches of one size: (side, layers)."""
        runs = [list(run) for _, run in groupby(range(len(self.sides)), self.sides.__getitem__)]
        return [(self.sides[run[0]], range(run[0], run[-1] + 1)) for run in runs]


def around(x: Tensor, taps: int) -> Tensor:
    """The vectors (B, h, w, C) at the places around each place, side by side, zeros outside; (B, h, w, taps * C)."""
    if taps == 1:
        return x
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    h, w = x.shape[1:3]
    return torch.cat([padded[:, dy : dy + h, dx : dx + w] for dy in range(3) for dx in range(3)], -1)


class Block(nn.Module):
    """Attention over earlier tokens, then a layer over the patches around; each is added to the stream."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = self.config = config
        inner = c.heads * c.head
        self.query = Linear(c.width, inner, gain=0.7 * c.head**-0.25)
        self.key = Linear(c.width, inner, gain=0.7 * c.head**-0.25)
        self.value = Linear(c.width, inner, gain=0.7)
        self.out = Linear(inner, c.width, gain=0.5)
        self.mix = TapLinear(AROUND if c.neighbours else [(0, 0)], c.width, c.hidden)
        self.back = Linear(c.hidden, c.width, gain=0.5)
        self.first_grid, self.second_grid, self.hidden_grid = FakeQuantiser(signed=True), FakeQuantiser(signed=True), FakeQuantiser()
        self.grids = module_list([FakeQuantiser(signed=True) for _ in range(3)])  # of queries, keys and values

    def heads(self, stream: Tensor, quantised: bool, dtype: torch.dtype) -> list[Tensor]:
        """Queries, keys and values (..., heads, d) of a stream (..., width)."""
        x = self.first_grid(stream, quantised).to(dtype)
        parts = zip((self.query, self.key, self.value), self.grids, strict=True)
        return [grid(part(x, quantised=quantised), quantised).to(dtype).unflatten(-1, (self.config.heads, -1)) for part, grid in parts]


def attend(queries: Tensor, keys: Tensor, values: Tensor, first: int, quantised: bool, value_bits: Tensor) -> Tensor:
    """queries (n, heads, T, d), keys and values (n, heads, S, d), of which query t sees the first `first + t + 1`; (n, heads, T, d)."""
    scores = (queries @ keys.transpose(-1, -2)).float()
    count, seen = scores.shape[-2:]
    hidden = torch.ones(count, seen, dtype=torch.bool, device=scores.device).triu(first + 1)
    if quantised:
        scores = round_to(scores, 2.0**SCORE_BITS)
    scores = scores.masked_fill(hidden, -1e9)
    shares = scores.softmax(-1)
    if not quantised:
        return (shares.to(values.dtype) @ values).float()
    with torch.no_grad():
        depth = (scores.amax(-1, keepdim=True) - scores).clamp(max=FARTHEST / 2**SCORE_BITS)
        weights = (torch.exp(-depth) * WEIGHT).round().masked_fill(hidden, 0.0)
        exact = weights / weights.sum(-1, keepdim=True)
    return round_to(straight_through(exact, shares) @ values.float(), torch.exp2(value_bits.float()))


class Transformer(nn.Module):
    """Float network; `forward` gives nats of every code."""

    quantised: Tensor
    stream_bits: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        c = self.config = config
        layers = len(c.sides)
        self.embedding = nn.Parameter(torch.randn(1 if c.shared else layers, c.entries, c.embedding))
        self.ins = module_list([Linear(c.taps * c.embedding + QUARTERS, c.width, gain=0.7) for _ in range(layers)])
        self.blocks = module_list([Block(c) for _ in range(c.blocks)])
        self.outs = module_list([Linear(c.width, c.entries, gain=0.1) for _ in range(1 if c.shared else layers)])
        self.last_grid = FakeQuantiser(signed=True)
        self.register_buffer("quantised", torch.tensor(False))
        self.register_buffer("stream_bits", torch.tensor(0, dtype=torch.int32))

    def start_embedding(self, vectors: Tensor) -> None:
        """First embeddings from codebooks (books, codewords, D): the vectors, companded, and their magnitudes."""
        scale = vectors.square().mean((1, 2), keepdim=True).sqrt()
        small = vectors.sign() * torch.log1p(vectors.abs() / scale * 2)
        both = torch.cat([small, small.abs()], -1)[..., : self.config.embedding]
        self.embedding.data[..., : both.shape[-1]] = both

    def quantise(self, chosen: Sequence[Tensor], height: int, width: int) -> None:
        """From now on everything is on its grid; the grids are chosen from sample codes (B, patches) of every layer."""
        calibrate(self, chosen, height, width)
        c = self.config
        streams = [int(grid.bits) for block in self.blocks for grid in (block.first_grid, block.second_grid)]
        self.stream_bits.fill_(max(*streams, int(self.last_grid.bits)) + STREAM_BITS)
        for layer in self.ins:
            layer.calibrate((c.taps * c.embedding + QUARTERS, INPUT_BITS))
        for block in self.blocks:
            for part in (block.query, block.key, block.value):
                part.calibrate((c.width, int(block.first_grid.bits)))
            block.out.calibrate((c.heads * c.head, int(block.grids[2].bits)))
            block.mix.calibrate((c.taps * c.width, int(block.second_grid.bits)))
            block.back.calibrate((c.hidden, int(block.hidden_grid.bits)))
        for layer in self.outs:
            layer.calibrate((c.width, int(self.last_grid.bits)))
        self.quantised.fill_(True)

    def embedded(self, layer: int, chosen: Tensor) -> Tensor:
        """The embedding of codes of a layer, on its grid when quantised; (..., embedding)."""
        table = self.embedding[0 if self.config.shared else layer]
        table = round_inputs(table) if self.quantised else table
        return table.to(working_dtype(table.device))[chosen]

    def stream(self, x: Tensor) -> Tensor:
        """What is added to the residual stream, on its grid when quantised."""
        return round_to(x.float(), torch.exp2(self.stream_bits.float())) if self.quantised else x.float()

    def _tokens(self, segment: int, chosen: Sequence[Tensor], height: int, width: int) -> Tensor:
        """The first stream (B, T, h, w, width) of a segment's tokens."""
        c, q = self.config, bool(self.quantised)
        side, layers = c.segments()[segment]
        h, w = height // side, width // side
        quarter = torch.zeros((1, h, w, QUARTERS), dtype=working_dtype(chosen[0].device), device=chosen[0].device)
        if segment:
            for i in range(QUARTERS):
                quarter[:, i // 2 :: 2, i % 2 :: 2, i] = 1
        tokens = []
        for layer in layers:
            if layer:
                before = c.sides[layer - 1]
                grid = self.embedded(layer - 1, chosen[layer - 1]).view(-1, height // before, width // before, c.embedding)
                seen = around(grid, c.taps)
                if before != side:
                    seen = seen.repeat_interleave(2, 1).repeat_interleave(2, 2)
            else:
                seen = quarter.new_zeros((len(chosen[0]), h, w, c.taps * c.embedding))
            tokens.append(self.ins[layer](seen, quarter.expand(len(seen), -1, -1, -1), quantised=q))
        return self.stream(torch.stack(tokens, 1))

    def logits(self, chosen: Sequence[Tensor], height: int, width: int) -> list[Tensor]:
        """Logits (B, patches, codewords) of every layer, given its codes (B, patches); a map of height x width places."""
        c, q, dtype = self.config, bool(self.quantised), working_dtype(chosen[0].device)
        logits: list[Tensor] = []
        known: list[tuple[Tensor, Tensor] | None] = [None] * c.blocks  # keys and values of the coarser tokens
        for segment, (_, layers) in enumerate(c.segments()):
            stream = self._tokens(segment, chosen, height, width)
            for i, block in enumerate(self.blocks):
                queries, keys, values = (part.permute(0, 2, 3, 4, 1, 5) for part in block.heads(stream, q, dtype))  # (B, h, w, heads, T, d)
                first = 0
                if (past := known[i]) is not None:
                    first = past[0].shape[4]
                    finer = [t.repeat_interleave(2, 1).repeat_interleave(2, 2) for t in past]
                    keys, values = torch.cat([finer[0], keys], 4), torch.cat([finer[1], values], 4)
                known[i] = (keys, values)
                seen = attend(queries.flatten(0, 2), keys.flatten(0, 2), values.flatten(0, 2), first, q, block.grids[2].bits)
                seen = seen.unflatten(0, queries.shape[:3]).permute(0, 4, 1, 2, 3, 5).flatten(-2).to(dtype)
                stream = stream + self.stream(block.out(seen, quantised=q))
                x = block.second_grid(stream, q).to(dtype)
                y = block.hidden_grid(block.mix.convolve(x.flatten(0, 1), q).unflatten(0, x.shape[:2]), q).to(dtype)
                stream = stream + self.stream(block.back(y, quantised=q))
            y = self.last_grid(stream, q).to(dtype)
            if c.shared:
                logits.extend(self.outs[0](y, quantised=q).flatten(2, 3).float().unbind(1))
                continue
            for layer, part in zip(layers, y.unbind(1), strict=True):
                logits.append(self.outs[layer](part, quantised=q).flatten(1, 2).float())
        return logits

    def forward(self, chosen: Sequence[Tensor], height: int, width: int) -> list[Tensor]:
        """Nats (B, patches) of the codes of every layer."""
        every = self.logits(chosen, height, width)
        return [F.cross_entropy(x.flatten(0, 1), s.flatten(), reduction="none").view_as(s) for x, s in zip(every, chosen, strict=True)]
