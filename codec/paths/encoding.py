"""A picture on its way to a file, at any of the qualities that there are."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ...models.model import Features, Model
from ..errors import WeightsError
from ..format import container
from ..format.container import Coding, Header
from ..image import beside, pixels
from ..image.files import Picture
from ..settings import Settings
from ..weights import Loaded
from . import transforms


def checked(features: Features, name: str) -> Features:
    """What an encoder network gives, if it is numbers. Raises WeightsError."""
    if features.dtype.kind == "f" and not np.isfinite(features).all():
        raise WeightsError(f"the encoder of {name} gives what is no number")
    return features


class Encoding(ABC):
    """qualities: `file` and `psnr` take 0 ... qualities - 1. default: what is taken if nothing is asked for.

    approximate: both are costly and change smoothly, so that a quality near the wanted one will do. growth: from the worst quality to the
    best, of the logarithm of the size, and in decibels; about.
    """

    qualities: int
    default: int
    approximate: bool
    growth = 2.5, 9.0

    def __init__(self, picture: Picture, loaded: Loaded[Model], settings: Settings) -> None:
        self.picture, self.loaded, self.settings = picture, loaded, settings
        self.size = picture.image.height, picture.image.width
        self.pixels = pixels.pixels_for(picture, loaded.name, loaded.model)
        self.features = checked(transforms.analyse(loaded.model, self.pixels[None], settings), loaded.name)
        self._beside = beside.sections(picture, loaded.model.lossy)
        self._psnr: dict[int, float] = {}

    @abstractmethod
    def file(self, quality: int) -> bytes:
        """The .psg file."""

    @abstractmethod
    def received(self, quality: int) -> Any:
        """What a decoder of that file hands to the model's `synthesise`."""

    def psnr(self, quality: int) -> float:
        """Decibels of what a decoder makes of that file."""
        if quality not in self._psnr:
            model, map_size = self.loaded.model, self.loaded.model.size(*self.size)
            decoded = transforms.synthesise(model, self.received(quality), map_size, self.size, self.settings)[0]
            self._psnr[quality] = pixels.decibels(decoded, self.pixels, self.picture.mode)
        return self._psnr[quality]

    def write(self, coding: Coding, crc: int, tile: int, sections: dict[bytes, bytes]) -> bytes:
        """The file with what is coded, and with what is kept beside it."""
        height, width = self.size
        header = Header(width, height, self.picture.mode, coding, crc, tile, self.loaded.name, self.loaded.hash)
        return container.write(header, self._beside | sections)
