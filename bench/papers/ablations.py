"""Autoencoders that stand beside the ordered VQ-VAE of small pictures, for ablations only: none of them ships.

A `Coder` gives a picture K codes of D numbers each; codes that are cut off are zeros. Here are the ordered VQ-VAE itself, whose codes
are channels; places of the map as codes instead (`Spatial`; Xu et al. 2021, section 4.3); a continuous VAE, ordered or not (`Vae`;
Eq. 13, appendix C.1); and principal components. All start from the transforms of `cifar10-ordered-full` where they have any.
"""

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...models.autoencoder import leaky_decoder, leaky_encoder, network_input
from ...models.ordered.codebooks import Codebooks, train_book
from ...models.ordered.network import Ordered
from ...models.precision import working_dtype
from ...models.quantisation import straight_through
from ...models.training import loop as train
from ...models.training.data import DataConfig, Pictures, Pixels
from ..compare.common import Log

RUNS = Path(train.__file__).parents[1] / "runs"
PLACES = 4  # along the side of the map of a picture
LOGGED = 100  # steps a line of the log
VARIANCE = 0.02  # of the VAE's decoder, pixels in -1..1: about its squared error with all codes


def fit(
    network: nn.Module,
    loss: Callable[[int], Tensor],
    steps: int,
    rate: float,
    log: Log,
    *,
    warm_up: int = 50,
    betas: tuple[float, float] = (0.9, 0.99),
    clip: float = 1.0,
) -> float:
    """Make `loss(step)` small by Adam, the rate falling along half a cosine; seconds it took. clip: largest norm of a gradient."""
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=betas)
    network.train()
    started, total = time.perf_counter(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warm_up) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        value = loss(step)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimiser.step()
        total += float(value.detach())
        if (step + 1) % LOGGED == 0:
            log(f"step {step + 1}/{steps}: loss {total / LOGGED:.4f}, {time.perf_counter() - started:.0f} s")
            total = 0.0
    network.eval().requires_grad_(False)
    return time.perf_counter() - started


class Coder(ABC):
    """What the curves need of an autoencoder."""

    count: int

    @abstractmethod
    def encode(self, pixels: Tensor) -> Tensor:
        """Codes (B, K, D) of uint8 pixels (B, 32, 32, 3)."""

    @abstractmethod
    def decode(self, codes: Tensor) -> Tensor:
        """Grey levels 0..255, float32 (B, 32, 32, 3), of codes (B, K, D)."""


def to_levels(decoded: Tensor) -> Tensor:
    """Pixels in -1..1 (B, 3, H, W) as grey levels (B, H, W, 3)."""
    return ((decoded.float().permute(0, 2, 3, 1) + 1) * 127.5).clamp(0, 255)


class Channels(Coder):
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

    def decode(self, codes: Tensor) -> Tensor:
        side = self.network.config.patch
        features = codes.transpose(1, 2).reshape(len(codes), side, side, -1)
        return to_levels(self.network.decode(features, features[..., 0], working_dtype(features.device)))


class Components(Coder):
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
        codes: Tensor = ((pixels.flatten(1).float() - self.mean) @ self.basis).unsqueeze(-1)
        return codes

    def decode(self, codes: Tensor) -> Tensor:
        levels: Tensor = (codes[..., 0] @ self.basis.t() + self.mean).clamp(0, 255)
        return levels.view(-1, *self.shape)


class Ablation(nn.Module, Coder):
    """Transforms of the paper's design; what is between them is a subclass's. `forward` gives what training makes small."""

    def __init__(self, width: int, outputs: int, inputs: int, ordered: bool) -> None:
        super().__init__()
        self.encoder, self.decoder = leaky_encoder(width, outputs), leaky_decoder(width, inputs)
        self.ordered = ordered

    def start(self, state: Mapping[str, Tensor]) -> None:
        """Take over what fits of the transforms of a trained `Ordered`."""
        own = self.state_dict()
        taken = {k: v for k, v in state.items() if k.startswith(("encoder.", "decoder.")) and own[k].shape == v.shape}
        self.load_state_dict({**own, **taken})

    def begin(self, pixels: Tensor) -> None:
        """What is chosen from sample pixels before training."""

    def kept(self, images: int) -> Tensor:
        """Which codes of each picture training keeps: bool (images, K), uniformly many first ones (Eq. 6), or all."""
        cuts = torch.randint(1, self.count + 1, (images, 1)) if self.ordered else torch.full((images, 1), self.count)
        return torch.arange(self.count) < cuts

    def features(self, pixels: Tensor) -> Tensor:
        """What the encoder gives, float32 (B, outputs, places, places)."""
        features: Tensor = self.encoder(network_input(pixels, working_dtype(pixels.device)))
        return features.float()

    @abstractmethod
    def to_map(self, codes: Tensor) -> Tensor:
        """What the decoder takes, (B, inputs, places, places), of codes (B, K, D)."""

    def synthesise(self, codes: Tensor) -> Tensor:
        """Pixels in -1..1 (B, 3, H, W) of codes (B, K, D)."""
        square = self.to_map(codes)
        decoded: Tensor = self.decoder(square.to(working_dtype(square.device)))
        return decoded.float()

    def decode(self, codes: Tensor) -> Tensor:
        return to_levels(self.synthesise(codes))


class Spatial(Ablation):
    """Places of the map are the codes, row by row: 4 x 4 of them, with a number for each channel."""

    def __init__(self, width: int = 128, channels: int = 70, entries: int = 1000, ordered: bool = True, commitment: float = 0.25) -> None:
        super().__init__(width, channels, channels, ordered)
        self.count, self.commitment = PLACES**2, commitment
        self.codebooks = Codebooks(1, entries, channels, shared=True)

    def begin(self, pixels: Tensor) -> None:
        with torch.no_grad():
            values = self.values(pixels).flatten(0, 1)
        vectors, counts = train_book(values, self.codebooks.vectors.shape[1], 0.0)
        self.codebooks.start(0, vectors, counts)

    def values(self, pixels: Tensor) -> Tensor:
        """The map as (B, places, channels)."""
        return self.features(pixels).flatten(2).transpose(1, 2)

    def forward(self, pixels: Tensor) -> Tensor:
        keep = self.kept(len(pixels))
        values = self.values(pixels)
        with torch.no_grad():
            chosen = self.codebooks.choose(0, values)
            vectors = self.codebooks.look_up(0, chosen)
            self.codebooks.ema_update(range(1), values, chosen, keep)
        square = ((values - vectors).square().sum(-1) * keep).sum(1)
        decoded = self.synthesise(straight_through(vectors, values) * keep.unsqueeze(-1))
        target = network_input(pixels, working_dtype(pixels.device)).float()
        return (decoded - target).square().mean((1, 2, 3)) + self.commitment * square / target[0].numel()

    def encode(self, pixels: Tensor) -> Tensor:
        return self.codebooks.look_up(0, self.codebooks.choose(0, self.values(pixels)))

    def to_map(self, codes: Tensor) -> Tensor:
        return torch.unflatten(codes.transpose(1, 2), 2, (PLACES, PLACES))


class Vae(Ablation):
    """A Gaussian of K independent numbers; the prior of each is the unit normal (Eq. 13). `encode` gives its mean."""

    def __init__(self, width: int = 128, count: int = 70, ordered: bool = True) -> None:
        super().__init__(width, width, width, ordered)
        self.count, self.width = count, width
        self.gaussian = nn.Linear(PLACES**2 * width, 2 * count)
        self.back = nn.Linear(count, PLACES**2 * width)

    def analyse(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Means and logarithms of variances (B, K)."""
        x = nn.functional.leaky_relu(self.features(pixels), 0.2)
        mean, spread = self.gaussian(x.flatten(1)).chunk(2, 1)
        return mean, spread.clamp(-10, 4)

    def forward(self, pixels: Tensor) -> Tensor:
        keep = self.kept(len(pixels))
        mean, spread = self.analyse(pixels)
        drawn = mean + (spread / 2).exp() * torch.randn_like(mean)
        divergence = (0.5 * (mean.square() + spread.exp() - 1 - spread) * keep).sum(1)
        target = network_input(pixels, working_dtype(pixels.device)).float()
        error = (self.synthesise((drawn * keep).unsqueeze(-1)) - target).square().sum((1, 2, 3))
        return (error / (2 * VARIANCE) + divergence) * (2 * VARIANCE / target[0].numel())

    def encode(self, pixels: Tensor) -> Tensor:
        return self.analyse(pixels)[0].unsqueeze(-1)

    def to_map(self, codes: Tensor) -> Tensor:
        return torch.unflatten(nn.functional.leaky_relu(self.back(codes[..., 0]), 0.2), 1, (self.width, PLACES, PLACES))


def load_ordered(run: str, folder: Path, overrides: tuple[str, ...] = ()) -> Ordered:
    """The network of a run file's checkpoint in a folder. Raises FileNotFoundError."""
    config = train.read_run(RUNS / f"{run}.toml", overrides)
    network = train.averaged_network(config, torch.load(folder / f"{config.name}.checkpoint", map_location="cpu", weights_only=True))
    if not isinstance(network, Ordered):
        raise ValueError(f"{run} is no ordered network")
    return network.requires_grad_(False)


def training_pictures(run: str) -> Pictures:
    """The pictures that a run file trains on."""
    return Pictures(DataConfig(**train.read_run(RUNS / f"{run}.toml", ()).data))


def train_ablation(network: Ablation, pictures: Pictures, steps: int, batch: int, rate: float, log: Log) -> None:
    """Fit a network to crops of pictures."""
    random = np.random.default_rng(0)
    network.begin(torch.from_numpy(pictures.crops(512, random)))

    def loss(step: int) -> Tensor:
        if isinstance(network, Spatial) and step % 50 == 1 and step <= steps // 2:
            network.codebooks.restart_dead_codes()
        value: Tensor = network(torch.from_numpy(pictures.crops(batch, random))).mean()
        return value

    fit(network, loss, steps, rate, log)
