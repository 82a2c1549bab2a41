"""The `ordered` networks as files need them: the prior in exact integers, transforms and codebooks in float32.

Only what the prior says reaches the entropy coder. Which entry stands for what numbers, and which pixels a decoder makes of them,
comes after it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import autoencoder, windows
from ..autoencoder import grey_levels
from ..integer import Tensors
from ..kernels import codewords, jit
from ..model import Code, Nibbles, Pixels, Places, Turn, Way, Window
from ..tensors import large_tensors, on_device, part_of, read_settings
from .exact_prior import ExactTransformer, walk
from .network import PLACE_SIDE, OrderedConfig, Transforms, spread_out
from .rows import order

Map = NDArray[np.float32]
Received = tuple[Map, Map]
"""A dequantised map (B, h, w, channels), and the share of the layers that are there (B, h, w)."""


class ExactOrdered:
    """Integer prior, codebooks and float32 transforms of a weights file, on one device."""

    coding: Way = "layers"
    lossy = True
    refines = False
    colour = True
    grey_levels = 256
    stride = PLACE_SIDE

    def __init__(self, arrays: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """Raises ValueError if a sum of the prior could leave the exact range."""
        settings = read_settings(arrays)
        settings["layers"] = tuple((s, c) for s, c in settings["layers"])
        self.config = c = OrderedConfig(**settings)
        self.prior = ExactTransformer(part_of(arrays, "prior."), arithmetic, device)
        tensors = on_device(arrays, torch.device("cpu"))
        self.device = torch.device(device)
        if tuple(self.prior.config.sides) != tuple(c.sides()) or self.prior.config.entries != c.entries:
            raise ValueError("the prior is not one of these codes")
        self.transforms = Transforms(c).eval()
        for name in ("encoder", "decoder"):
            self.transforms.get_submodule(name).load_state_dict(large_tensors(part_of(tensors, f"{name}.")))
        self.transforms.codebooks.vectors.copy_(tensors["codebooks"].float())
        self.transforms.codebooks.prices.copy_(tensors["prices"])
        self.transforms.requires_grad_(False).to(self.device)
        self.margin = autoencoder.receptive_field(c.design == "residual", c.fine_blocks, c.blocks)
        self.sides: Sequence[int] = [side * PLACE_SIDE for side in c.sides()]
        self._orders: dict[tuple[int, int, int], Tensor] = {}

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the map of a picture, in places: whole coarse patches."""
        span = self.config.unit
        return -(-height // (PLACE_SIDE * span)) * span, -(-width // (PLACE_SIDE * span)) * span

    def counts(self, height: int, width: int) -> list[int]:
        """Codes of every layer in a map of height x width places."""
        return [(height // side) * (width // side) for side in self.config.sides()]

    def order(self, layer: int, height: int, width: int) -> Tensor:
        """Raster indices of a layer's patches in coding order."""
        key = (self.config.sides()[layer], height, width)
        if key not in self._orders:
            self._orders[key] = torch.from_numpy(order(key[0], self.config.unit, height, width)).to(self.device)
        return self._orders[key]

    def analyse(self, pixels: Pixels, window: Window) -> Map:
        """The map in a window of pictures, uint8 (B, H, W, 3), whose edges are repeated to whole patches: float32 (B, h, w, channels)."""
        height, width = self.size(*pixels.shape[1:3])
        (a, b, c, d), (top, bottom, left, right) = windows.around(window, self.margin, height, width)
        part = torch.from_numpy(windows.padded(pixels, (a * PLACE_SIDE, b * PLACE_SIDE, c * PLACE_SIDE, d * PLACE_SIDE))).to(self.device)
        return np.asarray(self.transforms.encode(part, torch.float32)[:, top:bottom, left:right].cpu().numpy())

    def predictor(self, quality: int) -> None:
        """Nothing: all codes of a layer are predicted at once."""

    def answers(self, features: Map) -> Code:
        return Chooser(self, features)

    def walk(self, pictures: int, height: int, width: int, layers: int, code: Code, workers: int = 1) -> list[Places]:
        return walk(self.prior, pictures, height, width, layers, code, workers)

    def synthesise(self, received: Received, window: Window) -> Pixels:
        """The pixels of a window of the map."""
        features, share = received
        (a, b, c, d), (top, bottom, left, right) = windows.around(window, self.margin, *features.shape[1:3])
        parts = [torch.from_numpy(np.ascontiguousarray(x[:, a:b, c:d])).to(self.device) for x in (features, share)]
        decoded = self.transforms.decode(parts[0], parts[1], torch.float32)
        return grey_levels(decoded)[:, top * PLACE_SIDE : bottom * PLACE_SIDE, left * PLACE_SIDE : right * PLACE_SIDE]

    def dequantise(self, known: Sequence[Places], height: int, width: int, pictures: int = 1) -> Received:
        """Map (B, height, width, channels) and share of layers (B, height, width) of the first codes of the first layers.

        known: int64 (B * n) of each layer in coding order, perhaps fewer of the last one than there are patches.
        """
        features = torch.zeros((pictures, height, width, self.config.channels), device=self.device)
        share = torch.zeros(features.shape[:3], device=self.device)
        for layer, entries in enumerate(torch.as_tensor(of_layer).to(self.device) for of_layer in known):
            view, at = self.transforms.views[layer], self.order(layer, height, width)
            values = torch.zeros((pictures * len(at), self.config.size), device=self.device)
            values[: len(entries)] = self.transforms.codebooks.look_up(layer, entries)
            there = (torch.arange(len(values), device=self.device) < len(entries)).float()
            raster = torch.empty_like(at)
            raster[at] = torch.arange(len(at), device=self.device)
            features += view.synthesise(values.view(pictures, len(at), -1)[:, raster], height, width)
            share += spread_out(there.view(pictures, -1)[:, raster], view.side, height, width)
        return features.cpu().numpy(), (share / self.config.count).cpu().numpy()


class Chooser:
    """The code that chooses the codes of a map (1, h, w, channels) layer after layer, by error and by their true code lengths."""

    def __init__(self, network: ExactOrdered, features: Map) -> None:
        self.network = network
        self.rest = torch.from_numpy(features).to(network.device)
        self._values = torch.empty(0)
        self._chosen: list[Tensor] = []

    def __call__(self, turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
        height, width = self.rest.shape[1:3]
        layer, transforms = turn.channel, self.network.transforms
        view, order = transforms.views[layer], self.network.order(layer, height, width)
        if not self._chosen:
            self._values = view.analyse(self.rest)[0, order]
        chosen = self._choose(layer, self._values[torch.from_numpy(turn.at).to(self.rest.device)], weights)
        self._chosen.append(chosen)
        if int(turn.at[-1]) == len(order) - 1:
            vectors = torch.empty((len(order), self.network.config.size), device=self.rest.device)
            vectors[order] = transforms.codebooks.look_up(layer, torch.cat(self._chosen))
            self.rest = self.rest - view.synthesise(vectors.unsqueeze(0), height, width)
            self._chosen = []
        numbers: Nibbles = chosen.cpu().numpy()
        return numbers

    def _choose(self, layer: int, values: Tensor, weights: NDArray[np.float32]) -> Tensor:
        """The codes (n) of values (n, D)."""
        books = self.network.transforms.codebooks
        if self.rest.device.type != "cpu" or not jit.available():
            table = torch.from_numpy(weights).to(self.rest.device)
            return books.choose(layer, values, table.sum(1, keepdim=True).log2() - table.log2())
        vectors = books.vectors[books.book(layer)]
        squares, chosen = vectors.square().sum(1).numpy(), np.empty(len(values), np.int64)
        across, price = np.ascontiguousarray(vectors.t().numpy()), float(books.prices[layer])
        tables = (across, squares, price, codewords.LOGARITHMS)
        codewords.choose(values.numpy(), *tables, weights, np.empty(len(vectors), np.float32), chosen)
        return torch.from_numpy(chosen)
