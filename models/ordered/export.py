"""From a trained `ordered` network to the tensors of its weights file."""

import torch
from torch import Tensor

from .. import frequencies
from ..integer import joined
from ..quantisation import LOGIT_BITS, input_integers, integer_layer
from ..tensors import layer_tensors, settings_tensor, small_tensors
from .network import Ordered
from .prior import FARTHEST, SCORE_BITS, WEIGHT, Transformer


def ordered_tensors(network: Ordered) -> dict[str, Tensor]:
    """The prior's integer tensors, the codebooks and the transforms. Raises ValueError if a layer of the prior cannot be exact."""
    tensors = {f"prior.{name}": tensor for name, tensor in transformer_tensors(network.prior).items()}
    tensors |= {f"encoder.{name}": tensor for name, tensor in small_tensors(network.encoder.state_dict()).items()}
    tensors |= {f"decoder.{name}": tensor for name, tensor in small_tensors(network.decoder.state_dict()).items()}
    books = network.codebooks
    return tensors | {"codebooks": books.vectors.cpu().half(), "prices": books.prices.cpu(), "config": settings_tensor(network.settled)}


def transformer_tensors(network: Transformer) -> dict[str, Tensor]:
    """The integer tensors of a prior on its grids. Raises ValueError if a layer cannot be exact."""
    stream = network.stream_bits.cpu()
    layers = {f"ins.{i}": integer_layer(layer, stream) for i, layer in enumerate(network.ins)}
    layers |= {f"outs.{i}": integer_layer(layer, torch.tensor(LOGIT_BITS)) for i, layer in enumerate(network.outs)}
    block_bits = []
    for i, block in enumerate(network.blocks):
        qkv = zip((block.query, block.key, block.value), block.grids, strict=True)
        parts = [integer_layer(part, grid.bits) for part, grid in qkv]
        layers[f"blocks.{i}.qkv"] = joined(parts)
        layers[f"blocks.{i}.out"] = integer_layer(block.out, stream)
        layers[f"blocks.{i}.mix"] = integer_layer(block.mix, block.hidden_grid.bits)
        layers[f"blocks.{i}.back"] = integer_layer(block.back, stream)
        score = int(block.grids[0].bits + block.grids[1].bits) - SCORE_BITS
        block_bits.append([int(stream - block.first_grid.bits), int(stream - block.second_grid.bits), score])
    depth = torch.arange(FARTHEST + 1, dtype=torch.float64) / 2**SCORE_BITS
    return layer_tensors(layers) | {
        "config": settings_tensor(network.config),
        "embedding": input_integers(network.embedding).cpu().to(torch.int8),
        "block_bits": torch.tensor(block_bits).int(),
        "last_bits": stream - network.last_grid.bits.cpu(),
        "tables.attention": (torch.exp(-depth) * WEIGHT).round().int(),
        "tables.category": frequencies.category_table(),
    }
