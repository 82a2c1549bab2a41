"""The joint between models and codec: what a model must offer, and in what words the two talk.

A model turns pixels into *symbols*, says how probable each is, and turns symbols into pixels. Where symbols come from is not its
affair: it goes through them in *turns*, hands the integer weights of a turn to a `Code`, and gets the turn's symbols back. Encoding is
a walk with a code that records the known symbols, decoding one that pulls them from streams, sampling one that draws random bits.

How a model's symbols are coded (`coding`):

- `tiles`: independent tiles, one ANS stream each, in the turns of a `Walkable` model;
- `groups`: tiles in groups with a chain stream each, which a `Predictable` model decodes with far fewer evaluations than symbols;
- `flow`: tiles, some of which share an ANS stream, in the few turns of a `Flowing` model, whose symbols are made of pixels layer by layer;
- `planes`: luma and chroma of a picture whose RGB values come from such planes, in tiles as `tiles`, by a `Planar` model;
- `jpeg`: quantised coefficients of a JPEG file, component after component, in tiles of blocks as `tiles`, by a `Transformed` model;
- `layers`: the ordered codes of a `Layered` model, all patches' first codes, then the second ones, in chunks that may be cut anywhere;
- `digits`: latents digit by digit, in rounds, layers of a `Layered` model; `stages`: some bits of all values at a time, see `staged.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .integer import Tensors

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]
"""Grey levels (..., height, width, 1 or 3)."""
Symbols = NDArray[np.uint8]
"""(..., height, width, channels)"""
Size = tuple[int, int]
"""(height, width)"""
Window = tuple[int, int, int, int]
"""(top, bottom, left, right)"""
Way = Literal["tiles", "groups", "layers", "digits", "planes", "jpeg", "flow", "stages"]
"""How a model's symbols are coded, see above."""
Places = NDArray[np.int64]
Nibbles = NDArray[Any]
"""Integers: the symbols of a turn."""
Box = tuple[int, int, int, int]
"""(left, top, right, bottom)"""
Blocks = NDArray[np.int16]
"""Quantised coefficients (rows, columns, 8, 8) of blocks, [vertical, horizontal frequency] of each."""
Features = NDArray[Any]
"""What is quantised: float32 (B, h, w, channels), or categories as they are."""


class Span(IntEnum):
    """What a channel of symbols holds in a picture, so that nothing is coded that is known from it."""

    ZERO = 0  # the symbol `blank` alone: nothing is coded
    NEAR = 1  # symbols that share its high nibble: the low one is coded
    FULL = 2
    SAME = 3  # what the first channel holds: nothing is coded


@dataclass(frozen=True)
class Turn:
    """Symbols that are asked for together, because none of them depends on another.

    channel: of the symbols; of ordered codes the layer. half: which nibble of the symbol, 0 the high one, 1 the low one; of codes 0.
    at: where the symbols are (n): row by row in tiles of the walk's largest size, one after another; of codes the row in the layer.
    bounds: (streams, 2), which of the n belong to each stream, first and past-the-last; what belongs to none is ignored. share: of the
    walk that is done, 0..1.
    steps: of the wavefront at which the symbols are (n), where they are known beforehand and asked for many steps at a time. In a
    stream they stand in the order (step, channel, half, place in the turn).
    near: what is taken off the values at these places before their symbols are made of them (n); nothing if None.
    """

    channel: int
    half: int
    at: Places
    bounds: Places
    share: float
    steps: NDArray[np.int64] | None = None
    near: NDArray[np.int32] | None = None


Code = Callable[[Turn, NDArray[np.float32]], Nibbles]
"""Integer weights (n, entries) of the symbols at a turn -> the symbols (n), of any integer type; of codes, and of
pixels along a wavefront, fewer than n end the walk."""


class Known:
    """The code that answers with known symbols: the nibbles of tiles (height, width, channels) each; `padded` holds them all."""

    def __init__(self, tiles: Sequence[Symbols]) -> None:
        height, width = (max(tile.shape[i] for tile in tiles) for i in (0, 1))
        padded = np.zeros((len(tiles), height, width, tiles[0].shape[2]), np.uint8)
        for i, tile in enumerate(tiles):
            padded[i, : tile.shape[0], : tile.shape[1]] = tile
        self.padded, self.symbols = padded, padded.reshape(-1, padded.shape[3])

    def __call__(self, turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
        symbols = self.symbols[turn.at, turn.channel].astype(np.int32)
        nibbles: Nibbles = symbols >> 4 if turn.half == 0 else symbols & 15
        return nibbles


class Model(Protocol):
    """What every model offers.

    coding: which of the protocols below it follows. lossy: whether pixels come back otherwise than they were. colour, grey_levels: of
    the pictures it takes. stride: pixels along the side of a place of the map of symbols. refines: whether it is `refinable.Refinable`.
    """

    coding: Way
    lossy: bool
    colour: bool
    grey_levels: int
    stride: int
    refines: bool

    def size(self, height: int, width: int) -> Size:
        """Height and width of the map of a picture."""

    def analyse(self, pixels: Pixels, window: Window) -> Features:
        """What is quantised in a window of the map of pictures (B, H, W, 1 or 3)."""

    def synthesise(self, received: Any, window: Window) -> Pixels:
        """The pixels (B, stride * rows, stride * columns, 1 or 3) of a window of the map, of what `dequantise` gives."""

    def predictor(self, quality: int) -> Predictable | None:
        """What predicts the symbols of the map at any of its places, if the model can."""


class Tiled(Model, Protocol):
    """A model of coding `tiles` or `groups`: its map is cut into tiles.

    tile: their usual side. qualities: how many there are to choose from. channels: symbols at a place; blank: what stands for lost ones.
    """

    tile: int
    qualities: int
    channels: int
    blank: int

    def quantise(self, features: Features, quality: int) -> Symbols:
        """The map (B, h, w, channels) at a quality 0 ... qualities - 1."""

    def dequantise(self, symbols: Symbols, quality: int) -> Any:
        """What `synthesise` wants of the map (B, h, w, channels)."""


class Walkable(Tiled, Protocol):
    """A model of coding `tiles`. batch: tiles that are walked through together."""

    batch: int

    def answers(self, tiles: Sequence[Symbols]) -> Known:
        """The code that answers with the symbols of tiles of the map, (height, width, channels) each."""

    def spans(self, tiles: Sequence[Symbols]) -> list[Span]:
        """What every channel holds in the tiles of a picture."""

    def walk(self, sizes: Sequence[Size], spans: Sequence[Span], quality: int, code: Code, known: Known | None = None) -> list[Symbols]:
        """Tiles of these sizes, as `code` says. known: what it will say, if that is known beforehand."""


class Flowing(Tiled, Protocol):
    """A model of coding `flow`, which is walked through as a `Walkable` one. calls: networks that a walk evaluates."""

    @property
    def calls(self) -> int: ...

    def answers(self, tiles: Sequence[Symbols]) -> Code:
        """The code that answers with what the layers make of tiles (height, width, channels) each."""

    def walk(self, sizes: Sequence[Size], spans: Sequence[Span], quality: int, code: Code) -> list[Symbols]:
        """Tiles of these sizes, as `code` says. spans: none but FULL."""


class Planar(Model, Protocol):
    """A model of coding `planes`: one plane of a picture, given what is known of two others, its side planes (128 if nothing is).

    tile: usual side of tiles. batch: tiles that are walked through together.
    """

    tile: int
    batch: int

    def answers(self, tiles: Sequence[Symbols]) -> Known:
        """The code that answers with the levels of tiles (height, width, 1) of the plane."""

    def walk(self, sides: Sequence[Symbols], code: Code) -> list[Symbols]:
        """Tiles (height, width, 1) of the plane as `code` says, given those (height, width, 2) of the side planes."""


@dataclass(frozen=True)
class Plane:
    """A component of a JPEG file, as a `Transformed` model takes it.

    sampling: vertical and horizontal factor, 1..4 each. steps: (8, 8) uint16, of the quantisation of each coefficient.
    profile: what the model's `profile` made of the component; it stands in the file.
    blocks: the coefficients, whole or as much as is known (0 elsewhere); of the component that is coded only their shape matters.
    """

    sampling: tuple[int, int]
    steps: NDArray[np.uint16]
    profile: bytes
    blocks: Blocks


class Transformed(Protocol):
    """A model of coding `jpeg`: the blocks of a component, given the components before it (all of luma, then one chroma, ...).

    lossy: False. tile: usual side of tiles, in blocks. batch: tiles that are walked through together. profile_bytes: length of a profile.
    """

    coding: Way
    lossy: bool
    tile: int
    batch: int
    profile_bytes: int

    def profile(self, blocks: Blocks) -> bytes:
        """What the model wants to be told of a component as a whole; for the encoder, which writes it into the file."""

    def beside(self, plane: Plane, other: Plane, box: Box) -> Box:
        """The blocks of a component before it that a tile (in blocks) of a component depends on."""

    def answers(self, tiles: Sequence[Blocks]) -> Code:
        """The code that answers with the coefficients of tiles."""

    def walk(
        self, plane: Plane, before: Sequence[Plane], boxes: Sequence[Box], code: Code, known: Sequence[Blocks] | None = None
    ) -> list[Blocks]:
        """The tiles of a component that boxes (in blocks) cut out of it, as `code` says; new arrays (height, width, 8, 8) each.

        before: the components before it in their order. The arrays of `boxes`, `answers` and the streams of `code` are in one order.
        known: the tiles that `code` will say, if that is known beforehand: faster, with turns that have `steps`.
        Any int16 is a coefficient. Raises ValueError for a profile of another length.
        """


class Layered(Model, Protocol):
    """A model of coding `layers` or `digits`. sides: of the patches of every layer, in pixels."""

    sides: Sequence[int]

    def answers(self, features: Features) -> Code:
        """The code that chooses the codes of a map (1, h, w, channels)."""

    def walk(self, pictures: int, height: int, width: int, layers: int, code: Code, workers: int = 1) -> list[Places]:
        """The codes of the first layers of maps of one size, int64 (n) of every layer in coding order, by so many threads."""

    def counts(self, height: int, width: int) -> list[int]:
        """Codes of every layer of a map."""

    def dequantise(self, known: Sequence[Places], height: int, width: int, pictures: int = 1) -> Any:
        """What `synthesise` wants of maps of which the first codes of the first layers are known."""


class Predictable(Protocol):
    """What can be evaluated at any pixels of symbols, and so be decoded predictively. In a pixel, channels come in turn.

    depth: channels of the symbols at a pixel. levels: of a symbol. slope: if not 0, the pixels of a step x + slope y do not depend on
    one another.
    """

    depth: int
    levels: int
    slope: int

    def to_symbols(self, tile: Symbols) -> Symbols:
        """What is coded of a tile of the map, (height, width, channels)."""

    def from_symbols(self, symbols: Symbols, height: int, width: int) -> Symbols:
        """The inverse, given the tile's size."""

    def to_map(self, values: NDArray[Any]) -> NDArray[Any]:
        """Numbers of symbols (h, w, depth) where `from_symbols` puts these."""

    def places(self, height: int, width: int) -> Size:
        """Height and width of the symbols of a tile."""

    def order(self, height: int, width: int) -> Places:
        """Raster indices of the pixels of symbols in coding order."""

    def steps(self, height: int, width: int) -> Places:
        """The step of every pixel in coding order, ascending."""

    def evaluator(self, sizes: Sequence[Size]) -> Evaluator:
        """For images whose symbols have these sizes."""

    def forecasts(self, kind: str, evaluator: Any) -> Forecasts:
        """A learned module over an evaluator's maps. Raises ValueError if there is none of that kind."""


class Evaluator(Protocol):
    """The distributions of a batch of images at chosen pixels, for symbols that are known or guessed; all 0 in the beginning.

    Pixels are given by numbers of the evaluator's own, its rows. pixels: of every image its rows in coding order. rows: more than the
    largest of them.
    """

    rows: int

    @property
    def pixels(self) -> Sequence[Places]: ...

    def put(self, pixels: Places, symbols: Symbols, watch: bool = True) -> None:
        """Set the symbols (n, channels) of pixels. watch: other pixels may have been evaluated with other symbols here."""

    def open(self, pixels: Places) -> None:
        """Have `evaluate` return pixels even if nothing has changed for them."""

    def evaluate(self, pixels: Places, watch: bool = True) -> Places:
        """Go through the network once at pixels; returns those whose distributions may be others than before.

        watch False: nothing that was evaluated sees these pixels, and none of them was evaluated before but for another of its channels.
        """

    def head_sums(self, pixels: Places) -> Any:
        """What `distribution` wants of pixels that were evaluated, and keeps of them."""

    def distribution(self, head_sums: Any, pixels: Places, channel: int, symbols: Symbols, precision: int) -> Quantiles:
        """The distributions of a channel of pixels, given the symbols (n, channels) of its earlier channels.

        Channels are asked for in ascending order, and symbols of earlier channels stay what they were.
        """


class Quantiles(Protocol):
    """Distributions of n symbols over the quantiles 0..2^precision - 1, of which every symbol owns at least one."""

    def find(self, quantiles: Places) -> tuple[Places, Places, Places]:
        """The symbols that own quantiles (n), the first quantile and the number of quantiles of each; (n) each."""

    def intervals(self, symbols: NDArray[Any]) -> tuple[Places, Places]:
        """First quantile and number of quantiles of symbols (n); (n) each."""

    def table(self) -> Places:
        """The number of quantiles of every symbol, (n, levels)."""


class Halved(Quantiles, Protocol):
    """Distributions of symbols of 256 levels that can be coded a nibble at a time."""

    def nibbles(self, above: NDArray[np.int32] | None = None) -> NDArray[np.float32]:
        """Integer weights (n, 16) of the high nibbles, or of the low ones under the high nibbles `above` (n)."""


class Forecasts(Protocol):
    """A learned module. steps: pixels that it forecasts. noise: what it is told of their noise, `quantile`, `gumbel` or nothing."""

    noise: str
    steps: int

    def targets(self, pixels: Places) -> tuple[Places, NDArray[np.bool_]]:
        """The pixels from each of some pixels (n) on, (n, steps), and whether they are still in its image row."""

    def tables(self, pixels: Places, targets: Places, in_row: NDArray[np.bool_], noise: Tensor | None) -> Tensor:
        """Probabilities (n, steps, channels, levels) at targets. noise: their quantiles in 0..1 (n, steps, channels), or the Gumbel
        noise (n, steps, channels, levels)."""


class Lossless:
    """What models of the pixels themselves have in common, a base for new ones: symbols are grey levels, predicted in raster order."""

    coding: Way = "groups"
    lossy = refines = False
    qualities = 1
    tile = 32
    colour = True
    grey_levels = levels = 256
    stride = 1
    channels = depth = 3
    blank = 128
    slope = 0

    def size(self, height: int, width: int) -> Size:
        return height, width

    def analyse(self, pixels: Pixels, window: Window) -> Features:
        top, bottom, left, right = window
        return pixels[:, top:bottom, left:right]

    def quantise(self, features: Features, quality: int) -> Symbols:
        return features

    def dequantise(self, symbols: Symbols, quality: int) -> Symbols:
        return symbols

    def synthesise(self, received: Symbols, window: Window) -> Pixels:
        return self.analyse(received, window)

    def predictor(self, quality: int) -> Any:
        return self

    def to_symbols(self, tile: Symbols) -> Symbols:
        return tile

    def from_symbols(self, symbols: Symbols, height: int, width: int) -> Symbols:
        return symbols

    def to_map(self, values: NDArray[Any]) -> NDArray[Any]:
        return values

    def places(self, height: int, width: int) -> Size:
        return height, width

    def order(self, height: int, width: int) -> Places:
        return np.arange(height * width)

    def steps(self, height: int, width: int) -> Places:
        return np.zeros(height * width, np.int64)

    def forecasts(self, kind: str, evaluator: Any) -> Forecasts:
        raise ValueError(f"this model has no forecasting module {kind!r}; there are none")


Factory = Callable[[Tensors, str | None, str], Model]
"""(arrays of a weights file, arithmetic, device) -> model. Raises ValueError for arrays that are not exact."""
