"""A valid JPEG file of a picture of which blocks are lost: baseline, with standard tables, and with the segments of the old one."""

import numpy as np

from ..format.jpeg import START
from ..format.squeezed import segments
from .markers import ALONE, END, MARKER, SOS, ZIGZAG
from .picture import Component, Picture
from .record import FileRecord, ScanRecord, pack, unpack
from .stream import write

DC, AC = 1023, 1023  # the largest that standard tables hold, of DC half of what differences may be


def repaired(picture: Picture, record: bytes, most: int) -> bytes:
    """The file. most: bytes of the one that was. Raises DamagedFile."""
    old = unpack(record, most).skeleton
    height, width = picture.height, picture.width
    tables = b""
    slots: list[int] = []
    for component in picture.components:
        slots.append(len(slots))
        steps = component.steps.reshape(64)[ZIGZAG].astype(">u2").tobytes()
        tables += b"\xff\xdb" + (67 + 64).to_bytes(2) + bytes([0x10 | slots[-1]]) + steps
    count = len(picture.components)
    frame = b"".join(bytes([i + 1, c.sampling[1] << 4 | c.sampling[0], slots[i]]) for i, c in enumerate(picture.components))
    scans = [b"".join(bytes([i + 1, 0x11 if i else 0]) for i in range(count))]
    if sum(c.sampling[0] * c.sampling[1] for c in picture.components) > 10:  # blocks of a unit
        scans = [bytes([i + 1, 0x11 if i else 0]) for i in range(count)]
    sof = b"\xff\xc1" + (8 + 3 * count).to_bytes(2) + b"\x08" + height.to_bytes(2) + width.to_bytes(2) + bytes([count]) + frame
    sos = [b"\xff\xda" + (6 + len(s)).to_bytes(2) + bytes([len(s) // 2]) + s + b"\0\x3f\0" for s in scans]
    skeleton = START + _kept(old) + tables + sof + segments() + b"".join(sos) + bytes([0xFF, END])
    room = sum(c.coefficients.shape[0] * c.coefficients.shape[1] for c in picture.components) * 512 + 65536
    within = Picture(height, width, tuple(_within(c) for c in picture.components))
    return write(within, pack(FileRecord([ScanRecord(room) for _ in sos], skeleton)), room * len(sos), exact=False)


def _within(component: Component) -> Component:
    """With coefficients that standard tables hold."""
    return Component(component.sampling, component.steps, np.clip(component.coefficients, -AC, DC))


def _kept(old: bytes) -> bytes:
    """Segments of applications and comments before the first scan."""
    kept, place = b"", 2
    while found := MARKER.search(old, place):
        marker, place = old[found.start() + 1], found.end()
        if marker in (SOS, END):
            break
        if marker not in ALONE:
            size = int.from_bytes(old[place : place + 2])
            if 0xE0 <= marker <= 0xEF or marker == 0xFE:
                kept += old[found.start() : place + size]
            place += max(size, 2)
    return kept
