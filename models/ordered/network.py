"""The `ordered` networks: VQ-VAEs whose codes are ordered by importance, and a Transformer prior over the codes (Xu et al. 2021).

Pixels -> encoder -> feature map -> codes, layer after layer (`codebooks.py`) -> dequantised map -> decoder -> pixels. The codes may be cut
off anywhere: what is missing counts as zeros, and training draws the place of the cut at random (Eq. 6), so that early codes learn to
matter most. The prior is the `Transformer` of `prior.py`, exact in its integer form; encoder and decoder stay floating point.

Two designs: `residual`, the transforms of `latent` for photographs, with layers at strides of 16, 8 and 4 pixels; `leaky`, the paper's
convolutions, whose feature map is one patch for a picture of 32 x 32 pixels. Training goes in stages: `autoencoder`, first with full
codes and then with `cuts` (appendix E.2); for photographs the `decoder` alone, with the codes as they are; then, frozen, the `prior`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .. import autoencoder
from ..pixelcnn.network import between_knots
from ..precision import working_dtype
from ..quantisation import straight_through
from ..tensors import large_tensors, part_of
from ..training.trainable import Trainable
from . import codebooks as codes
from . import prior as transformer

DESIGNS = ("residual", "leaky")
CUTS = ("uniform", "geometric", "none")
STAGES = ("autoencoder", "decoder", "prior")
PLACE_SIDE = 8  # pixels along the side of a place of the feature map
TYPICAL = 0.75  # the quality whose scales a decoder of `latent` brings along
SAMPLE = 192  # pictures from which codebooks start
TRIED = 32  # those of them on which the order of layers is tried
ROOT_GROWTH = 1.57  # the root of the error falls by exp(-ROOT_GROWTH) from no codes to all, more or less


@dataclass(frozen=True)
class OrderedConfig:
    design: str = "residual"
    channels: int = 48  # of the feature map
    width: int = 256  # of the layers at an eighth of the side
    fine_width: int = 128  # of the layers at a quarter of the side; `residual` only
    fine_blocks: int = 2
    blocks: int = 4
    strides: Sequence[tuple[int, int]] = ((16, 10), (8, 48), (4, 6))  # `residual`: stride, number of layers
    layers: codes.Layers = ()  # (stride, channel) of every layer; found at the start of training if it is empty
    patch: int = 4  # `leaky`: places of the map along a patch
    entries: int = 128  # codewords of a codebook
    shared: bool = False  # one codebook for all layers, as in the paper
    first_price: float = 0.6  # rate-distortion multiplier of the first layer: squared error of the map that a bit is worth
    last_price: float = 0.0018  # and of the last, evenly in the logarithm between; 0: none anywhere, the nearest codeword is taken
    commitment: float = 0.25  # beta of Eq. 5
    cuts: str = "uniform"  # where training cuts the codes; `none`: nowhere, which is the unordered VQ-VAE and the pre-training
    geometric: float = 0.03  # parameter of the geometric distribution (appendix C.3)
    root: bool = False  # the error's root is made small instead, so weighted that all cuts count alike: hard pictures count more
    logarithm: bool = True  # the error's logarithm is made small, which is the mean of PSNR; otherwise the error, as in the paper
    stage: str = "autoencoder"
    prior: Mapping[str, Any] = field(default_factory=dict)  # settings of the prior, see `prior.TransformerConfig`

    def __post_init__(self) -> None:
        if self.design not in DESIGNS or self.cuts not in CUTS or self.stage not in STAGES:
            raise ValueError(f"design is one of {', '.join(DESIGNS)}, cuts of {', '.join(CUTS)}, stage of {', '.join(STAGES)}")

    @property
    def unit(self) -> int:
        """The map's sides are multiples of so many places."""
        return self.sides()[0]

    @property
    def count(self) -> int:
        """Number of layers."""
        if self.design == "leaky":
            return self.channels
        return len(self.layers) or sum(count for _, count in self.strides)

    @property
    def size(self) -> int:
        """Numbers that a code stands for."""
        return self.patch**2 if self.design == "leaky" else 4

    def views(self) -> list[codes.View]:
        """What every layer sees."""
        if self.design == "leaky":
            return [codes.patch_view(self.patch, channel, self.channels) for channel in range(self.channels)]
        return [codes.photo_view(stride, channel, self.channels) for stride, channel in self.layers]

    def sides(self) -> list[int]:
        """Places of the map along a patch, of every layer."""
        if self.design == "leaky":
            return [self.patch] * self.count
        return [codes.SIDES[stride] for stride, _ in self.layers or [(s, 0) for s, n in self.strides for _ in range(n)]]

    def prices(self) -> Tensor:
        """The rate-distortion multiplier of every layer: squared error that a bit is worth, float32 (layers)."""
        if not self.last_price:
            return torch.zeros(self.count)
        return torch.logspace(math.log10(self.first_price), math.log10(self.last_price), self.count)

    def prior_config(self) -> transformer.TransformerConfig:
        """The settings of the prior."""
        return transformer.TransformerConfig(sides=tuple(self.sides()), entries=self.entries, shared=self.shared, **dict(self.prior))


class Transforms(nn.Module):
    """Encoder and decoder, and the codebooks between them."""

    chosen: Tensor

    def __init__(self, config: OrderedConfig) -> None:
        super().__init__()
        c = self.config = config
        if c.design == "residual":
            sizes = (c.fine_width, c.width, c.fine_blocks, c.blocks, c.channels)
            self.encoder: nn.Module = autoencoder.ResidualEncoder(*sizes)
            self.decoder: nn.Module = autoencoder.ResidualDecoder(*sizes)
        else:
            self.encoder = autoencoder.leaky_encoder(c.width, c.channels)
            self.decoder = autoencoder.leaky_decoder(c.width, c.channels)
        self.codebooks = codes.Codebooks(c.count, c.entries, c.size, c.shared)
        self.codebooks.prices.copy_(c.prices())
        self.register_buffer("chosen", torch.tensor(c.layers or [(0, 0)] * c.count).view(-1, 2))
        self._views: list[codes.View] = []

    @property
    def settled(self) -> OrderedConfig:
        """The settings with the layers that were found."""
        if self.config.design == "leaky":
            return self.config
        return replace(self.config, layers=tuple((s, c) for s, c in self.chosen.tolist()))

    @property
    def views(self) -> list[codes.View]:
        if not self._views:
            self._views = [view.to(self.chosen.device) for view in self.settled.views()]
        return self._views

    def encode(self, pixels: Tensor, dtype: torch.dtype) -> Tensor:
        """The feature map (B, h, w, channels) of uint8 pixels (B, H, W, 3), H and W whole patches; float32."""
        features: Tensor = self.encoder(autoencoder.network_input(pixels, dtype)).permute(0, 2, 3, 1).float()
        return features.contiguous()

    def decode(self, features: Tensor, share: Tensor, dtype: torch.dtype) -> Tensor:
        """A dequantised map (B, h, w, channels) -> pixels in -1..1, float32 (B, 3, H, W).

        share: (B, h, w), how many of the layers are there, 0..1.
        """
        x = torch.cat([features, share.unsqueeze(-1)], -1) if self.config.design == "residual" else features
        decoded: Tensor = self.decoder(x.permute(0, 3, 1, 2).to(dtype))
        return decoded.float()


class Ordered(Transforms, Trainable):
    """Float network; `forward` gives what training makes small."""

    unit, unit_name = 1.0, "loss"

    def __init__(self, config: OrderedConfig) -> None:
        super().__init__(config)
        self.prior = transformer.Transformer(config.prior_config())
        for stages, module in ((STAGES[:1], self.encoder), (STAGES[:2], self.decoder), (STAGES[2:], self.prior)):
            module.requires_grad_(config.stage in stages)

    def symbols(self, pixels: Tensor) -> list[Tensor]:
        """The codes of pixels (B, H, W, 3): int64 (B, patches) of every layer."""
        rest = self.encode(pixels, working_dtype(pixels.device))  # of the map, what earlier layers leave
        if self._at_once(rest):
            return list(self.codebooks.choose(0, rest.flatten(1, 2).transpose(1, 2)).unsqueeze(-1).unbind(1))
        symbols = []
        for layer, view in enumerate(self.views):
            values = view.analyse(rest)
            chosen = self.codebooks.choose(layer, values)
            rest = rest - view.synthesise(self.codebooks.look_up(layer, chosen), *rest.shape[1:3])
            symbols.append(chosen)
        return symbols

    def _at_once(self, features: Tensor) -> bool:
        """Whether layers of a map (B, h, w, channels) need not wait for one another: each has its channel of the only patch."""
        c = self.config
        return c.design == "leaky" and c.shared and not c.last_price and features.shape[1] == features.shape[2] == c.patch

    def start_from(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the transforms of a `latent` weights file, at their TYPICAL quality."""
        parts = large_tensors(part_of(tensors, "transforms."))
        self.encoder.load_state_dict(part_of(parts, "encoder."))
        self.decoder.load_state_dict(part_of(parts, "decoder."))
        quality = parts["gain"].new_tensor([TYPICAL])
        scale = (between_knots(parts["gain"], quality) + between_knots(parts["inverse_gain"], quality))[0].exp()
        decoder = self.decoder
        assert isinstance(decoder, autoencoder.ResidualDecoder)
        first = next(decoder.network.children())
        assert isinstance(first, autoencoder.Convolution)
        with torch.no_grad():  # the last input was the quality: 0.2 + 0.7 share is near what suits a share of the codes
            decoder.linear.weight.mul_(scale[None, :, None, None])
            first.weight[:, :-1].mul_(scale[None, :, None, None])
            first.bias.add_(0.2 * first.weight[:, -1].sum((1, 2)))
            first.weight[:, -1].mul_(0.7)

    @torch.no_grad()
    def begin(self, crops: Callable[[int], Tensor], fresh: bool) -> None:
        """Choose the order of the layers, where it is not given, and first codebooks; if not fresh, only the prior starts, from these."""
        c = self.config
        if c.stage == "prior":
            self.prior.start_embedding(self.codebooks.vectors)
        if not fresh:
            return
        pixels = crops(SAMPLE)
        features = torch.cat([self.encode(part, working_dtype(part.device)) for part in pixels.split(16)])
        if c.design == "residual" and not c.layers:
            errors = partial(self._errors, pixels=pixels[:TRIED])
            self.chosen.copy_(torch.tensor(codes.choose_layers(features[:TRIED], c.strides, c.entries, c.prices(), errors)))
            self._views = []
        if c.shared:
            every = torch.cat([view.analyse(features).flatten(0, 1) for view in self.views])
            vectors, counts = codes.train_book(every[torch.randint(len(every), (20 * c.entries,))], c.entries, 0.0)
            self.codebooks.start(0, vectors, counts)
            return
        rest = features
        for layer, view in enumerate(self.views):
            values = view.analyse(rest)
            sample = values.flatten(0, 1)
            vectors, counts = codes.train_book(sample[torch.randint(len(sample), (32768,))], c.entries, float(self.codebooks.prices[layer]))
            self.codebooks.start(layer, vectors, counts)
            self.codebooks.uses[layer] = counts
            rest = rest - view.synthesise(self.codebooks.look_up(layer, self.codebooks.choose(layer, values)), *rest.shape[1:3])

    def restart_dead_codes(self, pixels: Tensor) -> None:
        """Restart the codebooks' dead codewords, as long as the codebooks are trained."""
        if self.config.stage == "autoencoder":
            self.codebooks.restart_dead_codes()

    def quantise(self, sample: Tensor) -> None:
        """From now on the prior is on its grids; they are chosen from uint8 sample pixels (B, H, W, 3)."""
        with torch.no_grad():
            self.prior.quantise(self.symbols(sample), sample.shape[1] // PLACE_SIDE, sample.shape[2] // PLACE_SIDE)

    def draw_cuts(self, images: int) -> Tensor:
        """How many layers of each image are kept, the last one perhaps in part; float (B) in 0..layers."""
        count = self.config.count
        if self.config.cuts == "none":
            return torch.full((images,), float(count))
        if self.config.cuts == "geometric":
            chances = (1 - self.config.geometric) ** torch.arange(count)
            whole = torch.multinomial(chances, images, replacement=True) + 1.0
        else:
            whole = torch.rand(images) * count
        return whole if self.config.design == "residual" else whole.ceil()

    def kept(self, layer: int, cuts: Tensor, patches: int) -> Tensor:
        """Which codes of a layer are there if `cuts` (B) layers are; bool (B, patches), the first rows of the last layer."""
        depth = (torch.arange(patches, device=cuts.device) + 0.5) / patches  # in the layer
        return depth < (cuts - layer).unsqueeze(1)

    def reconstruct(self, pixels: Tensor, cuts: Tensor) -> tuple[Tensor, Tensor]:
        """Squared errors in grey levels (B) of uint8 pixels when `cuts` (B) layers are kept, and the commitment's squares (B)."""
        features = self.encode(pixels, working_dtype(pixels.device))
        height, width = features.shape[1:3]
        rest, share = features, torch.zeros(features.shape[:3], device=features.device)
        commitment = torch.zeros(len(pixels), device=features.device)
        if self._at_once(features):
            keep = torch.arange(self.config.count, device=cuts.device) < cuts.unsqueeze(1)
            given, commitment = self._quantised(range(self.config.count), features.flatten(1, 2).transpose(1, 2), keep)
            known, share = given.transpose(1, 2).reshape(features.shape), share + keep.sum(1)[:, None, None]
        else:
            for layer, view in enumerate(self.views):
                keep = self.kept(layer, cuts, (height // view.side) * (width // view.side))
                if not bool(keep.any()):
                    break
                given, squares = self._quantised(range(layer, layer + 1), view.analyse(rest), keep)
                commitment = commitment + squares
                rest = rest - view.synthesise(given, height, width)
                share = share + spread_out(keep.float(), view.side, height, width)
            known = features - rest
        return self._errors(known, share / self.config.count, pixels), commitment * (127.5**2 / pixels[0].numel())

    def _quantised(self, layers: range, values: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """What stands for values (B, n, D) in layers of one book, 0 where `keep` (B, n) is not true; and the commitment's squares (B)."""
        with torch.no_grad():
            chosen = self.codebooks.choose(layers.start, values)
            vectors = self.codebooks.look_up(layers.start, chosen)
            if self.training and self.config.stage == "autoencoder":
                self.codebooks.ema_update(layers, values, chosen, keep)
        squares = ((values - vectors).square().sum(-1) * keep).sum(1)
        return straight_through(vectors, values) * keep.unsqueeze(-1), squares

    def _errors(self, features: Tensor, share: Tensor, pixels: Tensor) -> Tensor:
        """Squared errors in grey levels (B) of uint8 pixels, decoded from a dequantised map; see `decode`."""
        return autoencoder.squared_errors(self.decode(features, share, working_dtype(features.device)), pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """The loss of uint8 images (B, H, W, 3); (B). `prior`: bits a pixel."""
        if self.config.stage == "prior":
            with torch.no_grad():
                chosen = self.symbols(pixels)
            nats = self.prior(chosen, pixels.shape[1] // PLACE_SIDE, pixels.shape[2] // PLACE_SIDE)
            count = pixels.shape[1] * pixels.shape[2]
            return torch.stack([n.sum(1) for n in nats]).sum(0) / (count * math.log(2))
        cuts = self.draw_cuts(len(pixels)).to(pixels.device)
        error, commitment = self.reconstruct(pixels, cuts)
        if self.config.root:
            return (error + 1).sqrt() * (ROOT_GROWTH * cuts / self.config.count).exp()
        if self.config.logarithm:
            return (error + 1).log() + self.config.commitment * commitment / (error.detach() + 1)
        return (error + self.config.commitment * commitment) / 127.5**2

    def describe(self, parts: Sequence[Tensor]) -> str:
        plain = self._plain_bits(parts)
        if self.config.stage == "prior":
            return f"{float(torch.cat([self(part) for part in parts]).mean()):.4f} bpp, by the codes' own frequencies {plain:.4f}"
        decibels = []
        for share in (0.1, 0.2, 0.4, 0.6, 0.8, 1.0):
            cut = round(share * self.config.count)
            error = torch.cat([self.reconstruct(part, torch.full((len(part),), cut, device=part.device))[0] for part in parts])
            decibels.append(f"{share:.0%} {autoencoder.mean_psnr(error):.2f}")
        return f"dB at a share of the layers: {', '.join(decibels)}; {plain:.4f} bpp by frequencies"

    def _plain_bits(self, parts: Sequence[Tensor]) -> float:
        """Bits a pixel that the codes would take with the frequencies of each layer alone."""
        symbols = (pair for part in parts for pair in enumerate(self.symbols(part)))
        total = sum(float(self.codebooks.lengths(layer)[chosen].sum()) for layer, chosen in symbols)
        return total / sum(part[..., 0].numel() for part in parts)


def spread_out(values: Tensor, side: int, height: int, width: int) -> Tensor:
    """A number for every patch (B, patches) at all its places (B, height, width)."""
    grid = values.view(len(values), height // side, width // side)
    return grid.repeat_interleave(side, 1).repeat_interleave(side, 2)
