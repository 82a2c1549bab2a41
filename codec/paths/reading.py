"""A file that is being decoded."""

from __future__ import annotations

from dataclasses import dataclass
from mmap import mmap

from ..errors import ImageRefused
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

    def area(self, crop: Box | None) -> Box:
        """(left, top, right, bottom) of a crop (x, y, width, height). Raises ImageRefused."""
        if crop is None:
            return self.whole
        if not isinstance(crop, tuple | list) or len(crop) != 4 or not all(type(number) is int for number in crop):
            raise ImageRefused(f"a crop is x, y, width and height, not {crop!r}")
        (x, y, width, height), (rows, columns) = crop, self.size
        if x < 0 or y < 0 or width < 1 or height < 1 or x + width > columns or y + height > rows:
            raise ImageRefused(f"the crop {x},{y},{width},{height} is not inside the image of {columns} x {rows} pixels")
        return x, y, x + width, y + height
