"""Image.open and Image.save for .psg files."""


def register_pillow() -> None:
    """Teach Pillow the .psg format: `Image.open("x.psg")` and `image.save("x.psg")` work from now on.

    `save` takes the options of `presage.encode`, such as model=, or with lossy=True those of `presage.encode_lossy`, such as bpp=.
    """
    from PIL import Image

    from .format.container import MAGIC
    from .pillow_plugin import PresageImage, save

    Image.register_open("PSG", PresageImage, lambda prefix: prefix.startswith(MAGIC))
    Image.register_save("PSG", save)
    Image.register_extension("PSG", ".psg")
    Image.register_mime("PSG", "image/x-presage")
