"""Lost pixels of a picture, drawn by a model of stages."""

from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .api import Source, picture_of
from .paths.fill import fill_picture, lost_in
from .settings import Options, Settings


def fill(
    image: Source, mask: Image.Image | NDArray[Any], *, model: str, calls: int = 0, seed: int = 0, **options: Unpack[Options]
) -> Image.Image:
    """A picture whose lost pixels are drawn, given all others. They are likely; what was there, nobody knows.

    mask: of the size of the picture, not 0 where pixels are lost. model: one of stages. calls: of each stage, see `encode`; 0: the usual
    number. seed: the same one draws the same pixels. options: see `Settings`. Raises ImageRefused and WeightsError.
    """
    settings = Settings(**options)
    lost = lost_in(mask) if isinstance(mask, Image.Image) else np.asarray(mask) != 0
    return fill_picture(picture_of(image, settings.limits), lost, model, calls, seed, settings).image
