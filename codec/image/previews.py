"""Small pictures with loss <-> Pillow images. What only shows one imports nothing but Pillow's WebP."""

from __future__ import annotations

import io
from contextlib import suppress
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import DamagedFile
from ..format.preview import LONGEST, UPRIGHT, Preview, put, room, size_of

if TYPE_CHECKING:
    from .files import Picture

SIDES = (LONGEST, 192, 128, 96, 64, 48, 32)
QUALITIES = range(15, 86)  # of WebP: below the first a smaller picture is nearer to the original
ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def of_picture(data: bytes, picture: Picture) -> bytes:
    """The file of a picture with a preview, if it has room for one."""
    return _with(data, picture.image, picture.icc, picture.exif)


def of_jpeg(data: bytes, source: bytes) -> bytes:
    """The file of a JPEG file with a preview, if it has room for one and Pillow can show it."""
    from .opening import opened, unlimited

    try:
        with opened(source, ("JPEG",)) as image, unlimited(image.size):
            image.draft(None, (4 * LONGEST, 4 * LONGEST))
            image.load()
            return _with(data, image, image.info.get("icc_profile", b""), image.info.get("exif", b""))
    except MemoryError:
        raise
    except Exception:  # of a damaged file Pillow raises anything
        return data


def _with(data: bytes, image: Image.Image, icc: bytes, exif: bytes) -> bytes:
    made = make(image, icc, exif, room(data))
    return put(data, made) if made else data


def make(image: Image.Image, icc: bytes, exif: bytes, most: int) -> Preview | None:
    """The best preview whose section has at most so many bytes, if there is one, of a picture with its profile and EXIF.

    It is as large as it can be at a fair quality, in sRGB, and turned as the picture's pixels are.
    """
    shown = plain(image, icc)
    for side in SIDES:
        if side >= max(shown.size) and side != LONGEST:
            continue
        small = shown.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        low, high, best = QUALITIES.start - 1, QUALITIES.stop, b""
        while high - low > 1:
            at = (low + high) // 2
            webp = _webp(small, at)
            if len(webp) < most:
                low, best = at, webp
            else:
                high = at
        if best and size_of(best) == small.size:
            return Preview(orientation_of(exif), best, small.size)
    return None


def _webp(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=quality, method=6, alpha_quality=60)
    return buffer.getvalue()


def plain(image: Image.Image, icc: bytes = b"") -> Image.Image:
    """An image in RGB or RGBA with 8 bits, to be looked at, and at most a few times as large as previews are."""
    many = max(image.size) // (4 * LONGEST)
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda level: level / 257).convert("L")
    transparent = "transparency" in image.info or image.mode in ("LA", "PA", "La", "RGBa")
    if image.mode not in ("RGB", "RGBA", "L", "CMYK") or transparent:
        image = image.convert("RGBA" if transparent else "RGB")
    if many > 1:
        image = image.reduce(many)
    if icc:
        image = _in_srgb(image, icc)
    return image if image.mode in ("RGB", "RGBA") else image.convert("RGB")


def _in_srgb(image: Image.Image, icc: bytes) -> Image.Image:
    """The image in sRGB; as it is where its profile is none that can be used."""
    from PIL import ImageCms

    with suppress(ImageCms.PyCMSError, OSError, ValueError, TypeError):
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        turned = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode=mode)
        return turned or image
    return image


def orientation_of(exif: bytes) -> int:
    """How a picture is to be shown, 1 to 8; 1 if its EXIF does not say it."""
    found: object = UPRIGHT
    if exif:
        fields = Image.Exif()
        with suppress(Exception):  # Pillow raises anything
            fields.load(exif)
            found = fields.get(ORIENTATION, UPRIGHT)
    return found if isinstance(found, int) and found in TURNS else UPRIGHT


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """The image as it is to be shown."""
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def show(preview: Preview) -> Image.Image:
    """The picture, RGB or RGBA, turned as the pixels of the file are. Raises DamagedFile."""
    from PIL.WebPImagePlugin import WebPImageFile

    try:
        with WebPImageFile(io.BytesIO(preview.webp), "") as image:
            if image.size != preview.size:
                raise DamagedFile("the preview has another size than it says")
            image.load()
            return image.copy()
    except (DamagedFile, MemoryError):
        raise
    except Exception as error:  # of a damaged file Pillow raises anything
        raise DamagedFile(f"the preview is damaged: {error}") from None
