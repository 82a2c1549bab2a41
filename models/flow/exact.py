"""The `flow` network in exact integers: couplings there and back, and the weights of what its splits code.

All tiles of one size go through a layer together. What is computed is a byte, a small integer or a sum that no order of addition can
change, so that the rounding in z2 = x2 + round(t(x1)) is the same wherever it is done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from .. import back_ends, frequencies
from ..back_ends import Prepared
from ..integer import LARGEST, IntLinear, Tensors, linear_layers
from ..kernels import jit, mixtures
from ..model import Code, Lossless, Nibbles, Pixels, Places, Size, Span, Symbols, Turn, Way
from ..units import GREY, OFFSET_LIMIT, SIGNED_LIMIT
from .plan import AROUND, CHANNELS, COLOURS, EXTRA, MIDDLE, Step, unpacked

Int8 = NDArray[np.int8]
Int32 = NDArray[np.int32]
Values = NDArray[np.uint8]
"""Residues modulo 256."""
ROWS = 1 << 14  # places that go through the layers of a network together, more or less


class Answers:
    """The code that answers with the symbols of tiles, in the order in which the walk asks for them. passes: (n) each."""

    def __init__(self, passes: Sequence[Values]) -> None:
        self._passes = passes

    def __call__(self, turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
        symbols = self._passes[turn.channel].astype(np.int32)
        nibbles: Nibbles = symbols >> 4 if turn.half == 0 else symbols & 15
        return nibbles


class ExactFlow(Lossless):
    """Tiles are padded at the right and the bottom to whole multiples of `side`."""

    coding: Way = "flow"
    batch = 64

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        layers = linear_layers(arrays)
        chosen = back_ends.choose(arithmetic, [layer.shape for layer in layers.values()], torch.device(device))
        self.arithmetic = chosen.name
        self._tables = frequencies.DistributionTables(*(torch.from_numpy(arrays[f"tables.{n}"]) for n in ("inverse", "sigmoid", "share")))
        self._steps = unpacked(arrays["plan"])
        self.scales = self._steps[-1].scale + 1
        self.side = 1 << self.scales
        products = Products(layers, chosen, torch.device(device))
        self._networks = [Network(step, f"layers.{i}", products, arrays["tables.signed"]) for i, step in enumerate(self._steps)]
        self._last = np.ascontiguousarray(arrays["last"])

    @property
    def calls(self) -> int:
        return len(self._steps)

    def predictor(self, quality: int) -> None:
        """Nothing: pixels have no probabilities, only what the layers make of them."""

    def padded(self, size: Size) -> Size:
        """A tile's size in whole multiples."""
        return -(-size[0] // self.side) * self.side, -(-size[1] // self.side) * self.side

    def answers(self, tiles: Sequence[Symbols]) -> Code:
        passes: list[Values] = []
        for size, inside in self._sizes([tile.shape[:2] for tile in tiles]):
            padding = [[(0, full - side) for full, side in zip(size, tiles[i].shape, strict=False)] for i in inside]
            pixels = np.stack([np.pad(tiles[i], [*pad, (0, 0)], mode="edge") for i, pad in zip(inside, padding, strict=True)])
            passes += [values.ravel() for values in self.forward(pixels)]
        return Answers(passes)

    def walk(self, sizes: Sequence[Size], spans: Sequence[Span], quality: int, code: Code) -> list[Symbols]:
        """Tiles of one padded size go together, those of the first tile first. In a turn symbols go by tile, place, channel."""
        tiles: dict[int, Symbols] = {}
        total, done, number = sum(height * width for height, width in map(self.padded, sizes)), 0.0, 0
        for size, inside in self._sizes(sizes):
            part = len(inside) * size[0] * size[1] / total
            pulled = Pulled(code, inside, len(sizes), number, done, part, self._tables)
            pixels = self.inverse(len(inside), size, pulled)
            done, number = done + part, pulled.number
            tiles |= {i: np.ascontiguousarray(pixels[n, : sizes[i][0], : sizes[i][1]]) for n, i in enumerate(inside)}
        return [tiles[i] for i in range(len(sizes))]

    def _sizes(self, sizes: Sequence[Size]) -> Iterator[tuple[Size, list[int]]]:
        """Padded sizes, and which tiles have them."""
        found: dict[Size, list[int]] = {}
        for i, size in enumerate(sizes):
            found.setdefault(self.padded(size), []).append(i)
        yield from found.items()

    def forward(self, pixels: Pixels) -> list[Values]:
        """What is coded of pixels (n, H, W, 3), in the order in which it is decoded: (n, h, w, channels) each, relative to its centres."""
        x, scale, coded = pixels, -1, list[Values]()
        for step, network in zip(self._steps, self._networks, strict=True):
            if step.scale > scale:
                scale, x = step.scale, squeeze(x)
            given, changed = x[..., step.given], x[..., step.changed]
            centres = network.centres(given)
            if step.codes:
                coded.append(changed - centres[..., step.changed_colours] + np.uint8(MIDDLE))
                if len(step.given) == COLOURS:
                    x = given
            else:
                x = x.copy()
                x[..., step.changed] = changed + network.shifts(given, centres)
        return [x, *reversed(coded)]

    def inverse(self, count: int, size: Size, pulled: Pulled) -> Pixels:
        """The pixels (count, H, W, 3) of what is pulled."""
        shape = (count, size[0] // self.side, size[1] // self.side)
        x: Values = pulled(np.tile(self._last, (shape[0] * shape[1] * shape[2], 1))).reshape(*shape, COLOURS)
        scale = self.scales
        for step, network in zip(reversed(self._steps), reversed(self._networks), strict=True):
            if step.scale < scale:
                scale, kept = step.scale, x
                x = np.zeros((*kept.shape[:3], CHANNELS), np.uint8)
                x[..., step.given] = kept
            given = np.ascontiguousarray(x[..., step.given])
            centres = network.centres(given)
            if step.codes:
                symbols = pulled(network.mixtures(given, centres)).reshape(*given.shape[:3], -1)
                x[..., step.changed] = symbols + centres[..., step.changed_colours] - np.uint8(MIDDLE)
            else:
                x[..., step.changed] -= network.shifts(given, centres)
            if step.first:
                x = unsqueeze(x)
        return x


class Pulled:
    """What a code says of some tiles, pass after pass."""

    def __init__(
        self, code: Code, inside: Sequence[int], tiles: int, number: int, done: float, part: float, tables: frequencies.DistributionTables
    ) -> None:
        """inside: of all `tiles` those that are asked for. number: passes before; done, part: shares of the walk, before and here."""
        self._code, self._inside, self._tiles, self._tables = code, np.asarray(inside), tiles, tables
        self.number, self._done, self._part, self._symbols = number, done, part, 0

    def __call__(self, outputs: Int32) -> Values:
        """Symbols (n), given the parameters of their mixtures (n, 3 K), tile by tile."""
        each = len(outputs) // len(self._inside)
        bounds = np.zeros((self._tiles, 2), np.int64)
        bounds[self._inside] = each * np.stack([np.arange(len(self._inside)), np.arange(1, len(self._inside) + 1)], 1)
        at: Places = np.arange(len(outputs))
        above = None
        for half in (0, 1):
            turn = Turn(self.number, half, at, bounds, self._done)
            found = np.ascontiguousarray(self._code(turn, _nibbles(outputs, self._tables, above)), np.int32)
            above = found if half == 0 else above
        assert above is not None
        self.number += 1
        return (16 * above + found).astype(np.uint8)


def _nibbles(outputs: Int32, tables: frequencies.DistributionTables, above: Int32 | None) -> NDArray[np.float32]:
    """Integer weights (n, 16) of the high nibbles of symbols around MIDDLE, or of the low ones under the high ones."""
    if not jit.available():
        return frequencies.Distribution(torch.from_numpy(outputs), MIDDLE * GREY, tables).nibbles(above)
    weights, scratch = np.empty((len(outputs), 16), np.float32), np.empty(mixtures.EDGES, np.int32)
    centres, none = np.full(len(outputs), MIDDLE * GREY, np.int32), np.empty(0, np.int32)
    arrays = (tables.inverse.numpy(), tables.sigmoid.numpy(), tables.share.numpy())
    mixtures.nibbles(outputs, outputs.shape[1] // 3, centres, none if above is None else above, *arrays, scratch, weights)
    return weights


class Products:
    """Integer layers by their names, for one back end on one device."""

    def __init__(self, layers: dict[str, IntLinear], back_end: back_ends.BackEnd, device: torch.device) -> None:
        self._back_end, self._device = back_end, device
        self._layers = {name: Prepared.of(layer, back_end, device) for name, layer in layers.items()}

    def __contains__(self, name: str) -> bool:
        return name in self._layers

    def sums(self, name: str, x: Int8) -> Int32:
        """(W x + b + (x << skip)) >> shift of (n, inputs); the skip is of the first inputs."""
        layer, rows = self._layers[name], torch.from_numpy(x).to(self._device)
        found: Int32 = layer.sums(self._back_end, rows, rows[:, : len(layer.bias)]).cpu().numpy()
        return found

    def activations(self, name: str, x: Int8) -> Int8:
        """The same as activations 0 ... 127."""
        return self.sums(name, x).clip(0, LARGEST).astype(np.int8)


class Network:
    """What channels are like, given others of the same places."""

    def __init__(self, step: Step, name: str, products: Products, signed: Int8) -> None:
        self.step, self._name, self._products = step, name, products
        self._signed = signed[SIGNED_LIMIT - 255 : SIGNED_LIMIT + 256]
        self._blocks = [block for i in range(len(products._layers)) if (block := f"{name}.blocks.{i}") in products]

    def centres(self, given: Values) -> Values:
        """The mean of what is given of every colour, or of everything where there is nothing of it, rounded down; (n, h, w, 3)."""
        return np.stack([given[..., part].sum(-1, dtype=np.int32) // len(part) for part in self.step.of_colours], -1).astype(np.uint8)

    def inputs(self, given: Values, centres: Values) -> Int8:
        """Of every place (n h w, inputs)."""
        count, height, width, channels = given.shape
        own = centres[..., self.step.given_colours].astype(np.int16)
        wide = np.pad(given, ((0, 0), (1, 1), (1, 1), (0, 0)))
        inputs = np.zeros((count, height, width, 9 * channels + EXTRA), np.int8)
        for i, (dy, dx) in enumerate(AROUND):
            rows, columns = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
            near = wide[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width][:, rows, columns]
            inputs[:, rows, columns, channels * i : channels * (i + 1)] = self._signed[near - own[:, rows, columns] + 255]
        red, green, blue = (centres[..., i].astype(np.int16) for i in range(COLOURS))
        for i, extra in enumerate((red - green, blue - green, green - MIDDLE)):
            inputs[..., 9 * channels + i] = self._signed[extra + 255]
        return inputs.reshape(-1, inputs.shape[-1])

    def outputs(self, given: Values, centres: Values) -> Int32:
        """Of every place, (n h w, outputs)."""
        _, height, width, _ = given.shape
        pictures = max(1, ROWS // (height * width))
        parts = [slice(first, first + pictures) for first in range(0, len(given), pictures)]
        return np.concatenate([self._part(given[part], centres[part]) for part in parts])

    def _part(self, given: Values, centres: Values) -> Int32:
        products, name = self._products, self._name
        y = products.activations(f"{name}.first", self.inputs(given, centres))
        for block in self._blocks:
            y = products.activations(block, around(y.reshape(*given.shape[:3], -1)))
        return products.sums(f"{name}.out", products.activations(f"{name}.head", y))

    def shifts(self, given: Values, centres: Values) -> Values:
        """Of what a coupling changes, modulo 256; (n, h, w, changed)."""
        outputs = self.outputs(given, centres).clip(-OFFSET_LIMIT, OFFSET_LIMIT) + GREY // 2 >> GREY.bit_length() - 1
        return outputs.astype(np.uint8).reshape(*given.shape[:3], -1)

    def mixtures(self, given: Values, centres: Values) -> Int32:
        """Parameters of what a split codes, (n h w changed, 3 K)."""
        outputs = self.outputs(given, centres)
        return outputs.reshape(outputs.shape[0] * len(self.step.changed), -1)


def around(x: Int8) -> Int8:
    """The vectors at 3 x 3 places (n h w, 9 C), the one in the middle first, 0 outside; of (n, h, w, C)."""
    count, height, width, channels = x.shape
    wide = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    found = np.empty((count, height, width, 9, channels), np.int8)
    for i, (dy, dx) in enumerate(AROUND):
        found[..., i, :] = wide[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
    return found.reshape(-1, 9 * channels)


def squeeze(x: Values) -> Values:
    """(n, 2 h, 2 w, C) -> (n, h, w, 4 C): the places of a patch, row by row."""
    count, height, width, channels = x.shape
    parts = x.reshape(count, height // 2, 2, width // 2, 2, channels).swapaxes(2, 3)
    return parts.reshape(count, height // 2, width // 2, 4 * channels)


def unsqueeze(x: Values) -> Values:
    """The inverse."""
    count, height, width, channels = x.shape
    parts = x.reshape(count, height, width, 2, 2, channels // 4).swapaxes(2, 3)
    return np.ascontiguousarray(parts).reshape(count, 2 * height, 2 * width, channels // 4)
