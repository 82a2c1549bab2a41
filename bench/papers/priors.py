"""Priors over the codes of small pictures in floating point: the Transformer as it was trained, and LSTM and PixelCNN beside it.

The two others are only here, for the comparison of Xu et al. (2021), appendix C.2: an LSTM over the row of codes, and a PixelCNN over
the 70 codes padded to 81 and laid out as 9 x 9. All have about as many parameters. Codes are int64 (B, K), one row a picture.
"""

import math
import time
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...models.autoencoder import Convolution
from ...models.ordered.prior import QUARTERS, Transformer, attend
from ...models.precision import working_dtype

Log = Callable[[str], None]
SPARE = 32  # codes of one evaluation; bounds the memory of logits


class Prior(Protocol):
    """What the comparison needs of a prior."""

    def logits(self, codes: Tensor) -> Tensor:
        """Of every code, given those before it: (B, K, entries)."""
        ...

    def sample(self, count: int, length: int, random: torch.Generator, each: Callable[[int], None] = ...) -> Tensor:
        """The first codes (count, length) of new pictures; `each` is called after every code with how many there are."""
        ...


def _nothing(_: int) -> None:
    pass


def draw(logits: Tensor, random: torch.Generator) -> Tensor:
    """A code for each row of logits (B, entries)."""
    return torch.multinomial(logits.softmax(-1), 1, generator=random)[:, 0]


class Cached:
    """The Transformer of a picture with one patch; samples with the keys and values of earlier codes kept."""

    def __init__(self, network: Transformer) -> None:
        if len(network.config.segments()) != 1 or network.config.neighbours:
            raise ValueError("only priors of pictures with one patch are sampled here")
        self.network = network
        self.side = network.config.sides[0]

    def logits(self, codes: Tensor) -> Tensor:
        """Logits (B, K, entries) of codes (B, K)."""
        found = self.network.logits(list(codes.t().unsqueeze(-1)), self.side, self.side)
        return torch.cat(found, 1)

    @torch.no_grad()
    def sample(self, count: int, length: int, random: torch.Generator, each: Callable[[int], None] = _nothing) -> Tensor:
        """Codes (count, length)."""
        n, quantised = self.network, bool(self.network.quantised)
        c, dtype = n.config, working_dtype(n.embedding.device)
        kept = [[torch.zeros(count, c.heads, length, c.head, dtype=dtype) for _ in range(2)] for _ in n.blocks]
        quarter = torch.zeros(count, QUARTERS, dtype=dtype)
        codes = torch.zeros(count, length, dtype=torch.int64)
        for i in range(length):
            before = n.embedded(i - 1, codes[:, i - 1]) if i else torch.zeros(count, c.embedding, dtype=dtype)
            stream = n._stream(n.ins[i](before, quarter, quantised=quantised))
            for block, (keys, values) in zip(n.blocks, kept, strict=True):
                x = block.first_grid(stream, quantised).to(dtype)
                query, key, value = (
                    grid(part(x, quantised=quantised), quantised).to(dtype).unflatten(-1, (c.heads, c.head))
                    for part, grid in zip((block.query, block.key, block.value), block.grids, strict=True)
                )
                keys[:, :, i], values[:, :, i] = key, value
                past = keys[:, :, : i + 1], values[:, :, : i + 1]
                seen = attend(query.unsqueeze(2), *past, i, quantised, block.grids[2].bits).to(dtype)
                stream = stream + n._stream(block.out(seen.flatten(1), quantised=quantised))
                x = block.second_grid(stream, quantised).to(dtype)
                y = block.hidden_grid(block.mix(x, quantised=quantised), quantised).to(dtype)
                stream = stream + n._stream(block.back(y, quantised=quantised))
            y = n.last_grid(stream, quantised).to(dtype)
            codes[:, i] = draw(n.outs[0 if c.shared else i](y, quantised=quantised).float(), random)
            each(i + 1)
        return codes


class Lstm(nn.Module):
    """One layer of an LSTM (Hochreiter and Schmidhuber 1997) over the codes; where in the row a code stands is an input as well."""

    def __init__(self, length: int, entries: int, width: int = 384, embedding: int = 96) -> None:
        super().__init__()
        self.embedding = nn.Embedding(entries + 1, embedding)  # the last entry: nothing yet
        self.place = nn.Parameter(0.1 * torch.randn(length, embedding))
        self.cells = nn.LSTM(embedding, width, batch_first=True)
        self.out = nn.Sequential(nn.Linear(width, 128), nn.ReLU(), nn.Linear(128, entries))
        self.start = entries

    def logits(self, codes: Tensor) -> Tensor:
        """Logits (B, K, entries) of codes (B, K)."""
        before = F.pad(codes[:, :-1], (1, 0), value=self.start)
        found: Tensor = self.out(self.cells(self.embedding(before) + self.place[: codes.shape[1]])[0])
        return found

    @torch.no_grad()
    def sample(self, count: int, length: int, random: torch.Generator, each: Callable[[int], None] = _nothing) -> Tensor:
        """Codes (count, length)."""
        codes = torch.zeros(count, length, dtype=torch.int64)
        last, state = torch.full((count, 1), self.start), None
        for i in range(length):
            seen, state = self.cells(self.embedding(last) + self.place[i], state)
            codes[:, i] = draw(self.out(seen[:, 0]), random)
            last = codes[:, i : i + 1]
            each(i + 1)
        return codes


class Masked(Convolution):
    """A convolution that sees only what comes before its place in raster order; `first` keeps the place itself out (van den Oord 2016)."""

    mask: Tensor

    def __init__(self, inputs: int, outputs: int, side: int, first: bool) -> None:
        super().__init__(inputs, outputs, side, gain=1.4)
        mask = torch.ones(side, side)
        mask[side // 2, side // 2 + (not first) :] = 0
        mask[side // 2 + 1 :] = 0
        self.register_buffer("mask", mask)

    def _weight(self, x: Tensor) -> Tensor:
        found: Tensor = (self.weight * self.mask).to(x.dtype)
        return found


class PixelCnn(nn.Module):
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
        found: Tensor = x.float().flatten(2).transpose(1, 2)[:, : codes.shape[1]]
        return found

    def logits(self, codes: Tensor) -> Tensor:
        """Logits (B, K, entries) of codes (B, K)."""
        found: Tensor = self.out(self._seen(codes))
        return found

    @torch.no_grad()
    def sample(self, count: int, length: int, random: torch.Generator, each: Callable[[int], None] = _nothing) -> Tensor:
        """Codes (count, length), with the network run over all that is known for each."""
        codes = torch.zeros(count, length, dtype=torch.int64)
        for i in range(length):
            codes[:, i] = draw(self.out(self._seen(codes[:, : i + 1])[:, i]), random)
            each(i + 1)
        return codes


def parameters(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(p.numel() for p in network.parameters())


def train(network: nn.Module, prior: Prior, codes: Tensor, steps: int, batch: int, rate: float, log: Log) -> float:
    """Fit a prior, and the network that it is of, to codes (n, K) by Adam, the rate falling along half a cosine; seconds it took."""
    random = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.99))
    started = time.perf_counter()
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        chosen = codes[torch.randint(len(codes), (batch,), generator=random)]
        loss = F.cross_entropy(prior.logits(chosen).flatten(0, 1), chosen.flatten())
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if (step + 1) % 100 == 0:
            spent = time.perf_counter() - started
            log(f"step {step + 1}/{steps}: {float(loss.detach()) / math.log(2):.3f} bits a code, {spent:.0f} s")
    return time.perf_counter() - started


@torch.no_grad()
def bits(prior: Prior, codes: Tensor) -> Tensor:
    """Bits of every place in the row of codes (n, K), means over pictures: (K)."""
    found = [F.cross_entropy(prior.logits(part).transpose(1, 2), part, reduction="none").double().sum(0) for part in codes.split(SPARE)]
    return torch.stack(found).sum(0) / (len(codes) * math.log(2))


def independent_bits(training: Tensor, codes: Tensor, entries: int) -> Tensor:
    """Bits of every place (K) of codes (n, K) by how often its entries occur in training codes (m, K), nothing else known."""
    found = []
    for place in range(codes.shape[1]):
        counts = torch.bincount(training[:, place], minlength=entries).double() + 0.1
        found.append((counts.sum() / counts).log2()[codes[:, place]].mean())
    return torch.stack(found)


def used(codes: Tensor, entries: int) -> float:
    """How many entries of a codebook are worth as much as they are used: 2 to the entropy, in bits, of all codes together."""
    shares = torch.bincount(codes.flatten(), minlength=entries).double() / codes.numel()
    return float(2 ** -(shares * (shares + 1e-12).log2()).sum())
