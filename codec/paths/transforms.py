"""Pixels <-> what a model quantises, window by window; every window is worked on by one thread."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...models.model import Features, Model, Pixels, Size, Symbols, Window
from ...models.windows import windows
from ..parallel import spread
from ..settings import Progress, Settings, quiet

AHEAD = 4  # windows of every worker whose results wait to be put in their places


def analyse(model: Model, pixels: Pixels, settings: Settings) -> Features:
    """What is quantised of pictures (B, H, W, 1 or 3), for the whole map."""
    if not model.lossy:  # the pixels themselves
        return pixels
    size = model.size(*pixels.shape[1:3])
    return _in_windows(size, 1, lambda window: model.analyse(pixels, window), settings)


def synthesise(model: Model, received: Any, map_size: Size, size: Size, settings: Settings) -> Pixels:
    """The pictures (B, height, width, 1 or 3) of what a decoder has received of maps."""
    if not model.lossy:
        return cast(Symbols, received)
    pixels = _in_windows(map_size, model.stride, lambda window: model.synthesise(received, window), settings)
    return pixels[:, : size[0], : size[1]]


def _in_windows(size: Size, scale: int, one: Callable[[Window], NDArray[Any]], settings: Settings) -> NDArray[Any]:
    """(B, scale * h, scale * w, ...) of a map (h, w), put together from windows."""
    every, step = windows(*size), AHEAD * settings.workers
    whole: NDArray[Any] | None = None
    for start in range(0, len(every), step):
        some = every[start : start + step]

        def work(part: slice, _: Progress, some: list[Window] = some) -> list[NDArray[Any]]:
            return [one(window) for window in some[part]]

        for (a, b, c, d), part in zip(some, spread(work, len(some), 1, settings.workers, quiet), strict=True):
            if whole is None:
                whole = np.empty((len(part), scale * size[0], scale * size[1], *part.shape[3:]), part.dtype)
            whole[:, a * scale : b * scale, c * scale : d * scale] = part
    assert whole is not None
    return whole
