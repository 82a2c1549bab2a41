"""From a trained `planes` network to the integer tensors of its weights file."""

from dataclasses import replace

import numpy as np
from torch import Tensor

from .. import frequencies
from ..photo.export import local_layers
from ..quantisation import integer_layer
from ..tensors import context_tables, layer_tensors, mixture_tables
from ..units import INPUTS
from .network import Planes
from .units import KNOWN


def planes_tensors(network: Planes) -> dict[str, Tensor]:
    """The tensors of a weights file, from a network on its grids. Raises ValueError if a layer cannot be exact."""
    layers = local_layers(network)
    own, told, seen = np.split(layers["trunk"].weight, [INPUTS, INPUTS + KNOWN], axis=1)
    weight = np.ascontiguousarray(np.concatenate([own, seen, told], 1))  # what is told comes last
    layers["trunk"] = replace(layers["trunk"], weight=weight)
    layers["head"] = integer_layer(network.head, network.head_grid.bits)
    layers["out"] = integer_layer(network.out, frequencies.output_bits(network.config.mixtures))
    return layer_tensors(layers) | context_tables() | mixture_tables()
