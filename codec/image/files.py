"""Pillow images <-> pixels and the little that is kept beside them; which images are taken, and which are refused by name."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from ..errors import ImageRefused, NotAnImage, PresageError
from ..format.container import MAX_PIXELS, MAX_SIDE, PIL_MODES, Mode, Tag
from ..limits import Limits
from . import meta as metadata
from .opening import FORMATS, opened, unlimited

MODES = {name: mode for mode, name in PIL_MODES.items()}
OUTPUTS = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".ppm": "PPM", ".pgm": "PPM"}
XMP_KEYWORD = "XML:com.adobe.xmp"  # of PNG's texts
LOSSY_FORMATS = ("JPEG", "MPO")


@dataclass(frozen=True)
class Picture:
    """An image that Presage takes."""

    image: Image.Image
    mode: Mode
    verbatim: bytes | None = None  # the source PNG, where Pillow would lose bits of it
    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""
    meta: dict[str, Any] = field(default_factory=dict)
    lossy_source: str = ""  # "JPEG" if the pixels come from such a file

    @property
    def extras(self) -> dict[bytes, bytes]:
        """The sections for what is kept beside the pixels."""
        meta = json.dumps(self.meta, separators=(",", ":"), sort_keys=True).encode() if self.meta else b""
        kept = {Tag.ICC: self.icc, Tag.EXIF: self.exif, Tag.XMP: self.xmp, Tag.META: meta}
        return {tag: content for tag, content in kept.items() if content}


def read(data: bytes, name: str = "the image", limits: Limits | None = None) -> Picture:
    """Open the bytes of an image file. Raises ImageRefused, and LimitExceeded before the pixels are made."""
    try:
        with opened(data, most=(limits or Limits()).pixels) as image:
            truncates = _loses_bits(image)
            if truncates and image.format != "PNG":
                raise ImageRefused(f"{name}: 16 bits a channel in colour are taken from PNG files only")
            return from_pillow(image, data if truncates else None, name, limits)
    except UnidentifiedImageError:
        raise NotAnImage(f"{name}: not an image of a format that is read ({', '.join(FORMATS)})") from None
    except PresageError:
        raise
    except Exception as error:  # of a damaged file Pillow raises anything
        raise ImageRefused(f"{name}: {error}") from error


def check_size(width: int, height: int, name: str, limits: Limits | None = None) -> None:
    """Raises ImageRefused and LimitExceeded for pictures that are too large, or have no pixels."""
    if width < 1 or height < 1:
        raise ImageRefused(f"{name} has no pixels")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise ImageRefused(f"{name}: {width} x {height} pixels are more than the format allows")
    (limits or Limits()).check("pixels", width * height, name)


def _loses_bits(image: Image.Image) -> bool:
    """Whether Pillow would cut 16-bit channels down to 8."""
    if image.mode.startswith("I"):
        return False
    arguments = [tile[3] for tile in getattr(image, "tile", [])]
    return any("16" in str(part) for parts in arguments for part in (parts if isinstance(parts, tuple) else (parts,)))


def from_pillow(image: Image.Image, verbatim: bytes | None = None, name: str = "the image", limits: Limits | None = None) -> Picture:
    """Check a Pillow image. Raises ImageRefused, and LimitExceeded before its pixels are loaded."""
    check_size(*image.size, name, limits)
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageRefused(f"{name} has {frames} frames; Presage keeps single images only")
    try:
        with unlimited(image.size):
            image.load()
        exif = image.info.get("exif") or (image.getexif().tobytes() if image.getexif() else b"")
    except Exception as error:  # of a damaged file Pillow raises anything
        raise ImageRefused(f"{name}: {error}") from error
    mode = "I;16" if image.mode == "I" and _fits_16_bits(image) else image.mode
    if mode not in MODES:
        kinds = ", ".join(MODES)
        raise ImageRefused(f"{name}: images of mode {image.mode} are not taken (taken: {kinds}); convert the image first")
    icc = image.info.get("icc_profile")
    return Picture(
        image.convert("I;16") if mode != image.mode else image,
        MODES[mode],
        verbatim,
        icc if isinstance(icc, bytes) else b"",
        exif if isinstance(exif, bytes) else b"",
        _xmp_of(image.info),
        metadata.kept(image.info, mode),
        image.format if image.format in LOSSY_FORMATS else "",
    )


def _fits_16_bits(image: Image.Image) -> bool:
    low, high = image.getextrema()
    return isinstance(low, int | float) and isinstance(high, int | float) and low >= 0 and high < 65536


def _xmp_of(info: Mapping[Any, Any]) -> bytes:
    """The XMP packet of Pillow's `info` of an image; of PNG files also as text, as older versions have it."""
    xmp = info.get("xmp", info.get(XMP_KEYWORD))
    return xmp.encode("utf-8", "replace") if isinstance(xmp, str) else xmp if isinstance(xmp, bytes) else b""


def restore(
    image: Image.Image, meta: bytes | None = None, icc: bytes | None = None, exif: bytes | None = None, xmp: bytes | None = None
) -> Image.Image:
    """Put back what was kept beside the pixels. Raises DamagedFile for a meta section that is not ours."""
    if meta:
        image.info.update(metadata.restored(meta, image.mode))
    if icc:
        image.info["icc_profile"] = icc
    if exif:
        image.info["exif"] = exif
    if xmp:
        image.info["xmp"] = xmp
    return image


def _xmp_options(kind: str, xmp: bytes) -> dict[str, Any]:
    """Options of `Image.save` by which a file of some format has an XMP packet; none of formats that hold none."""
    if kind == "PNG":
        texts = PngInfo()
        texts.add_itxt(XMP_KEYWORD, xmp)
        return {"pnginfo": texts}
    return {"xmp": xmp} if kind == "WEBP" else {"tiffinfo": {700: xmp}} if kind == "TIFF" else {}


def check_suffix(suffix: str) -> str:
    """Pillow's name of a lossless output format. Raises ImageRefused."""
    if suffix.lower() not in OUTPUTS:
        raise ImageRefused(f"{suffix or 'a name without suffix'}: decoded images are written as {', '.join(OUTPUTS)}")
    return OUTPUTS[suffix.lower()]


def to_file(image: Image.Image, suffix: str) -> bytes:
    """A conventional lossless file of the image. Raises ImageRefused for formats that would lose something."""
    kind = check_suffix(suffix)
    if image.mode == "CMYK" and kind != "TIFF":
        raise ImageRefused(f"{suffix} cannot hold CMYK; write a .tif")
    options: dict[str, Any] = {k: image.info[k] for k in ("icc_profile", "exif", "dpi", "transparency") if k in image.info}
    if kind == "WEBP":
        if image.mode not in ("RGB", "RGBA"):
            raise ImageRefused(f"WebP cannot hold mode {image.mode} losslessly; write a .png")
        options |= {"lossless": True, "exact": True}
    if xmp := image.info.get("xmp"):
        options |= _xmp_options(kind, xmp)
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **options)
    except MemoryError:
        raise
    except Exception as error:  # of profiles and the like that are no such things Pillow raises anything
        raise ImageRefused(f"{suffix}: {error}") from error
    return buffer.getvalue()
