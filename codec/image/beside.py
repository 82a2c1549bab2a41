"""What is kept beside the pixels: alpha, profile, EXIF, XMP, resolution, transparency."""

from __future__ import annotations

from mmap import mmap

from PIL import Image

from ..errors import DamagedFile
from ..format import container
from ..format.container import ALPHA_MODES, Box, Header, Tag
from . import files, stored
from .files import Picture


def sections(picture: Picture, lossy: bool) -> dict[bytes, bytes]:
    """The sections of what is kept without loss; alpha before the others in files without loss, after them in others."""
    if picture.mode not in ALPHA_MODES:
        return picture.extras
    alpha = {Tag.ALPHA: stored.encode(picture.image.getchannel("A"))}
    return picture.extras | alpha if lossy else alpha | picture.extras


def put_alpha(image: Image.Image, data: bytes | mmap, header: Header, area: Box, recovering: bool) -> None:
    """Give an area (left, top, right, bottom) of a picture its alpha channel, if it has one. Raises DamagedFile.

    Where the section is cut off, or lost and `recovering`, the area is opaque.
    """
    if header.mode not in ALPHA_MODES:
        return
    lenient = recovering or header.cut_before(data, Tag.ALPHA)
    alpha = _section(data, header, Tag.ALPHA, lenient)
    if alpha is None and not lenient:
        raise DamagedFile("the alpha channel is missing")
    image.putalpha(stored.decode(alpha, "L", (header.width, header.height)).crop(area) if alpha else 255)


def restore(image: Image.Image, data: bytes | mmap, header: Header, recovering: bool) -> Image.Image:
    """The image with profile, EXIF and the like; without what is cut off, or lost if `recovering`. Raises DamagedFile."""
    kept = (_section(data, header, tag, recovering or header.cut_before(data, tag)) for tag in (Tag.META, Tag.ICC, Tag.EXIF, Tag.XMP))
    return files.restore(image, *kept)


def restore_texts(image: Image.Image, data: bytes | mmap, header: Header) -> Image.Image:
    """A preview with EXIF and XMP; its colours are those of no profile. Raises DamagedFile."""
    kept = {name: container.read_section(data, header, tag) for name, tag in (("exif", Tag.EXIF), ("xmp", Tag.XMP))}
    return files.restore(image, **kept)


def _section(data: bytes | mmap, header: Header, tag: bytes, lenient: bool) -> bytes | None:
    try:
        return container.read_section(data, header, tag)
    except DamagedFile:
        if lenient:
            return None
        raise
