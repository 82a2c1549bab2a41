"""From a trained `jpeg` network to the integer tensors of its weights file."""

import torch
from torch import Tensor

from ..frequencies import category_table
from ..integer import IntLinear
from ..quantisation import LOGIT_BITS, integer_layer, residual_layers
from ..tensors import layer_tensors
from .features import Tables
from .network import Jpeg, Part
from .units import GROUPS


def part_layers(part: Part) -> dict[str, IntLinear]:
    """The integer layers of a network on its grids. Raises ValueError if one cannot be exact."""
    layers = {"condition": integer_layer(part.condition, part.condition_grid.bits), "trunk": integer_layer(part.trunk, part.grids[0].bits)}
    layers |= residual_layers(part.blocks, part.grids[1:])
    logits = torch.tensor(LOGIT_BITS)
    layers["last_head"] = integer_layer(part.last_head, part.last_grid.bits)
    layers |= {"last_out": integer_layer(part.last_out, logits), "low_out": integer_layer(part.low_out, logits)}
    for g in range(len(GROUPS)):
        layers[f"heads.{g}"] = integer_layer(part.heads[g], part.head_grids[g].bits)
        layers[f"outs.{g}"] = integer_layer(part.outs[g], logits)
        layers[f"classes.{g}"] = integer_layer(part.classes[g], logits)
    return layers


def jpeg_tensors(network: Jpeg) -> dict[str, Tensor]:
    """The tensors of a weights file, from a network on its grids. Raises ValueError if a layer cannot be exact."""
    layers = {f"{kind}.{name}": layer for kind, part in network.parts.items() for name, layer in part_layers(part).items()}
    tables = Tables.make()
    arrays = {f"tables.{name}": torch.from_numpy(getattr(tables, name)) for name in ("signed", "mean", "edge", "initial")}
    return layer_tensors(layers) | arrays | {"tables.category": category_table()}
