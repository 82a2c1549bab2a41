"""A picture as what it comes from: luma, two chroma planes at their own size, and the pixels that these do not reproduce."""

from dataclasses import dataclass

import numpy as np

from ..errors import DamagedFile
from . import detection, exceptions, kernels
from .inversion import SWEEPS, find_cells, first_estimate
from .kernels import Bytes
from .sampling import Rule, Sampling, chroma
from .table import BY_NUMBER, Origin

HEAD = 3  # bytes before the exceptions: origin, rules of rows and columns, phases


@dataclass(frozen=True)
class Planes:
    """luma: uint8 (H, W). first, second: C1 and C2, uint8 (h, w). exceptions: see `exceptions.py`."""

    origin: Origin
    sampling: Sampling
    luma: Bytes
    first: Bytes
    second: Bytes
    exceptions: bytes

    @property
    def name(self) -> str:
        return name_of(self.origin, self.sampling)


def name_of(origin: Origin, sampling: Sampling) -> str:
    """For people."""
    rules = (sampling.rows == Rule.WHOLE, sampling.columns == Rule.WHOLE)
    return f"{origin.name} {({(True, True): '4:4:4', (True, False): '4:2:2', (False, True): '4:4:0'}).get(rules, '4:2:0')}"


def find(pixels: Bytes) -> Planes | None:
    """The planes that RGB pixels (H, W, 3) come from, or None. What is found gives back every pixel."""
    pixels = np.array(pixels)
    found = detection.detect(pixels)
    return invert(pixels, *found) if found else None


def invert(pixels: Bytes, origin: Origin, sampling: Sampling) -> Planes:
    """The planes of pixels (H, W, 3), given where they come from; whatever that is, they give back every pixel."""
    pixels = np.array(pixels)
    cells = find_cells(pixels, origin, sampling, first_estimate(pixels, origin), SWEEPS)
    first, second = (chroma(plane, sampling, pixels.shape[:2]) for plane in (cells.first, cells.second))
    luma = kernels.choose_luma(pixels, first, second, *origin.forward)
    left = exceptions.encode(pixels, kernels.to_rgb(luma, first, second, *origin.forward))
    return Planes(origin, sampling, luma, cells.first.astype(np.uint8), cells.second.astype(np.uint8), left)


def show(planes: Planes) -> Bytes:
    """The pixels (H, W, 3). Raises DamagedFile."""
    size = planes.luma.shape[0], planes.luma.shape[1]
    first, second = (chroma(plane, planes.sampling, size) for plane in (planes.first, planes.second))
    return exceptions.decode(planes.exceptions, kernels.to_rgb(planes.luma, first, second, *planes.origin.forward))


def pack(planes: Planes) -> bytes:
    """Everything but the planes themselves."""
    sampling = planes.sampling
    head = bytes([planes.origin.number, sampling.rows << 4 | sampling.columns, sampling.phase[0] << 1 | sampling.phase[1]])
    return head + planes.exceptions


def unpack(content: bytes) -> tuple[Origin, Sampling, bytes]:
    """Origin, sampling and exceptions. Raises DamagedFile."""
    if len(content) < HEAD or content[0] not in BY_NUMBER or max(content[1] >> 4, content[1] & 15) > max(Rule) or content[2] > 3:
        raise DamagedFile("the origin is not what this format allows")
    rules = Rule(content[1] >> 4), Rule(content[1] & 15)
    phase = content[2] >> 1, content[2] & 1
    if any(rule == Rule.WHOLE and shifted for rule, shifted in zip(rules, phase, strict=True)):
        raise DamagedFile("the origin is not what this format allows")
    return BY_NUMBER[content[0]], Sampling(*rules, phase), content[HEAD:]
