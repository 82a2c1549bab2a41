"""The `latent` networks as files need them: the prior in exact integers, the transforms in float32.

What the prior says reaches the entropy coder and is exact. The encoder may be anything: its latents are in the file. The
decoder's pixels come after the entropy coder; large pictures go through it window by window, each with a margin that is as
wide as the network's reach, so that windows leave no seams.
"""

import json
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..autoencoder import receptive_field
from ..pixelcnn.exact import ExactPixelCNN
from ..windows import Window, around
from .network import QUALITIES, ZERO, Config, Transforms

Pixels = NDArray[np.uint8]
Symbols = NDArray[np.uint8]
Features = NDArray[np.float32]


class ExactLatent:
    """Integer prior and float32 transforms of a weights file, on one device."""

    def __init__(self, tensors: Mapping[str, Tensor], arithmetic: str | None = None, device: str = "cpu") -> None:
        """Raises ValueError if a sum of the prior could leave the exact range."""
        settings = json.loads(bytes(tensors["config"].numpy()))
        self.config = Config(**settings)
        self.prior = ExactPixelCNN(part_of(tensors, "prior."), arithmetic, device)
        self.device = self.prior.device
        self.transforms = Transforms(self.config).eval()
        weights = {k: v.float().to(self.device) for k, v in part_of(tensors, "transforms.").items()}
        self.transforms.load_state_dict(weights, assign=True)
        self.transforms.requires_grad_(False)
        self.margin = receptive_field(self.config.quantiser == "steps", self.config.fine_blocks, self.config.blocks)

    @property
    def qualities(self) -> int:
        """How many qualities there are: 1 if latents are categories."""
        return QUALITIES if self.config.quantiser == "steps" else 1

    def prior_at(self, quality: int) -> ExactPixelCNN:
        """The prior of the latents at a quality 0 ... qualities - 1."""
        return self.prior.at_quality(quality) if self.qualities > 1 else self.prior

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the latents of a picture."""
        side = self.config.side
        return -(-height // side), -(-width // side)

    def analyse(self, pixels: Pixels, window: Window) -> Features:
        """What is quantised in a window of pictures, uint8 (B, H, W, 3): float32 (B, h, w, channels), or categories as they are."""
        side = self.config.side
        height, width = self.size(*pixels.shape[1:3])
        (a, b, c, d), (top, bottom, left, right) = around(window, self.margin, height, width)
        part = pixels[:, a * side : b * side, c * side : d * side]
        beyond = [(0, 0), (0, (b - a) * side - part.shape[1]), (0, (d - c) * side - part.shape[2]), (0, 0)]
        padded = torch.from_numpy(np.pad(part, beyond, mode="edge")).to(self.device)
        features = self.transforms.encode(padded, torch.float32)
        found = features.argmax(-1).float() if self.config.quantiser == "categories" else features
        return np.asarray(found[:, top:bottom, left:right].cpu().numpy())

    def quantise(self, features: Features, quality: int) -> Symbols:
        """The latents of features (B, h, w, channels) at a quality; uint8."""
        if self.config.quantiser == "categories":
            return features.astype(np.uint8)
        scaled = self.transforms.scaled(torch.from_numpy(features).to(self.device), self._place(quality, len(features)))
        return np.asarray((scaled.round() + ZERO).to(torch.uint8).cpu().numpy())

    def _place(self, quality: int, count: int) -> Tensor:
        return torch.full((count,), quality / (QUALITIES - 1), device=self.device)

    def synthesise(self, symbols: Symbols, window: Window, quality: int) -> Pixels:
        """The pixels of a window of latents (B, h, w, channels); uint8 (B, side * rows, side * columns, 3)."""
        side = self.config.side
        (a, b, c, d), (top, bottom, left, right) = around(window, self.margin, *symbols.shape[1:3])
        part = torch.from_numpy(symbols[:, a:b, c:d].astype(np.int64)).to(self.device)
        if self.config.quantiser == "categories":
            decoded = self.transforms.decode_categories(F.one_hot(part, self.config.levels).float(), torch.float32)
        else:
            decoded = self.transforms.decode_steps((part - ZERO).float(), self._place(quality, len(part)), torch.float32)
        return grey_levels(decoded)[:, top * side : bottom * side, left * side : right * side]


def grey_levels(decoded: Tensor) -> Pixels:
    """What a decoder network gives, -1..1 (B, 3, H, W), as pixels, uint8 (B, H, W, 3)."""
    return np.asarray(((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())


def part_of(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
