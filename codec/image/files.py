"""Pillow images <-> pixels and the little that is kept beside them; which images are taken, and which are refused by name."""

import io
import json
import warnings
from dataclasses import dataclass, field
from typing import Any

import PIL
from PIL import Image, UnidentifiedImageError

from ..errors import DamagedFile, ImageRefused, NotAnImage
from ..format.container import PIL_MODES, Mode, Tag

MODES = {name: mode for mode, name in PIL_MODES.items()}
OUTPUTS = {".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".ppm": "PPM", ".pgm": "PPM"}
LOSSY_FORMATS = ("JPEG", "MPO")


@dataclass(frozen=True)
class Picture:
    """An image that Presage takes."""

    image: Image.Image
    mode: Mode
    verbatim: bytes | None = None  # the source PNG, where Pillow would lose bits of it
    icc: bytes = b""
    exif: bytes = b""
    meta: dict[str, Any] = field(default_factory=dict)
    lossy_source: str = ""  # "JPEG" if the pixels come from such a file

    @property
    def extras(self) -> dict[bytes, bytes]:
        """The sections for what is kept beside the pixels."""
        meta = json.dumps(self.meta, separators=(",", ":"), sort_keys=True).encode() if self.meta else b""
        kept = {Tag.ICC: self.icc, Tag.EXIF: self.exif, Tag.META: meta}
        return {tag: content for tag, content in kept.items() if content}


def read(data: bytes, name: str = "the image") -> Picture:
    """Open the bytes of an image file. Raises ImageRefused."""
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning), Image.open(io.BytesIO(data)) as image:
            truncates = _loses_bits(image)
            if truncates and image.format != "PNG":
                raise ImageRefused(f"{name}: 16 bits a channel in colour are taken from PNG files only")
            image.load()
            return from_pillow(image, data if truncates else None)
    except UnidentifiedImageError:
        raise NotAnImage(f"{name}: not an image that Pillow {PIL.__version__} can read") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageRefused(f"{name}: {error}") from None


def _loses_bits(image: Image.Image) -> bool:
    """Whether Pillow would cut 16-bit channels down to 8."""
    if image.mode.startswith("I"):
        return False
    arguments = [tile[3] for tile in getattr(image, "tile", [])]
    return any("16" in str(part) for parts in arguments for part in (parts if isinstance(parts, tuple) else (parts,)))


def from_pillow(image: Image.Image, verbatim: bytes | None = None) -> Picture:
    """Check a Pillow image. Raises ImageRefused."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageRefused(f"the image has {frames} frames; Presage keeps single images only")
    if image.width == 0 or image.height == 0:
        raise ImageRefused("the image has no pixels")
    name = "I;16" if image.mode == "I" and _fits_16_bits(image) else image.mode
    if name not in MODES:
        kinds = ", ".join(MODES)
        raise ImageRefused(f"images of mode {image.mode} are not taken (taken: {kinds}); convert the image first")
    converted = image.convert("I;16") if name != image.mode else image
    info = image.info
    meta: dict[str, Any] = {}
    if (transparency := info.get("transparency")) is not None:
        meta["transparency"] = transparency.hex() if isinstance(transparency, bytes) else transparency
    if "dpi" in info:
        meta["dpi"] = [float(v) for v in info["dpi"]]
    exif = info.get("exif") or (image.getexif().tobytes() if image.getexif() else b"")
    exif = exif if isinstance(exif, bytes) else b""
    source = image.format if image.format in LOSSY_FORMATS else ""
    return Picture(converted, MODES[name], verbatim, info.get("icc_profile") or b"", exif, meta, source)


def _fits_16_bits(image: Image.Image) -> bool:
    low, high = image.getextrema()
    return isinstance(low, int | float) and isinstance(high, int | float) and low >= 0 and high < 65536


def restore(image: Image.Image, meta: bytes | None, icc: bytes | None, exif: bytes | None) -> Image.Image:
    """Put back what was kept beside the pixels. Raises DamagedFile for a meta section that is not ours."""
    try:
        values = json.loads(meta) if meta else {}
        if "transparency" in values:
            kept = values["transparency"]
            image.info["transparency"] = bytes.fromhex(kept) if isinstance(kept, str) else tuple(kept) if isinstance(kept, list) else kept
        if "dpi" in values:
            image.info["dpi"] = tuple(values["dpi"])
    except (ValueError, TypeError, RecursionError):
        raise DamagedFile("the section META is not what this format allows") from None
    if icc:
        image.info["icc_profile"] = icc
    if exif:
        image.info["exif"] = exif
    return image


def check_suffix(suffix: str) -> str:
    """Pillow's name of a lossless output format. Raises ImageRefused."""
    if suffix.lower() not in OUTPUTS:
        raise ImageRefused(f"{suffix or 'a name without suffix'}: decoded images are written as {', '.join(OUTPUTS)}")
    return OUTPUTS[suffix.lower()]


def to_file(image: Image.Image, suffix: str) -> bytes:
    """A conventional lossless file of the image. Raises ImageRefused for formats that would lose something."""
    kind = check_suffix(suffix)
    options: dict[str, Any] = {k: image.info[k] for k in ("icc_profile", "exif", "dpi", "transparency") if k in image.info}
    if kind == "WEBP":
        if image.mode not in ("RGB", "RGBA"):
            raise ImageRefused(f"WebP cannot hold mode {image.mode} losslessly; write a .png")
        options |= {"lossless": True, "exact": True}
    buffer = io.BytesIO()
    try:
        image.save(buffer, kind, **options)
    except (OSError, ValueError) as error:
        raise ImageRefused(f"{suffix}: {error}") from None
    return buffer.getvalue()
