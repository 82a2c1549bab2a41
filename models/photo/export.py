"""From a trained `photo` network to the integer tensors of its weights file."""

from torch import Tensor

from .. import frequencies
from ..integer import IntLinear
from ..quantisation import integer_layer, residual_layers
from ..tensors import context_tables, layer_tensors, mixture_tables
from .network import Local, Photo


def local_layers(network: Local) -> dict[str, IntLinear]:
    """The integer layers of a network on its grids, but for its heads. Raises ValueError if one cannot be exact."""
    layers = {"trunk": integer_layer(network.trunk, network.grids[0].bits)}
    layers |= {f"cell.{i}": integer_layer(x, grid.bits) for i, (x, grid) in enumerate(zip(network.cell, network.cell_grids, strict=True))}
    return layers | residual_layers(network.blocks, network.grids[1:])


def photo_tensors(network: Photo) -> dict[str, Tensor]:
    """The tensors of a weights file, from a network on its grids. Raises ValueError if a layer cannot be exact."""
    layers = local_layers(network)
    layers |= {f"heads.{c}": integer_layer(x, grid.bits) for c, (x, grid) in enumerate(zip(network.heads, network.head_grids, strict=True))}
    units = frequencies.output_bits(network.config.mixtures)
    layers |= {f"outs.{c}": integer_layer(out, units) for c, out in enumerate(network.outs)}
    return layer_tensors(layers) | context_tables() | mixture_tables()
