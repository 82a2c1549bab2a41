"""From a trained `flow` network to the integer tensors of its weights file."""

import torch
from torch import Tensor

from .. import context, frequencies
from ..integer import IntLinear
from ..quantisation import integer_layer, residual_layers
from ..tensors import layer_tensors, mixture_tables, settings_tensor
from ..units import SIGNED_LIMIT
from .network import KNEE, Conditional, Flow
from .plan import packed


def flow_tensors(network: Flow) -> dict[str, Tensor]:
    """The tensors of a weights file, from a network on its grids. Raises ValueError if a layer cannot be exact."""
    layers: dict[str, IntLinear] = {}
    for i, layer in enumerate(network.layers):
        layers |= {f"layers.{i}.{name}": exact for name, exact in _layers(layer, network.config.mixtures).items()}
    last = (network.last.detach() * (2.0 ** frequencies.output_bits(network.config.mixtures))).round().int()
    plan = torch.from_numpy(packed(network.steps))
    tables = {"tables.signed": context.compand(SIGNED_LIMIT, KNEE)}
    return layer_tensors(layers) | tables | mixture_tables() | {"config": settings_tensor(network.config), "last": last, "plan": plan}


def _layers(layer: Conditional, mixtures: int) -> dict[str, IntLinear]:
    found = {"first": integer_layer(layer.first, layer.first_grid.bits), "head": integer_layer(layer.head, layer.head_grid.bits)}
    found |= residual_layers(layer.blocks, layer.grids)
    bits = frequencies.output_bits(mixtures)
    units = bits.repeat(len(layer.step.changed)) if layer.step.codes else bits[:1].repeat(len(layer.step.changed))
    return found | {"out": integer_layer(layer.out, units)}
