"""Quantisation-aware training: layers and activations that can be held on the grids of exact integers (`integer.py`).

Activations lie on -127..127 times a power of two, weights on int8 times a power of two for every output. Gradients pass the
rounding as if it were not there: the straight-through estimator (Bengio et al. 2013).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .integer import IntLinear

M = TypeVar("M", bound=nn.Module)
INPUT_BITS = 5  # the networks' inputs -127..127 count 1/32
STREAM_BITS = 3  # residual streams are so much finer than the finest activation
LOGIT_BITS = 6  # logits of categories count 1/64


def straight_through(exact: Tensor, smooth: Tensor) -> Tensor:
    """The value of `exact` with the gradient of `smooth`."""
    return smooth + (exact - smooth).detach()


def round_to(x: Tensor, unit: Tensor | float) -> Tensor:
    """The nearest multiple of 1 / unit, halves upwards, with the gradient of x."""
    return straight_through((x * unit + 0.5).floor() / unit, x)


def input_integers(values: Tensor) -> Tensor:
    """Inputs of a network as -127..127, in floats."""
    return (values * 2.0**INPUT_BITS).round().clamp(-127, 127)


def round_inputs(values: Tensor) -> Tensor:
    """Inputs of a network on their int8 grid, with the gradient of `values`."""
    return straight_through(input_integers(values) / 2.0**INPUT_BITS, values)


class Linear(nn.Module):
    """A dense layer whose weights can be held on an int8 grid.

    `input_bits` says of every input that its integers count 2^-bits; `exponent` of every output that the integer sum
    counts 2^-exponent. An integer weight is then weight * 2^(exponent - input_bits), within -127..127.
    """

    exponent: Tensor
    input_bits: Tensor

    def __init__(self, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) * gain * math.sqrt(2 / inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("exponent", torch.zeros(outputs, dtype=torch.int32))
        self.register_buffer("input_bits", torch.zeros(inputs, dtype=torch.int32))

    def calibrate(self, *parts: tuple[int, int]) -> None:
        """Take the finest weight grids, given (number of inputs, bits) of the parts of the input."""
        self.input_bits.copy_(torch.cat([torch.full((n,), bits) for n, bits in parts]))
        largest = (self.weight.detach() * torch.exp2(-self.input_bits.float())).abs().amax(1).clamp(min=2.0**-14)
        self.exponent.copy_(torch.floor(torch.log2(127.49 / largest)).clamp(8, 20))

    def units(self) -> Tensor:
        """Integer weights in a weight of 1, float32 (outputs, inputs)."""
        return torch.exp2(self.exponent.float().unsqueeze(1) - self.input_bits.float())

    def integers(self) -> Tensor:
        """The integer weights, as floats."""
        return (self.weight * self.units()).round().clamp(-127, 127)

    def weights(self, quantised: bool) -> Tensor:
        """The weights (outputs, inputs), on their grid when quantised."""
        return straight_through(self.integers() / self.units(), self.weight) if quantised else self.weight

    def forward(self, *parts: Tensor, quantised: bool) -> Tensor:
        """W [parts] + b; the parts are kept apart so that no gradient is computed for those that need none."""
        weight = self.weights(quantised).to(parts[0].dtype)
        pieces = weight.split([part.shape[-1] for part in parts], dim=1)
        result = F.linear(parts[0], pieces[0], self.bias.to(weight.dtype))
        for part, piece in zip(parts[1:], pieces[1:], strict=True):
            result = result + F.linear(part, piece)
        return result


def integer_layer(layer: Linear, output_bits: Tensor) -> IntLinear:
    """A layer on its int8 grid; rounds to nearest through half a unit in the bias. Raises ValueError if it cannot be exact.

    `output_bits`: the integer outputs count 2^-bits; one number, or one for every output.
    """
    exponent = layer.exponent.cpu()
    shift = exponent - output_bits.cpu().int()
    half = torch.where(shift > 0, torch.exp2(shift.double() - 1), 0.0)
    bias = (layer.bias.detach().cpu().double() * torch.exp2(exponent.double())).round() + half
    if int(shift.min()) < 0:
        raise ValueError("a layer's weights are too large for the precision of its outputs")
    return IntLinear(layer.integers().detach().cpu().to(torch.int8).numpy(), bias.to(torch.int32).numpy(), shift.numpy())


def residual_layers(blocks: Sequence[Linear], grids: Sequence["FakeQuantiser"]) -> dict[str, IntLinear]:
    """Layers beside a skip connection, of which each is followed by a grid, by their names in weights files. Raises ValueError."""
    found = {}
    for i, (block, grid) in enumerate(zip(blocks, grids, strict=True)):
        skip = (block.exponent - block.input_bits[0]).cpu().numpy()  # in units of the sums
        found[f"blocks.{i}"] = replace(integer_layer(block, grid.bits), skip=skip)
    return found


class FakeQuantiser(nn.Module):
    """A ReLU whose outputs can be held on the grid 0..127 times 2^-bits; signed: no ReLU, -127..127."""

    bits: Tensor
    largest: Tensor

    def __init__(self, signed: bool = False) -> None:
        super().__init__()
        self.signed = signed
        self.register_buffer("bits", torch.tensor(0, dtype=torch.int32))
        self.register_buffer("largest", torch.tensor(0.0))  # of what was observed, but for one in a thousand
        self.observing = False

    def calibrate(self) -> None:
        """Take the finest grid that covers what was observed."""
        self.bits.copy_(torch.floor(torch.log2(127.5 / self.largest.clamp(min=2.0**-6))))

    def forward(self, x: Tensor, quantised: bool) -> Tensor:
        x = x if self.signed else F.relu(x)
        if self.observing:
            self.largest.copy_(torch.maximum(self.largest, x.float().abs().flatten()[::7].kthvalue(int(0.999 * x.numel()) // 7).values))
        if not quantised:
            return x
        unit = torch.exp2(self.bits.float())
        largest = float(127 / unit)
        return round_to(x.clamp(-largest if self.signed else 0.0, largest), unit)


def calibrate(network: nn.Module, *sample: Any) -> None:
    """Choose the grids of all activations from what the network does with a sample of its inputs."""
    quantisers = [module for module in network.modules() if isinstance(module, FakeQuantiser)]
    for quantiser in quantisers:
        quantiser.observing = True
    with torch.no_grad():
        network(*sample)
    for quantiser in quantisers:
        quantiser.observing = False
        quantiser.calibrate()


def module_list(modules: Iterable[M]) -> Sequence[M]:
    """nn.ModuleList that says what it holds."""
    return cast("Sequence[M]", nn.ModuleList(modules))
