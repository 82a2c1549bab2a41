"""Blocks of coefficients for training: of JPEG files as they are, and of pictures that are saved as JPEG for the purpose."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..jpeg import features, units
from ..jpeg.features import Side, Tables
from ..jpeg.network import KINDS, Batch
from ..jpeg.symbols import ORDER, last_places, zigzag
from ..kernels import jpeg as kernels
from ..model import Plane
from .data import Pixels, tiles

TILE = 64
VALIDATION = 400  # blocks of each kind of a held-out file
OWN, BESIDE = (np.ascontiguousarray(m.astype(np.int32)) for m in (features.OWN_MATRIX, features.BESIDE_MATRIX))
Int64 = NDArray[np.int64]


@dataclass(frozen=True)
class JpegData:
    """folder: of JPEG files, of which every `hold_out`-th by name is held out. pictures: a folder of mosaics (`mosaic`) that are cut and
    saved as JPEG, but for the last `keep_out` pictures; share: of the blocks of a step that are from these."""

    folder: str
    pictures: str = ""
    pattern: str = "*"
    mosaic: int = 224
    keep_out: int = 66
    share: float = 0.2
    hold_out: int = 6
    seed: int = 5


class Blocks:
    """Blocks of many components of one kind, one after another, of which the first `original` are of files as they are."""

    def __init__(self, later: bool) -> None:
        self.later, self.count, self.original = later, 0, 0
        self.parts: list[tuple[Any, ...]] = []

    def add(self, plane: Plane, index: int, first: Plane | None, sides: Side | None, file: int) -> None:
        values = zigzag(plane.blocks)
        rows, columns = values.shape[:2]
        initial = Tables.make().initial[np.minimum(np.frombuffer(plane.profile, np.uint8), 127)]
        steps = np.maximum(plane.steps.reshape(64)[ORDER].astype(np.int64), 1)
        told = features.condition(plane, index, first)
        self.parts.append((values.reshape(-1, 64), means(values, initial), (rows, columns), told, steps, initial, sides, file))
        self.count += rows * columns

    def seal(self) -> None:
        """All of it as arrays, of which those of blocks end with one of zeros."""
        zero = np.zeros((1, 64), np.int16)
        self.values = np.concatenate([*(part[0] for part in self.parts), zero])
        self.means = np.concatenate([*(part[1] for part in self.parts), zero])
        sizes = [part[2] for part in self.parts]
        self.which = np.concatenate([np.full(rows * columns, i, np.int32) for i, (rows, columns) in enumerate(sizes)])
        self.row = np.concatenate([np.repeat(np.arange(rows, dtype=np.int32), columns) for rows, columns in sizes])
        self.column = np.concatenate([np.tile(np.arange(columns, dtype=np.int32), rows) for rows, columns in sizes])
        self.columns = np.array([columns for _, columns in sizes])
        self.conditions, self.steps, self.initial = (np.stack([part[i] for part in self.parts]) for i in (3, 4, 5))
        self.file = np.array([part[7] for part in self.parts])
        if self.later:
            names = ("mean", "signed", "slopes", "other")
            self.sides = Side(*(np.concatenate([getattr(part[6], name) for part in self.parts]) for name in names))
        self.parts = []
        self.last = np.concatenate([last_places(part) for part in np.array_split(self.values, 64)]).astype(np.uint8)

    def around(self, at: Int64) -> tuple[Int64, NDArray[np.bool_]]:
        """Neighbours (n, 6) of blocks in their tiles, and which there are."""
        columns = self.columns[self.which[at]][:, None]
        y, x = self.row[at][:, None], self.column[at][:, None]
        dy, dx = np.array(units.AROUND).T
        ty, tx = y % TILE + dy, x % TILE + dx
        there = (ty >= 0) & (tx >= 0) & (tx < TILE) & (x + dx < columns)
        return np.where(there, at[:, None] + dy * columns + dx, len(self.values) - 1), there

    def sample(self, count: int, share: float, random: np.random.Generator) -> Int64:
        """Random blocks, of which a share is not of files as they are."""
        if self.original in (0, self.count):
            return np.sort(random.integers(0, self.count, count))
        kept = count - round(count * share)
        return np.sort(np.concatenate([random.integers(0, self.original, kept), random.integers(self.original, self.count, count - kept)]))

    def batch(self, at: Int64, tables: Tables) -> dict[str, Tensor]:
        """What the network wants of blocks."""
        last = self.last[at].astype(np.int64)
        order = np.argsort(-last, kind="stable")
        at, last = at[order], last[order]
        near, _ = self.around(at)
        which, n, outside = self.which[at].astype(np.int64), len(at), len(self.values) - 1
        inputs = np.empty((n, units.OWN + self.later * units.SIDE), np.int16)
        before, edges = np.empty((n, 64), np.int16), np.empty((n, 16), np.int32)
        told = tables.signed, tables.mean, tables.edge
        kernels.look(at, near, which, self.values, self.means, self.steps, self.initial, BESIDE, *told, inputs, before, edges)
        if self.later:
            s = self.sides
            beside = s.mean, s.signed, s.slopes, s.other
            kernels.look_beside(at, near, outside, *beside, tables.signed, tables.mean, units.OWN, inputs)
        heads, every, end = np.zeros((n, len(units.GROUPS), units.EDGES), np.int16), np.zeros((n, 64), np.int32), 64
        for g, (a, b) in enumerate(units.GROUPS):
            rows = np.arange((last >= a).sum())
            column, counted = np.empty((len(rows), units.EDGES), np.int16), np.empty((len(rows), b - a), np.int32)
            place = a, b, end, units.DIAGONALS[g]
            kernels.tell(*place, rows, at, near, which, self.values, self.steps, OWN, tables.edge, outside, 0, edges, column, counted)
            heads[: len(rows), g], every[: len(rows), a:b], end = column, counted, b
        values = self.values[at]
        result = {"inputs": inputs, "condition": self.conditions[which], "values": values, "last": last, "edges": heads, "near": every}
        result |= {"seen": features.last_inputs(last), "known": tables.of_signed(values)}
        return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in result.items()}


def means(values: NDArray[np.int16], initial: NDArray[np.int16]) -> NDArray[np.int16]:
    """What `features.mean_after` gives for the blocks (rows, columns, 64) of a component in tiles; (rows columns, 64)."""
    rows, columns = values.shape[:2]
    count = rows * columns
    flat, result = np.concatenate([values.reshape(-1, 64), np.zeros((1, 64), np.int16)]), np.zeros((count + 1, 64), np.int16)
    y, x = np.divmod(np.arange(count), columns)
    step = x % TILE + 2 * (y % TILE)
    order = np.argsort(step, kind="stable")
    dy, dx = np.array(units.AROUND[:4]).T
    ty, tx = y[:, None] % TILE + dy, x[:, None] % TILE + dx
    there = (ty >= 0) & (tx >= 0) & (tx < TILE) & (x[:, None] + dx < columns)
    around = np.where(there, np.arange(count)[:, None] + dy * columns + dx, count)
    for at in np.split(order, np.flatnonzero(np.diff(step[order])) + 1):
        past = np.where(there[at, :, None], result[around[at]], initial)
        result[at] = features.mean_after(features.mean_before(past), flat[at])
    return result[:-1]


def planes_of(blocks: Sequence[NDArray[np.int16]], steps: Sequence[NDArray[Any]], sampling: Any) -> list[Plane]:
    """Components of a file as a model takes them."""
    return [
        Plane((int(factors[0]), int(factors[1])), step.astype(np.uint16), features.profile(block), block)
        for block, step, factors in zip(blocks, steps, sampling, strict=False)
    ]


def read_planes(path: Path) -> list[Plane]:
    """The components of a JPEG file, read with `jpeglib`. Raises ValueError if that is not installed."""
    try:
        jpeglib: Any = import_module("jpeglib")
    except ImportError:
        raise ValueError("coefficients are read with jpeglib: pip install presage[train]") from None
    found = jpeglib.read_dct(str(path))
    blocks = [part for part in (found.Y, found.Cb, found.Cr) if part is not None]
    return planes_of(blocks, [found.qt[number] for number in found.quant_tbl_no], found.samp_factor)


def saved(pixels: Pixels, path: Path, random: np.random.Generator) -> None:
    """Save a picture as a JPEG file of any quality and sampling; some are gray, or were JPEG before, or are made smaller."""
    image = Image.fromarray(pixels)
    if random.random() < 0.06:
        image = image.convert("L")
    subsampling = {} if image.mode == "L" else {"subsampling": int(random.choice(3, p=[0.3, 0.25, 0.45]))}
    if random.random() < 0.25:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=int(random.integers(60, 98)), **subsampling)
        image = Image.open(buffer)
    if random.random() < 0.25:
        side = int(random.integers(130, image.width))
        image = image.resize((side, side), Image.Resampling.BICUBIC)
    quality = random.integers(30, 99) if random.random() < 0.4 else random.integers(80, 99)
    image.save(path, "JPEG", quality=int(quality), **subsampling)


class JpegBlocks:
    """Training and held-out blocks of both kinds."""

    def __init__(self, config: JpegData) -> None:
        """Raises ValueError and FileNotFoundError."""
        self.config, self.tables = config, Tables.make()
        files = sorted(Path(config.folder).expanduser().glob("*.jpg"))
        if len(files) < config.hold_out:
            raise FileNotFoundError(f"no {config.hold_out} JPEG files in {config.folder}")
        self.training = {kind: Blocks(kind == "later") for kind in KINDS}
        self.held_out = {kind: Blocks(kind == "later") for kind in KINDS}
        for i, file in enumerate(files):
            self._add(self.held_out if i % config.hold_out == config.hold_out - 1 else self.training, read_planes(file), i)
        for blocks in self.training.values():
            blocks.original = blocks.count
        if config.pictures:
            self._add_pictures(len(files))
        for blocks in (*self.training.values(), *self.held_out.values()):
            blocks.seal()

    def _add_pictures(self, number: int) -> None:
        random = np.random.default_rng(self.config.seed)
        Image.MAX_IMAGE_PIXELS = None
        pictures: list[Pixels] = []
        for file in sorted(Path(self.config.pictures).expanduser().glob(self.config.pattern)):
            with Image.open(file) as image:
                pictures += tiles(np.asarray(image.convert("RGB")), self.config.mosaic)
        with TemporaryDirectory() as folder:
            for i, pixels in enumerate(pictures[: len(pictures) - self.config.keep_out]):
                path = Path(folder) / "picture.jpg"
                saved(pixels, path, random)
                self._add(self.training, read_planes(path), number + i)

    @staticmethod
    def _add(to: Mapping[str, Blocks], planes: Sequence[Plane], file: int) -> None:
        to["first"].add(planes[0], 0, None, None, file)
        for i, plane in enumerate(planes[1:], 1):
            second = zigzag(planes[1].blocks) if i > 1 else None
            sides = features.side(plane, zigzag(planes[0].blocks), planes[0].sampling, second, planes[1].sampling)
            to["later"].add(plane, i, planes[0], sides, file)

    def batch(self, count: int, random: np.random.Generator) -> dict[str, Batch]:
        """So many blocks of first components, and half as many of later ones."""
        sizes = zip(KINDS, (count, count // 2), strict=True)
        kinds = [(self.training[kind], self.training[kind].sample(n, self.config.share, random)) for kind, n in sizes]
        return {kind: blocks.batch(at, self.tables) for kind, (blocks, at) in zip(KINDS, kinds, strict=True)}

    def validation_parts(self, size: int) -> list[dict[str, Batch]]:
        """Some blocks of every held-out file, in one part."""
        random = np.random.default_rng(0)
        result: dict[str, Batch] = {}
        for kind, blocks in self.held_out.items():
            files = blocks.file[blocks.which]
            at = [np.flatnonzero(files == file) for file in np.unique(files)]
            chosen = np.concatenate([random.choice(places, min(len(places), VALIDATION), replace=False) for places in at])
            result[kind] = blocks.batch(np.sort(chosen), self.tables)
        return [result]
