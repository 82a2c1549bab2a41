"""The .psg format as a plugin of Pillow. `pillow.py` registers it; the class lives here so that its images can be pickled."""

from __future__ import annotations

from typing import IO, Any

from PIL import Image, ImageFile

from . import errors, previews
from .format import container
from .image import beside


class PresageImage(ImageFile.ImageFile):
    """An image that is decoded when its pixels are asked for. Trouble is an OSError, as with all of Pillow's formats.

    `draft` and `thumbnail` show the preview of the file, if it has one that is large enough, or what else is as good as that, instead of
    decoding the picture.
    """

    format = "PSG"
    format_description = "Presage"
    _data = b""
    _small: Image.Image | None = None

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

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Show a small picture of the file from now on if one is found quickly that is at least as large as a thumbnail of this size.

        The mode is then RGB or RGBA.
        """
        if not self._data or self._small or not size:
            return None
        wanted = max(self.size) * min(size[0] / self.width, size[1] / self.height, 1)
        try:
            found = previews.at_least(self._data, container.read_header(self._data), wanted)
        except errors.PresageError as error:
            raise OSError(str(error)) from error
        if found is None:
            return None
        self._small, self._size, self._mode = found, found.size, found.mode
        return found.mode, (0, 0, *found.size)

    def thumbnail(
        self, size: tuple[float, float], resample: Image.Resampling = Image.Resampling.BICUBIC, reducing_gap: float | None = 2.0
    ) -> None:
        """As Pillow's; of the preview also where that is just large enough."""
        self.draft(None, (int(size[0]), int(size[1])))
        super().thumbnail(size, resample, reducing_gap)

    def _decoded(self) -> Image.Image:
        from . import api

        try:
            if self._small:
                return beside.restore_texts(self._small, self._data, container.read_header(self._data))
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
    from . import api

    options = dict(image.encoderinfo)
    encode = api.encode_lossy if options.pop("lossy", False) else api.encode
    try:
        file.write(encode(image, **options))
    except errors.PresageError as error:
        raise OSError(str(error)) from error
