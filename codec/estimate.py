"""What work will take, before it is begun: memory to be compared with limits, and seconds for people. Standard library only.

The figures are of one process with two threads on an AMD EPYC processor, rounded up: `docs/reliability.md` says how they were measured.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from mmap import mmap
from typing import NamedTuple

from .format import container
from .format.container import Coding, Header, Mode, Tag
from .limits import Limits

BASE = 400_000_000  # bytes of the interpreter, torch and a model
WORTH_SAYING = 1_000_000_000  # bytes
EVALUATED = 4096  # bytes of a place that is evaluated predictively
TOGETHER = 128  # tiles that are decoded together, if groups are small
SAMPLES = {Mode.BILEVEL: 1, Mode.GRAY: 1, Mode.PALETTE: 1, Mode.GRAY16: 2}  # bytes of a pixel in memory; 4 of the others


class Cost(NamedTuple):
    """Bytes of memory for every pixel; bytes that stay the same for large pictures; pixels a second; bytes for every pixel that small
    pictures take instead of `most`."""

    bytes: float
    most: float
    rate: float
    small: float = 400


DECODING = {
    Coding.STORED: Cost(5, 0, 3e7),
    Coding.COLOUR: Cost(14, 6e8, 3e5),
    Coding.GRAY: Cost(14, 6e8, 6e5),
    Coding.CHAIN: Cost(14, 0, 2e4),
    Coding.SET: Cost(14, 0, 2e4),
    Coding.LATENT: Cost(40, 3e8, 2.5e5),
    Coding.LATENT_SET: Cost(40, 0, 2e5),
    Coding.ORDERED: Cost(400, 0, 2e5),
    Coding.PLANES: Cost(14, 1e8, 3e5),
    Coding.JPEG: Cost(40, 0, 1e6),
    Coding.RECOGNISED: Cost(50, 0, 8e5),
    Coding.DIGITS: Cost(250, 0, 1e5),
    Coding.FLOW: Cost(14, 6e8, 1e5),
    Coding.FLOW_SET: Cost(14, 6e8, 1e5),
    Coding.STAGED: Cost(14, 3e8, 4e3, small=4000),  # at the usual number of calls
    Coding.STAGED_SET: Cost(14, 3e8, 4e3, small=4000),
}
ENCODING = {
    Coding.STORED: Cost(20, 0, 1e6),
    Coding.COLOUR: Cost(20, 8e8, 2.7e5),
    Coding.GRAY: Cost(20, 7e8, 6e5),
    Coding.CHAIN: Cost(60, 3e8, 5e4),
    Coding.SET: Cost(60, 3e8, 5e4),
    Coding.LATENT: Cost(100, 7e8, 1e5, small=1200),  # refined, at the default effort
    Coding.LATENT_SET: Cost(80, 0, 2e5),
    Coding.ORDERED: Cost(300, 0, 1e5),
    Coding.PLANES: Cost(40, 3e8, 2e5),
    Coding.JPEG: Cost(60, 0, 1e6),
    Coding.RECOGNISED: Cost(80, 0, 2e5),
    Coding.DIGITS: Cost(350, 0, 8e4),
    Coding.FLOW: Cost(60, 8e8, 1e5),
    Coding.FLOW_SET: Cost(60, 8e8, 1e5),
    Coding.STAGED: Cost(40, 3e8, 4e3, small=4000),
    Coding.STAGED_SET: Cost(40, 3e8, 4e3, small=4000),
}

SAMPLED = Cost(30, 0, 2.5e5)  # stored pictures by our own conventional coder


@dataclass(frozen=True)
class Estimate:
    """Bytes of memory and seconds."""

    memory: int
    seconds: float

    def __str__(self) -> str:
        return f"about {self.memory / 1e9:.1f} GB of memory and {self.seconds:,.0f} seconds"

    def check(self, limits: Limits, what: str) -> None:
        """Raises LimitExceeded."""
        limits.check("memory", self.memory, what)
        limits.check("seconds", math.ceil(self.seconds), what)


def encoding(pixels: int, mode: Mode, coding: Coding) -> Estimate:
    """Of pictures of so many pixels together."""
    return _estimate(pixels, mode, coding, ENCODING[coding])


def decoding(data: bytes | mmap, header: Header, pixels: int) -> Estimate:
    """Of a file with so many pixels. Raises DamagedFile."""
    cost = SAMPLED if header.section(Tag.SAMPLES) else DECODING[header.coding]
    estimate = _estimate(pixels, header.mode, header.coding, cost)
    if header.section(Tag.GROUP_INDEX) is None:
        return estimate
    most = max((tiles for _, _, tiles, _ in container.group_entries(data, header)), default=0)
    together = max(most, TOGETHER) * header.tile**2
    return Estimate(estimate.memory + EVALUATED * min(pixels, together), estimate.seconds)


def _estimate(pixels: int, mode: Mode, coding: Coding, cost: Cost) -> Estimate:
    base = 50_000_000 if coding == Coding.STORED else BASE
    working = min(cost.most, cost.small * pixels)
    return Estimate(int(base + working + (cost.bytes + 2 * SAMPLES.get(mode, 4)) * pixels), round(pixels / cost.rate, 1))
