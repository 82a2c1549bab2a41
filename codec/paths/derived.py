"""Pictures whose pixels were made of something smaller: coefficients of a JPEG file, or luma and chroma planes."""

from __future__ import annotations

from typing import cast

import numpy as np

from ...models.model import Planar, Transformed
from .. import estimate
from ..format import container
from ..format.container import Coding
from ..image.files import Picture
from ..settings import Settings
from ..weights import Loaded, load

# what finds it has loops that are compiled when they are first needed, and so is imported only then


def of_coefficients(picture: Picture, model: str, tile: int, settings: Settings) -> bytes | None:
    """The file of a picture by the coefficients of the JPEG file that it once was, if it was; the model is loaded only then."""
    if not _taken(picture, Coding.RECOGNISED, settings):
        return None
    from . import recognised

    found = recognised.find(picture, settings.workers)
    return recognised.encode(picture, found, cast(Loaded[Transformed], load(model, settings)), tile, settings) if found else None


def of_planes(picture: Picture, model: str, tile: int, settings: Settings) -> bytes | None:
    """The file of a picture by the planes that its pixels come from, if they come from any; the model is loaded only then."""
    if not _taken(picture, Coding.PLANES, settings):
        return None
    from ..origins import finding
    from . import planes

    found = finding.find(np.asarray(picture.image)[..., :3], settings.workers)
    return planes.encode(picture, found, cast(Loaded[Planar], load(model, settings)), tile, settings) if found else None


def _taken(picture: Picture, coding: Coding, settings: Settings) -> bool:
    """Whether a coding takes pictures of this mode. Raises LimitExceeded."""
    if picture.mode not in container.CODED_MODES[coding]:
        return False
    size = picture.image.width * picture.image.height
    estimate.encoding(size, picture.mode, coding).check(settings.limits, "encoding the picture")
    return True
