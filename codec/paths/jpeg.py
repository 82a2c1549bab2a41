"""JPEG files whose bytes come back: their coefficients through a model, everything else as a record; or the file as it is."""

from __future__ import annotations

import zlib
from dataclasses import replace
from mmap import mmap
from typing import cast

from PIL import Image

from ...models.model import Transformed
from .. import estimate
from ..errors import DamagedFile, ImageRefused, PresageError
from ..format import container
from ..format import jpeg as sections
from ..format.container import Box, Coding, Header, Mode, Tag
from ..format.jpeg import Kept
from ..image.opening import cropped, opened, unlimited
from ..jpeg import stream
from ..jpeg.refusal import NotModelled
from ..jpeg.repair import repaired
from ..settings import Settings
from ..weights import Loaded, load_for
from . import coefficients
from .reading import Reading

MODES = {1: Mode.GRAY, 3: Mode.RGB, 4: Mode.CMYK}
GROWTH = 100  # bytes that a file may be larger than the JPEG file


def encode(data: bytes, loaded: Loaded[Transformed], tile: int, settings: Settings) -> bytes:
    """The file of a JPEG file, which is never much larger."""
    try:
        picture, record = stream.read(data, settings.limits)
        if len(picture.components) not in MODES:
            raise NotModelled(f"{len(picture.components)} components")
        if max(picture.height, picture.width) > container.MAX_SIDE:
            raise NotModelled("too many pixels")
    except NotModelled as reason:
        return keep(data, reason.kept, settings)
    tile, pixels = tile or loaded.model.tile, picture.height * picture.width
    estimate.encoding(pixels, MODES[len(picture.components)], Coding.JPEG).check(settings.limits, "encoding the JPEG file")
    parts = sections.pack_record(len(data), record) | coefficients.encode(picture, loaded.model, tile, settings)
    mode = MODES[len(picture.components)]
    header = Header(picture.width, picture.height, mode, Coding.JPEG, zlib.crc32(data), tile, loaded.name, loaded.hash)
    coded = container.write(header, parts)
    return coded if len(coded) < len(data) else keep(data, Kept.SMALLER, settings)


def keep(data: bytes, why: Kept, settings: Settings) -> bytes:
    """The file that has a JPEG file as it is. Raises LimitExceeded."""
    try:
        with opened(data, ("JPEG",)) as image:
            mode = next((mode for mode in MODES.values() if container.PIL_MODES[mode] == image.mode), Mode.RGB)
            size = image.size
    except Exception:  # Pillow raises anything: its size is not known then
        mode, size = Mode.RGB, (0, 0)
    settings.limits.check("pixels", size[0] * size[1], "the picture")
    header = Header(*size, mode, Coding.JPEG, zlib.crc32(data))
    return container.write(header, {Tag.SOURCE: data, Tag.REASON: bytes([why])})


def decode(reading: Reading) -> tuple[bytes, list[Box]]:
    """The JPEG file, and the (x, y, width, height) in pixels of what is lost of it. Raises DamagedFile and WeightsError."""
    data, header = reading.data, reading.header
    lost: list[Box] = []
    if not reading.recovering:
        container.check_unknown(data, header)
    if header.tile:
        made, lost = _from_coefficients(reading)
    else:
        source, reason = container.read_section(data, header, Tag.SOURCE), container.read_section(data, header, Tag.REASON)
        if source is None or reason is None or len(reason) != 1 or header.section(Tag.RECORD):
            raise DamagedFile("the file has no JPEG file, or has it twice")
        made = source
    if not lost and zlib.crc32(made) != header.pixel_crc:
        if not reading.recovering:
            raise DamagedFile("the decoded JPEG file is not the one that was encoded")
        lost = [reading.whole]
    return made, lost


def _from_coefficients(reading: Reading) -> tuple[bytes, list[Box]]:
    data, header = reading.data, reading.header
    if header.section(Tag.SOURCE) or header.section(Tag.REASON):
        raise DamagedFile("the file has a JPEG file twice")
    size, record = sections.unpack_record(data, header)
    reading.settings.limits.check("memory", 8 * size, "the JPEG file")
    picture = stream.blank(record, size, reading.size)
    if MODES.get(len(picture.components)) != header.mode:
        raise DamagedFile("the record of a JPEG file is of another picture")
    model = cast(Transformed, load_for(header, reading.settings).model)
    holes = coefficients.decode(reading, picture, model)
    if holes:
        return repaired(picture, record, size), coefficients.covered(picture, holes)
    made = stream.write(picture, record, size)
    if len(made) != size and not reading.recovering:
        raise DamagedFile("the decoded JPEG file has another size than the one that was encoded")
    return made, []


def decode_pixels(reading: Reading, area: Box) -> tuple[Image.Image, list[Box]]:
    """The pixels of an area as Pillow decodes the JPEG file, and what of it is lost.

    Raises DamagedFile, and ImageRefused if Pillow does not decode it.
    """
    made, lost = decode(reading)
    try:
        with opened(made, ("JPEG",)) as image, unlimited(image.size):
            image.load()
            if image.size != (reading.header.width, reading.header.height):
                raise ImageRefused("the JPEG file has another size than the header says")
            part = cropped(image, area)
            if part is image:
                part = image.copy()
            part.info = dict(image.info)
            return part, lost
    except (PresageError, MemoryError):
        raise
    except Exception as error:  # of a damaged file Pillow raises anything
        raise ImageRefused(f"the JPEG file comes back, but its pixels cannot be decoded: {error}") from error


def verify(data: bytes | mmap, source: bytes, settings: Settings) -> None:
    """Raises PresageError if a file does not give the JPEG file that it was made of."""
    try:
        same = decode(Reading(data, container.read_header(data), False, replace(settings)))[0] == source
    except DamagedFile as error:
        raise PresageError(f"what was encoded does not decode: {error}") from None
    if not same:
        raise PresageError("what was encoded does not decode to the JPEG file")
