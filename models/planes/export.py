"""From a trained `planes` network to the integer tensors of its weights file."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from .. import frequencies
from ..quantisation import integer_layer
from ..tensors import context_tables, layer_tensors, mixture_tables
from ..units import INPUTS
from .network import Planes
from .units import KNOWN


def planes_tensors(network: Planes) -> dict[str, Tensor]:
    """The tensors of a weights file, from a network on its grids. Raises ValueError if a layer cannot be exact."""
    trunk = integer_layer(network.trunk, network.grids[0].bits)
    own, told, seen = np.split(trunk.weight, [INPUTS, INPUTS + KNOWN], axis=1)
    layers = {"trunk": replace(trunk, weight=np.ascontiguousarray(np.concatenate([own, seen, told], 1)))}  # what is told comes last
    layers |= {f"cell.{i}": integer_layer(x, grid.bits) for i, (x, grid) in enumerate(zip(network.cell, network.cell_grids, strict=True))}
    for i, (block, grid) in enumerate(zip(network.blocks, network.grids[1:], strict=True)):
        skip = (block.exponent - block.input_bits[0]).cpu().numpy()  # in units of the sums
        layers[f"blocks.{i}"] = replace(integer_layer(block, grid.bits), skip=skip)
    layers["head"] = integer_layer(network.head, network.head_grid.bits)
    layers["out"] = integer_layer(network.out, frequencies.output_bits(network.config.mixtures))
    return layer_tensors(layers) | context_tables() | mixture_tables()
