"""The transforms of the `latent` networks: an encoder from pixels to feature maps and a decoder back. Floating point throughout.

Two designs, both fully convolutional. `strided` is the paper's (Wiggers and Hoogeboom 2020, appendix A.3): two strided
4 x 4 convolutions and BasicBlocks. `residual` is for photographs: space-to-depth by 4, bottleneck blocks at a quarter and at
an eighth of the side, beside a linear path that starts as the discrete cosine transform of 8 x 8 pixels. Training so starts
from a transform coder that works, and spends its time on what is better than that.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

COLOURS = F.normalize(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]]))  # grey and two opponent colours


def receptive_field(residual: bool, fine_blocks: int, coarse_blocks: int) -> int:
    """Its radius in latents: how far beyond a window are latents that its pixels depend on, or pixels that its latents depend on."""
    if residual:  # a coarse layer adds one latent, two fine layers another
        return 1 + coarse_blocks + -(-(fine_blocks + 2) // 2)
    return 7  # four 3 x 3 layers at a quarter of the side, two of 4 x 4, two of 3 x 3 on pixels


def network_input(pixels: Tensor, dtype: torch.dtype) -> Tensor:
    """uint8 pixels (B, H, W, 3) in -1..1, (B, 3, H, W)."""
    return pixels.permute(0, 3, 1, 2).to(dtype) / 127.5 - 1


def squared_errors(decoded: Tensor, pixels: Tensor) -> Tensor:
    """Mean squared errors in grey levels (B) of what is decoded in -1..1 (B, 3, H, W) for uint8 pixels (B, H, W, 3)."""
    return ((decoded + 1) * 127.5 - pixels.permute(0, 3, 1, 2).float()).square().mean((1, 2, 3))


def mean_psnr(errors: Tensor) -> float:
    """In dB, of squared errors in grey levels (B)."""
    return float((10 * torch.log10(255**2 / errors.clamp(min=1e-3))).mean())


class Convolution(nn.Module):
    """A convolution that computes in the type of its input; its parameters stay float32."""

    def __init__(self, inputs: int, outputs: int, side: int = 3, stride: int = 1, gain: float = 1.0) -> None:
        super().__init__()
        self.stride, self.padding = stride, (side - stride + 1) // 2
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side) * gain * (2 / (inputs * side * side)) ** 0.5)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def _weight(self, x: Tensor) -> Tensor:
        return self.weight.to(x.dtype).contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self._weight(x), self.bias.to(x.dtype), self.stride, self.padding)


class Transposed(Convolution):
    """The transposed convolution of the same side, stride and padding."""

    def __init__(self, inputs: int, outputs: int, side: int, stride: int) -> None:
        super().__init__(outputs, inputs, side, stride)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self._weight(x), self.bias.to(x.dtype), self.stride, self.padding)


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a skip connection (He et al. 2016), without normalisation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = Convolution(width, width), Convolution(width, width, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


class Bottleneck(nn.Module):
    """1 x 1 to half the width, 3 x 3, 1 x 1 back, beside a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.middle = Convolution(width, width // 2, 1), Convolution(width // 2, width // 2)
        self.last = Convolution(width // 2, width, 1, gain=0.3)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.last(F.relu(self.middle(F.relu(self.first(x)))))
        return result


def strided_encoder(width: int, outputs: int) -> nn.Sequential:
    """(B, 3, H, W) -> (B, outputs, H / 4, W / 4)."""
    half = width // 2
    return nn.Sequential(
        Convolution(3, half), nn.ReLU(), Convolution(half, half), nn.ReLU(),
        Convolution(half, half, 4, 2), nn.ReLU(), Convolution(half, width, 4, 2), nn.ReLU(),
        BasicBlock(width), BasicBlock(width), Convolution(width, outputs, 1),
    )  # fmt: skip


def strided_decoder(width: int, inputs: int) -> nn.Sequential:
    """(B, inputs, h, w) -> (B, 3, 4 h, 4 w)."""
    half = width // 2
    return nn.Sequential(
        Convolution(inputs, width, 1), BasicBlock(width), BasicBlock(width),
        Transposed(width, width, 4, 2), nn.ReLU(), Transposed(width, half, 4, 2), nn.ReLU(),
        Convolution(half, half), nn.ReLU(), Convolution(half, 3, gain=0.3),
    )  # fmt: skip


def waves(count: int) -> Tensor:
    """The orthonormal discrete cosines of so many pixels, (frequencies, pixels)."""
    phase = (torch.arange(count) + 0.5) * math.pi / count
    return torch.stack([torch.cos(phase * k) * ((2 if k else 1) / count) ** 0.5 for k in range(count)])


def picture(colour: int, u: int, v: int, side: int) -> Tensor:
    """The basis picture (3, side, side) of a colour, a horizontal and a vertical frequency."""
    return COLOURS[colour][:, None, None] * waves(side)[v][:, None] * waves(side)[u]


def cosines(count: int) -> Tensor:
    """The first of the orthonormal basis pictures of 8 x 8 pixels, smooth ones first, (count, 3, 8, 8).

    Of every eight, six are grey and one each of two opponent colours.
    """
    by_frequency = sorted(((u, v) for u in range(8) for v in range(8)), key=lambda p: (p[0] ** 2 + p[1] ** 2, p))
    frequencies = [iter(by_frequency) for _ in range(3)]
    in_turn = [{1: 1, 2: 2}.get(i % 8, 0) for i in range(count)]
    return torch.stack([picture(colour, *next(frequencies[colour]), 8) for colour in in_turn])


class ResidualEncoder(nn.Module):
    """(B, 3, H, W) -> (B, outputs, H / 8, W / 8); widths and numbers of blocks at a quarter and at an eighth of the side."""

    def __init__(self, fine: int, coarse: int, fine_blocks: int, coarse_blocks: int, outputs: int) -> None:
        super().__init__()
        self.linear = Convolution(3, outputs, 8, 8)
        self.linear.weight = nn.Parameter(cosines(outputs))
        self.network = nn.Sequential(
            nn.PixelUnshuffle(4), Convolution(48, fine), *(Bottleneck(fine) for _ in range(fine_blocks)),
            nn.PixelUnshuffle(2), Convolution(4 * fine, coarse, 1), *(Bottleneck(coarse) for _ in range(coarse_blocks)),
            Convolution(coarse, outputs, gain=0.03),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.linear(x) + self.network(x)
        return result


class ResidualDecoder(nn.Module):
    """(B, inputs + 1, h, w) -> (B, 3, 8 h, 8 w); the last input says what the quality is."""

    def __init__(self, fine: int, coarse: int, fine_blocks: int, coarse_blocks: int, inputs: int) -> None:
        super().__init__()
        self.linear = Convolution(inputs, 192, 1)
        self.linear.weight = nn.Parameter(cosines(inputs).flatten(1).t()[..., None, None].contiguous())
        self.network = nn.Sequential(
            Convolution(inputs + 1, coarse), *(Bottleneck(coarse) for _ in range(coarse_blocks)),
            Convolution(coarse, 4 * fine, 1), nn.PixelShuffle(2), *(Bottleneck(fine) for _ in range(fine_blocks)),
            Convolution(fine, 48, gain=0.03), nn.PixelShuffle(4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = F.pixel_shuffle(self.linear(x[:, :-1]), 8) + self.network(x)
        return result


def leaky_encoder(width: int, outputs: int) -> nn.Sequential:
    """(B, 3, H, W) -> (B, outputs, H / 8, W / 8): filters of 4, 4, 4, 3 with strides 2, 2, 2, 1 (Xu et al. 2021, appendix E.1)."""
    half = width // 2
    return nn.Sequential(
        Convolution(3, half, 4, 2), nn.LeakyReLU(0.2), Convolution(half, width, 4, 2), nn.LeakyReLU(0.2),
        Convolution(width, width, 4, 2), nn.LeakyReLU(0.2), Convolution(width, outputs),
    )  # fmt: skip


def leaky_decoder(width: int, inputs: int) -> nn.Sequential:
    """(B, inputs, h, w) -> (B, 3, 8 h, 8 w): the counterpart."""
    half = width // 2
    return nn.Sequential(
        Convolution(inputs, width), nn.LeakyReLU(0.2), Transposed(width, width, 4, 2), nn.LeakyReLU(0.2),
        Transposed(width, half, 4, 2), nn.LeakyReLU(0.2), Transposed(half, 3, 4, 2),
    )  # fmt: skip


def grey_levels(decoded: Tensor) -> NDArray[np.uint8]:
    """What a decoder network gives, -1..1 (B, 3, H, W), as pixels, uint8 (B, H, W, 3)."""
    return np.asarray(((decoded + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy())
