"""A picture as what it comes from: luma, and two chroma planes at their own size."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ..errors import DamagedFile
from .sampling import Rule, Sampling, chroma
from .table import BY_NUMBER, Bytes, Origin

HEAD = 3  # bytes before the exceptions: origin, rules of rows and columns, phases


@dataclass(frozen=True)
class Planes:
    """luma: uint8 (H, W). first, second: C1 and C2, uint8 (h, w). They need not give back every pixel."""

    origin: Origin
    sampling: Sampling
    luma: Bytes
    first: Bytes
    second: Bytes

    def show(self) -> Bytes:
        """The pixels (H, W, 3) that they give."""
        size = self.luma.shape[0], self.luma.shape[1]
        cells = (chroma(plane, self.sampling, size) for plane in (self.first, self.second))
        return self.origin.to_rgb(self.luma, *cells)


def pack(planes: Planes, exceptions: Sequence[bytes]) -> bytes:
    """Everything but the planes themselves. exceptions: of every tile of luma."""
    sampling = planes.sampling
    head = bytes([planes.origin.number, sampling.rows << 4 | sampling.columns, sampling.phase[0] << 1 | sampling.phase[1]])
    return head + b"".join(map(_length, map(len, exceptions))) + b"".join(exceptions)


def _length(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the highest bit says that more follow."""
    digits = [value & 127]
    while value := value >> 7:
        digits.append(value & 127)
    return bytes([*(digit | 128 for digit in digits[:-1]), digits[-1]])


def unpack(content: bytes) -> tuple[Origin, Sampling, bytes]:
    """Origin, sampling, and what follows. Raises DamagedFile."""
    if len(content) < HEAD or content[0] not in BY_NUMBER or max(content[1] >> 4, content[1] & 15) > max(Rule) or content[2] > 3:
        raise DamagedFile("the origin is not what this format allows")
    rules, phase = (Rule(content[1] >> 4), Rule(content[1] & 15)), (content[2] >> 1, content[2] & 1)
    if any(rule == Rule.WHOLE and shifted for rule, shifted in zip(rules, phase, strict=True)):
        raise DamagedFile("the origin is not what this format allows")
    return BY_NUMBER[content[0]], Sampling(*rules, phase), content[HEAD:]


def unpack_exceptions(content: bytes, tiles: int) -> list[bytes]:
    """Those of every tile of luma. Raises DamagedFile."""
    sizes, at = [], 0
    for _ in range(tiles):
        size = shift = 0
        while True:
            if at >= len(content) or shift > 28:
                raise DamagedFile("the exceptions of an origin are damaged")
            size, more = size | (content[at] & 127) << shift, content[at] >= 128
            at, shift = at + 1, shift + 7
            if not more:
                break
        sizes.append(size)
    if at + sum(sizes) != len(content):
        raise DamagedFile("the exceptions of an origin are damaged")
    ends = np.cumsum([at, *sizes]).tolist()
    return [content[a:b] for a, b in pairwise(ends)]
