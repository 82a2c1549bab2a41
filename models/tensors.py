"""What the weights files of all models are made of: settings, integer layers, tables, and floats that need not be exact."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from . import context, frequencies
from .integer import IntLinear, Tensors

SMALL_FROM = 4096  # numbers in a convolution from which it is stored as int8
Value = TypeVar("Value")


def settings_tensor(config: Any) -> Tensor:
    """Settings, a dataclass, as uint8 of their JSON."""
    return torch.frombuffer(bytearray(json.dumps(dataclasses.asdict(config)).encode()), dtype=torch.uint8)


def read_settings(tensors: Tensors) -> dict[str, Any]:
    """The inverse, of the arrays of a weights file."""
    settings: dict[str, Any] = json.loads(np.asarray(tensors["config"]).tobytes())
    return settings


def on_device(tensors: Tensors, device: torch.device) -> dict[str, Tensor]:
    """The arrays of a weights file as torch's tensors."""
    return {name: torch.as_tensor(array).to(device) for name, array in tensors.items()}


def layer_tensors(layers: Mapping[str, IntLinear]) -> dict[str, Tensor]:
    """Integer layers as NAME.weight, NAME.bias, NAME.shift and, with a skip connection, NAME.skip."""
    parts = {f"{name}.{part}": getattr(layer, part) for name, layer in layers.items() for part in ("weight", "bias", "shift", "skip")}
    return {name: torch.from_numpy(array) for name, array in parts.items() if array is not None}


def context_tables() -> dict[str, Tensor]:
    """The tables of `context.py`."""
    tables = context.Tables.make()
    return {"tables.signed": tables.signed, "tables.error": tables.error}


def mixture_tables() -> dict[str, Tensor]:
    """The tables of `frequencies.py` for mixtures of logistics."""
    tables = frequencies.DistributionTables.make()
    return {f"tables.{k}": getattr(tables, k) for k in ("inverse", "sigmoid", "share")}


def half_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Everything as 16-bit floats."""
    return {name: value.detach().cpu().half() for name, value in state.items()}


def small_tensors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions as int8 with a scale for every output, `X.scale`, where they are large; everything else as 16-bit floats.

    What is behind the entropy coder need not be exact, and files become half as large.
    """
    tensors = half_tensors(state)
    for name, value in state.items():
        if value.dim() == 4 and value.numel() >= SMALL_FROM:
            value = value.detach().cpu()
            scale = value.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-8) / 127
            tensors |= {name: (value / scale).round().to(torch.int8), f"{name}.scale": scale.flatten()}
    return tensors


def large_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse: everything as float32."""
    values = {name: value.float() for name, value in tensors.items() if not name.endswith(".scale")}
    return {
        name: value * tensors[f"{name}.scale"].view(-1, 1, 1, 1) if f"{name}.scale" in tensors else value for name, value in values.items()
    }


def part_of(tensors: Mapping[str, Value], prefix: str) -> dict[str, Value]:
    """The tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
