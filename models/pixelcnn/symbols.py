"""Pixels <-> the symbols that a `pixelcnn` models: the coded order of the channels, patches as channels."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..model import Pixels
from ..units import TO_CODED
from .network import PixelCNNConfig

Number = TypeVar("Number", bound=np.generic)


def fold(pixels: Pixels, patch: int) -> Pixels:
    """(..., H, W, C) -> (..., H / patch, W / patch, patch * patch * C): the pixels of a patch, row by row, become channels."""
    *first, height, width, channels = pixels.shape
    parts = pixels.reshape(*first, height // patch, patch, width // patch, patch, channels).swapaxes(-4, -3)
    return parts.reshape(*first, height // patch, width // patch, patch * patch * channels)


def unfold(symbols: NDArray[Number], patch: int) -> NDArray[Number]:
    """The inverse of `fold`."""
    *first, height, width, channels = symbols.shape
    parts = symbols.reshape(*first, height, width, patch, patch, channels // patch**2).swapaxes(-4, -3)
    return parts.reshape(*first, height * patch, width * patch, channels // patch**2)


def symbol_size(height: int, width: int, config: PixelCNNConfig) -> tuple[int, int]:
    """Height and width in patches; the last ones may reach over the edge."""
    return -(-height // config.patch), -(-width // config.patch)


def from_pixels(pixels: Pixels, config: PixelCNNConfig) -> Pixels:
    """uint8 (H, W, 1 or 3) of the model's grey levels -> symbols (h, w, channels) in coded order; edges are repeated to whole patches."""
    symbols = pixels // np.uint8(config.step)
    height, width = symbol_size(pixels.shape[0], pixels.shape[1], config)
    beyond = [(0, height * config.patch - pixels.shape[0]), (0, width * config.patch - pixels.shape[1]), (0, 0)]
    symbols = np.pad(symbols, beyond, mode="edge")
    return symbols[..., TO_CODED] if config.context == "relative" else fold(symbols, config.patch)


def to_pixels(symbols: Pixels, config: PixelCNNConfig, height: int, width: int) -> Pixels:
    """The inverse of `from_pixels`: uint8 (height, width, 1 or 3)."""
    values = symbols[..., TO_CODED] if config.context == "relative" else unfold(symbols, config.patch)
    pixels = values[:height, :width].astype(np.uint8)
    return pixels * np.uint8(255 if config.levels == 2 else config.step)
