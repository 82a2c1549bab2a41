"""Ordered codes of a feature map: which numbers each code stands for, the codebooks, and how a map is quantised code by code.

A feature map (B, h, w, C) is cut into patches. A *layer* gives every patch one code: the number of a codebook's vector that
stands for D numbers of the patch, one channel of it (channel-wise quantisation, Xu et al. 2021, section 4.3). Layers follow one
another, each quantises what the earlier ones have left of the map. For photographs a channel is seen at three strides: at 16
pixels what the means of 2 x 2 places of the map have in common and how they differ, at 8 the channels of the map as they are, at 4
the four quarters of a place. A patch is 2 x 2 at each stride, so that D = 4; all views are rows of orthonormal matrices.

Quantising minimises squared error + price x code length, with the code lengths that the codewords' frequencies give
(entropy-constrained vector quantisation, Chou et al. 1989). The price is the rate-distortion multiplier, the squared error that
a bit is worth; price 0 is the nearest codeword, the paper's rule.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..autoencoder import cosines, picture

Layers = Sequence[tuple[int, int]]
"""(stride in pixels, channel at that stride) of every layer."""
SIDES = {16: 4, 8: 2, 4: 1}  # stride -> places of the map along a patch, for photographs
FINE = ((0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (2, 0, 0), (0, 1, 1), (0, 0, 2), (0, 2, 0))
"""(colour, horizontal, vertical frequency) of the channels at stride 4: cosines of 4 x 4 pixels."""
DECAY = 0.99  # of the moving averages
DEAD = 0.03  # codewords with less than this share of the mean frequency are dead, and restarted
GREEDY = 6  # layers that are tried at every place in the order
ROUNDS = 10  # of Lloyd's algorithm


@dataclass(frozen=True)
class View:
    """What a layer sees of a patch: `matrix` (D, side * side * C) has orthonormal rows."""

    side: int
    matrix: Tensor

    def to(self, device: torch.device) -> "View":
        return View(self.side, self.matrix.to(device))

    def analyse(self, features: Tensor) -> Tensor:
        """(B, h, w, C) -> (B, patches, D), patches row by row."""
        b, h, w, c = features.shape
        s = self.side
        parts: Tensor = features.view(b, h // s, s, w // s, s, c).transpose(2, 3).reshape(b, -1, s * s * c)
        return parts @ self.matrix.t()

    def synthesise(self, values: Tensor, height: int, width: int) -> Tensor:
        """(B, patches, D) -> (B, height, width, C)."""
        s = self.side
        parts = (values @ self.matrix).view(len(values), height // s, width // s, s, s, -1)
        return parts.transpose(2, 3).reshape(len(values), height, width, -1)


def channels_at(stride: int, channels: int) -> int:
    """How many channels photographs have at a stride."""
    return {16: 12, 8: channels, 4: min(len(FINE), channels // 6)}[stride]


def photo_view(stride: int, channel: int, channels: int) -> View:
    """A layer's view of a map of 8 x 8 pixels a place whose first channels are like cosines."""
    if stride == 4:
        return View(1, _quarters(channels)[4 * channel : 4 * channel + 4])
    if stride == 8:
        return patch_view(2, channel, channels)
    signs = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2  # Haar's basis of 2 x 2
    matrix = torch.zeros(4, 4, 4, channels)
    matrix[..., channel // 4] = torch.kron(torch.eye(4).view(4, 2, 2), signs[channel % 4].view(1, 2, 2))
    return View(4, matrix.flatten(1))


def _quarters(channels: int) -> Tensor:
    """Orthonormal rows (4 for each of FINE, channels): cosines of the 4 x 4 quarters of a place, as far as the map holds them."""
    basis, quarters = cosines(channels), []
    for colour, u, v in FINE[: channels_at(4, channels)]:
        for y, x in ((0, 0), (0, 4), (4, 0), (4, 4)):
            pixels = F.pad(picture(colour, u, v, 4), (x, 4 - x, y, 4 - y))
            quarters.append((basis * pixels).sum((1, 2, 3)))
    q, r = torch.linalg.qr(torch.stack(quarters).t().double())
    rows: Tensor = (q * r.diagonal().sign()).t().float()
    return rows.contiguous()


def patch_view(side: int, channel: int, channels: int) -> View:
    """One channel of a patch of side x side places, as it is: the paper's."""
    matrix = torch.zeros(side * side, side * side, channels)
    matrix[:, :, channel] = torch.eye(side * side)
    return View(side, matrix.flatten(1))


class Codebooks(nn.Module):
    """Codebooks (books, codewords, D), one for every layer or one for all, that follow the vectors they stand for.

    The codebook's term of the loss (Eq. 5, the second) is minimised by moving averages instead of a gradient, as in van den Oord et
    al. 2017, appendix A.1: a codeword is the mean of what chose it lately.
    """

    vectors: Tensor
    sums: Tensor
    counts: Tensor
    uses: Tensor
    prices: Tensor

    def __init__(self, layers: int, codewords: int, size: int, shared: bool) -> None:
        super().__init__()
        books = 1 if shared else layers
        self.shared = shared
        first = torch.randn(books, codewords, size)
        self.register_buffer("vectors", first)
        self.register_buffer("sums", first.clone())  # of the values that chose a codeword, moving averages
        self.register_buffer("counts", torch.ones(books, codewords))  # and their number
        self.register_buffer("uses", torch.ones(layers, codewords))  # the same for every layer
        self.register_buffer("prices", torch.zeros(layers))  # rate-distortion multipliers: squared error that a bit is worth

    def book(self, layer: int) -> int:
        return 0 if self.shared else layer

    def lengths(self, layer: int) -> Tensor:
        """Code lengths of a layer's codewords by their frequencies, in bits (codewords)."""
        uses = self.uses[layer] + 1e-3 * self.uses[layer].mean()
        return (uses.sum() / uses).log2()

    def choose(self, layer: int, values: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The codewords (...), as numbers, for values (..., D). lengths: code lengths in bits (..., codewords) or (codewords)."""
        vectors, price = self.vectors[self.book(layer)], self.prices[layer]
        if not bool(price):
            return _cheapest(values, vectors)
        return _cheapest(values, vectors, price * (self.lengths(layer) if lengths is None else lengths))

    def look_up(self, layer: int, chosen: Tensor) -> Tensor:
        """The vectors (..., D) of codewords (...)."""
        return self.vectors[self.book(layer)][chosen]

    def start(self, book: int, vectors: Tensor, counts: Tensor) -> None:
        """First codewords (codewords, D) of a book, which have been chosen so often (codewords)."""
        self.vectors[book] = vectors
        self.counts[book] = counts.clamp(min=1e-3) / 64
        self.sums[book] = vectors * self.counts[book].unsqueeze(1)

    @torch.no_grad()
    def ema_update(self, layers: range, values: Tensor, chosen: Tensor, keep: Tensor) -> None:
        """Move codewords (...) towards the values (..., D) that have chosen them, where `keep` (...) is true.

        layers: of one book. If they are several, they are the last dimension of `chosen` and `keep`.
        """
        book, count, codewords = self.book(layers.start), len(layers), self.vectors.shape[1]
        numbers = (chosen + codewords * torch.arange(count, device=chosen.device))[keep]
        uses = torch.bincount(numbers, minlength=count * codewords).float().view(count, codewords)
        total = torch.zeros_like(self.sums[book]).index_add_(0, chosen[keep], values[keep].float())
        self.uses[layers.start : layers.stop].lerp_(uses, 1 - DECAY)
        weight = (1 - DECAY) * (count / len(self.uses) if self.shared else 1)
        self.counts[book].lerp_(uses.mean(0), weight)
        self.sums[book].lerp_(total / count, weight)
        counts = self.counts[book].unsqueeze(1)
        self.vectors[book] = torch.where(counts > 1e-3, self.sums[book] / counts.clamp(min=1e-3), self.vectors[book])

    @torch.no_grad()
    def restart_dead_codes(self) -> None:
        """Make each codeword that is hardly ever chosen a copy, nearly, of a busy one, as k-means splits clusters."""
        for book, counts in enumerate(self.counts):
            dead = torch.nonzero(counts < DEAD * counts.mean()).flatten()
            if not len(dead):
                continue
            donors = torch.multinomial(counts, len(dead), replacement=True)
            vectors = self.vectors[book]
            spread = 0.05 * vectors.std(0)
            vectors[dead] = vectors[donors] + spread * torch.randn_like(vectors[donors])
            half = counts[donors] / 2
            counts[dead] = half
            self.sums[book][dead] = vectors[dead] * half.unsqueeze(1)


def _cheapest(values: Tensor, vectors: Tensor, costs: Tensor | float = 0.0) -> Tensor:
    """The codewords (...) whose squared distance from values (..., D), with their costs, is least."""
    return (vectors.square().sum(1) - 2 * (values @ vectors.t()) + costs).argmin(-1)


def _lengths(counts: Tensor) -> Tensor:
    """Code lengths in bits of codewords that were chosen so often."""
    return ((counts + 0.1).sum() / (counts + 0.1)).log2()


def train_book(values: Tensor, codewords: int, price: float) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm with code lengths on values (n, D): vectors (codewords, D), and how often each was chosen (codewords).

    price: the rate-distortion multiplier, squared error that a bit is worth.
    """
    vectors = values[torch.randint(len(values), (codewords,))].clone()
    vectors[0] = 0
    lengths = values.new_full((codewords,), 0.5 * math.log2(codewords))
    counts = values.new_ones(codewords)
    for _ in range(ROUNDS):
        chosen = _cheapest(values, vectors, price * lengths)
        counts = torch.bincount(chosen, minlength=codewords).float()
        sums = torch.zeros_like(vectors).index_add_(0, chosen, values)
        vectors = torch.where(counts.unsqueeze(1) > 0, sums / counts.clamp(min=1).unsqueeze(1), vectors)
        lengths = _lengths(counts)
    return vectors, counts


Errors = Callable[[Tensor, Tensor], Tensor]
"""(dequantised map, share of the layers that are there) -> mean squared errors of the pictures (B)."""


def choose_layers(features: Tensor, strides: Sequence[tuple[int, int]], codewords: int, prices: Tensor, errors: Errors) -> Layers:
    """An order of layers for photographs, found greedily on sample features (B, h, w, C).

    strides: (stride, number of layers), coarse ones first. prices: see `Codebooks`, of every layer. At every place in the order the
    layers with the most energy above the price are tried, and the one is taken that lowers the logarithm of the decoder's error most
    for its bits. errors: what the decoder makes of a map.
    """
    known = torch.zeros_like(features)
    order: list[tuple[int, int]] = []
    channels, layers = features.shape[-1], sum(count for _, count in strides)
    before = (errors(known, known.new_zeros(known.shape[:3])) + 1).log().mean()
    for stride, count in strides:
        views = [photo_view(stride, channel, channels).to(known.device) for channel in range(channels_at(stride, channels))]
        for _ in range(count):
            price = float(prices[len(order)])
            share = known.new_full(known.shape[:3], (len(order) + 1) / layers)
            seen = [view.analyse(features - known) for view in views]
            energy = torch.stack([(v.square().sum(-1) - 5 * price).clamp(min=0).mean() for v in seen])
            best: tuple[float, int, Tensor, Tensor] | None = None
            for channel in energy.topk(min(GREEDY, len(views))).indices.tolist():
                values = seen[channel].flatten(0, 1)
                vectors, counts = train_book(values[torch.randint(len(values), (8192,))], codewords, price)
                lengths = _lengths(counts)
                chosen = _cheapest(values, vectors, price * lengths)
                after = known + views[channel].synthesise(vectors[chosen].view_as(seen[channel]), *features.shape[1:3])
                error = (errors(after, share) + 1).log().mean()
                slope = float((before - error) / lengths[chosen].sum())
                if best is None or slope > best[0]:
                    best = (slope, channel, after, error)
            assert best is not None
            known, before = best[2], best[3]
            order.append((stride, best[1]))
    return order
