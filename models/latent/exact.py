"""The `latent` networks as files need them: the prior in exact integers, the transforms in float32.

What the prior says reaches the entropy coder and is exact. The encoder may be anything: its latents are in the file. The
decoder's pixels come after the entropy coder; large pictures go through it window by window, each with a margin that is as
wide as the network's reach, so that windows leave no seams.
"""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..autoencoder import grey_levels, receptive_field
from ..integer import Tensors
from ..model import Code, Evaluator, Halved, Known, Pixels, Places, Size, Span, Symbols, Turn, Way, Window
from ..pixelcnn.dequantised import conditions, float_pixelcnn
from ..pixelcnn.exact import ExactPixelCNN
from ..pixelcnn.network import PixelCNN
from ..refinable import Refined, Report, chosen
from ..tensors import on_device, part_of, read_settings
from ..windows import around, padded
from .network import QUALITIES, ZERO, LatentConfig, Transforms
from .refinement import PLANS, Refiner

Features = NDArray[np.float32]
Received = tuple[Symbols, int]
"""Latents (B, h, w, channels) and their quality."""
CHUNK = 512  # rows that are evaluated together where all symbols are known
OVERLAP = 4  # latents around a window that are moved with it, and then left to their own windows


class ExactLatent:
    """Integer prior and float32 transforms of a weights file, on one device.

    Latents that are numbers around a `blank` are coded along the wavefront, others in groups.
    """

    lossy = True
    tile = 128
    batch = 24
    colour = True
    grey_levels = 256

    def __init__(self, tensors: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """Raises ValueError if a sum of the prior could leave the exact range."""
        self.config = LatentConfig(**read_settings(tensors))
        self.prior = ExactPixelCNN(part_of(tensors, "prior."), arithmetic, device)
        self._smooth: PixelCNN | None = None
        self._making = Lock()
        self.device = torch.device(device)
        self.transforms = Transforms(self.config).eval()
        weights = {k: v.float() for k, v in on_device(part_of(tensors, "transforms."), self.device).items()}
        self.transforms.load_state_dict(weights, assign=True)
        self.transforms.requires_grad_(False)
        self.stride, self.channels, self.blank = self.config.side, self.config.channels, self.prior.config.zero
        self.qualities = QUALITIES if self.config.quantiser == "steps" else 1  # categories have one
        walkable = self.prior.config.slope and self.prior.config.output == "mixture"
        self.coding: Way = "tiles" if walkable else "groups"
        self.refines = self.config.quantiser == "steps" and self.coding == "tiles"
        self.margin = receptive_field(self.config.quantiser == "steps", self.config.fine_blocks, self.config.blocks)

    def predictor(self, quality: int) -> ExactPixelCNN:
        """The prior of the latents at a quality 0 ... qualities - 1."""
        return self.prior.at_quality(quality) if self.qualities > 1 else self.prior

    def size(self, height: int, width: int) -> Size:
        """Height and width of the latents of a picture."""
        side = self.config.side
        return -(-height // side), -(-width // side)

    def answers(self, tiles: Sequence[Symbols]) -> Known:
        return Known(tiles)

    def spans(self, tiles: Sequence[Symbols]) -> list[Span]:
        low = np.min([tile.min((0, 1)) for tile in tiles], axis=0)
        high = np.max([tile.max((0, 1)) for tile in tiles], axis=0)
        near = (low >> 4 == self.blank >> 4) & (high >> 4 == self.blank >> 4)
        nothing = (low == self.blank) & (high == self.blank)
        return [Span.ZERO if z else Span.NEAR if n else Span.FULL for z, n in zip(nothing, near, strict=True)]

    def walk(self, sizes: Sequence[Size], spans: Sequence[Span], quality: int, code: Code, known: Known | None = None) -> list[Symbols]:
        """Symbols in the order (step, channel, half, row): for each step channel after channel, of each the high nibbles of all rows first.

        Known symbols are asked for tile by tile, many steps at once.
        """
        prior = self.predictor(quality)
        height, width = (max(size[i] for size in sizes) for i in (0, 1))
        raster, steps = ([of(h, w) for h, w in sizes] for of in (prior.order, prior.steps))
        at = [i * height * width + p // w * width + p % w for i, (p, (_, w)) in enumerate(zip(raster, sizes, strict=True))]
        tiles = np.empty((len(sizes) * height * width, self.channels), np.uint8)
        for i, size in enumerate(sizes if known else []):
            assert known is not None
            front = prior.evaluator([size])
            front.put(front.pixels[0], known.symbols[at[i]], watch=False)
            for first in range(0, len(at[i]), CHUNK):
                rows, here, chosen = (part[first : first + CHUNK] for part in (front.pixels[0], at[i], steps[i]))
                bounds = np.zeros((len(sizes), 2), np.int64)
                bounds[i, 1] = len(here)
                turn = partial(Turn, at=here, bounds=bounds, share=(i + 1) / len(sizes), steps=chosen)
                tiles[here] = self._visit(front, rows, spans, code, turn)
        if known is None:
            front = prior.evaluator(sizes)
            last = max(int(step[-1]) for step in steps)
            begins = [np.searchsorted(step, np.arange(last + 2)).tolist() for step in steps]
            for step in range(last + 1):
                cuts = [slice(b[step], b[step + 1]) for b in begins]
                ends = np.cumsum([0] + [cut.stop - cut.start for cut in cuts])
                rows, here = (np.concatenate([part[cut] for part, cut in zip(every, cuts, strict=True)]) for every in (front.pixels, at))
                bounds = np.stack([ends[:-1], ends[1:]], 1)
                turn = partial(Turn, at=here, bounds=bounds, share=(step + 1) / (last + 1))
                tiles[here] = symbols = self._visit(front, rows, spans, code, turn)
                front.put(rows, symbols, watch=False)
        grids = tiles.reshape(len(sizes), height, width, -1)
        return [grid[:h, :w] for grid, (h, w) in zip(grids, sizes, strict=True)]

    def _visit(self, front: Evaluator, rows: Places, spans: Sequence[Span], code: Code, turn: Callable[[int, int], Turn]) -> Symbols:
        """All symbols of some rows whose earlier ones are known; uint8 (n, channels)."""
        front.evaluate(rows, watch=False)
        head_sums = front.head_sums(rows)
        symbols = np.full((len(rows), self.channels), self.blank, np.uint8)
        middle = np.full(len(rows), self.blank >> 4, np.int32)
        for channel, span in enumerate(spans):
            if span == Span.ZERO:
                continue
            distribution = cast(Halved, front.distribution(head_sums, rows, channel, symbols, precision=0))
            above = code(turn(channel, 0), distribution.nibbles()) if span == Span.FULL else middle
            symbols[:, channel] = above * 16 + code(turn(channel, 1), distribution.nibbles(above))
        return symbols

    def analyse(self, pixels: Pixels, window: Window) -> Features:
        """What is quantised in a window of pictures, uint8 (B, H, W, 3): float32 (B, h, w, channels), or categories as they are."""
        side = self.config.side
        height, width = self.size(*pixels.shape[1:3])
        (a, b, c, d), (top, bottom, left, right) = around(window, self.margin, height, width)
        part = torch.from_numpy(padded(pixels, (a * side, b * side, c * side, d * side))).to(self.device)
        features = self.transforms.encode(part, torch.float32)
        values = features.argmax(-1).float() if self.config.quantiser == "categories" else features
        return np.asarray(values[:, top:bottom, left:right].cpu().numpy())

    def quantise(self, features: Features, quality: int) -> Symbols:
        """The latents of features (B, h, w, channels) at a quality; uint8."""
        if self.config.quantiser == "categories":
            return features.astype(np.uint8)
        scaled = self.transforms.scaled(torch.from_numpy(features).to(self.device), self._place(quality, len(features)))
        return np.asarray((scaled.round() + ZERO).to(torch.uint8).cpu().numpy())

    def refine(self, pixels: Pixels, features: Features, quality: int, window: Window, effort: int, report: Report) -> Refined:
        """See `refinable.Refinable`. All of it floating point: whatever it finds, the latents are in the file."""
        side, height, width = self.config.side, *pixels.shape[1:3]
        (a, b, c, d), (top, bottom, left, right) = around(window, OVERLAP, *features.shape[1:3])
        with torch.inference_mode(False), torch.no_grad():
            part = torch.from_numpy(padded(pixels, (a * side, b * side, c * side, d * side))).to(self.device)
            inside = min(b * side, height) - a * side, min(d * side, width) - c * side
            condition = conditions(self.prior.tensors)[quality].to(self.device)
            refiner = Refiner(self.transforms, self._float_prior(), condition, part, inside, quality / (QUALITIES - 1))
            plan = PLANS[effort]
            found = refiner.costs(refiner.moved(torch.tensor(features[:, a:b, c:d], device=self.device), plan, report))
            for _ in range(plan.choices):
                found = refiner.costs(torch.from_numpy(chosen(found, 1.0, ZERO).astype(np.float32)).to(self.device) - ZERO)
            return found.part(top, bottom, left, right)

    def _float_prior(self) -> PixelCNN:
        with self._making:
            if self._smooth is None:
                self._smooth = float_pixelcnn(self.prior.tensors).to(self.device)
            return self._smooth

    def _place(self, quality: int, count: int) -> Tensor:
        return torch.full((count,), quality / (QUALITIES - 1), device=self.device)

    def dequantise(self, symbols: Symbols, quality: int) -> Received:
        return symbols, quality

    def synthesise(self, received: Received, window: Window) -> Pixels:
        """The pixels of a window of latents; uint8 (B, side * rows, side * columns, 3)."""
        symbols, quality = received
        side = self.config.side
        (a, b, c, d), (top, bottom, left, right) = around(window, self.margin, *symbols.shape[1:3])
        part = torch.from_numpy(symbols[:, a:b, c:d].astype(np.int64)).to(self.device)
        if self.config.quantiser == "categories":
            decoded = self.transforms.decode_categories(F.one_hot(part, self.config.levels).float(), torch.float32)
        else:
            decoded = self.transforms.decode_steps((part - ZERO).float(), self._place(quality, len(part)), torch.float32)
        return grey_levels(decoded)[:, top * side : bottom * side, left * side : right * side]
