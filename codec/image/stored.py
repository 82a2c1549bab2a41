"""The conventional lossless coder inside the container, for what the models do not cover or would enlarge."""

import io

from PIL import Image

from ..errors import DamagedFile

WEBP_SIDE = 16383


def encode(image: Image.Image) -> bytes:
    """The smaller of a PNG and, for 8-bit colour, a lossless WebP file."""
    files = [_save(image, "PNG", compress_level=9)]
    if image.mode in ("RGB", "RGBA") and max(image.size) <= WEBP_SIDE:
        files.append(_save(image, "WEBP", lossless=True, exact=True, quality=80, method=4))
    return min(files, key=len)


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    bare = image.copy()
    bare.info = {}
    buffer = io.BytesIO()
    bare.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes, mode: str, size: tuple[int, int]) -> Image.Image:
    """The image of a stored file, which must have this mode and size. Raises DamagedFile."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG", "WEBP"]) as image:
            if image.size != size:
                raise DamagedFile("the stored image has another size than the header says")
            image.load()
            if (image.mode, mode) == ("RGB", "RGBA"):  # WebP drops an alpha channel that is opaque everywhere
                return image.convert("RGBA")
            if image.mode != mode:
                raise DamagedFile("the stored image is of another kind than the header says")
            return image.copy()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DamagedFile(f"the stored image is damaged: {error}") from None
