"""The `photo` network in exact integers: its walk along the wavefront of many tiles at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from ..integer import IntLinear, Tensors, linear_layers
from ..kernels import jit
from ..model import Code, Known, Lossless, Size, Span, Symbols, Way
from ..units import CHANNELS, TO_CODED

if TYPE_CHECKING:
    from .compiled import CompiledPhoto
    from .reference import ReferencePhoto

Network = TypeVar("Network")
Layers = Mapping[str, IntLinear]


class Wavefront(Lossless, ABC, Generic[Network]):
    """A model that is evaluated along the wavefront only, by an integer network in compiled loops or in torch."""

    tile = 128
    batch = 48

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        layers = linear_layers(arrays)
        compiled = device == "cpu" and jit.wanted(arithmetic)
        self.network: Network = self._compiled(arrays, layers) if compiled else self._reference(arrays, layers, arithmetic, device)

    @abstractmethod
    def _compiled(self, arrays: Tensors, layers: Layers) -> Network: ...

    @abstractmethod
    def _reference(self, arrays: Tensors, layers: Layers, arithmetic: str | None, device: str) -> Network: ...

    def predictor(self, quality: int) -> None:
        """Nothing: the network is evaluated along the wavefront only."""


class ExactPhoto(Wavefront["CompiledPhoto | ReferencePhoto"]):
    """Symbols are G, R, B; of gray pictures only G is coded."""

    coding: Way = "tiles"

    def _compiled(self, arrays: Tensors, layers: Layers) -> CompiledPhoto:
        from .compiled import CompiledPhoto

        return CompiledPhoto(arrays, layers)

    def _reference(self, arrays: Tensors, layers: Layers, arithmetic: str | None, device: str) -> ReferencePhoto:
        from .reference import ReferencePhoto

        return ReferencePhoto(arrays, layers, arithmetic, device)

    def answers(self, tiles: Sequence[Symbols]) -> Known:
        return Known([tile[..., TO_CODED] for tile in tiles])

    def spans(self, tiles: Sequence[Symbols]) -> list[Span]:
        gray = all((tile == tile[..., :1]).all() for tile in tiles)
        return [Span.FULL, *([Span.SAME if gray else Span.FULL] * (CHANNELS - 1))]

    def walk(self, sizes: Sequence[Size], spans: Sequence[Span], quality: int, code: Code, known: Known | None = None) -> list[Symbols]:
        """Symbols in the order (step, channel, half, row): for each step G, then R, then B, of each the high nibbles of all rows first."""
        pixels = self.network.front(sizes).walk(spans, code)
        return [tile[:h, :w, TO_CODED] for tile, (h, w) in zip(pixels, sizes, strict=True)]
