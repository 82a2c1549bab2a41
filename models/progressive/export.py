"""From a trained `progressive` network to the tensors of its weights file."""

import torch
from torch import Tensor

from ..frequencies import DistributionTables
from ..quantisation import LOGIT_BITS, integer_layer
from ..tensors import half_tensors, layer_tensors, settings_tensor
from .network import BASE, Progressive
from .rounds import compand_table


def progressive_tensors(network: Progressive) -> dict[str, Tensor]:
    """Integer layers and tables, and the transforms in 16-bit floats. Raises ValueError if a layer cannot be exact."""
    network.merge()  # averaged weights may still have something in common
    layers = {
        "first": integer_layer(network.first, network.first_grid.bits),
        "narrow": integer_layer(network.narrow, network.narrow_grid.bits),
        "second": integer_layer(network.second, network.second_grid.bits),
    }
    for channel, (head, out) in enumerate(zip(network.heads, network.outs, strict=True)):
        layers[f"heads.{channel}"] = integer_layer(head, network.head_grid.bits)
        layers[f"outs.{channel}"] = integer_layer(out, torch.tensor(LOGIT_BITS))
    tensors = layer_tensors(layers)
    tensors |= {"tables.compand": torch.from_numpy(compand_table()), "tables.sigmoid": DistributionTables.make().sigmoid}
    bases = (network.bases.detach().cpu() * BASE * 2.0**LOGIT_BITS).round().to(torch.int32)
    tensors |= {"bases": bases, "points": network.points.cpu(), "precision": network.precision.cpu()}
    tensors |= {f"transforms.{name}": tensor for name, tensor in half_tensors(network.transforms.state_dict()).items()}
    return tensors | {"config": settings_tensor(network.config)}
