"""From a trained float network to the integer tensors of a weights file."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .. import context, frequencies
from ..integer import IntLinear
from ..latent import network as latent
from ..ordered import network as ordered
from ..ordered import prior as transformer
from ..photo import network as photo
from ..pixelcnn import network as pixelcnn
from ..quantisation import Linear, input_integers

SMALL_FROM = 4096  # numbers in a convolution from which it is stored as int8


def integer_layer(layer: Linear, output_bits: Tensor) -> IntLinear:
    """A layer on its int8 grid; rounds to nearest through half a unit in the bias.

    `output_bits`: the integer outputs count 2^-bits; one number, or one for every output.
    """
    exponent = layer.exponent.cpu()
    shift = exponent - output_bits.cpu().int()
    half = torch.where(shift > 0, torch.exp2(shift.double() - 1), 0.0)
    bias = (layer.bias.detach().cpu().double() * torch.exp2(exponent.double())).round() + half
    if int(shift.min()) < 0:
        raise ValueError("a layer's weights are too large for the precision of its outputs")
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
        assert isinstance(module, Linear)
        layer = integer_layer(module, bits[name])
        tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias, f"{name}.shift": layer.shift}
        if name.startswith("blocks"):  # the skip connection, in units of the sums
            tensors[f"{name}.skip"] = (module.exponent.cpu() - module.input_bits[0].cpu()).to(torch.int32)
    return {name: tensor.contiguous() for name, tensor in (tensors | _context_tables() | _mixture_tables()).items()}


def _context_tables() -> dict[str, Tensor]:
    tables = context.Tables.make()
    return {"tables.signed": tables.signed, "tables.error": tables.error}


def _mixture_tables() -> dict[str, Tensor]:
    tables = frequencies.DistributionTables.make()
    return {f"tables.{k}": getattr(tables, k) for k in ("inverse", "sigmoid", "share")}


def _joined(a: IntLinear, b: IntLinear) -> IntLinear:
    """One layer for two whose sums are added; they have the same exponents, so the same shifts."""
    half = torch.where(a.shift > 0, 1 << (a.shift.long() - 1).clamp(min=0), 0).int()  # each bias rounds; once is enough
    return IntLinear(torch.cat([a.weight, b.weight], 1), a.bias + b.bias - half, a.shift)


def _inputs(values: Tensor) -> Tensor:
    """Inputs of the network on their int8 grid."""
    return input_integers(values.detach().cpu()).to(torch.int8)


def pixelcnn_tensors(network: pixelcnn.PixelCNN) -> dict[str, Tensor]:
    """The tensors of a `pixelcnn` weights file, from a network on its grids. Raises ValueError if a layer cannot be exact.

    Layers are named as in the network, but for the products that are added: `left.i` is followed by `link.i` in one
    matrix, `first` is `first_left` followed by `first_own`. The forecasters stay floating point, in 16 bits.
    """
    c = network.config
    stream = network.stream_bits
    gates = torch.cat([stream.expand(c.width), torch.full((c.width,), pixelcnn.GATE_BITS)])
    layers = {"first_up": integer_layer(network.first_up, stream.expand(c.width))}
    own = integer_layer(network.first_own, stream.expand(c.width))
    layers["first"] = _joined(integer_layer(network.first_left, stream.expand(c.width)), own)
    for i in range(c.blocks):
        layers[f"up.{i}"] = integer_layer(network.up[i], gates)
        layers[f"left.{i}"] = _joined(integer_layer(network.left[i], gates), integer_layer(network.link[i], gates))
    units = frequencies.output_bits(c.mixtures) if c.output == "mixture" else torch.full((c.levels,), pixelcnn.LOGIT_BITS)
    for i in range(c.channels):
        layers[f"heads.{i}"] = integer_layer(network.heads[i], network.head_grids[i].bits)
        layers[f"outs.{i}"] = integer_layer(network.outs[i], units)
    tensors = {"config": _settings(c)}
    for name, layer in layers.items():
        tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias, f"{name}.shift": layer.shift}
    for name, grids in (("up", network.up_grids), ("left", network.left_grids)):
        tensors[f"{name}_bits"] = torch.stack([stream.cpu() - grid.bits.cpu() for grid in grids]).int()
    tensors["stream_bits"] = stream.cpu().clone()
    place = torch.arange(-128, 128, dtype=torch.float64) / 2**pixelcnn.GATE_BITS
    tensors["tables.gate"] = (torch.sigmoid(place) * 2**pixelcnn.GATE_LEVELS).round().int()
    if c.context == "relative":
        tensors |= _context_tables()
    else:
        tensors["embedding"] = _inputs(network.embedding)
    if c.qualities:
        tensors["conditions"] = _inputs(network.conditions(torch.linspace(0, 1, c.qualities, device=network.condition.device)))
    tensors |= _mixture_tables() if c.output == "mixture" else {"tables.category": frequencies.category_table()}
    tensors |= {k: v.detach().cpu().half() for k, v in network.state_dict().items() if k.startswith("forecasters.")}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def latent_tensors(network: latent.Latent) -> dict[str, Tensor]:
    """The tensors of a `latent` weights file: the prior's, and the transforms in 16-bit floating point.

    Raises ValueError if a layer of the prior cannot be exact.
    """
    tensors = {f"prior.{name}": tensor for name, tensor in pixelcnn_tensors(network.prior).items()}
    tensors |= {f"transforms.{k}": v.detach().cpu().half().contiguous() for k, v in network.transforms.state_dict().items()}
    return tensors | {"config": _settings(network.config)}


def transformer_tensors(network: transformer.Transformer) -> dict[str, Tensor]:
    """The integer tensors of a Transformer prior on its grids. Raises ValueError if a layer cannot be exact."""
    c = network.config
    stream = network.stream_bits.cpu()
    layers = {f"ins.{i}": integer_layer(layer, stream.expand(c.width)) for i, layer in enumerate(network.ins)}
    layers |= {f"outs.{i}": integer_layer(layer, torch.full((c.entries,), transformer.LOGIT_BITS)) for i, layer in enumerate(network.outs)}
    block_bits = []
    for i, block in enumerate(network.blocks):
        parts = [
            integer_layer(part, grid.bits.expand(len(part.bias)))
            for part, grid in zip((block.query, block.key, block.value), block.grids, strict=True)
        ]
        layers[f"blocks.{i}.qkv"] = IntLinear(*(torch.cat([getattr(p, k) for p in parts]) for k in ("weight", "bias", "shift")))
        layers[f"blocks.{i}.out"] = integer_layer(block.out, stream.expand(c.width))
        layers[f"blocks.{i}.mix"] = integer_layer(block.mix, block.hidden_grid.bits.expand(c.hidden))
        layers[f"blocks.{i}.back"] = integer_layer(block.back, stream.expand(c.width))
        score = int(block.grids[0].bits + block.grids[1].bits) - transformer.SCORE_BITS
        block_bits.append([int(stream - block.first_grid.bits), int(stream - block.second_grid.bits), score])
    tensors = {"config": _settings(c), "embedding": _inputs(network.embedding), "tables.category": frequencies.category_table()}
    depth = torch.arange(transformer.FARTHEST + 1, dtype=torch.float64) / 2**transformer.SCORE_BITS
    tensors["tables.attention"] = (torch.exp(-depth) * transformer.WEIGHT).round().int()
    tensors |= {"block_bits": torch.tensor(block_bits).int(), "last_bits": (stream - network.last_grid.bits.cpu()).int()}
    for name, layer in layers.items():
        tensors |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias, f"{name}.shift": layer.shift}
    return tensors


def _settings(config: Any) -> Tensor:
    """Settings as a tensor of JSON."""
    return torch.frombuffer(bytearray(json.dumps(dataclasses.asdict(config)).encode()), dtype=torch.uint8)


def small_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions as int8 with a scale for every output, `X.scale`, where they are large; everything else as 16-bit floats.

    What is behind the entropy coder need not be exact, and files become half as large.
    """
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        value = value.detach().cpu()
        if value.dim() == 4 and value.numel() >= SMALL_FROM:
            scale = value.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-8) / 127
            tensors[name] = (value / scale).round().to(torch.int8)
            tensors[f"{name}.scale"] = scale.flatten()
        else:
            tensors[name] = value.half()
    return tensors


def ordered_tensors(network: ordered.Ordered) -> dict[str, Tensor]:
    """The tensors of an `ordered` weights file: the prior's, the codebooks, and the transforms.

    Raises ValueError if a layer of the prior cannot be exact.
    """
    tensors = {f"prior.{name}": tensor for name, tensor in transformer_tensors(network.prior).items()}
    tensors |= {f"encoder.{k}": v for k, v in small_tensors(network.encoder.state_dict()).items()}
    tensors |= {f"decoder.{k}": v for k, v in small_tensors(network.decoder.state_dict()).items()}
    books = network.codebooks
    tensors |= {"codebooks": books.vectors.cpu().half(), "prices": books.prices.cpu().clone(), "config": _settings(network.settled)}
    return {name: tensor.contiguous() for name, tensor in tensors.items()}
