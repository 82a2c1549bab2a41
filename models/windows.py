"""Large pictures through a network window by window, each with a margin as wide as the network's reach, so that no seams are left."""

from itertools import pairwise

import numpy as np

from .model import Pixels, Window

SIDE = 64  # places along the side of a window


def windows(height: int, width: int) -> list[Window]:
    """Windows that cover a map of so many places."""
    rows, columns = _cuts(height), _cuts(width)
    return [(a, b, c, d) for a, b in rows for c, d in columns]


def around(window: Window, margin: int, height: int, width: int) -> tuple[Window, Window]:
    """A window with its margin, inside a map of height x width places, and the window's place in that."""
    top, bottom, left, right = window
    a, c = max(0, top - margin), max(0, left - margin)
    b, d = min(height, bottom + margin), min(width, right + margin)
    return (a, b, c, d), (top - a, bottom - a, left - c, right - c)


def padded(pixels: Pixels, area: Window) -> Pixels:
    """An area of pictures (B, H, W, 3) that may reach over their lower and right edges, which are repeated."""
    top, bottom, left, right = area
    part = pixels[:, top:bottom, left:right]
    beyond = [(0, 0), (0, bottom - top - part.shape[1]), (0, right - left - part.shape[2]), (0, 0)]
    return np.pad(part, beyond, mode="edge")


def _cuts(length: int) -> list[tuple[int, int]]:
    """Nearly equal pieces of at most SIDE."""
    count = -(-length // SIDE)
    bounds = [length * i // count for i in range(count + 1)]
    return list(pairwise(bounds))
