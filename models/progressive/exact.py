"""The `progressive` networks as files need them: digits predicted in exact integers, the transforms of `latent` in float32.

Only what is said of digits reaches the entropy coder. What stands for latents that are cut, and which pixels a decoder makes of them,
comes after it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..autoencoder import grey_levels, receptive_field
from ..integer import Tensors
from ..latent.network import QUALITIES, LatentConfig, Transforms
from ..model import Code, Nibbles, Pixels, Places, Turn, Way, Window
from ..tensors import on_device, part_of, read_settings
from ..windows import around, padded
from . import reconstruction
from .digits import DigitNetwork
from .rounds import DIGITS, Latents, ProgressiveConfig, clamped, digits_of, places_of

Map = NDArray[np.float32]
Received = tuple[Map, float]
"""What stands for latents (B, h, w, channels), and the precision 0..1 that the decoder is told."""
PLACE = DIGITS + 1
"""A code of the walk is a digit + PLACE x (place x channels + channel)."""


class ExactProgressive:
    """Digit network, points and float32 transforms of a weights file, on one device. Its layers are the rounds of digits."""

    coding: Way = "digits"
    lossy, refines = True, False
    colour = True
    grey_levels = 256

    def __init__(self, arrays: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """Raises ValueError if a sum of the network could leave the exact range."""
        self.config = c = ProgressiveConfig(**read_settings(arrays))
        self.network = DigitNetwork(c, {k: np.asarray(v) for k, v in arrays.items()}, arithmetic, device)
        self.rounds = self.network.rounds
        self.device = torch.device(device)
        latent = LatentConfig(**c.transforms)
        self.transforms = Transforms(latent).eval()
        tensors = on_device(
            {name: part for name, part in arrays.items() if name.startswith(("transforms.", "points", "precision"))}, self.device
        )
        self.transforms.load_state_dict({k: v.float() for k, v in part_of(tensors, "transforms.").items()}, assign=True)
        self.transforms.requires_grad_(False)
        self.points, self.precision = tensors["points"].cpu(), np.asarray(arrays["precision"]).clip(0, 1)
        self.stride = latent.side
        self.sides: Sequence[int] = [self.stride] * len(self.rounds)
        self.margin = receptive_field(True, latent.fine_blocks, latent.blocks)

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the latents of a picture."""
        return -(-height // self.stride), -(-width // self.stride)

    def counts(self, height: int, width: int) -> list[int]:
        """Digits of every round of a map."""
        return [len(places_of(one.places, height, width)) * len(one.channels) for one in self.rounds]

    def predictor(self, quality: int) -> None:
        """Nothing: all digits of a round are predicted at once."""

    def analyse(self, pixels: Pixels, window: Window) -> Map:
        """The features in a window of pictures, uint8 (B, H, W, 3): float32 (B, h, w, channels)."""
        side = self.stride
        height, width = self.size(*pixels.shape[1:3])
        (a, b, c, d), (top, bottom, left, right) = around(window, self.margin, height, width)
        part = torch.from_numpy(padded(pixels, (a * side, b * side, c * side, d * side))).to(self.device)
        return np.asarray(self.transforms.encode(part, torch.float32)[:, top:bottom, left:right].cpu().numpy())

    def answers(self, features: Map) -> Code:
        """The code that says the digits of the latents of a map (1, h, w, channels)."""
        place = torch.full((len(features),), self.config.quality / (QUALITIES - 1), device=self.device)
        scaled = self.transforms.scaled(torch.from_numpy(features).to(self.device), place)
        values = clamped(scaled.round().cpu().numpy(), self.config.tops).ravel()

        def say(turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
            return digits_of(values, self.rounds[turn.channel], turn.at)

        return say

    def walk(self, pictures: int, height: int, width: int, layers: int, code: Code, workers: int = 1) -> list[Places]:
        """The codes of the first rounds, in coding order: digit + PLACE x (place x channels + channel). pictures: 1."""
        latents = Latents(self.config, height, width)
        counts = self.counts(height, width)
        total, done = sum(counts[:layers]), 0
        known: list[Places] = []
        for number, one in enumerate(self.rounds[:layers]):
            weights, at = self.network.weights(number, latents.middles(), latents.magnitudes)
            done += len(at)
            digits = np.asarray(code(Turn(number, 0, at, np.array([[0, len(at)]]), done / total), weights)).astype(np.int64)
            at = at[: len(digits)]
            latents.take(one, at, digits)
            known.append(digits + PLACE * at)
            if len(digits) < counts[number]:
                break
        return known

    def dequantise(self, known: Sequence[Places], height: int, width: int, pictures: int = 1) -> Received:
        """What stands for latents of which the first codes of the first rounds are known. pictures: 1."""
        latents = Latents(self.config, height, width)
        for one, codes in zip(self.rounds, known, strict=False):
            latents.take(one, codes // PLACE, codes % PLACE)
        magnitudes, negative, depth = (torch.from_numpy(part) for part in (latents.magnitudes, latents.negative, latents.depth))
        values = reconstruction.values(magnitudes, negative, depth, self.points).reshape(1, height, width, -1)
        whole = len(known) - 1 if known else 0
        part = len(known[-1]) / max(1, self.counts(height, width)[whole]) if known else 0.0  # a small map has no places in some rounds
        low, high = self.precision[whole], self.precision[min(whole + 1, len(self.rounds))]
        return values.numpy(), float(low + part * (high - low))

    def synthesise(self, received: Received, window: Window) -> Pixels:
        """The pixels of a window of latents; uint8 (B, side * rows, side * columns, 3)."""
        values, precision = received
        side = self.stride
        (a, b, c, d), (top, bottom, left, right) = around(window, self.margin, *values.shape[1:3])
        part = torch.from_numpy(values[:, a:b, c:d]).to(self.device)
        told = torch.full((len(part),), precision, device=self.device)
        decoded = reconstruction.decode(self.transforms, part, self.config.quality, told)
        return grey_levels(decoded)[:, top * side : bottom * side, left * side : right * side]
