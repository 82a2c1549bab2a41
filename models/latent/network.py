"""The `latent` networks: a discrete-latent autoencoder and a PixelCNN prior over its latents, as they are trained.

Pixels -> encoder -> integers (the latents) -> decoder -> pixels. The latents are symbols of the prior, which is the
`pixelcnn` of `pixelcnn/network.py`, exact in its integer form; encoder and decoder stay floating point.

Two kinds of latents (`quantiser`):

- `categories`: the argmax of a softmax, one-hot for the decoder; backward, the gradient of the softmax (straight-through).
  The paper's (Wiggers and Hoogeboom 2020, section 4.2); trained first and frozen, the prior afterwards (`stage`).
- `steps`: the categories lie on a line, at the integers. The argmax of a softmax over distances is then the nearest
  integer, the gradient of the softmax's mean is the identity. A gain for every channel, which depends on the quality,
  says how fine the steps are: one network for all rates (Cui et al. 2021). Trained with the rate: D + beta * R (Eq. 11).

The gradient of the rate towards the encoder is the difference between the code lengths of the two nearest integers: the
slope of the expected code length if a value were rounded to either of them with the chances that keep its mean.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import autoencoder
from ..pixelcnn import network as pixelcnn
from ..pixelcnn.network import KNOTS, between_knots
from ..precision import working_dtype
from ..quantisation import straight_through
from ..tensors import part_of
from ..training.trainable import Trainable

QUALITIES = 256  # of `steps`; q / (QUALITIES - 1) is the position between the knots of gains and conditions
ZERO = 120  # the symbol of the integer 0; in the middle of the symbols that share its high nibble
STAGES = ("joint", "autoencoder", "prior")


@dataclass(frozen=True)
class LatentConfig:
    quantiser: str = "steps"  # or `categories`
    channels: int = 48  # of the latents
    levels: int = 256  # categories of a latent
    width: int = 256  # of the coarse layers
    fine_width: int = 128  # of the layers at a quarter of the side; `steps` only
    fine_blocks: int = 2
    blocks: int = 4
    low: float = 0.0005  # rate-distortion multiplier at quality 0: bits a pixel that a unit of mean squared error, in grey levels, is worth
    high: float = 0.06  # at the best quality
    usage: float = 0.0  # `categories`: what a nat that the categories tell is worth, so that none is dead
    beta: float = 1.0  # `categories`: of a bit an image dimension, beside 100 times the squared error, in the stage `joint`
    stage: str = "joint"  # what is trained
    prior: Mapping[str, Any] = field(default_factory=dict)  # settings of the prior, see `pixelcnn.PixelCNNConfig`

    def __post_init__(self) -> None:
        if self.quantiser not in ("steps", "categories") or self.stage not in STAGES:
            raise ValueError(f"quantiser is `steps` or `categories`, stage one of {', '.join(STAGES)}")

    @property
    def side(self) -> int:
        """Pixels along the side of a latent."""
        return 8 if self.quantiser == "steps" else 4

    def prior_config(self) -> pixelcnn.PixelCNNConfig:
        """The settings of the prior."""
        own: dict[str, Any] = {"channels": self.channels, "levels": self.levels, "context": "embedded", "latents": True}
        if self.quantiser == "steps":
            own |= {"output": "mixture", "qualities": QUALITIES, "zero": ZERO}
        return pixelcnn.PixelCNNConfig(**(own | dict(self.prior)))

    def weight_of(self, quality: Tensor) -> Tensor:
        """The rate-distortion multiplier at qualities 0..1: bits a pixel that a unit of squared error is worth."""
        return self.low * (self.high / self.low) ** quality


class Transforms(nn.Module):
    """Encoder and decoder, and the quantiser between them."""

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        c = self.config = config
        if c.quantiser == "categories":
            self.encoder: nn.Module = autoencoder.strided_encoder(c.width, c.channels * c.levels)
            self.decoder: nn.Module = autoencoder.strided_decoder(c.width, c.channels * c.levels)
            return
        sizes = (c.fine_width, c.width, c.fine_blocks, c.blocks)
        self.encoder = autoencoder.ResidualEncoder(*sizes, c.channels)
        self.decoder = autoencoder.ResidualDecoder(*sizes, c.channels)
        # steps that are worth their bits: step^2 / 12 = 3 / (2 ln 2 weight) in grey levels
        step = 5.1 / c.weight_of(torch.linspace(0, 1, KNOTS)).sqrt() / 127.5
        first = -step.log().unsqueeze(1).repeat(1, c.channels)
        self.gain = nn.Parameter(first)  # natural logarithms
        self.inverse_gain = nn.Parameter(-first)

    def take(self, tensors: Mapping[str, Tensor]) -> None:
        """The transforms of a weights file."""
        self.load_state_dict({name: value.float() for name, value in part_of(tensors, "transforms.").items()})

    def encode(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """What is quantised, of uint8 pixels (B, H, W, 3): (B, h, w, channels), or logits (B, h, w, channels, levels)."""
        features: Tensor = self.encoder(autoencoder.network_input(pixels, dtype)).permute(0, 2, 3, 1).float()
        return features.unflatten(-1, (self.config.channels, -1)) if self.config.quantiser == "categories" else features

    def scaled(self, features: Tensor, quality: Tensor) -> Tensor:
        """Features (B, h, w, channels) in units of the steps at qualities (B), within what symbols hold."""
        gain = between_knots(self.gain, quality).exp()[:, None, None]
        return (features * gain).clamp(-ZERO, self.config.levels - 1 - ZERO)

    def decode_steps(self, values: Tensor, quality: Tensor, dtype: torch.dtype) -> Tensor:
        """Integers (B, h, w, channels) at qualities (B) -> pixels in -1..1, float32 (B, 3, H, W)."""
        values = values * between_knots(self.inverse_gain, quality).exp()[:, None, None]
        plane = quality[:, None, None, None].expand(*values.shape[:3], 1)
        x: Tensor = self.decoder(torch.cat([values, plane], -1).permute(0, 3, 1, 2).to(dtype))
        return x.float()

    def decode_categories(self, chosen: Tensor, dtype: torch.dtype) -> Tensor:
        """One-hot categories (B, h, w, channels, levels) -> pixels in -1..1, float32 (B, 3, H, W)."""
        x: Tensor = self.decoder(chosen.flatten(3).permute(0, 3, 1, 2).to(dtype))
        return x.float()


class Latent(Trainable):
    """Float network; `forward` gives what training makes small."""

    unit, unit_name = 1.0, "loss"

    def __init__(self, config: LatentConfig) -> None:
        super().__init__()
        self.config = config
        self.transforms = Transforms(config)
        self.prior = pixelcnn.PixelCNN(config.prior_config())
        frozen = {"autoencoder": self.prior, "prior": self.transforms}.get(config.stage)
        if frozen is not None:
            frozen.requires_grad_(False)

    def start_from(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the transforms of a weights file; the prior, of which it has integers, begins anew."""
        self.transforms.take(tensors)

    def compile_loss(self) -> None:
        self.prior.compile_loss()

    def quantise(self, sample: Tensor) -> None:
        """From now on the prior is on its grids; they are chosen from uint8 sample pixels (B, H, W, 3)."""
        quality = torch.linspace(0, 1, len(sample), device=sample.device)
        with torch.no_grad():
            self.prior.quantise(self.symbols(sample, quality), quality)

    def symbols(self, pixels: Tensor, quality: Tensor) -> Tensor:
        """The latents of pixels, uint8 (B, h, w, channels)."""
        features = self.transforms.encode(pixels, working_dtype(pixels.device))
        if self.config.quantiser == "categories":
            return features.argmax(-1).to(torch.uint8)
        return (self.transforms.scaled(features, quality).round() + ZERO).to(torch.uint8)

    def _by_categories(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Nats (C, B, h, w) of the latents, the decoded pixels, and what the categories tell in nats a latent."""
        dtype, stage = working_dtype(pixels.device), self.config.stage
        with torch.set_grad_enabled(self.training and stage != "prior"):
            logits = self.transforms.encode(pixels, dtype)
            symbols = logits.argmax(-1)
            hard = F.one_hot(symbols, self.config.levels).to(logits.dtype)
            chances = logits.softmax(-1)
            decoded = self.transforms.decode_categories(straight_through(hard, chances), dtype)
            shares = chances.mean((0, 1, 2)).clamp(min=1e-8)
            entropy = (chances * logits.log_softmax(-1)).sum(-1).mean() - (shares * shares.log()).sum(-1).mean()
        if stage == "autoencoder":
            return torch.zeros((1, *symbols.shape[:3]), device=pixels.device), decoded, entropy
        outputs, centres = self.prior.distributions(symbols.to(torch.uint8))
        nats = self.prior.nats(outputs, symbols, centres)
        if stage == "joint":  # the code length that chances would have on average
            lengths = -outputs.detach().log_softmax(-1).permute(1, 2, 3, 0, 4)
            pull = (chances * lengths).sum(-1).permute(3, 0, 1, 2)
            nats = nats + (pull - pull.detach())
        return nats, decoded, entropy

    def _by_steps(self, pixels: Tensor, quality: Tensor) -> tuple[Tensor, Tensor, float]:
        """The same at qualities (B); steps tell nothing."""
        dtype = working_dtype(pixels.device)
        scaled = self.transforms.scaled(self.transforms.encode(pixels, dtype), quality)
        hard = scaled.detach().round()
        decoded = self.transforms.decode_steps(straight_through(hard, scaled), quality, dtype)
        symbols = hard + ZERO
        outputs, centres = self.prior.distributions(symbols.to(torch.uint8), quality)
        nats = self.prior.nats(outputs, symbols, centres)
        if not torch.is_grad_enabled():
            return nats, decoded, 0.0
        floor = (scaled.detach().floor()).clamp(max=self.config.levels - 2 - ZERO)
        with torch.no_grad():
            slope = self.prior.nats(outputs, floor + 1 + ZERO, centres) - self.prior.nats(outputs, floor + ZERO, centres)
        pull = scaled.permute(3, 0, 1, 2) * slope
        return nats + (pull - pull.detach()), decoded, 0.0

    @torch.no_grad()
    def restart_dead_codes(self, pixels: Tensor) -> None:
        """Make each category that pixels (B, H, W, 3) hardly choose a copy, nearly, of a busy one, as k-means splits clusters."""
        c, t = self.config, self.transforms
        if c.quantiser == "steps":
            return
        chosen = t.encode(pixels, working_dtype(pixels.device)).argmax(-1).flatten(0, 2)  # (n, channels)
        logits, inputs = list(t.encoder.children())[-1], next(t.decoder.children())
        assert isinstance(logits, autoencoder.Convolution)
        assert isinstance(inputs, autoencoder.Convolution)
        for i in range(c.channels):
            uses = torch.bincount(chosen[:, i], minlength=c.levels).float()
            dead = torch.nonzero(uses < 0.1 * uses.mean()).flatten()
            donors = torch.multinomial(uses, len(dead), replacement=True) if len(dead) else dead
            for table, dim in ((logits.weight, 0), (logits.bias, 0), (inputs.weight, 1)):
                rows = table.transpose(0, dim)
                copies = rows[i * c.levels + donors]
                rows[i * c.levels + dead] = copies + 0.1 * copies.std() * torch.randn_like(copies)

    def rate_and_error(self, pixels: Tensor, quality: Tensor) -> tuple[Tensor, Tensor, Tensor | float]:
        """Bits a pixel and mean squared error in grey levels of uint8 images (B, H, W, 3) at qualities (B); (B) each.

        And what `categories` tell of the features, in nats a latent: the entropy of all minus that of each.
        """
        categories = self.config.quantiser == "categories"
        nats, decoded, entropy = self._by_categories(pixels) if categories else self._by_steps(pixels, quality)
        bits = nats.sum((0, 2, 3)) / (pixels.shape[1] * pixels.shape[2] * math.log(2))
        return bits, autoencoder.squared_errors(decoded, pixels), entropy

    def forward(self, pixels: Tensor) -> Tensor:
        """The loss of uint8 images (B, H, W, 3), at random qualities; (B).

        `steps`: bits a pixel + weight * squared error, so scaled that all qualities count alike. `categories`: 100 times the mean
        squared error of pixels in -1..1 in the stage `autoencoder`, bits an image dimension in the stage `prior`.
        """
        images, c = len(pixels), self.config
        quality = (torch.arange(images, device=pixels.device) + torch.rand(images, device=pixels.device)) / images
        bits, error, entropy = self.rate_and_error(pixels, quality)
        if c.quantiser == "steps":
            weight = c.weight_of(quality)
            return (bits + weight * error) * (c.high / weight) ** 0.5
        error = error * (100 / 127.5**2) - c.usage * entropy
        return {"autoencoder": error, "prior": bits / 3, "joint": c.beta * bits / 3 + error}[c.stage]

    def describe(self, parts: Sequence[Tensor]) -> str:
        qualities = torch.linspace(0, 1, 5).tolist() if self.config.quantiser == "steps" else [0.0]
        points = []
        for quality in qualities:
            pairs = [self.rate_and_error(part, torch.full((len(part),), quality, device=part.device))[:2] for part in parts]
            bits, error = (torch.cat(values) for values in zip(*pairs, strict=True))
            points.append(f"{float(bits.mean()):.3f} bpp {autoencoder.mean_psnr(error):.2f} dB ({float(error.mean()) / 127.5**2:.5f})")
        return "; ".join(points)
