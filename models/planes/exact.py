"""The `planes` network in exact integers: its walk along the wavefront of many tiles at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..integer import Tensors
from ..model import Code, Known, Span, Symbols, Way
from ..photo.exact import Layers, Wavefront

if TYPE_CHECKING:
    from .compiled import CompiledPlanes
    from .reference import ReferencePlanes


class ExactPlanes(Wavefront["CompiledPlanes | ReferencePlanes"]):
    """Symbols are the levels of the plane that is coded."""

    coding: Way = "planes"
    channels = depth = 1

    def _compiled(self, arrays: Tensors, layers: Layers) -> CompiledPlanes:
        from .compiled import CompiledPlanes

        return CompiledPlanes(arrays, layers)

    def _reference(self, arrays: Tensors, layers: Layers, arithmetic: str | None, device: str) -> ReferencePlanes:
        from .reference import ReferencePlanes

        return ReferencePlanes(arrays, layers, arithmetic, device)

    def answers(self, tiles: Sequence[Symbols]) -> Known:
        """The code that answers with the levels of tiles (h, w, 1) of the plane."""
        return Known(tiles)

    def walk(self, sides: Sequence[Symbols], code: Code) -> list[Symbols]:
        """Tiles (h, w, 1) of the plane, given those (h, w, 2) of the side planes. Symbols in the order (step, half, row)."""
        plane = self.network.front(sides).walk([Span.FULL], code)
        return [tile[: side.shape[0], : side.shape[1]] for tile, side in zip(plane, sides, strict=True)]
