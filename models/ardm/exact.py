"""The `ardm` network in exact integers, and the walk through the values of tiles, call by call.

What evaluates it is `compiled.py`, or in torch `reference.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import integer
from ..integer import Tensors
from ..kernels import jit
from ..model import Code, Lossless, Nibbles, Size, Symbols, Turn, Way
from ..staged import Calls
from ..tensors import read_settings
from ..units import GREY
from . import stages
from .stages import COLOURS, EIGHTHS, ArdmConfig, Int32, Int64, Mask, View

if TYPE_CHECKING:
    from .compiled import CompiledNetwork
    from .reference import ReferenceNetwork

MOST_BITS = 4  # of a value that are coded together
NEVER = -1  # the call of values that are known


class ExactArdm(Lossless):
    """The integer network, in compiled loops or in torch on one device. stages: bits of a value that each codes; budgets: of calls."""

    coding: Way = "stages"
    batch = 64

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        self.config = c = ArdmConfig(**read_settings(arrays))
        layers = integer.linear_layers(arrays)
        self.stages, self.tile = list(c.stages), c.side
        self.budgets = sorted(int(name.removeprefix("calls.")) for name in arrays if name.startswith("calls."))
        self._calls = {budget: arrays[f"calls.{budget}"].astype(np.int64) for budget in self.budgets}
        self.components = arrays["components"]
        self._order, self._signed = arrays["order"].astype(np.int64), arrays["tables.signed"]
        self.network: CompiledNetwork | ReferenceNetwork
        if device == "cpu" and jit.wanted(arithmetic):
            from .compiled import CompiledNetwork

            self.network = CompiledNetwork(c, arrays, layers)
        else:
            from .reference import ReferenceNetwork

            self.network = ReferenceNetwork(c, arrays, layers, arithmetic, device)

    def predictor(self, quality: int) -> None:
        """Nothing: calls are not guessed, their number is chosen in encoding."""

    def order(self, height: int, width: int) -> Int64:
        """Raster indices (y, x, colour) of a tile's values in the order in which they are coded. Raises ValueError for too large a tile."""
        if max(height, width) > self.tile:
            raise ValueError(f"tiles of this model have a side of at most {self.tile}, not {max(height, width)}")
        y, rest = np.divmod(self._order, COLOURS * self.config.side)
        x, colour = np.divmod(rest, COLOURS)
        inside = (y < height) & (x < width)
        found: Int64 = ((y * width + x) * COLOURS + colour)[inside]
        return found

    def answers(self, tiles: Sequence[Symbols]) -> Code:
        """The code that says the bits of tiles (height, width, 3) that are known."""
        values = np.concatenate([tile.ravel() for tile in tiles])

        def say(turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
            bits = _parts(self.stages[turn.channel])
            after = self.config.missing[turn.channel] - sum(bits[: turn.half + 1])
            return (values[turn.at] >> after & (1 << bits[turn.half]) - 1).astype(np.int32)

        return say

    def walk(
        self, tiles: Sequence[Symbols], stage: int, calls: Calls, code: Code, known: Sequence[Mask] | None = None
    ) -> tuple[list[Symbols], list[int]]:
        """Tiles (height, width, 3) with the bits of a stage, as `code` says, given those with the bits of earlier ones; bits that are not
        there yet are 0. Also how many calls each took.

        calls: see `Calls`. known: values whose bits of this stage are there already; `code` is not asked for them. In a call come the
        first bits of its values, then the next ones; tile after tile, in a tile in raster order. Turns have a stream for every tile.
        """
        after = self.config.missing[stage + 1]
        parts = _parts(self.stages[stage])
        groups = [_Group(self, numbers, tiles, known, stage, calls) for numbers in _of_one_size(tiles)]
        starts = np.cumsum([0, *(tile.size for tile in tiles)])
        last = max((int(group.call_of.max(initial=NEVER)) for group in groups), default=NEVER)
        for call in range(last + 1):
            due = [(group, *group.due(call)) for group in groups]
            due = [item for item in due if len(item[1])]
            if not due:
                continue
            evaluated = [group.evaluate(tile, at) for group, tile, at in due]
            owners = np.concatenate([group.numbers[tile] for group, tile, _ in due])
            at = starts[owners] + np.concatenate([at for _, _, at in due])
            sort = np.argsort(owners, kind="stable")
            parameters, centres, low = (np.concatenate(part)[sort] for part in zip(*evaluated, strict=True))
            ends = np.searchsorted(owners[sort], np.arange(len(tiles) + 1))
            bounds = np.stack([ends[:-1], ends[1:]], 1)
            missing = self.config.missing[stage]
            for half, bits in enumerate(parts):
                missing -= bits
                weights = self.network.weights(parameters, centres, low, 1 << missing, 1 << bits)
                digits = code(Turn(stage, half, at[sort], bounds, call / (last + 1)), weights)
                low = low + (np.asarray(digits).astype(np.int32) << missing)
            values = np.empty(len(sort), np.int32)
            values[sort] = low
            for group, tile, place in due:
                group.put(tile, place, values[: len(tile)])
                values = values[len(tile) :]
        done, counts = list(tiles), [0] * len(tiles)
        for group in groups:
            for i, number in enumerate(group.numbers.tolist()):
                done[number] = group.values[i] >> after << after
                counts[number] = len(np.unique(group.call_of[i][group.call_of[i] != NEVER]))
        return done, counts


class _Group:
    """Tiles of one size that are evaluated together. numbers: which these are. call_of: (tiles, values in raster order)."""

    def __init__(
        self, model: ExactArdm, numbers: Int64, tiles: Sequence[Symbols], known: Sequence[Mask] | None, stage: int, calls: Calls
    ) -> None:
        self._model, self.numbers, self._stage = model, numbers, stage
        self.values = np.stack([tiles[i] for i in numbers])
        self.known = np.stack([known[i] for i in numbers]) if known else np.zeros(self.values.shape, bool)
        height, width = self.values.shape[1:3]
        self._places, self._slots = stages.slots(height, width, model.config.patch)
        order, count = model.order(height, width), height * width * COLOURS
        whole = model._calls[calls][stage] if isinstance(calls, int) else calls
        ends = -(-whole * count // whole[-1])
        flat = self.known.reshape(len(numbers), count)[:, order]
        place = np.where(flat, 0, np.cumsum(~flat, 1) - 1 + flat.sum(1, keepdims=True))  # as if what is known had come first
        self.call_of = np.empty((len(numbers), count), np.int64)
        self.call_of[:, order] = np.where(flat, NEVER, np.searchsorted(ends, place, "right"))

    def due(self, call: int) -> tuple[Int64, Int64]:
        """The values of a call: which tile of the group, and which value of the tile."""
        tile, at = np.nonzero(self.call_of == call)
        return tile, at

    def evaluate(self, tile: Int64, at: Int64) -> tuple[Int32, Int32, Int32]:
        """Parameters (n, 3 K), centres (n) and lowest values (n) of values."""
        c = self._model.config
        view = View.of(self.values, self.known, c.missing[self._stage], c.missing[self._stage + 1])
        inputs, nearest = stages.inputs(view, self._stage, c, self._model._signed)
        spots = tile * (inputs.shape[1] * inputs.shape[2]) + self._places[at]
        places, which = np.unique(spots, return_inverse=True)
        outputs = self._model.network.outputs(inputs, places).reshape(len(places), c.values, -1)
        centres = nearest.reshape(len(self.values), -1)[tile, at] * np.int32(GREY // EIGHTHS)
        return outputs[which, self._slots[at]], centres, view.low.reshape(len(self.values), -1)[tile, at]

    def put(self, tile: Int64, at: Int64, values: Int32) -> None:
        """What values are, from now on known."""
        self.values.reshape(len(self.values), -1)[tile, at] = values
        self.known.reshape(len(self.values), -1)[tile, at] = True


def _parts(bits: int) -> list[int]:
    """Bits of a stage that are coded together."""
    return [min(MOST_BITS, bits - first) for first in range(0, bits, MOST_BITS)]


def _of_one_size(tiles: Sequence[Symbols]) -> list[Int64]:
    """The numbers of tiles, those of one size together."""
    sizes: dict[Size, list[int]] = defaultdict(list)
    for number, tile in enumerate(tiles):
        sizes[tile.shape[:2]].append(number)
    return [np.array(numbers) for numbers in sizes.values()]
