"""Pictures whose pixels a JPEG decoder gave: their coefficients through a model, and what is corrected after decoding these."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...models.model import Transformed
from ..errors import DamagedFile
from ..format import container
from ..format.container import ALPHA_MODES, Box, Coding, Header, Mode, Tag
from ..image import beside
from ..image.files import Picture as Source
from ..jpeg import steps
from ..jpeg.bounds import Recognised
from ..jpeg.picture import Component, Picture
from ..jpeg.recognition import recognise
from ..settings import Settings
from ..weights import Loaded
from . import coefficients
from .reading import Reading

Bytes = NDArray[np.uint8]
HEAD = 3  # bytes before the components: how many there are, whether chroma is interpolated, the offset
WRITTEN, BEFORE = 0, 255  # kinds of steps: that stand there, and those of the component before
GRAY = (Mode.GRAY, Mode.GRAY_ALPHA)


def find(picture: Source, workers: int) -> Recognised | None:
    """What a picture came from, if a JPEG decoder gave its pixels."""
    levels = np.asarray(picture.image)
    if picture.mode in ALPHA_MODES:
        levels = levels[..., :-1]
    return recognise(levels[..., 0] if picture.mode == Mode.GRAY_ALPHA else levels, workers)


def encode(picture: Source, found: Recognised, loaded: Loaded[Transformed], tile: int, settings: Settings) -> bytes:
    """The file of a picture, given what its pixels came from."""
    tile = tile or loaded.model.tile
    sections = {Tag.DECODER: pack(found)} | coefficients.encode(found.picture, loaded.model, tile, settings)
    crc = zlib.crc32(picture.image.tobytes())
    header = Header(*picture.image.size, picture.mode, Coding.RECOGNISED, crc, tile, loaded.name, loaded.hash)
    return container.write(header, beside.sections(picture, False) | sections)


def decode(reading: Reading, model: Transformed, area: Box) -> tuple[Bytes, list[Box]]:
    """The pixels (height, width, 1 or 3) of an area, and the (x, y, width, height) of what is lost of the picture. Raises DamagedFile.

    Where something is lost, nothing is corrected.
    """
    from ..jpeg.search import restore  # whose loops only pictures with coefficients need

    header = reading.header
    content = container.read_section(reading.data, header, Tag.DECODER)
    if content is None:
        raise DamagedFile("what pixels come from is missing")
    found = unpack(content, header.height, header.width)
    holes = coefficients.decode(reading, found.picture, model)
    levels = restore(replace(found, corrections=b"") if holes else found)
    if levels.ndim == 2:
        levels = levels[..., None] if header.mode in GRAY else np.stack([levels] * 3, -1)
    elif header.mode in GRAY:
        raise DamagedFile("a gray picture comes from colours")
    return np.ascontiguousarray(levels[area[1] : area[3], area[0] : area[2]]), _moved(coefficients.covered(found.picture, holes), found)


def _moved(boxes: list[Box], found: Recognised) -> list[Box]:
    """Boxes (x, y, width, height) of a picture in the pixels that were cut out of it."""
    top, left = found.offset
    parts = [(max(x - left, 0), max(y - top, 0), x + width - left, y + height - top) for x, y, width, height in boxes]
    return [(x, y, right - x, bottom - y) for x, y, right, bottom in parts if right > x and bottom > y]


def pack(found: Recognised) -> bytes:
    """Everything but the coefficients."""
    parts = [bytes([len(found.picture.components), found.smooth, 16 * found.offset[0] + found.offset[1]])]
    before = None
    for component in found.picture.components:
        same = before is not None and np.array_equal(before, component.steps)
        kind = BEFORE if same else steps.number_of(component.steps) or WRITTEN
        parts.append(bytes([16 * component.sampling[0] + component.sampling[1], kind]))
        if kind == WRITTEN:
            parts.append(component.steps.astype("<u2").tobytes())
        before = component.steps
    return b"".join(parts) + found.corrections


def unpack(content: bytes, height: int, width: int) -> Recognised:
    """The inverse, with coefficients of 0. Raises DamagedFile."""
    wrong = DamagedFile("the section DECO is not what this format allows")
    if len(content) < HEAD or content[0] not in (1, 3) or content[1] > 1:
        raise wrong
    described: list[tuple[tuple[int, int], steps.Steps]] = []
    place, offset = HEAD, (content[2] >> 4, content[2] & 15)
    height, width = height + offset[0], width + offset[1]
    for i in range(content[0]):
        head = content[place : place + 2]
        place += 2
        if len(head) < 2 or not (1 <= head[0] >> 4 <= 2 and 1 <= head[0] & 15 <= 2) or (i and head[0] != 0x11):
            raise wrong
        table: steps.Steps | None = described[-1][1] if head[1] == BEFORE and i else steps.numbered(head[1])
        if head[1] == WRITTEN:
            written = content[place : place + 128]
            place += 128
            table = np.frombuffer(written, "<u2").astype(np.uint16).reshape(8, 8) if len(written) == 128 else None
        if table is None or not table.all():
            raise wrong
        described.append(((head[0] >> 4, head[0] & 15), table))
    v, h = described[0][0]
    units = -(-height // (8 * v)), -(-width // (8 * h))
    if content[0] == 1 and (v, h) != (1, 1):
        raise wrong
    components = tuple(
        Component(sampling, table, np.zeros((units[0] * sampling[0], units[1] * sampling[1], 8, 8), np.int16))
        for sampling, table in described
    )
    return Recognised(Picture(height, width, components), bool(content[1]), offset, content[place:])
