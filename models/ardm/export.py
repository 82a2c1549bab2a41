"""From a trained `ardm` network to the tensors of its weights file."""

import math

import numpy as np
import torch
from torch import Tensor

from .. import frequencies
from ..quantisation import integer_layer, residual_layers
from ..tensors import context_tables, layer_tensors, mixture_tables, settings_tensor
from . import schedule
from .network import Ardm
from .stages import COLOURS

MILLIBITS = 1000


def ardm_tensors(network: Ardm) -> dict[str, Tensor]:
    """Integer layers and tables, the order of values, and the calls of every budget. Raises ValueError if a layer cannot be exact.

    `components` are what a value costs in each stage, in 1/1000 bit, by the square root of the share of values that is known.
    """
    c = network.config
    layers = {"first": integer_layer(network.first, network.grids[0].bits)}
    layers |= residual_layers(network.blocks, network.grids[1:-1])
    layers["head"] = integer_layer(network.head, network.grids[-1].bits)
    layers["out"] = integer_layer(network.out, frequencies.output_bits(c.mixtures).repeat(c.values))
    tensors = layer_tensors(layers) | mixture_tables() | {"tables.signed": context_tables()["tables.signed"]}
    count = COLOURS * c.side**2
    order = np.random.default_rng(c.seed).permutation(count).astype(np.int32)
    tensors |= {"config": settings_tensor(c), "order": torch.from_numpy(order)}
    components = loss_components(network)
    tensors["components"] = torch.from_numpy((components * MILLIBITS).round().astype(np.int32))
    calls = [schedule.best_calls(schedule.interpolated(stage, count)) for stage in components]
    for budget in schedule.BUDGETS:
        tensors[f"calls.{budget}"] = torch.from_numpy(np.stack([stage[budget] for stage in calls]))
    return tensors


def loss_components(network: Ardm) -> schedule.Float64:
    """Bits a value, (stages, bins), that never rise; where nothing was taken down, what the nearest bin has."""
    found = []
    for spent, drawn in zip(network.spent.double().cpu().numpy(), network.drawn.double().cpu().numpy(), strict=True):
        there = np.flatnonzero(drawn)
        if not len(there):
            raise ValueError("no losses were taken down; train to the end first")
        bins = np.arange(len(drawn))
        means = np.interp(bins, there, spent[there] / drawn[there]) / math.log(2)
        found.append(schedule.falling(means, np.maximum(drawn, 1e-3)))
    return np.stack(found)
