"""The `ardm` network in exact integers by products of torch; `compiled.py` is the same in compiled loops."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import back_ends
from ..back_ends import Prepared
from ..frequencies import Distribution, DistributionTables
from ..integer import LARGEST, IntLinear, Tensors
from ..tensors import on_device
from ..units import GREY, SIGMOID_BITS, SPARE_BITS
from .stages import ArdmConfig, Int32, Int64

Int8 = NDArray[np.int8]
LEVELS = 256


class ReferenceNetwork:
    """Layers of a weights file, ready for one back end on a device."""

    def __init__(self, config: ArdmConfig, tensors: Tensors, layers: Mapping[str, IntLinear], arithmetic: str | None, device: str) -> None:
        """Raises ValueError if no product here is exact."""
        self.config, self._device = config, torch.device(device)
        self._back_end = back_ends.choose(arithmetic, [layer.shape for layer in layers.values()], self._device)
        self.arithmetic = self._back_end.name
        self._layers = {name: Prepared.of(layer, self._back_end, self._device) for name, layer in layers.items()}
        tables = on_device({name: tensors[f"tables.{name}"] for name in ("inverse", "sigmoid", "share")}, self._device)
        self._tables = DistributionTables(**tables)

    def outputs(self, inputs: Int8, at: Int64) -> Int32:
        """Of places by their numbers (n), given the inputs of all (tiles, rows, columns, inputs); int32 (n, outputs)."""
        x = torch.from_numpy(inputs).to(self._device)
        x = self._activations("first", around(x, 1)).view(*x.shape[:3], -1)
        for i, step in enumerate(self.config.steps):
            x = self._activations(f"blocks.{i}", around(x, step), x.flatten(0, 2)).view(*x.shape[:3], -1)
        places = torch.from_numpy(at).to(self._device)
        found: Int32 = self._layers["out"].sums(self._back_end, self._activations("head", x.flatten(0, 2)[places])).cpu().numpy()
        return found

    def weights(self, outputs: Int32, centres: Int32, low: Int32, step: int, entries: int) -> NDArray[np.float32]:
        """Weights (n, entries) of the values from `low` (n) on, `step` each, given parameters (n, 3 K) and centres (n)."""
        parameters, middle, first = (torch.from_numpy(np.ascontiguousarray(part)).to(self._device) for part in (outputs, centres, low))
        distribution = Distribution(parameters, middle, self._tables)
        edges = first + step * torch.arange(entries + 1, dtype=torch.int32, device=self._device).unsqueeze(1)
        below = distribution.cumulative(edges * GREY - GREY // 2)
        total = distribution.share.sum(0, dtype=torch.int32) << SIGMOID_BITS
        below = torch.where(edges <= 0, 0, torch.where(edges >= LEVELS, total, below)) >> SPARE_BITS
        found: NDArray[np.float32] = (below.diff(dim=0) + 1).t().float().contiguous().cpu().numpy()
        return found

    def _activations(self, name: str, x: Tensor, own: Tensor | None = None) -> Tensor:
        return self._layers[name].sums(self._back_end, x, own).clamp_(0, LARGEST).to(torch.int8)


def around(x: Tensor, step: int) -> Tensor:
    """What the 3 x 3 places around have, so many rows and columns away, row by row, of maps (tiles, h, w, n); 0 outside. (places, 9 n)."""
    height, width = x.shape[1:3]
    wide = torch.nn.functional.pad(x, (0, 0, step, step, step, step))
    near = (0, step, 2 * step)
    return torch.cat([wide[:, dy : dy + height, dx : dx + width] for dy in near for dx in near], -1).flatten(0, 2)
