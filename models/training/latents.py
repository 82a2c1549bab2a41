"""Training on latents of pictures, which are made once, by the encoder of a weights file."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from ..latent.network import QUALITIES, LatentConfig, Transforms
from ..tensors import read_settings
from .data import DataConfig, Pictures

TOGETHER = 16  # pictures that are analysed together


@dataclass(frozen=True)
class LatentData:
    """Pictures as in `DataConfig`, and the `latent` weights file that makes latents of them.

    kept: an .npz file where these stay for another run, or nothing.
    """

    weights: str
    pictures: dict[str, Any] = field(default_factory=dict)
    quality: int = QUALITIES - 1
    kept: str = ""


class LatentCrops:
    """Latents, int16 (n, h, w, channels), of the top left crops of training and of held-out pictures."""

    def __init__(self, config: LatentData) -> None:
        path = Path(config.kept)
        if config.kept and path.exists():
            with np.load(path) as kept:
                self.training, self.validation = kept["training"], kept["validation"]
            return
        pictures = Pictures(DataConfig(**config.pictures))
        side = pictures.config.crop
        self.training, self.validation = (_latents(config, part, side) for part in (pictures.training, pictures.validation))
        if config.kept:
            np.savez(path, training=self.training, validation=self.validation)

    def batch(self, count: int, random: np.random.Generator) -> Tensor:
        """Of random training crops."""
        return torch.from_numpy(self.training[random.integers(len(self.training), size=count)])

    def validation_parts(self, size: int) -> Sequence[Tensor]:
        """Of held-out crops, in parts of this size."""
        parts: Sequence[Tensor] = torch.from_numpy(self.validation).split(size)
        return parts


@torch.no_grad()
def _latents(config: LatentData, pictures: Sequence[NDArray[np.uint8]], side: int) -> NDArray[np.int16]:
    tensors = load_file(config.weights)
    settings = LatentConfig(**read_settings({"config": tensors["config"].numpy()}))
    transforms = Transforms(settings).eval()
    transforms.take(tensors)
    quality, found = torch.tensor([config.quality / (QUALITIES - 1)]), []
    for first in range(0, len(pictures), TOGETHER):
        crops = torch.from_numpy(np.stack([picture[:side, :side] for picture in pictures[first : first + TOGETHER]]))
        scaled = transforms.scaled(transforms.encode(crops, torch.float32), quality.expand(len(crops)))
        found.append(scaled.round().to(torch.int16).numpy())
    return np.concatenate(found)
