"""From the integer tensors of a weights file back to a `pixelcnn` network in floating point: the inverse of `export.py`.

It has gradients, for an encoder that wants to know what a symbol costs, and it rounds nothing: its code lengths are near those of a file
and never decide what is in one.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .. import frequencies
from ..integer import IntLinear, Tensors, linear_layers
from ..quantisation import INPUT_BITS, LOGIT_BITS, Linear
from ..tensors import read_settings
from .network import GATE_BITS, PixelCNN, PixelCNNConfig

Bits = NDArray[np.int64]


def float_pixelcnn(tensors: Tensors) -> PixelCNN:
    """The network, without gradients of its own, of the arrays of a weights file with embedded contexts.

    Its table of conditions, which the file has for every quality and not for knots between qualities, is left at zero: see `conditions`.
    """
    c = PixelCNNConfig(**read_settings(tensors))
    with torch.random.fork_rng(devices=[]):  # a host's random numbers are its own
        network = PixelCNN(c).eval().requires_grad_(False)
    layers, stream = linear_layers(tensors), int(tensors["stream_bits"])
    up, left = (stream - np.asarray(tensors[name], np.int64) for name in ("up_bits", "left_bits"))
    gates = np.repeat([stream, GATE_BITS], c.width)
    units = frequencies.output_bits(c.mixtures).numpy() if c.output == "mixture" else np.full(c.outputs, LOGIT_BITS)
    seen = np.full(c.own + c.seen * max(len(taps) for taps in c.first_taps()), INPUT_BITS)
    _fill(layers["first_up"], np.full(c.width, stream), (network.first_up, seen))
    _fill(layers["first"], np.full(c.width, stream), (network.first_left, seen), (network.first_own, np.r_[seen[: c.own], _many(up[0], c)]))
    for i in range(c.blocks):
        _fill(layers[f"up.{i}"], gates, (network.up[i], _many(up[i], c, len(network.up[i].taps))))
        parts = (network.left[i], _many(left[i], c, len(network.left[i].taps))), (network.link[i], _many(up[i + 1], c))
        _fill(layers[f"left.{i}"], gates, *parts)
    for i in range(c.channels):
        _fill(layers[f"heads.{i}"], np.zeros(c.head, int), (network.heads[i], np.r_[_many(left[-1], c), np.full(c.hints * i, INPUT_BITS)]))
        _fill(layers[f"outs.{i}"], units, (network.outs[i], np.zeros(c.head, int)))
    network.embedding.copy_(torch.from_numpy(tensors["embedding"] / np.float32(2**INPUT_BITS)))
    if c.qualities:
        network.condition.zero_()
    return network


def conditions(tensors: Tensors) -> Tensor:
    """What the network is told of every quality, (qualities, numbers)."""
    return torch.from_numpy(tensors["conditions"] / np.float32(2**INPUT_BITS))


def _many(bits: np.int64, config: PixelCNNConfig, taps: int = 1) -> Bits:
    return np.full(taps * config.width, bits)


def _fill(layer: IntLinear, output_bits: Bits, *parts: tuple[Linear, Bits]) -> None:
    """Give layers whose sums are added what an integer layer has. Bits: integers of inputs and outputs count 2^-bits."""
    half = np.where(layer.shift > 0, 1 << (layer.shift - 1).clip(0), 0)  # which rounds
    unit = np.exp2(-layer.shift.astype(np.float64) - output_bits)
    at = 0
    for i, (linear, bits) in enumerate(parts):
        count = linear.weight.shape[1]
        weight = layer.weight[:, at : at + count] * np.exp2(bits[:count].astype(np.float64)) * unit[:, None]
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy((layer.bias - half) * unit if i == 0 else np.zeros(len(unit))))
        at += count
