"""From a trained float network to the integer tensors of a weights file."""

import torch
from torch import Tensor

from . import context, frequencies, photo
from .integer import IntLinear


def integer_layer(layer: photo.Linear, output_bits: Tensor) -> IntLinear:
    """A layer on its int8 grid; rounds to nearest through half a unit in the bias.

    `output_bits`: the integer outputs count 2^-bits; one number, or one for every output.
    """
    exponent = layer.exponent.cpu()
    shift = exponent - output_bits.cpu().int()
    half = torch.where(shift > 0, torch.exp2(shift.double() - 1), 0.0)
    bias = (layer.bias.detach().cpu().double() * torch.exp2(exponent.double())).round() + half
    return IntLinear(layer.integers().detach().cpu().to(torch.int8), bias.to(torch.int32), shift.to(torch.int32))


def photo_tensors(network: photo.Photo) -> dict[str, Tensor]:
    """The tensors of a `photo` weights file, from a network on its grids. Raises ValueError if a layer cannot be exact."""
    bits = {f"cell.{i}": grid.bits for i, grid in enumerate(network.cell_grids)}
    bits |= {"trunk" if i == 0 else f"blocks.{i - 1}": grid.bits for i, grid in enumerate(network.grids)}
    bits |= {f"heads.{c}": grid.bits for c, grid in enumerate(network.head_grids)}
    bits |= {f"outs.{c}": frequencies.output_bits(network.config.mixtures) for c in range(context.CHANNELS)}
    tensors: dict[str, Tensor] = {}
    for name in bits:
        module = network.get_submodule(name)
        assert isinstance(module, photo.Linear)
        layer = integer_layer(module, bits[name])
        tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias, f"{name}.shift": layer.shift}
        if name.startswith("blocks"):  # the skip connection, in units of the sums
            tensors[f"{name}.skip"] = (module.exponent.cpu() - module.input_bits[0].cpu()).to(torch.int32)
    causal, distribution = context.Tables.make(), frequencies.DistributionTables.make()
    tensors |= {"tables.signed": causal.signed, "tables.error": causal.error}
    tensors |= {f"tables.{k}": getattr(distribution, k) for k in ("inverse", "sigmoid", "share")}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
