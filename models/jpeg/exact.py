"""The `jpeg` network in exact integers: its walk along the wavefront of many tiles at once.

Block (y, x) of a tile belongs to step x + 2 y: all that its symbols depend on was decoded in earlier steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..integer import Int8, IntLinear, Tensors, linear_layers
from ..kernels import jit
from ..model import Blocks, Box, Code, Plane, Turn, Way
from . import features
from .symbols import BITS, FIRST, NIBBLES, ORDER, Coded, Known, unzigzag, zigzag
from .units import AROUND, CLASS, GROUPS, LAST, LESS, LIMIT, LOW, MORE, NEAR, REMAINDER, TOKEN, channel

SLOPE = 2
EVEN = 1 << 16  # weight of each value of a remainder; what cannot be has 1
TOGETHER = 4096  # blocks that are looked at together where all of them are known
Int16 = NDArray[np.int16]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Layers = dict[str, IntLinear]


class Field:
    """The blocks of tiles of one size (tiles height width, 64), the last of them all 0: coefficients in zigzag order, what is remembered
    and told of them.

    steps: int64 (1, 64) of the quantisation. initial: int16 (1, 64), mean magnitudes outside tiles. sides: of the same blocks, or None.
    """

    def __init__(self, count: int, steps: NDArray[np.uint16], initial: Int16, sides: features.Side | None) -> None:
        self.values, self.means = np.zeros((count + 1, 64), np.int16), np.zeros((count + 1, 64), np.int16)
        self.steps = np.maximum(steps.reshape(64)[ORDER].astype(np.int64)[None], 1)
        self.initial, self.sides, self.outside = initial.reshape(1, 64), sides, count


class Form(Protocol):
    """An integer network, in compiled loops or in torch, for a component: its layers are told of the component as a whole."""

    def look(self, field: Field, at: Int64, around: Int64) -> None:
        """Evaluate the trunk at blocks (n), given their neighbours (n, 6)."""

    def last_weights(self) -> NDArray[np.float32]:
        """Weights (n, 16) of the high part of last places."""

    def low_weights(self, high: Int64) -> NDArray[np.float32]:
        """Weights (n, 16) of the low part, given the high one (n)."""

    def group(self, group: int, rows: Int64, last: Int64) -> Coded:
        """Evaluate the head of a group at some of the blocks, given all last places (n)."""

    def token_weights(self, rows: Int64, places: Int64, none: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Weights (k, 16) of tokens of the group, by row among those of the group and place in it; none: where 0 is impossible."""

    def class_weights(self, rows: Int64, places: Int64) -> NDArray[np.float32]:
        """The same of classes."""

    def remember(self) -> None:
        """What neighbours will see beside the coefficients."""

    def remember_at(self, field: Field, at: Int64, around: Int64) -> None:
        """The same of blocks whose coefficients are known."""


class Forms(Protocol):
    """Forms of components."""

    @property
    def arithmetic(self) -> str: ...

    def form(self, layers: Layers) -> Form:
        """That of a component, given layers that are told of it already."""


class ExactJpeg:
    """Symbols are those of `units.py`."""

    coding: Way = "jpeg"
    lossy = False
    tile = 64
    batch = 48
    profile_bytes = 64

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`tensors` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        arrays = {name: np.asarray(tensor) for name, tensor in tensors.items()}
        layers = linear_layers(arrays)
        self._layers: dict[str, Layers] = {
            kind: {name.removeprefix(f"{kind}."): layer for name, layer in layers.items() if name.startswith(f"{kind}.")}
            for kind in ("first", "later")
        }
        self._tables = features.Tables(*(arrays[f"tables.{name}"] for name in ("signed", "mean", "edge", "initial")))
        forms = [layer.shape for layer in layers.values()], self._tables, arrays["tables.category"]
        self._forms: Forms
        if device == "cpu" and jit.wanted(arithmetic):
            from .compiled import CompiledForms

            self._forms = CompiledForms(*forms)
        else:
            from .reference import ReferenceForms

            self._forms = ReferenceForms(*forms, arithmetic, device)
        self.arithmetic = self._forms.arithmetic

    def _form(self, kind: str, condition: Int8) -> Form:
        """The network for a component of which the condition is told."""
        layers = dict(self._layers[kind])
        inner, width = layers.pop("condition"), len(layers["trunk"].bias)
        told = ((inner.weight.astype(np.int64) @ condition.astype(np.int64) + inner.bias) >> inner.shift).clip(0, 127)
        layers["trunk"] = _folded(layers["trunk"], layers["trunk"].weight.shape[1] - len(told), told)
        for name in ("last_head", *(f"heads.{g}" for g in range(len(GROUPS)))):
            layers[name] = _folded(layers[name], width, told)
        return self._forms.form(layers)

    def profile(self, blocks: Blocks) -> bytes:
        return features.profile(blocks)

    def beside(self, plane: Plane, other: Plane, box: Box) -> Box:
        return features.beside(plane, other, box)

    def answers(self, tiles: Sequence[Blocks]) -> Known:
        return Known(tiles)

    def walk(
        self, plane: Plane, before: Sequence[Plane], boxes: Sequence[Box], code: Code, known: Sequence[Blocks] | None = None
    ) -> list[Blocks]:
        condition = features.condition(plane, len(before), before[0] if before else None)
        form = self._form("later" if before else "first", condition)
        tiling = Tiling(boxes)
        sides = None
        if before:
            sides = _sides(plane, before, tiling)
        initial = self._tables.initial[np.minimum(np.frombuffer(plane.profile, np.uint8), 127)]
        field = Field(tiling.count, plane.steps, initial, sides)
        walk = _Walk(form, field, tiling, code)
        if known is None:
            walk.stepwise()
        else:
            walk.at_once(known)
        blocks = unzigzag(field.values[:-1]).reshape(len(boxes), tiling.height, tiling.width, 8, 8)
        return [blocks[i, :h, :w] for i, (h, w) in enumerate(tiling.sizes.tolist())]


def _folded(layer: IntLinear, first: int, told: Int64) -> IntLinear:
    """A layer without the inputs from `first` on, which are known."""
    end = first + len(told)
    bias = layer.bias + layer.weight[:, first:end].astype(np.int64) @ told
    weight = np.concatenate([layer.weight[:, :first], layer.weight[:, end:]], 1)
    return IntLinear(np.ascontiguousarray(weight), bias.astype(np.int32), layer.shift)


def _sides(plane: Plane, before: Sequence[Plane], tiling: Tiling) -> features.Side:
    """What earlier components hold at the blocks of tiles, with a block of zeros at the end."""
    second = zigzag(before[1].blocks) if len(before) > 1 else None
    sampling = before[1].sampling if len(before) > 1 else plane.sampling
    whole = features.side(plane, zigzag(before[0].blocks), before[0].sampling, second, sampling)
    columns = plane.blocks.shape[1]
    result = []
    for part in (whole.mean, whole.signed, whole.slopes, whole.other):
        cut = np.zeros((tiling.count + 1, part.shape[1]), np.int16)
        tiles = cut[:-1].reshape(len(tiling.boxes), tiling.height, tiling.width, -1)
        picture = part.reshape(-1, columns, part.shape[1])
        for tile, (left, top, right, bottom) in zip(tiles, tiling.boxes, strict=True):
            tile[: bottom - top, : right - left] = picture[top:bottom, left:right]
        result.append(cut)
    return features.Side(*result)


class Tiling:
    """Tiles in a field, of their largest height and width each."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.boxes = boxes
        self.sizes = np.array([(bottom - top, right - left) for left, top, right, bottom in boxes], np.int64)
        self.height, self.width = self.sizes.max(0).tolist()
        self.count = len(boxes) * self.height * self.width
        self.steps = self.width + SLOPE * (self.height - 1)

    def step(self, step: int) -> tuple[Int64, Int64]:
        """The blocks of a step in all tiles, and which of them belong to each, (tiles, 2)."""
        height, width = self.sizes.T
        first = np.maximum(0, -(-(step - width + 1) // SLOPE))
        last = np.maximum(np.minimum(height - 1, step // SLOPE) + 1, first)
        ends = np.cumsum(last - first)
        which = np.repeat(np.arange(len(ends)), last - first)
        rows = np.arange(len(which)) - (ends - last)[which]
        at = (which * self.height + rows) * self.width + step - SLOPE * rows
        return at, np.stack([ends - (last - first), ends], 1)

    def around(self, at: Int64) -> Int64:
        """The neighbours (n, 6) of blocks; `count` outside their tiles."""
        tile, place = np.divmod(at, self.height * self.width)
        row, column = np.divmod(place, self.width)
        dy, dx = np.array(AROUND).T
        y, x = row[:, None] + dy, column[:, None] + dx
        there = (y >= 0) & (x >= 0) & (x < self.sizes[tile, 1][:, None])
        around: Int64 = np.where(there, at[:, None] + dy * self.width + dx, self.count)
        return around


class _Walk:
    """A walk through tiles."""

    def __init__(self, form: Form, field: Field, tiling: Tiling, code: Code) -> None:
        self.form, self.field, self.tiling, self.code = form, field, tiling, code

    def stepwise(self) -> None:
        """Step after step."""
        for step in range(self.tiling.steps):
            at, bounds = self.tiling.step(step)
            if len(at):
                self._pass(at, bounds, (step + 1) / self.tiling.steps, None)

    def at_once(self, known: Sequence[Blocks]) -> None:
        """Many blocks together, where `code` will say what is known."""
        tiling, values = self.tiling, self.field.values
        tiles = values[:-1].reshape(len(tiling.boxes), tiling.height, tiling.width, 64)
        for tile, blocks in zip(tiles, known, strict=True):
            tile[: blocks.shape[0], : blocks.shape[1]] = zigzag(blocks)
        steps = [tiling.step(step) for step in range(tiling.steps)]
        for at, _ in steps:
            self.form.remember_at(self.field, at, tiling.around(at))
        every = np.concatenate([at for at, _ in steps])
        step_of = np.repeat(np.arange(tiling.steps), [len(at) for at, _ in steps])
        order = np.argsort(every // (tiling.height * tiling.width), kind="stable")
        every, step_of = every[order], step_of[order]
        for start in range(0, len(every), TOGETHER):
            at = every[start : start + TOGETHER]
            tile = at // (tiling.height * tiling.width)
            bounds = np.stack([np.searchsorted(tile, np.arange(len(tiling.boxes)), side) for side in ("left", "right")], 1)
            self._pass(at, bounds.astype(np.int64), min(1.0, (start + len(at)) / len(every)), step_of[start : start + TOGETHER])

    def _pass(self, at: Int64, bounds: Int64, share: float, steps: Int64 | None) -> None:
        """Code blocks. steps: of each, if they are of several."""
        form, field = self.form, self.field
        form.look(field, at, self.tiling.around(at))

        def ask(where: int, weights: NDArray[np.float32], block: Int64, place: Int64 | int, near: Int32 | None, half: int = 0) -> Int64:
            """The symbols of blocks, whose numbers in the pass ascend."""
            limits = bounds if len(block) == len(at) and isinstance(place, int) else np.searchsorted(block, bounds)
            turn = Turn(where, half, at[block] * 64 + place, limits, share, None if steps is None else steps[block], near)
            return np.asarray(self.code(turn, weights)).astype(np.int64)

        every = np.arange(len(at))
        high = ask(LAST, form.last_weights(), every, 0, None)
        last = (high << LOW) + ask(LAST, form.low_weights(high), every, 0, None, 1)
        for g, (a, _) in enumerate(GROUPS):
            rows = np.flatnonzero(last >= a)
            if not len(rows):
                continue
            row, place, base, none = form.group(g, rows, last)
            block, where = rows[row], place + a
            token = ask(channel(g, TOKEN), form.token_weights(row, place, none), block, where, base)
            value = base + token - NEAR - 1
            far = np.flatnonzero((token <= LESS) | (token >= MORE))
            if len(far):
                kind = ask(channel(g, CLASS), form.class_weights(row[far], place[far]), block[far], where[far], base[far])
                beyond = FIRST[kind]
                for piece in range(int(NIBBLES[kind].max()) - 1, -1, -1):
                    some = np.flatnonzero(NIBBLES[kind] > piece)
                    width = np.minimum(BITS[kind[some]] - 4 * piece, 4)
                    even = np.where(np.arange(16) < (1 << width)[:, None], EVEN, 1).astype(np.float32)
                    chosen = far[some]
                    said = ask(channel(g, REMAINDER, piece), even, block[chosen], where[chosen], base[chosen])
                    beyond[some] += said << (4 * piece)
                value[far] = base[far] + np.where(token[far] <= LESS, -1, 1) * (beyond + NEAR + 1)
            field.values[at[block], where] = value.clip(-LIMIT, LIMIT - 1)
        if steps is None:
            form.remember()
