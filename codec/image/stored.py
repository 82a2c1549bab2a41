"""The conventional lossless coder inside the container, for what the models do not cover or would enlarge."""

import io

from PIL import Image

from ..errors import DamagedFile
from .opening import STORED, check_canonical, opened

WEBP_SIDE = 16383


def encode(image: Image.Image) -> bytes:
    """The smaller of a PNG and, for 8-bit colour, a lossless WebP file."""
    depth = {"bits": 8} if image.mode == "P" and _beyond(image) else {}
    files = [_save(image, "PNG", compress_level=9, **depth)]
    if image.mode in ("RGB", "RGBA") and max(image.size) <= WEBP_SIDE:
        files.append(_save(image, "WEBP", lossless=True, exact=True, quality=80, method=4))
    return min(files, key=len)


def _beyond(image: Image.Image) -> bool:
    """Whether pixels of a palette's image have numbers that the palette does not have. Pillow would take bits of them away."""
    largest = image.getextrema()[1]
    return not isinstance(largest, int) or largest >= len(image.getpalette() or []) // 3


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
