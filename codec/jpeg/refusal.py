"""Why a JPEG file is kept whole."""

from ..errors import ImageRefused
from ..format.jpeg import Kept


class NotModelled(ImageRefused):
    """A JPEG file that is not taken apart; the message says why, and `kept` what the file will say of that."""

    def __init__(self, message: str, kept: Kept = Kept.UNUSUAL) -> None:
        super().__init__(message)
        self.kept = kept
