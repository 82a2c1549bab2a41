"""The .psg format as a plugin of Pillow. `pillow.py` registers it; the class lives here so that its images can be pickled."""

from __future__ import annotations

from typing import IO, Any

from PIL import Image, ImageFile

from . import api, errors
from .format import container


class PresageImage(ImageFile.ImageFile):
    """An image that is decoded when its pixels are asked for. Trouble is an OSError, as with all of Pillow's formats."""

    format = "PSG"
    format_description = "Presage"
    _data = b""

    def _open(self) -> None:
        self._data = self.fp.read() if self.fp else b""
        try:
            header = container.read_header(self._data)
            if header.coding in container.SETS:
                raise errors.DamagedFile("the file is a set of many images")
        except errors.DamagedFile as error:
            raise SyntaxError(str(error)) from None
        self._size = (header.width, header.height)
        self._mode = container.PIL_MODES[header.mode]

    def _decoded(self) -> Image.Image:
        try:
            return api.decode(self._data)
        except errors.PresageError as error:
            raise OSError(str(error)) from error

    def load(self) -> Any:
        if self._data:
            image = self._decoded()
            self._data = b""
            self.im, self.pyaccess = image.im, None
            self.info |= image.info
            if image.palette:
                self.palette = image.palette
        return Image.Image.load(self)

    def verify(self) -> None:
        """Decode, and throw the pixels away. Raises OSError for damage."""
        if self._data:
            self._decoded()
        self.fp = None


def save(image: Image.Image, file: IO[bytes], _: str | bytes) -> None:
    """Write the file, with the options of `presage.encode`, or with lossy=True those of `presage.encode_lossy`. Raises OSError."""
    options = dict(image.encoderinfo)
    encode = api.encode_lossy if options.pop("lossy", False) else api.encode
    try:
        file.write(encode(image, **options))
    except errors.PresageError as error:
        raise OSError(str(error)) from error
