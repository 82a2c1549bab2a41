"""A small picture of a file, by the cheapest way there is. What is in the file as a picture is shown without models, numpy and torch."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from mmap import mmap
from typing import Unpack

from PIL import ExifTags, Image

from .errors import DamagedFile, ImageRefused, PresageError
from .format import container
from .format import jpeg as jpeg_format
from .format import preview as sections
from .format.container import Coding, Header, Tag
from .format.preview import LONGEST
from .image import previews as pictures
from .isolation import isolated
from .limits import Limits
from .settings import Options, Settings

CODES = 0.25  # share of the codes of every patch that a preview of ordered codes is made of
COARSE = (Coding.COLOUR, Coding.GRAY, Coding.PLANES)  # codings in tiles of pixels
ENLARGED = 2  # an EXIF thumbnail does for previews of so many times its size
BARS = 24  # the mean grey level of bars beside a thumbnail, at most


@dataclass(frozen=True)
class Shown:
    """A picture as it is to be shown, and where it comes from: preview, stored, thumbnail, cut, coarse or decoded."""

    image: Image.Image
    way: str


def preview(data: bytes | bytearray | memoryview | mmap, size: int = LONGEST, **options: Unpack[Options]) -> Image.Image:
    """A small picture of a .psg file: RGB or RGBA, in sRGB where it was made beforehand, turned as its EXIF says, no side above `size`.

    The preview that a file was encoded with is shown in milliseconds, and may be smaller; for other files the cheapest way is taken, which
    may be decoding all. options: see `Settings`. Raises DamagedFile, ImageRefused for sets and pictures that cannot be shown, WeightsError.
    """
    return shown(data, size, **options).image


def shown(
    data: bytes | bytearray | memoryview | mmap, size: int = LONGEST, before: Callable[[], None] | None = None, **options: Unpack[Options]
) -> Shown:
    """The same, with the way that was taken. before: called before a model is loaded."""
    if type(size) is not int or size < 1:
        raise ImageRefused(f"the size of a preview is a number of pixels from 1 on, not {size!r}")
    data = container.octets(data)
    header = container.read_header(data, partial=True)
    if header.coding in container.SETS:
        raise ImageRefused("the file is a set of many images; use `presage unpack`")
    found = _as_a_picture(data, header, size, options)
    if found is None and before:
        before()
    image, way, orientation = found or _coarse(data, header, size, options) or _decoded(data, header, size, options)
    image = pictures.turned(image, orientation)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    image.info = {}
    return Shown(image, way)


def at_least(data: bytes | mmap, header: Header, side: float) -> Image.Image | None:
    """A picture of a file whose longer side is no shorter than so many pixels, as its pixels lie, if that is found without decoding it.

    It is the preview, the thumbnail of a JPEG file, or, of a large picture of which a very small one is wanted, a coarse one.
    Raises DamagedFile and WeightsError.
    """
    if (made := sections.read(data, header)) and max(made.size) >= side:
        return pictures.show(made)
    if header.coding == Coding.JPEG and header.section(Tag.RECORD):
        exif = _exif_of(jpeg_format.skeleton_of(data, header))
        small = _thumbnail(exif, (header.width, header.height), 1)
        if small is None or max(small.size) < side:
            return None
        small.info = {"exif": exif}
        return small
    if header.coding in COARSE and side * header.tile <= max(header.width, header.height):
        found = _coarse(data, header, math.ceil(side), {})
        return found[0] if found else None
    return None


def to_file(image: Image.Image, kind: str) -> bytes:
    """A PNG, JPEG or WebP file of a preview; of JPEG on white."""
    if kind == "JPEG" and image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        image = white
    buffer = io.BytesIO()
    image.save(buffer, kind, **({} if kind == "PNG" else {"quality": 90}))
    return buffer.getvalue()


Found = tuple[Image.Image, str, int]
"""A picture, where it comes from, and how it is to be turned."""


def _as_a_picture(data: bytes | mmap, header: Header, size: int, options: Options) -> Found | None:
    """A picture that is in the file as such, and large enough. Raises DamagedFile, ImageRefused and LimitExceeded."""
    if found := sections.read(data, header):
        return pictures.show(found), "preview", found.orientation
    options.get("limits", Limits()).check("pixels", header.width * header.height, "the picture")
    kept, source = container.read_section(data, header, Tag.STORED), container.read_section(data, header, Tag.SOURCE)
    if header.coding == Coding.STORED and (kept or source):
        return _stored(data, header, kept or source or b"", source is not None)
    if header.coding == Coding.JPEG and source is not None:
        return _of_jpeg(source, size, "stored")
    if header.coding == Coding.JPEG:
        with suppress(DamagedFile):
            exif = _exif_of(jpeg_format.skeleton_of(data, header))
            if image := _thumbnail(exif, (header.width, header.height), size):
                return image, "thumbnail", pictures.orientation_of(exif)
    return None


@isolated()
def _coarse(data: bytes | mmap, header: Header, size: int, options: Options) -> Found | None:
    """A coarse picture of a large one, where a small one is wanted. Raises DamagedFile and WeightsError."""
    if size > LONGEST or header.coding not in COARSE:
        return None
    from . import estimate
    from .image import stored
    from .paths import coarse
    from .paths.reading import Reading
    from .weights import load_for

    settings = Settings(**options).started()
    estimate.decoding(data, header, header.width * header.height).check(settings.limits, "decoding the picture")
    container.check_unknown(data, header)
    found = coarse.decode(Reading(data, header, False, settings), load_for(header, settings).model)
    if found is None:
        return None
    whole = header.width, header.height
    shown = [max(1, round(side * min(1, size / max(whole)))) for side in whole]
    left, top = found.corner
    box = left, top, left + header.width / found.cell, top + header.height / found.cell
    image = Image.fromarray(found.levels).resize((shown[0], shown[1]), Image.Resampling.BICUBIC, box)
    exif, icc, alpha = (container.read_section(data, header, tag) for tag in (Tag.EXIF, Tag.ICC, Tag.ALPHA))
    if alpha:
        image.putalpha(stored.decode(alpha, "L", whole).resize(image.size))
    return pictures.plain(image, icc or b""), "coarse", pictures.orientation_of(exif or b"")


def _decoded(data: bytes | mmap, header: Header, size: int, options: Options) -> Found:
    """A picture by a model, which takes longer."""
    from . import api

    if header.coding == Coding.JPEG:
        return _of_jpeg(api.decode_file(data, **options), size, "decoded")
    codes = None
    if header.coding == Coding.ORDERED:
        codes = max(1, round(CODES * len(container.read_layers(data, header)))) or None
    image = api.decode(data, codes=codes, **options)
    orientation = pictures.orientation_of(image.info.get("exif", b""))
    return pictures.plain(image, image.info.get("icc_profile", b"")), "decoded" if codes is None else "cut", orientation


def _stored(data: bytes | mmap, header: Header, content: bytes, verbatim: bool) -> Found:
    """The picture of a file that has it as a conventional image file. Raises DamagedFile."""
    from .image import stored

    image = stored.decode(content, container.PIL_MODES[header.mode], (header.width, header.height), verbatim)
    exif, icc = (container.read_section(data, header, tag) or b"" for tag in (Tag.EXIF, Tag.ICC))
    return pictures.plain(image, icc), "stored", pictures.orientation_of(exif)


def _of_jpeg(data: bytes, size: int, way: str) -> Found:
    """A JPEG file, decoded no larger than need be. Raises ImageRefused."""
    from .image.opening import opened, unlimited

    try:
        with opened(data, ("JPEG",)) as image, unlimited(image.size):
            image.draft(None, (2 * size, 2 * size))
            image.load()
            exif = image.info.get("exif", b"")
            return pictures.plain(image, image.info.get("icc_profile", b"")), way, pictures.orientation_of(exif)
    except (PresageError, MemoryError):
        raise
    except Exception as error:  # of a damaged file Pillow raises anything
        raise ImageRefused(f"the JPEG file that the file holds cannot be shown: {error}") from error


def _exif_of(skeleton: bytes) -> bytes:
    """The EXIF block of a JPEG file without its data; empty if there is none."""
    place = 2
    while place + 4 <= len(skeleton) and skeleton[place] == 255 and skeleton[place + 1] != 0xDA:
        end = place + 2 + int.from_bytes(skeleton[place + 2 : place + 4])
        if skeleton[place + 1] == 0xE1 and skeleton[place + 4 : place + 10] == b"Exif\0\0":
            return skeleton[place + 4 : end]
        place = end
    return b""


def _thumbnail(exif: bytes, whole: tuple[int, int], size: int) -> Image.Image | None:
    """The thumbnail in an EXIF block, without black bars, if there is one that is large enough and of the picture's shape."""
    from .image.opening import opened

    fields, image = Image.Exif(), None
    with suppress(Exception):  # Pillow raises anything
        fields.load(exif)
        place, length = (fields.get_ifd(ExifTags.IFD.IFD1).get(tag, 0) for tag in (0x0201, 0x0202))
        with opened(exif[6 + place : 6 + place + length], ("JPEG",)) as small:
            if max(small.size) <= 4 * LONGEST:
                image = small.convert("RGB")
    if image is None or min(size, max(whole)) > ENLARGED * max(image.size):
        return None
    share = whole[0] / whole[1]
    width, height = min(image.width, round(image.height * share)), min(image.height, round(image.width / share))
    left, top = (image.width - width) // 2, (image.height - height) // 2
    if min(width, height) < 1:
        return None
    bars = [(0, 0, image.width, top), (0, top + height, image.width, image.height)] if top > 1 else []
    bars += [(0, 0, left, image.height), (left + width, 0, image.width, image.height)] if left > 1 else []
    if any(_mean(image.crop(bar)) > BARS for bar in bars):
        return None
    return image.crop((left, top, left + width, top + height))


def _mean(image: Image.Image) -> float:
    """The mean grey level."""
    counts = image.convert("L").histogram()
    return sum(level * count for level, count in enumerate(counts)) / sum(counts)
