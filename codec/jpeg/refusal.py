"""Why a JPEG file is kept whole."""

from ..errors import ImageRefused


class NotModelled(ImageRefused):
    """A JPEG file that is not taken apart; the message says why."""
