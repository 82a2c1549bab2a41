"""Pictures <-> arrays of pixels as models take and give them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageRefused
from ..format import container
from ..format.container import ALPHA_MODES, Coding, Mode
from .files import Picture

if TYPE_CHECKING:
    from ...models.model import Model, Pixels

GRAY = (Mode.BILEVEL, Mode.GRAY, Mode.GRAY_ALPHA)
SMALL = 1 << 14  # pixels below which both codings are tried
DRAWN = 0.2  # share of pixels that equal both neighbours in drawings


def check(picture: Picture, coding: Coding, lossy: bool) -> None:
    """Raises ImageRefused for pictures that are not coded with loss."""
    if not lossy:
        return
    if picture.mode not in container.CODED_MODES[coding] or picture.verbatim is not None:
        kinds = ", ".join(container.PIL_MODES[mode] for mode in container.CODED_MODES[coding])
        name = "colour with 16 bits a channel" if picture.verbatim is not None else f"mode {container.PIL_MODES[picture.mode]}"
        raise ImageRefused(f"images of {name} are not coded with loss (coded are {kinds}); convert the image, or leave out --lossy")
    if picture.meta.get("transparency") is not None:
        raise ImageRefused("an image with a transparent colour is not coded with loss; convert it to RGBA first")


def rgb(picture: Picture) -> Pixels:
    """The pixels of a picture as uint8 (H, W, 3), without alpha; gray is repeated."""
    image = picture.image
    if picture.mode in (Mode.RGB, Mode.RGBA):
        return np.asarray(image)[..., :3]
    return np.asarray(image.getchannel(0))[..., None].repeat(3, 2)


def pixels_for(picture: Picture, name: str, model: Model) -> Pixels:
    """The pixels of a picture as a model takes them, uint8 (H, W, 1 or 3). Raises ImageRefused."""
    if model.colour:
        if picture.mode == Mode.BILEVEL:
            raise ImageRefused(f"the model {name} is for gray and colour, not for black and white")
        pixels = rgb(picture)
    elif picture.mode in GRAY:
        pixels = np.asarray(picture.image.getchannel(0).convert("L"))[..., None]
    else:
        raise ImageRefused(f"the model {name} is for gray pictures, not for {container.PIL_MODES[picture.mode]}")
    if model.grey_levels < 256 and not np.array_equal(pixels, coarser(pixels, model.grey_levels)):
        levels = "0 and 255" if model.grey_levels == 2 else f"multiples of {256 // model.grey_levels}"
        raise ImageRefused(f"the model {name} has only the grey levels {levels}; --quantise brings the picture there, with loss")
    return pixels


def coarser(pixels: NDArray[np.uint8], levels: int) -> NDArray[np.uint8]:
    """The pixels with fewer grey levels: with two, 0 and 255 (from 128); otherwise multiples of 256 / levels."""
    if levels == 2:
        return np.where(pixels >= 128, np.uint8(255), np.uint8(0))
    return pixels - pixels % np.uint8(256 // levels) if levels < 256 else pixels


def quantised(picture: Picture, model: Model) -> Picture:
    """The picture with the grey levels that a model has; alpha stays."""
    if model.grey_levels == 256 or picture.mode not in container.CODED_MODES[Coding.GRAY]:
        return picture
    bands = picture.image.split()
    colours = bands[:-1] if picture.mode in ALPHA_MODES else bands
    new = [Image.fromarray(coarser(np.asarray(band), model.grey_levels)) for band in colours]
    return replace(picture, image=Image.merge(picture.image.mode, [*new, *bands[len(new) :]]))


def image_of(pixels: Pixels, mode: Mode) -> Image.Image:
    """The image, without alpha, of pixels (H, W, 1 or 3) of a picture of some mode."""
    if mode not in GRAY:
        return Image.fromarray(np.ascontiguousarray(pixels))
    image = Image.fromarray(_gray(pixels))
    return image.convert("1", dither=Image.Dither.NONE) if mode == Mode.BILEVEL else image


def _gray(pixels: Pixels) -> Pixels:
    """(..., 1 or 3) -> (...): the mean of R, G and B, rounded."""
    if pixels.shape[-1] == 1:
        return pixels[..., 0]
    mean: Pixels = ((pixels.sum(-1, dtype=np.int32) * 2 + 3) // 6).astype(np.uint8)
    return mean


def decibels(decoded: Pixels, pixels: Pixels, mode: Mode) -> float:
    """PSNR of what a decoder makes (H, W, 3) of a picture's pixels, over R, G and B; of gray pictures as they are shown."""
    shown = _gray(decoded)[..., None] if mode in GRAY else decoded
    difference = shown.astype(np.int16) - pixels
    return float(10 * np.log10(255**2 / max(1e-9, np.square(difference, dtype=np.int32).mean())))


def may_be_drawn(image: Image.Image) -> bool:
    """Whether a conventional coder could win: small images, and those with much exact repetition (screenshots, drawings)."""
    if image.width * image.height <= SMALL:
        return True
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    same = (pixels[1:, 1:] == pixels[:-1, 1:]).all(2) & (pixels[1:, 1:] == pixels[1:, :-1]).all(2)
    return bool(same.mean() > DRAWN)
