"""From a trained `planes` network to the integer tensors of its weights file."""

from dataclasses import replace

from torch import Tensor

from .. import frequencies
from ..quantisation import integer_layer
from ..tensors import context_tables, layer_tensors, mixture_tables
from .network import Planes


def planes_tensors(network: Planes) -> dict[str, Tensor]:
    """The tensors of a weights file, from a network on its grids. Raises ValueError if a layer cannot be exact."""
    layers = {"trunk": integer_layer(network.trunk, network.grids[0].bits)}
    layers |= {f"cell.{i}": integer_layer(x, grid.bits) for i, (x, grid) in enumerate(zip(network.cell, network.cell_grids, strict=True))}
    for i, (block, grid) in enumerate(zip(network.blocks, network.grids[1:], strict=True)):
        skip = (block.exponent - block.input_bits[0]).cpu()  # in units of the sums
        layers[f"blocks.{i}"] = replace(integer_layer(block, grid.bits), skip=skip)
    layers["head"] = integer_layer(network.head, network.head_grid.bits)
    layers["out"] = integer_layer(network.out, frequencies.output_bits(network.config.mixtures))
    return layer_tensors(layers) | context_tables() | mixture_tables()
