"""How much a file or a picture may ask for: checked before memory is taken, and while time passes. Standard library only."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from .errors import ImageRefused, LimitExceeded

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0..1."""
UNITS = {"pixels": "pixels", "memory": "bytes of memory", "images": "images", "name": "letters", "seconds": "seconds"}


@dataclass(frozen=True)
class Limits:
    """pixels: of a picture, or of all images of a set. memory: bytes, as `estimate.py` expects them. images: of a set. name: letters of the
    name of one of them. seconds: of the work on a file, as they are expected and as they pass; infinity is allowed.

    By default a picture may have all the pixels that the format allows, and everything else is what honest files stay well below. Limits
    hold for encoding as for decoding, so that nothing is written which the same limits do not let be read. Raises ImageRefused for limits
    that are no positive numbers.
    """

    pixels: int = 1 << 28
    memory: int = 6 << 30
    images: int = 1 << 20
    name: int = 1024
    seconds: float = 3600.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kinds = (int, float) if field.name == "seconds" else (int,)
            if not isinstance(value, kinds) or isinstance(value, bool) or math.isnan(value) or value <= 0:
                raise ImageRefused(f"the limit of {field.name} is {value!r}, which is no positive number")

    def check(self, field: str, wanted: int, what: str) -> None:
        """Raises LimitExceeded if `what` asks for more than a limit allows."""
        most = getattr(self, field)
        if wanted > most:
            unit, option = UNITS[field], f"--limit-{field} or Limits({field}=...)"
            raise LimitExceeded(f"{what}: {wanted:,} {unit}, more than the limit of {most:,.15g}; {option} raises it")

    def watched(self, progress: Progress) -> Progress:
        """The same progress, which raises LimitExceeded once the time from now on is up."""
        end = time.monotonic() + self.seconds

        def report(share: float) -> None:
            if time.monotonic() > end:
                option = "--limit-seconds or Limits(seconds=...)"
                raise LimitExceeded(f"the work takes longer than the limit of {self.seconds:g} seconds; {option} raises it")
            progress(share)

        return report
