"""The `pixelcnn` network in floating point, as it is trained; `exact.py` is its integer form.

A PixelCNN with two stacks of gated residual blocks: the vertical ("up") stack sees the rows above, the horizontal
("up-left") stack also the pixels to the left (van den Oord et al. 2016; Wiggers and Hoogeboom 2020, appendix A.1). The
channels of a pixel come in turn: the head of a channel sees the values of the channels before it.

`slope` bounds the receptive field to the right: with slope s a pixel sees at most s k - 1 columns to the right in the k-th row
above, however many blocks there are, so that the pixels x + s y = constant do not depend on one another. Slope 0 is the
usual kernel, whose receptive field grows with the depth.

In the last part of training (`quantise`) weights, activations and gates are held on the grids of `quantisation.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .. import context, logistic, units
from ..precision import working_dtype
from ..quantisation import INPUT_BITS, STREAM_BITS, FakeQuantiser, Linear, calibrate, module_list, round_inputs, round_to, straight_through
from ..training.trainable import Trainable
from . import learned as forecast

Taps = Sequence[tuple[int, int]]
GATE_BITS, GATE_LEVELS = 4, 8  # a gate's argument counts 1/16, its value 1/256
CONDITION, KNOTS = 16, 9  # numbers that say what the quality is, at so many qualities; linear between these


@dataclass(frozen=True)
class PixelCNNConfig:
    channels: int = 3  # of a pixel, or patch * patch times as many
    levels: int = 256  # values of a symbol
    patch: int = 1  # a "pixel" of the network is a patch of so many by so many pixels, whose pixels are channels in turn
    context: str = "embedded"  # what the first layers see: `embedded` symbols, or grey levels `relative` to predictions
    output: str = "categorical"  # or `mixture` of logistics around the prediction, with embedded contexts around `zero`
    slope: int = 2
    width: int = 64
    blocks: int = 4
    head: int = 64
    mixtures: int = 5
    embedding: int = 8  # numbers a channel
    latents: bool = False  # the symbols are latents of an autoencoder, not grey levels
    zero: int = 0  # the symbol in the middle, where symbols are numbers and not names: mixtures with embedded contexts
    qualities: int = 0  # values of a condition that the distributions depend on; 0: none
    forecasters: Sequence[str] = ()  # kinds of learned forecasting modules, see `learned.py`
    forecast_steps: int = 20  # pixels
    forecast_filters: int = 64
    forecast_weight: float = 0.01  # of their loss beside the ARM's

    def __post_init__(self) -> None:
        if self.context not in ("embedded", "relative") or self.output not in ("categorical", "mixture"):
            raise ValueError("context is `embedded` or `relative`, output is `categorical` or `mixture`")
        if self.context == "relative" and (self.channels, self.slope) != (units.CHANNELS, units.SLOPE):
            raise ValueError(f"relative contexts are for {units.CHANNELS} channels and slope {units.SLOPE}")
        if self.channels % self.patch**2 or (self.patch > 1 and self.context == "relative"):
            raise ValueError("channels come in whole patches, and relative contexts know no patches")
        if self.qualities and self.context == "relative":
            raise ValueError("relative contexts know no qualities")

    @property
    def step(self) -> int:
        """Grey levels from one symbol to the next."""
        return 1 if self.latents else 256 // self.levels

    @property
    def own(self) -> int:
        """Inputs that describe a pixel's surroundings without the pixel, or all of the image."""
        return units.INPUTS if self.context == "relative" else CONDITION * bool(self.qualities)

    @property
    def seen(self) -> int:
        """Inputs that later pixels get of a pixel."""
        return units.INPUTS + units.CHANNELS if self.context == "relative" else self.channels * self.embedding

    @property
    def hints(self) -> int:
        """Inputs that later channels get of a channel."""
        return units.HINTS if self.context == "relative" else self.embedding

    @property
    def outputs(self) -> int:
        """Parameters of a symbol's distribution."""
        return 3 * self.mixtures if self.output == "mixture" else self.levels

    def order(self, height: int, width: int) -> Tensor:
        """Raster indices of an image's pixels in coding order: with a slope s by step x + s y, in a step from the top."""
        return self._step(height, width).argsort(stable=True)

    def steps(self, height: int, width: int) -> Tensor:
        """The step of every pixel in coding order; 0 for all without a slope."""
        return self._step(height, width).sort().values

    def _step(self, height: int, width: int) -> Tensor:
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        return (x + self.slope * y if self.slope else y * 0).flatten()

    def forecaster(self, kind: str) -> forecast.Forecaster:
        """A new forecasting module."""
        inputs = self.seen if kind == "x" else self.width
        return forecast.Forecaster(kind, inputs, self.forecast_steps, self.channels, self.levels, self.outputs, self.forecast_filters)

    def first_taps(self) -> tuple[Taps, Taps]:
        """Pixels whose inputs the first layers of the two stacks see, as (dy, dx)."""
        if self.context == "relative":
            return [(-1, -1), (-1, 0), (-1, 1)], [(0, -1)]
        right = {k: self.slope * k - 1 if self.slope else 2 for k in (1, 2)}
        return [(-k, dx) for k in (2, 1) for dx in range(-2, min(2, right[k]) + 1)], [(0, -3), (0, -2), (0, -1)]

    def block_taps(self) -> tuple[Taps, Taps]:
        """Pixels whose features a block of the up stack and of the up-left stack sees."""
        above, beside = (self.slope, 0) if self.slope else (1, 1)
        up = [(-1, dx) for dx in range(-1, min(2, above) + 1)] + [(0, dx) for dx in range(-1, beside + 1)]
        return up, [(-1, -1), (-1, 0), (0, -1), (0, 0)]


class TapLinear(Linear):
    """A dense layer over the vectors of some neighbours of a pixel: a masked convolution."""

    def __init__(self, taps: Taps, inputs: int, outputs: int, gain: float = 1.0) -> None:
        super().__init__(len(taps) * inputs, outputs, gain)
        self.taps = taps
        self.top, self.bottom = max(-dy for dy, _ in taps), max(0, *(dy for dy, _ in taps))
        self.left, self.right = max(0, *(-dx for _, dx in taps)), max(0, *(dx for _, dx in taps))

    def convolve(self, x: Tensor, quantised: bool) -> Tensor:
        """x (B, H, W, inputs) -> (B, H, W, outputs)."""
        weight = self.weights(quantised).to(x.dtype)
        kernel = weight.new_zeros(weight.shape[0], x.shape[3], self.top + 1 + self.bottom, self.left + self.right + 1)
        rows, columns = [self.top + dy for dy, _ in self.taps], [self.left + dx for _, dx in self.taps]
        kernel[:, :, rows, columns] = weight.unflatten(1, (len(self.taps), -1)).transpose(1, 2)
        padded = F.pad(x, (0, 0, self.left, self.right, self.top, self.bottom)).permute(0, 3, 1, 2)
        return F.conv2d(padded, kernel.contiguous(memory_format=torch.channels_last), self.bias.to(x.dtype)).permute(0, 2, 3, 1)


def gated(sums: Tensor, stream_bits: Tensor, quantised: bool) -> Tensor:
    """a * sigmoid(b) of sums (..., 2 W) = (a, b); float32 (..., W)."""
    a, b = sums.float().chunk(2, -1)
    if not quantised:
        return a * torch.sigmoid(b)
    unit = torch.exp2(stream_bits.float())
    a = round_to(a, unit)
    argument = (b * 2**GATE_BITS + 0.5).floor().clamp(-128, 127) / 2**GATE_BITS
    steps = 2**GATE_LEVELS
    gate = straight_through((torch.sigmoid(argument) * steps).round() / steps, torch.sigmoid(b))
    return round_to(a * gate, unit)


class PixelCNN(Trainable):
    """Float network; `forward` gives nats per symbol for whole images."""

    quantised: Tensor
    stream_bits: Tensor

    def __init__(self, config: PixelCNNConfig) -> None:
        super().__init__()
        c = self.config = config
        (first_up, first_left), (up, left) = c.first_taps(), c.block_taps()
        if c.context == "embedded":
            self.embedding = nn.Parameter(_numbers(c) if c.zero else torch.randn(c.channels, c.levels, c.embedding))
        if c.qualities:
            self.condition = nn.Parameter(torch.randn(KNOTS, CONDITION))
        self.first_up = TapLinear(first_up, c.seen, c.width, gain=0.7)
        self.first_left = TapLinear(first_left, c.seen, c.width, gain=0.7)
        self.first_own = Linear(c.own + c.width, c.width, gain=0.7)
        self.up = module_list([TapLinear(up, c.width, 2 * c.width, gain=0.7) for _ in range(c.blocks)])
        self.left = module_list([TapLinear(left, c.width, 2 * c.width, gain=0.7) for _ in range(c.blocks)])
        self.link = module_list([Linear(c.width, 2 * c.width, gain=0.7) for _ in range(c.blocks)])
        self.heads = module_list([Linear(c.width + c.hints * i, c.head) for i in range(c.channels)])
        self.outs = module_list([Linear(c.head, c.outputs, gain=0.1) for _ in range(c.channels)])
        if c.output == "mixture":
            for out in self.outs:
                out.bias.data.copy_(logistic.initial_bias(c.mixtures))
        self.up_grids = module_list([FakeQuantiser(signed=True) for _ in range(c.blocks + 1)])
        self.left_grids = module_list([FakeQuantiser(signed=True) for _ in range(c.blocks + 1)])
        self.head_grids = module_list([FakeQuantiser() for _ in range(c.channels)])
        modules = nn.ModuleDict({kind.replace("+", "_"): c.forecaster(kind) for kind in c.forecasters})
        self.forecasters = cast("Mapping[str, forecast.Forecaster]", modules)
        self.register_buffer("quantised", torch.tensor(False))
        self.register_buffer("stream_bits", torch.tensor(0, dtype=torch.int32))
        self.tables = context.Tables.make()
        self._nats = logistic.nats
        self._gated = gated

    def compile_loss(self) -> None:
        self._nats = torch.compile(logistic.nats)
        self._gated = torch.compile(gated)

    def quantise(self, sample: Tensor, quality: Tensor | None = None) -> None:
        """From now on everything is on its grid; the grids are chosen from uint8 sample symbols (B, H, W, C)."""
        calibrate(self, sample, quality)
        c = self.config
        ups, lefts = [int(g.bits) for g in self.up_grids], [int(g.bits) for g in self.left_grids]
        self.stream_bits.fill_(max(ups + lefts) + STREAM_BITS)
        bits = INPUT_BITS
        for layer in (self.first_up, self.first_left):
            layer.calibrate((len(layer.taps) * c.seen, bits))
        self.first_own.calibrate((c.own, bits), (c.width, ups[0]))
        for i in range(c.blocks):
            self.up[i].calibrate((len(self.up[i].taps) * c.width, ups[i]))
            self.left[i].calibrate((len(self.left[i].taps) * c.width, lefts[i]))
            self.link[i].calibrate((c.width, ups[i + 1]))
            _share_exponents(self.left[i], self.link[i])
        _share_exponents(self.first_left, self.first_own)
        for i, (head, grid, out) in enumerate(zip(self.heads, self.head_grids, self.outs, strict=True)):
            head.calibrate((c.width, lefts[-1]), (c.hints * i, bits))
            out.calibrate((c.head, int(grid.bits)))
        self.quantised.fill_(True)

    def conditions(self, quality: Tensor) -> Tensor:
        """The numbers that say what qualities (B) in 0..1 are, on their grid when quantised; (B, CONDITION)."""
        smooth = between_knots(self.condition, quality)
        return round_inputs(smooth) if self.quantised else smooth

    def inputs(self, symbols: Tensor, quality: Tensor | None = None) -> tuple[Tensor | None, Tensor, Tensor, Tensor | None]:
        """Of symbols (B, H, W, C): own inputs, seen inputs, hints (B, H, W, C, hints), centres in grey levels (B, H, W, C)."""
        dtype = working_dtype(symbols.device)
        if self.config.context == "embedded":
            tables = (round_inputs(self.embedding) if self.quantised else self.embedding).to(dtype)
            hints = torch.stack([tables[i][symbols[..., i].long()] for i in range(self.config.channels)], dim=-2)
            own = None
            if self.config.qualities:
                assert quality is not None
                own = self.conditions(quality).to(dtype)[:, None, None].expand(*symbols.shape[:3], -1)
            centres = torch.full(symbols.shape, float(self.config.zero), device=symbols.device) if self.config.output == "mixture" else None
            return own, hints.flatten(-2), hints, centres
        with torch.no_grad():
            pixels = symbols * self.config.step
            own, combined, residuals = context.features(pixels, self.tables)
            unit = 2.0**-INPUT_BITS
            hints = context.hints(residuals, self.tables).to(dtype) * unit
            own = own.to(dtype) * unit
            return own, torch.cat([own, hints[..., 0]], -1), hints, context.centres(combined, pixels[..., 1:2])

    def features(self, own: Tensor | None, seen: Tensor) -> Tensor:
        """The shared representation h: activations of the last up-left block (B, H, W, width), in the type of `seen`."""
        q, dtype = bool(self.quantised), seen.dtype
        v = self._stream(self.first_up.convolve(seen, q), q)
        x = self.up_grids[0](v, q).to(dtype)
        own_parts = [x] if own is None else [own, x]
        h = self._stream(self.first_left.convolve(seen, q) + self.first_own(*own_parts, quantised=q), q)
        y: Tensor = self.left_grids[0](h, q).to(dtype)
        for i in range(self.config.blocks):
            v = v + self._gated(self.up[i].convolve(x, q), self.stream_bits, q)
            x = self.up_grids[i + 1](v, q).to(dtype)
            h = h + self._gated(self.left[i].convolve(y, q) + self.link[i](x, quantised=q), self.stream_bits, q)
            y = self.left_grids[i + 1](h, q).to(dtype)
        return y

    def _stream(self, x: Tensor, quantised: bool) -> Tensor:
        """The start of a residual stream."""
        return round_to(x.float(), torch.exp2(self.stream_bits.float())) if quantised else x.float()

    def outputs(self, y: Tensor, hints: Tensor) -> Tensor:
        """Parameters of all distributions, float32 (C, B, H, W, outputs)."""
        q = bool(self.quantised)
        outputs = []
        for i, (head, grid, out) in enumerate(zip(self.heads, self.head_grids, self.outs, strict=True)):
            parts = [y, hints[..., :i, :].flatten(-2)] if i else [y]
            z = grid(head(*parts, quantised=q), q)
            outputs.append(out(z, quantised=q).float())
        return torch.stack(outputs)

    def nats(self, outputs: Tensor, symbols: Tensor, centres: Tensor | None) -> Tensor:
        """-log P of every symbol, float32 (C, B, H, W), given what `outputs` returns."""
        first = (3, 0, 1, 2)
        if centres is None:
            target = symbols.permute(first).long()
            return F.cross_entropy(outputs.flatten(0, 3), target.flatten(), reduction="none").view(target.shape)
        values = (self.coded(symbols) * self.config.step).float()
        return self._nats(outputs, values.permute(first).contiguous(), centres.permute(first).contiguous(), self.config.step)

    def coded(self, symbols: Tensor) -> Tensor:
        """Symbols (B, H, W, C) with their channels in coding order."""
        return symbols[..., [1, 0, 2]] if self.config.context == "relative" else symbols

    def distributions(self, symbols: Tensor, quality: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What `nats` wants beside the symbols: parameters (C, B, H, W, outputs) and centres (B, H, W, C)."""
        own, seen, hints, centres = self.inputs(symbols, quality)
        return self.outputs(self.features(own, seen), hints), centres

    def forward(self, symbols: Tensor, quality: Tensor | None = None) -> Tensor:
        """Nats of every symbol of uint8 images (B, H, W, C); float32 (C, B, H, W), with relative contexts as G, R, B.

        quality: (B) in 0..1, for networks with a condition. In training mode the weighted loss of the forecasters is added to each.
        """
        own, seen, hints, centres = self.inputs(symbols, quality)
        y = self.features(own, seen)
        outputs = self.outputs(y, hints)
        nats = self.nats(outputs, symbols, centres)
        if self.training and self.forecasters:
            modules, coded = list(self.forecasters.values()), self.coded(symbols)
            nats = nats + self.config.forecast_weight * forecast.loss(modules, coded, seen, y, outputs, centres, self.config.step)
        return nats


def _share_exponents(a: Linear, b: Linear) -> None:
    """The products of two layers are added before the shift: one exponent for both."""
    common = torch.minimum(a.exponent, b.exponent)
    a.exponent.copy_(common)
    b.exponent.copy_(common)


def between_knots(table: Tensor, quality: Tensor) -> Tensor:
    """Rows of a table (KNOTS, n) at qualities (B) in 0..1, linear in between; (B, n)."""
    position = quality * (len(table) - 1)
    low = position.floor().clamp(max=len(table) - 2)
    return torch.lerp(table[low.long()], table[low.long() + 1], (position - low).unsqueeze(1))


def _numbers(config: PixelCNNConfig) -> Tensor:
    """First embeddings of symbols that are numbers: smooth, so that rare symbols resemble their neighbours."""
    z = torch.arange(config.levels, dtype=torch.float32) - config.zero
    size = torch.log1p(z.abs())
    shapes = [torch.tanh(z * 0.7), z.sign() * size * 0.8, size * 0.8, (z / 4).clamp(-4, 4)]
    first = torch.stack([shapes[i % len(shapes)] for i in range(config.embedding)], 1)
    return first.repeat(config.channels, 1, 1)
