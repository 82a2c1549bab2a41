"""A file that is being decoded."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import mmap

from ..format.container import STAGED, Box, Header
from ..settings import Settings


@dataclass(frozen=True)
class Reading:
    """recovering: damaged parts are left out instead of raising DamagedFile. filling: a model that can draws what is lost."""

    data: bytes | mmap
    header: Header
    recovering: bool
    settings: Settings
    filling: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.header.height, self.header.width

    @property
    def cut(self) -> bool:
        """Whether the end of a file of stages is missing."""
        return self.header.coding in STAGED and len(self.data) < self.header.size

    @property
    def whole(self) -> Box:
        """(left, top, right, bottom) of the picture."""
        return 0, 0, self.header.width, self.header.height
