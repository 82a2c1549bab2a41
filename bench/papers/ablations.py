"""Autoencoders that stand beside the ordered VQ-VAE of small pictures, for ablations only: none of them ships.

A `Coder` gives a picture K codes of D numbers each; codes that are cut off are zeros. Here are the ordered VQ-VAE itself, whose codes
are channels; places of the map as codes instead (`Spatial`; Xu et al. 2021, section 4.3); a continuous VAE, ordered or not (`Vae`;
Eq. 13, appendix C.1); and principal components. All start from the transforms of `cifar10-ordered-full` where they have any.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from ...models.autoencoder import leaky_decoder, leaky_encoder
from ...models.ordered import codebooks as codes
from ...models.ordered.network import Ordered
from ...models.precision import working_dtype
from ...models.quantisation import straight_through
from ...models.training import loop as train
from ...models.training.data import DataConfig, Pictures, Pixels

RUNS = Path(train.__file__).parents[1] / "runs"
PLACES = 4  # along the side of the map of a picture
VARIANCE = 0.02  # of the VAE's decoder, pixels in -1..1: about its squared error with all codes
Log = Callable[[str], None]


class Coder(Protocol):
    """What the curves need of an autoencoder."""

    count: int

    def encode(self, pixels: Tensor) -> Tensor:
        """Codes (B, K, D) of uint8 pixels (B, 32, 32, 3)."""
        ...

    def decode(self, found: Tensor) -> Tensor:
        """Grey levels 0..255, float32 (B, 32, 32, 3), of codes (B, K, D)."""
        ...


def to_levels(decoded: Tensor) -> Tensor:
    """Pixels in -1..1 (B, 3, H, W) as grey levels (B, H, W, 3)."""
    return ((decoded.float().permute(0, 2, 3, 1) + 1) * 127.5).clamp(0, 255)


def network_input(pixels: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) in -1..1 (B, 3, H, W)."""
    return pixels.permute(0, 3, 1, 2).to(working_dtype(pixels.device)) / 127.5 - 1


class Channels:
    """A trained `Ordered` network of the paper's design: channels of the map are the codes, each a vector of its codebook."""

    def __init__(self, network: Ordered) -> None:
        if network.config.design != "leaky":
            raise ValueError("only the design of small pictures is compared here")
        self.network = network
        self.count = network.config.count

    def symbols(self, pixels: Tensor) -> Tensor:
        """Numbers of the codebook's vectors, int64 (B, K)."""
        return torch.cat(self.network.symbols(pixels), 1)

    def look_up(self, symbols: Tensor) -> Tensor:
        """Codes (B, k, D) of their numbers (B, k)."""
        books = self.network.codebooks
        return torch.stack([books.look_up(layer, symbols[:, layer]) for layer in range(symbols.shape[1])], 1)

    def encode(self, pixels: Tensor) -> Tensor:
        return self.look_up(self.symbols(pixels))

    def decode(self, found: Tensor) -> Tensor:
        side = self.network.config.patch
        features = found.transpose(1, 2).reshape(len(found), side, side, -1)
        return to_levels(self.network.decode(features, features[..., 0], working_dtype(features.device)))


class Components:
    """The first principal components of pictures (n, 32, 32, 3)."""

    def __init__(self, pictures: Pixels, count: int) -> None:
        self.count = count
        flat = torch.from_numpy(pictures).flatten(1).float()
        self.mean = flat.mean(0)
        flat = flat - self.mean
        if len(flat) < flat.shape[1]:  # the smaller matrix has the same values
            vectors = flat.t() @ torch.linalg.eigh(flat @ flat.t())[1][:, -count:]
            vectors = vectors / vectors.norm(dim=0)
        else:
            vectors = torch.linalg.eigh(flat.t() @ flat)[1][:, -count:]
        self.basis = vectors.flip(1)
        self.shape = pictures.shape[1:]

    def encode(self, pixels: Tensor) -> Tensor:
        found: Tensor = ((pixels.flatten(1).float() - self.mean) @ self.basis).unsqueeze(-1)
        return found

    def decode(self, found: Tensor) -> Tensor:
        levels: Tensor = (found[..., 0] @ self.basis.t() + self.mean).clamp(0, 255)
        return levels.view(-1, *self.shape)


class Ablation(nn.Module):
    """Transforms of the paper's design; what is between them is a subclass's. `forward` gives what training makes small."""

    count: int

    def __init__(self, width: int, outputs: int, inputs: int, ordered: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = leaky_encoder(width, outputs), leaky_decoder(width, inputs)
        self.ordered = ordered

    def start(self, state: Mapping[str, Tensor]) -> None:
        """Take over what fits of the transforms of a trained `Ordered`."""
        own = self.state_dict()
        taken = {k: v for k, v in state.items() if k.startswith(("encoder.", "decoder.")) and own[k].shape == v.shape}
        self.load_state_dict({**own, **taken})

    def kept(self, images: int) -> Tensor:
        """Which codes of each picture training keeps: bool (images, K), uniformly many first ones (Eq. 6), or all."""
        cuts = torch.randint(1, self.count + 1, (images, 1)) if self.ordered else torch.full((images, 1), self.count)
        return torch.arange(self.count) < cuts


class Spatial(Ablation):
    """Places of the map are the codes, row by row: 4 x 4 of them, with a number for each channel."""

    def __init__(self, width: int = 128, channels: int = 70, entries: int = 1000, ordered: bool = True, commitment: float = 0.25) -> None:
        super().__init__(width, channels, channels, ordered)
        self.count, self.commitment = PLACES**2, commitment
        self.codebooks = codes.Codebooks(1, entries, channels, shared=True)

    def analyse(self, pixels: Tensor) -> Tensor:
        """The map as (B, places, channels)."""
        found: Tensor = self.encoder(network_input(pixels)).float().flatten(2).transpose(1, 2)
        return found

    def synthesise(self, found: Tensor) -> Tensor:
        """Pixels in -1..1 (B, 3, H, W) of codes (B, places, channels)."""
        square = found.transpose(1, 2).unflatten(2, (PLACES, PLACES))
        decoded: Tensor = self.decoder(square.to(working_dtype(square.device)))
        return decoded.float()

    def begin(self, pixels: Tensor) -> None:
        """First codebook from sample pixels."""
        with torch.no_grad():
            values = self.analyse(pixels).flatten(0, 1)
        vectors, counts = codes.train_book(values, self.codebooks.vectors.shape[1], 0.0)
        self.codebooks.start(0, vectors, counts)

    def forward(self, pixels: Tensor) -> Tensor:
        keep = self.kept(len(pixels))
        values = self.analyse(pixels)
        with torch.no_grad():
            chosen = self.codebooks.choose(0, values)
            vectors = self.codebooks.look_up(0, chosen)
            self.codebooks.ema_update(range(1), values, chosen, keep)
        square = ((values - vectors).square().sum(-1) * keep).sum(1)
        decoded = self.synthesise(straight_through(vectors, values) * keep.unsqueeze(-1))
        target = network_input(pixels).float()
        return (decoded - target).square().mean((1, 2, 3)) + self.commitment * square / target[0].numel()

    def encode(self, pixels: Tensor) -> Tensor:
        return self.codebooks.look_up(0, self.codebooks.choose(0, self.analyse(pixels)))

    def decode(self, found: Tensor) -> Tensor:
        return to_levels(self.synthesise(found))


class Vae(Ablation):
    """A Gaussian of K independent numbers; the prior of each is the unit normal (Eq. 13). `encode` gives its mean."""

    def __init__(self, width: int = 128, count: int = 70, ordered: bool = True) -> None:
        super().__init__(width, width, width, ordered)
        self.count, self.width = count, width
        self.gaussian = nn.Linear(PLACES**2 * width, 2 * count)
        self.back = nn.Linear(count, PLACES**2 * width)

    def begin(self, pixels: Tensor) -> None:
        """Nothing to choose."""

    def analyse(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances (B, K)."""
        x = nn.functional.leaky_relu(self.encoder(network_input(pixels)).float(), 0.2)
        mean, spread = self.gaussian(x.flatten(1)).chunk(2, 1)
        return mean, spread.clamp(-10, 4)

    def synthesise(self, found: Tensor) -> Tensor:
        """Pixels in -1..1 (B, 3, H, W) of codes (B, K)."""
        x = nn.functional.leaky_relu(self.back(found), 0.2).unflatten(1, (self.width, PLACES, PLACES))
        decoded: Tensor = self.decoder(x.to(working_dtype(x.device)))
        return decoded.float()

    def forward(self, pixels: Tensor) -> Tensor:
        keep = self.kept(len(pixels))
        mean, spread = self.analyse(pixels)
        drawn = mean + (spread / 2).exp() * torch.randn_like(mean)
        divergence = (0.5 * (mean.square() + spread.exp() - 1 - spread) * keep).sum(1)
        target = network_input(pixels).float()
        error = (self.synthesise(drawn * keep) - target).square().sum((1, 2, 3))
        return (error / (2 * VARIANCE) + divergence) * (2 * VARIANCE / target[0].numel())

    def encode(self, pixels: Tensor) -> Tensor:
        return self.analyse(pixels)[0].unsqueeze(-1)

    def decode(self, found: Tensor) -> Tensor:
        return to_levels(self.synthesise(found[..., 0]))


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """All tensors of a run's network, the averaged ones for its parameters."""
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return {**state["network"], **state["average"]}


def load_ordered(run: str, folder: Path, overrides: tuple[str, ...] = ()) -> Ordered:
    """The network of a run file's checkpoint in a folder. Raises FileNotFoundError."""
    config = train.read_run(RUNS / f"{run}.toml", overrides)
    state: dict[str, Any] = torch.load(folder / f"{config.name}.checkpoint", map_location="cpu", weights_only=True)
    network = train.averaged_network(config, state["network"], state["average"])
    if not isinstance(network, Ordered):
        raise ValueError(f"{run} is no ordered network")
    return network.requires_grad_(False)


def training_pictures(run: str) -> Pictures:
    """The pictures that a run file trains on."""
    return Pictures(DataConfig(**train.read_run(RUNS / f"{run}.toml", ()).data))


def fit(network: Ablation, pictures: Pictures, steps: int, batch: int, rate: float, log: Log) -> None:
    """Train by Adam, the rate falling along half a cosine."""
    random = np.random.default_rng(0)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=(0.9, 0.99))
    network.begin(torch.from_numpy(pictures.crops(512, random)))  # type: ignore[operator]
    network.train()
    started, total = time.perf_counter(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        loss = network(torch.from_numpy(pictures.crops(batch, random))).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if isinstance(network, Spatial) and step % 50 == 0 and step < steps // 2:
            network.codebooks.restart_dead_codes()
        total += float(loss.detach())
        if (step + 1) % 200 == 0:
            log(f"step {step + 1}/{steps}: loss {total / 200:.4f}, {time.perf_counter() - started:.0f} s")
            total = 0.0
    network.eval().requires_grad_(False)
