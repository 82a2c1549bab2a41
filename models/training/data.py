"""Training pictures: any folder of images, cut into random augmented crops."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..pixelcnn.symbols import fold
from .planes import random_planes

Pixels = NDArray[np.uint8]
SUFFIXES = {".png", ".webp", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".ppm"}


@dataclass(frozen=True)
class DataConfig:
    """Where the pictures are and how they are varied."""

    folder: str
    pattern: str = "*"  # of file names in the folder and below
    mosaic: int = 0  # side of the square pictures that a file is a mosaic of; 0: a file is one picture
    torchvision: str = ""  # instead of files: the training part of this class of torchvision.datasets, in the folder
    hold_out: int = 24  # every n-th picture is kept for validation
    crop: int = 128
    augment: float = 0.5  # share of the crops that are rescaled, made brighter or darker, or noisy
    symmetries: str = "all"  # flips and transposition; `mirror`: only left and right; `none`
    channels: int = 3  # 1: gray
    levels: int = 256  # of a symbol; the pixels are divided by 256 / levels
    patch: int = 1  # see `pixelcnn.PixelCNNConfig`
    planes: bool = False  # instead of RGB: a plane of luma or chroma and what is known of the others, see `planes.py`
    binarise: str = ""  # with two levels, instead: `sample`: 1 with the probability pixel / 255, drawn anew each time


class Pictures:
    """The pictures of a folder in memory, split into training and validation."""

    def __init__(self, config: DataConfig) -> None:
        root = Path(config.folder).expanduser()
        pictures = _from_torchvision(config.torchvision, root) if config.torchvision else _from_files(config, root)
        pictures = [p for p in pictures if min(p.shape[:2]) >= config.crop]
        self.config = config
        self.validation = pictures[:: config.hold_out]
        self.training = [p for i, p in enumerate(pictures) if i % config.hold_out]
        if not self.training:
            raise ValueError(f"no picture in {root} is at least {config.crop} pixels high and wide")

    def crops(self, count: int, random: np.random.Generator) -> Pixels:
        """The symbols of random training crops, uint8 (count, crop, crop, channels)."""
        return self.symbols([partial(self._crop, random) for _ in range(count)], random)

    def validation_crops(self) -> Pixels:
        """The symbols of the top left crop of every held-out picture, uint8 (n, crop, crop, channels)."""
        return self.symbols([partial(_corner, p) for p in self.validation], np.random.default_rng(0))

    def batch(self, count: int, random: np.random.Generator) -> Tensor:
        """Random training crops for a network."""
        return torch.from_numpy(self.crops(count, random))

    def validation_parts(self, size: int) -> Sequence[Tensor]:
        """The validation crops in parts of this size."""
        parts: Sequence[Tensor] = torch.from_numpy(self.validation_crops()).split(size)
        return parts

    def symbols(self, pictures: Sequence[Callable[[int], Pixels]], random: np.random.Generator) -> Pixels:
        """What the network models of RGB pictures, which are given the wanted side."""
        side = self.config.crop
        if self.config.planes:
            return np.stack([random_planes(picture, side, random) for picture in pictures])
        pixels = np.stack([picture(side) for picture in pictures])[..., : self.config.channels]
        if self.config.binarise == "sample":
            pixels = (random.random(pixels.shape) * 255 < pixels).astype(np.uint8)
        elif self.config.levels < 256:
            pixels = pixels // np.uint8(256 // self.config.levels)
        return fold(pixels, self.config.patch)

    def _crop(self, random: np.random.Generator, side: int) -> Pixels:
        picture = self.training[random.integers(len(self.training))]
        varied = random.random() < self.config.augment
        scale = 1.0
        if varied and random.random() < 0.5:
            scale = random.uniform(max(0.5, side / min(picture.shape[:2])), 1.4)
        span = min(round(side / scale), *picture.shape[:2])
        y, x = random.integers(picture.shape[0] - span + 1), random.integers(picture.shape[1] - span + 1)
        crop = picture[y : y + span, x : x + span]
        if span != side:
            method = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR)[random.integers(3)]
            crop = np.asarray(Image.fromarray(crop).resize((side, side), method))
        if self.config.symmetries != "none" and random.random() < 0.5:
            crop = crop[:, ::-1]
        if self.config.symmetries == "all":
            if random.random() < 0.5:
                crop = crop[::-1]
            if random.random() < 0.5:
                crop = crop.swapaxes(0, 1)
        if varied and random.random() < 0.7:
            crop = brightness_and_noise(crop, random)
        return crop


def _corner(picture: Pixels, side: int) -> Pixels:
    return picture[:side, :side]


def _from_files(config: DataConfig, root: Path) -> list[Pixels]:
    files = sorted(p for p in root.rglob(config.pattern) if p.suffix.lower() in SUFFIXES)
    if not files:
        raise FileNotFoundError(f"no images named {config.pattern} in {root}")
    Image.MAX_IMAGE_PIXELS = None
    pictures: list[Pixels] = []
    for file in files:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
        pictures.extend(tiles(pixels, config.mosaic) if config.mosaic else [pixels])
    return pictures


def _from_torchvision(name: str, root: Path) -> list[Pixels]:
    try:
        datasets: Any = import_module("torchvision.datasets")
    except ImportError:
        raise ValueError(f"the data set {name} is read with torchvision: pip install presage[train]") from None
    dataset = getattr(datasets, name, None)
    if dataset is None:
        raise ValueError(f"torchvision has no data set called {name!r}")
    split: dict[str, Any] = {"split": "train"} if "split" in signature(dataset).parameters else {"train": True}
    try:
        return [np.asarray(image.convert("RGB")) for image, _ in dataset(str(root), **split)]
    except RuntimeError as error:
        raise FileNotFoundError(f"{root}: {error}") from None


def brightness_and_noise(crop: Pixels, random: np.random.Generator) -> Pixels:
    """Another gain for each channel, contrast, and sensor-like noise."""
    gain = random.uniform(0.6, 1.3) * random.uniform(0.9, 1.1, 3)
    values = crop * gain + random.uniform(-20, 20)
    if random.random() < 0.7:
        strength = 4 * random.random() ** 2
        common = random.standard_normal((*crop.shape[:2], 1))
        own = random.standard_normal(crop.shape)
        share = random.random()
        values = values + strength * (share * common + (1 - share) * own)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def tiles(mosaic: Pixels, side: int) -> list[Pixels]:
    """The square pictures of a mosaic, row by row."""
    rows, columns = mosaic.shape[0] // side, mosaic.shape[1] // side
    return [mosaic[side * r : side * (r + 1), side * c : side * (c + 1)] for r in range(rows) for c in range(columns)]
