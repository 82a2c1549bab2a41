"""Priors over the codes of small pictures in floating point: the Transformer as it was trained, and LSTM and PixelCNN beside it.

The two others are only here, for the comparison of Xu et al. (2021), appendix C.2: an LSTM over the row of codes, and a PixelCNN over
the 70 codes padded to 81 and laid out as 9 x 9. All have about as many parameters. Codes are int64 (B, K), one row a picture.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.autoencoder import Convolution
from ...models.ordered.prior import QUARTERS, Transformer, attend
from ...models.precision import working_dtype
from ..compare.common import Log
from .ablations import fit

SPARE = 32  # codes of one evaluation; bounds the memory of logits
Step = Callable[[Tensor, int], Tensor]
"""(codes, i) -> logits (B, entries) of the i-th code, given those before it; called for one i after the other."""


def draw(logits: Tensor, random: torch.Generator) -> Tensor:
    """A code for each row of logits (B, entries)."""
    return torch.multinomial(logits.softmax(-1), 1, generator=random)[:, 0]


class Prior(ABC):
    """What the comparison needs of a prior."""

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        assert isinstance(self, nn.Module)
        return self

    @abstractmethod
    def logits(self, codes: Tensor) -> Tensor:
        """Of every code (B, K), given those before it: (B, K, entries)."""

    @abstractmethod
    def stepper(self, count: int, length: int) -> Step:
        """What samples rows of codes (count, length)."""

    @torch.no_grad()
    def sample(self, count: int, length: int, random: torch.Generator, each: Callable[[int], None] = lambda _: None) -> Tensor:
        """The first codes (count, length) of new pictures; `each` is called after every code with how many there are."""
        codes, step = torch.zeros(count, length, dtype=torch.int64), self.stepper(count, length)
        for i in range(length):
            codes[:, i] = draw(step(codes, i), random)
            each(i + 1)
        return codes


class Cached(Prior):
    """The Transformer of a picture with one patch; samples with the keys and values of earlier codes kept."""

    def __init__(self, network: Transformer) -> None:
        if len(network.config.segments()) != 1 or network.config.neighbours:
            raise ValueError("only priors of pictures with one patch are sampled here")
        self.transformer = network
        self.side = network.config.sides[0]

    @property
    def network(self) -> nn.Module:
        return self.transformer

    def logits(self, codes: Tensor) -> Tensor:
        return torch.cat(self.transformer.logits(list(codes.t().unsqueeze(-1)), self.side, self.side), 1)

    def stepper(self, count: int, length: int) -> Step:
        n, quantised = self.transformer, bool(self.transformer.quantised)
        c, dtype = n.config, working_dtype(n.embedding.device)
        kept = [[torch.zeros(count, c.heads, length, c.head, dtype=dtype) for _ in range(2)] for _ in n.blocks]
        quarter = torch.zeros(count, QUARTERS, dtype=dtype)

        def step(codes: Tensor, i: int) -> Tensor:
            before = n.embedded(i - 1, codes[:, i - 1]) if i else torch.zeros(count, c.embedding, dtype=dtype)
            stream = n.stream(n.ins[i](before, quarter, quantised=quantised))
            for block, (keys, values) in zip(n.blocks, kept, strict=True):
                query, key, value = block.heads(stream, quantised, dtype)
                keys[:, :, i], values[:, :, i] = key, value
                past = keys[:, :, : i + 1], values[:, :, : i + 1]
                seen = attend(query.unsqueeze(2), *past, i, quantised, block.grids[2].bits).to(dtype)
                stream = stream + n.stream(block.out(seen.flatten(1), quantised=quantised))
                x = block.second_grid(stream, quantised).to(dtype)
                y = block.hidden_grid(block.mix(x, quantised=quantised), quantised).to(dtype)
                stream = stream + n.stream(block.back(y, quantised=quantised))
            y = n.last_grid(stream, quantised).to(dtype)
            logits: Tensor = n.outs[0 if c.shared else i](y, quantised=quantised).float()
            return logits

        return step


class Lstm(nn.Module, Prior):
    """One layer of an LSTM (Hochreiter and Schmidhuber 1997) over the codes; where in the row a code stands is an input as well."""

    def __init__(self, length: int, entries: int, width: int = 384, embedding: int = 96) -> None:
        super().__init__()
        self.embedding = nn.Embedding(entries + 1, embedding)  # the last entry: nothing yet
        self.place = nn.Parameter(0.1 * torch.randn(length, embedding))
        self.cells = nn.LSTM(embedding, width, batch_first=True)
        self.out = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, entries))
        self.start = entries

    def logits(self, codes: Tensor) -> Tensor:
        before = F.pad(codes[:, :-1], (1, 0), value=self.start)
        logits: Tensor = self.out(self.cells(self.embedding(before) + self.place[: codes.shape[1]])[0])
        return logits

    def stepper(self, count: int, length: int) -> Step:
        state = None

        def step(codes: Tensor, i: int) -> Tensor:
            nonlocal state
            last = codes[:, i - 1 : i] if i else torch.full((count, 1), self.start)
            seen, state = self.cells(self.embedding(last) + self.place[i], state)
            logits: Tensor = self.out(seen[:, 0])
            return logits

        return step


class Masked(Convolution):
    """A convolution that sees only what comes before its place in raster order; `first` keeps the place itself out (van den Oord 2016)."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, first: bool) -> None:
        super().__init__(inputs, outputs, side, gain=1.4)
        mask = torch.ones(side, side)
        mask[side // 2, side // 2 + (not first) :] = 0
        mask[side // 2 + 1 :] = 0
        self.register_buffer("mask", mask)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, (self.weight * self.mask).to(x.dtype), self.bias.to(x.dtype), self.stride, self.padding)


class PixelCnn(nn.Module, Prior):
    """Masked convolutions over the codes laid out as a square, with residual blocks (van den Oord et al. 2016)."""

    def __init__(self, length: int, entries: int, width: int = 192, blocks: int = 6, embedding: int = 64) -> None:
        super().__init__()
        self.side = math.ceil(math.sqrt(length))
        self.embedding = nn.Embedding(entries, embedding)
        self.place = nn.Parameter(torch.zeros(width, self.side, self.side))
        self.first = Masked(embedding, width, 5, first=True)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(), Convolution(width, width // 2, 1), nn.ReLU(), Masked(width // 2, width // 2, 3, first=False), nn.ReLU(),
                Convolution(width // 2, width, 1, gain=0.3),
            ) for _ in range(blocks)
        )  # fmt: skip
        self.out = nn.Sequential(nn.ReLU(), nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, entries))

    def _seen(self, codes: Tensor) -> Tensor:
        """What the last block gives, (B, K, width), of codes (B, K)."""
        square = F.pad(self.embedding(codes), (0, 0, 0, self.side**2 - codes.shape[1]))
        x = square.unflatten(1, (self.side, self.side)).permute(0, 3, 1, 2).to(working_dtype(square.device))
        x = self.first(x) + self.place.to(x.dtype)
        for block in self.blocks:
            x = x + block(x)
        seen: Tensor = x.float().flatten(2).transpose(1, 2)[:, : codes.shape[1]]
        return seen

    def logits(self, codes: Tensor) -> Tensor:
        logits: Tensor = self.out(self._seen(codes))
        return logits

    def stepper(self, count: int, length: int) -> Step:
        return lambda codes, i: self.out(self._seen(codes[:, : i + 1])[:, i])


def train(prior: Prior, codes: Tensor, steps: int, batch: int, rate: float, log: Log) -> float:
    """Fit a prior to codes (n, K); seconds it took."""
    random = torch.Generator().manual_seed(0)

    def loss(_: int) -> Tensor:
        chosen = codes[torch.randint(len(codes), (batch,), generator=random)]
        return F.cross_entropy(prior.logits(chosen).flatten(0, 1), chosen.flatten())

    return fit(prior.network, loss, steps, rate, log, warm_up=100)


@torch.no_grad()
def bits(prior: Prior, codes: Tensor) -> Tensor:
    """Bits of every place in the row of codes (n, K), means over pictures: (K)."""
    nats = [F.cross_entropy(prior.logits(part).transpose(1, 2), part, reduction="none").double().sum(0) for part in codes.split(SPARE)]
    return torch.stack(nats).sum(0) / (len(codes) * math.log(2))


def independent_bits(training: Tensor, codes: Tensor, entries: int) -> Tensor:
    """Bits of every place (K) of codes (n, K) by how often its entries occur in training codes (m, K), nothing else known."""
    means = []
    for known, unseen in zip(training.t(), codes.t(), strict=True):
        counts = torch.bincount(known, minlength=entries).double() + 0.1
        means.append((counts.sum() / counts).log2()[unseen].mean())
    return torch.stack(means)


def used(codes: Tensor, entries: int) -> float:
    """How many entries of a codebook are worth as much as they are used: 2 to the entropy, in bits, of all codes together."""
    shares = torch.bincount(codes.flatten(), minlength=entries).double() / codes.numel()
    return float(2 ** -(shares * (shares + 1e-12).log2()).sum())
