"""The feature distance: the Fréchet distance between Gaussians of features of real and of generated pictures of 32 x 32 pixels.

The construction is that of the Fréchet Inception distance (Heusel et al. 2017), but it is *not* that distance and no number of it can be
set beside one: the features are the 128 pooled activations of a small convolutional network that was trained, without labels, to
tell by which of four right angles a picture was turned (Gidaris et al. 2018), on the training pictures that are at hand. The
distances are for comparing the models of one table. As any such distance it depends on the number of pictures: compare equal numbers.

`python -m presage.bench.papers.features PICTURES... OUT.safetensors` trains the network on mosaics of 32 x 32 pictures. The one in
`recorded/rotation-features.safetensors` was made so, from the 25,600 shared training pictures of CIFAR-10.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ...models.autoencoder import Convolution
from ...models.training.data import Pixels, tiles
from ..compare.common import Log
from .ablations import fit

Features = NDArray[np.float64]
RECORDED = Path(__file__).parents[1] / "recorded" / "rotation-features.safetensors"
SIDE = 32
STEPS = 1000
BATCH = 64  # pictures a step, each at all four angles
RATE = 2e-3
HELD_OUT = 20  # every so-manieth picture is for the accuracy
ABOUT = "Convolutions that tell four right angles apart; the pooled last layer gives features. Not Inception"


class Rotations(nn.Module):
    """Four convolutions and a classifier of right angles; 145,000 weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Convolution(3, 32, 4, 2), nn.ReLU(), Convolution(32, 64, 4, 2), nn.ReLU(), Convolution(64, 64), nn.ReLU(),
            Convolution(64, 128, 3, 2), nn.ReLU(),
        )  # fmt: skip
        self.angles = nn.Linear(128, 4)

    def features(self, pixels: Tensor) -> Tensor:
        """uint8 pixels (B, 32, 32, 3) -> float32 (B, 128)."""
        x = pixels.permute(0, 3, 1, 2).to(torch.bfloat16) / 127.5 - 1
        pooled: Tensor = self.layers(x).float().mean((2, 3))
        return pooled

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits (B, 4) of the angle by which pixels (B, 32, 32, 3) were turned."""
        logits: Tensor = self.angles(self.features(pixels))
        return logits


def read_pictures(files: Sequence[Path], side: int = SIDE) -> Pixels:
    """The pictures of mosaics, uint8 (n, side, side, 3). Raises ValueError if there are none."""
    pictures: list[Pixels] = []
    for file in files:
        with Image.open(file) as image:
            pictures.extend(tiles(np.asarray(image.convert("RGB")), side))
    if not pictures:
        raise ValueError(f"no pictures of {side} x {side} pixels")
    return np.stack(pictures)


def turned(pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Pixels (B, H, W, 3) at all four angles (4 B, H, W, 3), and which angle each has."""
    return torch.cat([torch.rot90(pixels, k, (1, 2)) for k in range(4)]), torch.arange(4).repeat_interleave(len(pixels))


def train(pictures: Pixels, steps: int = STEPS, log: Log = print) -> tuple[Rotations, float]:
    """The network, trained on uint8 pictures (n, 32, 32, 3), and its accuracy on those held out, 0..1."""
    torch.manual_seed(0)
    random = np.random.default_rng(0)
    network = Rotations()
    held_out, training = torch.from_numpy(pictures[::HELD_OUT]), np.delete(pictures, slice(None, None, HELD_OUT), axis=0)

    def loss(_: int) -> Tensor:
        batch = training[random.integers(len(training), size=BATCH)]
        if random.random() < 0.5:
            batch = batch[:, :, ::-1].copy()
        pixels, angles = turned(torch.from_numpy(batch))
        return F.cross_entropy(network(pixels), angles)

    fit(network, loss, steps, RATE, log, betas=(0.9, 0.999), clip=float("inf"))
    right = 0
    for part in held_out.split(256):
        pixels, angles = turned(part)
        right += int((network(pixels).argmax(1) == angles).sum())
    accuracy = right / (4 * len(held_out))
    log(f"accuracy on held-out pictures {accuracy:.1%}")
    return network, accuracy


def save(network: Rotations, accuracy: float, target: Path) -> None:
    """Weights as 16-bit floats."""
    tensors = {k: v.half().contiguous() for k, v in network.state_dict().items()}
    save_file(tensors, target, {"about": ABOUT, "accuracy": f"{accuracy:.4f}", "steps": str(STEPS)})


def load(path: Path = RECORDED) -> tuple[Rotations, float]:
    """The network of a file and its accuracy. Raises FileNotFoundError."""
    if not path.exists():
        raise FileNotFoundError(f"no features in {path}; make them with python -m presage.bench.papers.features PICTURES... {path}")
    network = Rotations()
    network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
    with safe_open(path, "pt") as file:
        accuracy = float(file.metadata()["accuracy"])
    return network.eval().requires_grad_(False), accuracy


def features(network: Rotations, pixels: Pixels) -> Features:
    """Of uint8 pixels (n, 32, 32, 3): (n, 128)."""
    parts = [network.features(part) for part in torch.from_numpy(np.ascontiguousarray(pixels)).split(256)]
    return torch.cat(parts).double().numpy()


def frechet(a: Features, b: Features) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^1/2) of features (n, d) and (m, d)."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    both = np.linalg.eigvalsh(root @ second @ root)
    cross = float(np.sqrt(np.maximum(both, 0)).sum())
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first) + np.trace(second) - 2 * cross)


class Yardstick:
    """The feature distance from reference pictures."""

    def __init__(self, network: Rotations, reference: Pixels) -> None:
        self.network, self.reference = network, features(network, reference)

    def distance(self, pixels: Pixels) -> float:
        """Of uint8 pixels (n, 32, 32, 3)."""
        return frechet(self.reference, features(self.network, pixels))


if __name__ == "__main__":
    torch.set_num_threads(1)
    save(*train(read_pictures([Path(name) for name in sys.argv[1:-1]])), Path(sys.argv[-1]))
