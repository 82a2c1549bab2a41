"""The wavefront of `planes` in compiled loops, most of which are those of `photo`."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..integer import IntLinear, Tensors
from ..kernels import photo as kernels
from ..kernels import planes as sides_of
from ..kernels.products import Packed
from ..model import Symbols
from ..photo.compiled import CompiledNetwork, RingFront
from ..units import INPUTS
from .units import AHEAD, KNOWN, SIDES, UNKNOWN


class CompiledPlanes(CompiledNetwork):
    """The integer network of `planes` for the kernels: its one head is the last of its layers."""

    told = KNOWN

    def __init__(self, tensors: Tensors, layers: Mapping[str, IntLinear]) -> None:
        """Raises ValueError if products are not exact here."""
        super().__init__(tensors, layers)
        self.layers.append(Packed.of(layers["head"]))
        self.outs = [Packed.of(layers["out"])]

    def front(self, sides: Sequence[Symbols]) -> "PlanesFront":
        return PlanesFront(self, sides)


class PlanesFront(RingFront):
    """The walk is told of the side planes at every pixel and ahead of it."""

    def __init__(self, network: CompiledPlanes, sides: Sequence[Symbols]) -> None:
        super().__init__(network, [side.shape[:2] for side in sides])
        self.network = network
        self._sides = np.zeros((self.tiles, self.height, self.width, SIDES), np.int16)
        for i, side in enumerate(sides):
            self._sides[i, : side.shape[0], : side.shape[1]] = side.astype(np.int16) - UNKNOWN
        self._ahead = np.array(AHEAD, np.int64)

    def _look(self) -> None:
        super()._look()
        net, now = self.network, self._now
        known = (self._sizes, self._sides, self._ahead, net.signed, INPUTS + 6 * net.hidden)
        self._do(sides_of.tell, self.step, self.low, self.rows, *known, now.combined, now.inputs, now.values, now.away)
        net.outs[0].sums(self.represent(), now.outputs, self._do)

    def begin(self, channel: int) -> None:
        self._do(kernels.centre, self._now.combined, channel, self._now.green, self._now.centres)
