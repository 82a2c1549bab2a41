"""Pictures of many small images, and of where and when decoding them went wrong first (Figures 3, 4 and 6 of the paper)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...models.model import Pixels

GAP = 2
SCALE = 4  # screen pixels a pixel


def grid(images: Sequence[Pixels], columns: int = 0, scale: int = SCALE) -> Image.Image:
    """Images of one size, uint8 (H, W, 1 or 3), side by side in rows. columns: 0 for about as many as rows."""
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // columns)
    height, width = images[0].shape[:2]
    canvas = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), 255, np.uint8)
    for i, image in enumerate(images):
        y, x = i // columns * (height + GAP), i % columns * (width + GAP)
        canvas[y : y + height, x : x + width] = image
    return Image.fromarray(canvas).resize((canvas.shape[1] * scale, canvas.shape[0] * scale), Image.Resampling.NEAREST)


def mistakes(image: Pixels, counts: NDArray[np.int32], most: int) -> Pixels:
    """An image in pale gray with its forecasting mistakes, (H, W), in red: the redder, the more."""
    gray = 255 - (255 - image.mean(-1, keepdims=True).repeat(3, 2)) * 0.35
    share = (np.sqrt(counts / max(1, most)) * 0.75 + 0.25 * (counts > 0))[..., None]
    mixed: Pixels = np.rint(gray * (1 - share) + np.array([215, 25, 28]) * share).astype(np.uint8)
    return mixed


def heat(values: NDArray[np.int32], most: int) -> Pixels:
    """Values 0..most, (H, W), from dark blue through red to pale yellow."""
    places = np.linspace(0, 1, 6)
    colours = np.array([[0, 0, 30], [60, 15, 110], [150, 40, 110], [225, 90, 60], [250, 170, 60], [255, 255, 190]])
    share = values / max(1, most)
    return np.stack([np.interp(share, places, colours[:, i]) for i in range(3)], axis=-1).astype(np.uint8)
