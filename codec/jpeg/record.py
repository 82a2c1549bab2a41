"""What a JPEG file says beside its coefficients, as bytes: see FORMAT.md, section 12."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import DamagedFile
from ..format import squeezed
from ..format.squeezed import varint as _varint

RUNS, PADS, MARKS, CUT = 1, 2, 4, 8


@dataclass
class ScanRecord:
    """size: bytes of the scan's data. whole: coded units that are written from coefficients; kept: how many bytes of that stand, before
    `tail`. None if all do. runs, pads, marks: as of `write_scan`, None if they are as usual."""

    size: int
    whole: int | None = None
    kept: int = 0
    tail: bytes = b""
    runs: NDArray[np.int32] | None = None
    pads: NDArray[np.uint8] | None = None
    marks: NDArray[np.uint8] | None = None


@dataclass
class FileRecord:
    """skeleton: the file without the data of its scans."""

    scans: list[ScanRecord] = field(default_factory=list)
    skeleton: bytes = b""


def pack(record: FileRecord) -> bytes:
    out = [_varint(len(record.skeleton)), record.skeleton]
    for scan in record.scans:
        flags = RUNS * (scan.runs is not None) | PADS * (scan.pads is not None) | MARKS * (scan.marks is not None)
        out.append(_varint(scan.size) + bytes([flags | CUT * (scan.whole is not None)]))
        if scan.whole is not None:
            out += [_varint(scan.whole), _varint(scan.kept), scan.tail]
        if scan.runs is not None:
            out += [_varint(len(scan.runs)), scan.runs.astype("<u2").tobytes()]
        for array in (scan.pads, scan.marks):
            if array is not None:
                out += [_varint(len(array)), array.tobytes()]
    return squeezed.pack(b"".join(out))


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.place:
            raise DamagedFile("the record of a JPEG file is cut short")
        self.place += size
        return self.data[self.place - size : self.place]

    def varint(self) -> int:
        value, self.place = squeezed.read_varint(self.data, self.place)
        return value


def unpack(data: bytes, most: int) -> FileRecord:
    """The inverse. most: bytes that the file may have. Raises DamagedFile."""
    reader = _Reader(squeezed.unpack(data, 2 * most + 1024))
    record = FileRecord(skeleton=reader.take(reader.varint()))
    total = 0
    while reader.place < len(reader.data):
        scan = ScanRecord(reader.varint())
        total += scan.size
        if total > most:
            raise DamagedFile("the scans of a JPEG file are larger than the file")
        flags = reader.take(1)[0]
        if flags & CUT:
            scan.whole, scan.kept = reader.varint(), reader.varint()
            if scan.kept > scan.size:
                raise DamagedFile("a scan of a JPEG file is shorter than what is kept of it")
            scan.tail = reader.take(scan.size - scan.kept)
        if flags & RUNS:
            scan.runs = np.frombuffer(reader.take(2 * reader.varint()), "<u2").astype(np.int32)
        if flags & PADS:
            scan.pads = np.array(np.frombuffer(reader.take(reader.varint()), np.uint8))
        if flags & MARKS:
            scan.marks = np.array(np.frombuffer(reader.take(reader.varint()), np.uint8))
        record.scans.append(scan)
    return record
