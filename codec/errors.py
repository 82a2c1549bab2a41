"""Everything that Presage raises on purpose, one exception for each kind of trouble."""


class PresageError(Exception):
    """Base of all of Presage's own exceptions."""

    exit_code = 1


class DamagedFile(PresageError):
    """Not a Presage file, cut short, altered, or of a version that this program does not know."""

    exit_code = 3


class WeightsError(PresageError):
    """The weights that a file needs are missing, or are others than it was written with."""

    exit_code = 4


class ImageRefused(PresageError):
    """An image that Presage does not take, or a request that does not fit the image."""


class NotAnImage(ImageRefused):
    """Bytes that are no image at all."""


class LimitExceeded(ImageRefused):
    """More pixels, memory, images, letters of a name or seconds than `Limits` allow; the message says which limit to raise."""
