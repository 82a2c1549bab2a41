"""Image.open and Image.save for .psg files."""

from typing import IO, Any


def register_pillow() -> None:
    """Teach Pillow the .psg format: `Image.open("x.psg")` and `image.save("x.psg")` work from now on.

    `save` takes the options of `presage.encode`, such as model=, or with lossy=True those of `presage.encode_lossy`, such as bpp=.
    """
    from PIL import Image, ImageFile

    from . import api, errors
    from .format import container

    class PresageImage(ImageFile.ImageFile):
        format = "PSG"
        format_description = "Presage"

        def _open(self) -> None:
            self._data = self.fp.read() if self.fp else b""
            try:
                header = container.read_header(self._data)
            except errors.DamagedFile as error:
                raise SyntaxError(str(error)) from None
            self._size = (header.width, header.height)
            self._mode = container.PIL_MODES[header.mode]

        def load(self) -> Any:
            if self._data:
                image = api.decode(self._data)
                self._data = b""
                self.im, self.pyaccess = image.im, None
                self.info |= image.info
                if image.palette:
                    self.palette = image.palette
            return Image.Image.load(self)

    def save(image: Image.Image, file: IO[bytes], _: str | bytes) -> None:
        options = dict(image.encoderinfo)
        encode = api.encode_lossy if options.pop("lossy", False) else api.encode
        file.write(encode(image, **options))

    Image.register_open("PSG", PresageImage, lambda prefix: prefix.startswith(container.MAGIC))
    Image.register_save("PSG", save)
    Image.register_extension("PSG", ".psg")
    Image.register_mime("PSG", "image/x-presage")
