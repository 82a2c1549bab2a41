"""Causal context of a pixel as small integers: its neighbours relative to a prediction, and how well predictions did nearby.

Everything is integer arithmetic on tensors of any leading shape, so training (whole crops) and the codec (one step of
the wavefront) call the very same code. Neighbours come in *blocks*: the cells of the last few wavefront steps in the
pixel's own row and in a few rows above it. With slope 2 the cell (step - d, row - k) is the pixel at dy = -k, dx = 2k - d,
so a block is one strided copy in skewed storage, and a list of shifted slices in an ordinary image.

The planes are G, R - G, B - G: what the channels share is subtracted before anything is predicted.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .units import (
    ERROR_BLOCK,
    ERROR_LIMIT,
    FRACTION,
    OUTSIDE,
    PIXEL_BLOCK,
    SIGNED_LIMIT,
    offsets,
)


def compand(limit: int, knee: float) -> Tensor:
    """Table of -limit..limit -> -127..127, nearly linear below `knee` and logarithmic above; int8 (2 limit + 1)."""
    d = torch.arange(-limit, limit + 1, dtype=torch.float64)
    magnitude = torch.log1p(d.abs() / knee) / torch.log1p(torch.tensor(256 / knee, dtype=torch.float64))
    return (d.sign() * (127 * magnitude).clamp(max=127)).round().to(torch.int8)


@dataclass(frozen=True)
class Tables:
    """Companding tables. They are made with floating point once, and then stored with the weights."""

    signed: Tensor  # int8 (2 * SIGNED_LIMIT + 1)
    error: Tensor  # int8 (ERROR_LIMIT + 1)

    @staticmethod
    def make() -> "Tables":
        signed = compand(SIGNED_LIMIT, 3.0)
        signed[0] = 0  # where OUTSIDE lands
        return Tables(signed, compand(ERROR_LIMIT, 24.0)[ERROR_LIMIT:].clone())

    def of_signed(self, values: Tensor) -> Tensor:
        """Compand plane differences; int8 of the same shape."""
        place = (values + SIGNED_LIMIT).clamp_(0, 2 * SIGNED_LIMIT).int()
        return self.signed.to(values.device).index_select(0, place.flatten()).view(values.shape)

    def of_error(self, errors: Tensor) -> Tensor:
        """Compand sums of absolute errors; int8 of the same shape."""
        return self.error.to(errors.device).index_select(0, errors.int().flatten()).view(errors.shape)


def planes(pixels: Tensor) -> Tensor:
    """RGB (..., 3) -> G, R - G, B - G as int16 (..., 3)."""
    rgb = pixels.to(torch.int16)
    green = rgb[..., 1]
    return torch.stack([green, rgb[..., 0] - green, rgb[..., 2] - green], dim=-1)


_AT = {o: i for i, o in enumerate(offsets(PIXEL_BLOCK))}
PREDICTORS = [_AT[o] for o in ((0, -1), (-1, 0), (-1, -1), (-1, 1), (-2, 1))]


def predict(near: Tensor) -> Tensor:
    """Six classical predictions of each plane from a PIXEL_BLOCK (..., 32, 3); int16 (..., 6, 3).

    Missing neighbours are replaced by known ones, as in JPEG XL: W by N, N by W, the others by N.
    """
    w, n, nw, ne, nne = (near[..., i, :] for i in PREDICTORS)
    start = near.new_tensor([128, 0, 0])
    w = torch.where(w == OUTSIDE, n, w)
    w = torch.where(w == OUTSIDE, start, w)
    n = torch.where(n == OUTSIDE, w, n)
    nw = torch.where(nw == OUTSIDE, n, nw)
    ne = torch.where(ne == OUTSIDE, n, ne)
    nne = torch.where(nne == OUTSIDE, ne, nne)
    return torch.stack([w, n, w + n - nw, w + ne - n, n + ne - nne, (2 * (w + n) + ne - nw) >> 2], dim=-2)


_TRUST = (1 << 24) // (torch.arange(ERROR_LIMIT + 1) + 2).square() + 1


def combine(predictions: Tensor, errors: Tensor) -> Tensor:
    """Mean of the predictions (..., 6, 3), weighted by 1 / (error + 2)^2; in 1/8 of a grey level, int16 (..., 3).

    `errors` are sums of past absolute errors, 0..ERROR_LIMIT, of the same shape.
    """
    weights = _TRUST.to(errors.device).index_select(0, errors.int().flatten()).view(errors.shape)
    mean = torch.div((weights * predictions).sum(-2) * FRACTION, weights.sum(-2), rounding_mode="floor")
    return mean.to(torch.int16)


def middle(combined: Tensor) -> Tensor:
    """The combined prediction in whole grey levels, int16."""
    return (combined + FRACTION // 2) >> 3


def absolute_errors(values: Tensor, predictions: Tensor) -> Tensor:
    """How far each prediction (..., 6, 3) is from the planes (..., 3): 0..255 in int16 (..., 6, 3)."""
    return (values.unsqueeze(-2) - predictions).abs().clamp(max=255)


def network_input(near: Tensor, errors: Tensor, residuals: Tensor, combined: Tensor, tables: Tables) -> Tensor:
    """Everything the network is told of a pixel's neighbourhood, int8 (..., INPUTS).

    near: planes in PIXEL_BLOCK (..., 32, 3). errors: sums of past absolute errors (..., 6, 3). residuals: companded plane
    minus prediction in ERROR_BLOCK (..., 6, 3). combined: the prediction in 1/8 (..., 3).
    """
    relative = near - middle(combined).unsqueeze(-2)
    parts = [tables.of_signed(relative), tables.of_error(errors), residuals]
    return torch.cat([part.flatten(-2) for part in parts], dim=-1)


def shifted(x: Tensor, block: tuple[int, int], outside: int = 0) -> Tensor:
    """The cells of a block around every pixel of images (B, H, W, C); (B, H, W, cells, C)."""
    places = offsets(block)
    top = max(-dy for dy, _ in places)
    left, right = max(-dx for _, dx in places), max(0, *(dx for _, dx in places))
    height, width = x.shape[1:3]
    padded = F.pad(x, (0, 0, left, right, top, 0), value=outside)
    return torch.stack([padded[:, top + dy : top + dy + height, left + dx : left + dx + width] for dy, dx in places], dim=3)


def features(pixels: Tensor, tables: Tables) -> tuple[Tensor, Tensor, Tensor]:
    """Of whole uint8 RGB images (B, H, W, 3): the network's input int8 (B, H, W, INPUTS), the prediction of each plane in
    1/8 grey level and what is left of it in whole ones, int16 (B, H, W, 3)."""
    return features_of(planes(pixels), tables)


def features_of(values: Tensor, tables: Tables) -> tuple[Tensor, Tensor, Tensor]:
    """The same of planes, int16 (B, H, W, 3)."""
    near = shifted(values, PIXEL_BLOCK, OUTSIDE)
    predictions = predict(near)
    past = absolute_errors(values, predictions).flatten(-2)
    errors = sum(shifted(past, ERROR_BLOCK).unbind(3), torch.zeros_like(past)).view_as(predictions)
    combined = combine(predictions, errors)
    residuals = values - middle(combined)
    remembered = shifted(tables.of_signed(residuals), ERROR_BLOCK)
    return network_input(near, errors, remembered, combined, tables), combined, residuals


def hints(residuals: Tensor, tables: Tables) -> Tensor:
    """What later channels are told of residuals (...): companded, and times 8 while they are small; int8 (..., HINTS)."""
    return torch.stack([tables.of_signed(residuals), (residuals * 8).clamp(-127, 127).to(torch.int8)], dim=-1)


def centres(combined: Tensor, green: Tensor) -> Tensor:
    """Where the distributions of G, R, B are centred, in grey levels, float32 (..., 3), given G (..., 1)."""
    whole = combined.int()
    whole[..., 1:] += FRACTION * green.int()
    return whole.clamp(0, 255 * FRACTION).float() / FRACTION
