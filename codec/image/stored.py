"""The conventional lossless coder inside the container, for what the models do not cover or would enlarge."""

import io

from PIL import Image

from ..errors import DamagedFile
from .opening import STORED, check_canonical, opened

WEBP_SIDE = 16383


def encode(image: Image.Image) -> bytes:
    """The smaller of a PNG and, for 8-bit colour, a lossless WebP file."""
    files = [_save(_with_whole_palette(image), "PNG", compress_level=9)]
    if image.mode in ("RGB", "RGBA") and max(image.size) <= WEBP_SIDE:
        files.append(_save(image, "WEBP", lossless=True, exact=True, quality=80, method=4))
    return min(files, key=len)


def _with_whole_palette(image: Image.Image) -> Image.Image:
    """An image whose palette has all the colours that its pixels name: Pillow would take bits away of numbers beyond it."""
    if image.mode != "P":
        return image
    palette, largest = image.getpalette() or [], image.getextrema()[1]
    missing = 3 * (largest + 1) - len(palette) if isinstance(largest, int) else 0
    if missing > 0:
        image = image.copy()
        image.putpalette(palette + [0] * missing)
    return image


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    bare = image.copy()
    bare.info = {}
    buffer = io.BytesIO()
    bare.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes, mode: str, size: tuple[int, int], verbatim: bool = False) -> Image.Image:
    """The image of a stored file, which must have this mode and size. verbatim: a source file, which may have anything beside its pixels.

    Raises DamagedFile.
    """
    try:
        if not verbatim:
            check_canonical(data)
        with opened(data, STORED, size[0] * size[1]) as image:
            if image.size != size:
                raise DamagedFile("the stored image has another size than the header says")
            if getattr(image, "n_frames", 1) > 1:
                raise DamagedFile("the stored image has several frames")
            image.load()
            if (image.mode, mode) == ("RGB", "RGBA"):  # WebP drops an alpha channel that is opaque everywhere
                return image.convert("RGBA")
            if image.mode != mode:
                raise DamagedFile("the stored image is of another kind than the header says")
            return image.copy()
    except (DamagedFile, MemoryError):
        raise
    except Exception as error:  # of a damaged file Pillow raises anything
        raise DamagedFile(f"the stored image is damaged: {error}") from error
