"""Coefficients of training pictures: of JPEG files as they are, and of pictures that are saved as JPEG for the purpose."""

import numpy as np
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from numpy.typing import NDArray
from torch import Tensor

from ..jpeg import features, units
from ..jpeg.features import Side, Tables
from ..kernels import jpeg as kernels
from ..kernels.jit import kernel
from ..jpeg.symbols import last_places, zigzag
from ..model import Plane

TILE = 64
OWN, BESIDE = (np.ascontiguousarray(m.astype(np.int32)) for m in (features.OWN_MATRIX, features.BESIDE_MATRIX))


@kernel("void(int16[:,:,::1], int16[::1], int64, int16[:,:,::1])")
def means(values, first, tile, out):
    """What `features.mean_after` gives for the blocks (rows, columns, 64) of a component in tiles. first: (64), outside a tile."""
    for r in range(values.shape[0]):
        for c in range(values.shape[1]):
            for k in range(64):
                w, n, nw, ne = first[k], first[k], first[k], first[k]
                if c % tile:
                    w = out[r, c - 1, k]
                if r % tile:
                    n = out[r - 1, c, k]
                    if c % tile:
                        nw = out[r - 1, c - 1, k]
                    if c % tile != tile - 1 and c + 1 < values.shape[1]:
                        ne = out[r - 1, c + 1, k]
                before = (3 * np.int32(w) + 3 * np.int32(n) + np.int32(nw) + np.int32(ne)) >> 3
                magnitude = min(abs(np.int32(values[r, c, k])), 1023) * 32
                out[r, c, k] = before + ((magnitude - before) >> 3)


class Blocks:
    """Blocks of many components of one kind, one after another."""

    def __init__(self, later: bool) -> None:
        self.later = later
        self.parts: list[tuple] = []
        self.count = 0

    def add(self, plane: Plane, index: int, first: Plane | None, sides: Side | None, file: int) -> None:
        values = zigzag(plane.blocks)
        initial = Tables.make().initial[np.minimum(np.frombuffer(plane.profile, np.uint8), 127)]
        mean = np.empty_like(values)
        means(values, initial, TILE, mean)
        rows, columns = values.shape[:2]
        condition = features.condition(plane, index, first)
        steps = np.maximum(plane.steps.reshape(64)[features.ORDER].astype(np.int64), 1)
        self.parts.append((values.reshape(-1, 64), mean.reshape(-1, 64), (rows, columns), condition, steps, initial, sides, file))
        self.count += rows * columns

    def seal(self) -> None:
        """All of it as arrays, which end with a block of zeros."""
        zero = np.zeros((1, 64), np.int16)
        self.values = np.concatenate([p[0] for p in self.parts] + [zero])
        self.means = np.concatenate([p[1] for p in self.parts] + [zero])
        which, row, column = [], [], []
        for i, p in enumerate(self.parts):
            rows, columns = p[2]
            which.append(np.full(rows * columns, i, np.int32))
            row.append(np.repeat(np.arange(rows, dtype=np.int32), columns))
            column.append(np.tile(np.arange(columns, dtype=np.int32), rows))
        self.which, self.row, self.column = map(np.concatenate, (which, row, column))
        self.file = np.array([p[7] for p in self.parts])
        self.columns = np.array([p[2][1] for p in self.parts])
        self.conditions = np.stack([p[3] for p in self.parts])
        self.steps = np.stack([p[4] for p in self.parts])
        self.initial = np.stack([p[5] for p in self.parts])
        if self.later:
            self.sides = Side(*(np.concatenate([getattr(p[6], n) for p in self.parts]) for n in ("mean", "signed", "slopes", "other")))
        self.parts = []
        self.last = np.concatenate([last_places(p) for p in np.array_split(self.values, 64)]).astype(np.uint8)

    def around(self, at: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Neighbours (n, 6) of blocks in their tiles, and which there are."""
        columns = self.columns[self.which[at]][:, None]
        y, x = self.row[at][:, None], self.column[at][:, None]
        dy, dx = np.array(units.AROUND).T
        ty, tx = y % TILE + dy, x % TILE + dx
        there = (ty >= 0) & (tx >= 0) & (tx < TILE) & (x + dx < columns)
        return np.where(there, at[:, None] + dy * columns + dx, len(self.values) - 1), there

    def batch(self, at: NDArray[np.int64], tables: Tables) -> dict[str, Tensor]:
        """What the network wants of blocks."""
        last = self.last[at]
        order = np.argsort(-last, kind="stable")
        at, last = at[order], last[order].astype(np.int64)
        near, there = self.around(at)
        which, n, outside = self.which[at].astype(np.int64), len(at), len(self.values) - 1
        inputs = np.empty((n, units.OWN + self.later * units.SIDE), np.int16)
        before, edges = np.empty((n, 64), np.int16), np.empty((n, 16), np.int32)
        told = tables.signed, tables.mean, tables.edge
        kernels.look(at, near, which, self.values, self.means, self.steps, self.initial, BESIDE, *told, inputs, before, edges)
        if self.later:
            s = self.sides
            beside = s.mean, s.signed, s.slopes, s.other
            kernels.look_beside(at, near, outside, *beside, tables.signed, tables.mean, units.OWN, inputs)
        heads, every, end = np.empty((n, len(units.GROUPS), units.EDGES), np.int16), np.zeros((n, 64), np.int32), 64
        for g, (a, b) in enumerate(units.GROUPS):
            rows = np.arange((last >= a).sum())
            column, from_ = np.empty((len(rows), units.EDGES), np.int16), np.empty((len(rows), b - a), np.int32)
            place = a, b, end, units.DIAGONALS[g]
            kernels.tell(*place, rows, at, near, which, self.values, self.steps, OWN, tables.edge, outside, 0, edges, column, from_)
            heads[: len(rows), g], every[: len(rows), a:b], end = column, from_, b
        values = self.values[at]
        result = {"inputs": inputs, "condition": self.conditions[which], "values": values, "last": last, "edges": heads, "near": every}
        result |= {"seen": features.last_inputs(last), "known": tables.of_signed(values)}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in result.items()}


def planes_of(arrays: Mapping[str, NDArray]) -> list[Plane]:
    """Components from arrays c0, q0, c1, ...; sampling from `samp`."""
    count = sum(f"c{i}" in arrays for i in range(4))
    samp = arrays["samp"]
    return [
        Plane((int(samp[i][0]), int(samp[i][1])), arrays[f"q{i}"].astype(np.uint16), features.profile(arrays[f"c{i}"]), arrays[f"c{i}"])
        for i in range(count)
    ]


def add_picture(first: Blocks, later: Blocks, planes: Sequence[Plane], file: int) -> None:
    first.add(planes[0], 0, None, None, file)
    for i, plane in enumerate(planes[1:], 1):
        second = zigzag(planes[1].blocks) if i > 1 else None
        sides = features.side(plane, zigzag(planes[0].blocks), planes[0].sampling, second, planes[1].sampling)
        later.add(plane, i, planes[0], sides, file)
