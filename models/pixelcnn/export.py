"""From a trained `pixelcnn` network to the integer tensors of its weights file."""

import numpy as np
import torch
from torch import Tensor

from .. import frequencies
from ..integer import IntLinear
from ..quantisation import LOGIT_BITS, input_integers, integer_layer
from ..tensors import context_tables, half_tensors, layer_tensors, mixture_tables, settings_tensor
from .network import GATE_BITS, GATE_LEVELS, PixelCNN


def pixelcnn_tensors(network: PixelCNN) -> dict[str, Tensor]:
    """The tensors of a weights file, from a network on its grids. Raises ValueError if a layer cannot be exact.

    Layers are named as in the network, but for the products that are added: `left.i` is followed by `link.i` in one
    matrix, `first` is `first_left` followed by `first_own`. The forecasters stay floating point, in 16 bits.
    """
    c, stream = network.config, network.stream_bits.cpu()
    gates = torch.cat([stream.expand(c.width), torch.full((c.width,), GATE_BITS)])
    layers = {
        "first_up": integer_layer(network.first_up, stream),
        "first": _joined(integer_layer(network.first_left, stream), integer_layer(network.first_own, stream)),
    }
    for i in range(c.blocks):
        layers[f"up.{i}"] = integer_layer(network.up[i], gates)
        layers[f"left.{i}"] = _joined(integer_layer(network.left[i], gates), integer_layer(network.link[i], gates))
    units = frequencies.output_bits(c.mixtures) if c.output == "mixture" else torch.tensor(LOGIT_BITS)
    for i in range(c.channels):
        layers[f"heads.{i}"] = integer_layer(network.heads[i], network.head_grids[i].bits)
        layers[f"outs.{i}"] = integer_layer(network.outs[i], units)
    arguments = torch.arange(-128, 128, dtype=torch.float64) / 2**GATE_BITS
    tensors = layer_tensors(layers) | {
        "config": settings_tensor(c),
        "stream_bits": stream,
        "up_bits": torch.stack([stream - grid.bits.cpu() for grid in network.up_grids]),
        "left_bits": torch.stack([stream - grid.bits.cpu() for grid in network.left_grids]),
        "tables.gate": (torch.sigmoid(arguments) * 2**GATE_LEVELS).round().int(),
    }
    if c.context == "relative":
        tensors |= context_tables()
    else:
        tensors["embedding"] = input_integers(network.embedding).cpu().to(torch.int8)
    if c.qualities:
        conditions = network.conditions(torch.linspace(0, 1, c.qualities, device=network.condition.device))
        tensors["conditions"] = input_integers(conditions).cpu().to(torch.int8)
    tensors |= mixture_tables() if c.output == "mixture" else {"tables.category": frequencies.category_table()}
    return tensors | half_tensors({k: v for k, v in network.state_dict().items() if k.startswith("forecasters.")})


def _joined(a: IntLinear, b: IntLinear) -> IntLinear:
    """One layer for two whose sums are added; they have the same exponents, so the same shifts."""
    half = np.where(a.shift > 0, 1 << (a.shift - 1).clip(0), 0).astype(np.int32)  # each bias rounds; once is enough
    return IntLinear(np.concatenate([a.weight, b.weight], 1), a.bias + b.bias - half, a.shift)
