"""The bytes of a JPEG file <-> a picture of coefficients, and a record of everything that these do not say."""

import numpy as np
from numpy.typing import NDArray

from ..errors import DamagedFile
from ..format.jpeg import Kept
from ..limits import Limits
from . import reading, writing
from .markers import MARKER, Frame, Part, Scan, walk
from .picture import Component, Picture
from .reading import NOTHING, ONES, read_scan
from .record import FileRecord, ScanRecord, pack, unpack
from .refusal import NotModelled
from .writing import ROOM, write_scan

MOST_PIXELS = 1 << 28
BLOCKS_PER_BYTE = 8  # a block takes at least a bit of the file
VISITS = 200  # of each block, by all scans
KEPT = 0.25  # share of a file that may be kept as it is
_NUMBER_OF_LINES = b"\xff\xdc\x00\x04"

Blocks = NDArray[np.int16]
"""(blocks, 64): the coefficients of all components, one after another."""


def _allocate(frame: Frame) -> Blocks:
    return np.zeros((frame.blocks, 64), np.int16)


def _arrays(scan: Scan) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`band` and `units` of the kernels."""
    return np.array([*scan.band, scan.progressive], np.int64), np.array([*scan.units, scan.restart], np.int64)


class _Visits:
    """How often blocks are visited by scans, which is bounded."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, frame: Frame, scan: Scan) -> None:
        self.count += scan.units[0] * scan.units[1] * int((scan.parts[:, 2] * scan.parts[:, 3]).sum())
        if self.count > VISITS * (frame.blocks + 1000):
            raise NotModelled("scans that come again and again")


def read(data: bytes, limits: Limits | None = None) -> tuple[Picture, bytes]:
    """A JPEG file -> picture and record. Raises NotModelled for what cannot be written again from these, LimitExceeded.

    Most files are written as all encoders do: that is tried first, with all of the file, and only then with each of its scans.
    """
    for usual in (True, False):
        picture, record = _read(data, limits or Limits(), usual)
        try:
            again = write(picture, record, len(data))
        except DamagedFile as error:
            again, reason = b"", f"a file that is not written again: {error}"
        else:
            reason = "a file that is written otherwise"
        if again == data:
            return picture, record
    raise NotModelled(reason)


def _read(data: bytes, limits: Limits, usual: bool) -> tuple[Picture, bytes]:
    """The same, not written again. usual: what scans are like is not looked into."""
    record = FileRecord()
    pieces: list[bytes] = []
    blocks: list[Blocks] = []
    visits = _Visits()
    at = 0

    def on_frame(frame: Frame) -> None:
        if frame.height * frame.width > MOST_PIXELS or frame.blocks > BLOCKS_PER_BYTE * len(data) + 64:
            raise NotModelled("a picture that is too large for its file", Kept.LARGE)
        limits.check("pixels", frame.height * frame.width, "a JPEG file")
        limits.check("memory", 2 * 128 * frame.blocks + 3 * len(data), "a JPEG file")
        blocks.append(_allocate(frame))

    def on_scan(frame: Frame, scan: Scan, start: int) -> int:
        nonlocal at
        visits.add(frame, scan)
        found = MARKER.search(data, start)
        stop = found.start() if found else len(data)
        scan_record = _read_scan(data[start:stop], blocks[0], scan, usual)
        record.scans.append(scan_record)
        pieces.append(data[at:start])
        at = start + scan_record.size
        return at

    found = data.find(_NUMBER_OF_LINES)
    height = int.from_bytes(data[found + 4 : found + 6]) if found >= 0 else 0
    frame = walk(data, height, on_frame, on_scan)
    record.skeleton = b"".join([*pieces, data[at:]])
    if sum(len(scan.tail) for scan in record.scans) > KEPT * len(data):
        raise NotModelled("broken data of a scan")
    return Picture(frame.height, frame.width, tuple(_component(part, blocks[0]) for part in frame.parts)), pack(record)


def _component(part: Part, blocks: Blocks) -> Component:
    count = part.rows * part.columns
    steps = np.ones((8, 8), np.uint16) if part.steps is None else part.steps
    coefficients = blocks[part.first : part.first + count].reshape(part.rows, part.columns, 8, 8)
    return Component((part.vertical, part.horizontal), steps, coefficients)


def _read_scan(data: bytes, blocks: Blocks, scan: Scan, usual: bool) -> ScanRecord:
    """Read the data of a scan, up to the next marker or to where they end before it, and find out how to write them.

    usual: they are not tried to be written, if they are whole.
    """
    band, units = _arrays(scan)
    count = int(units[0] * units[1])
    restarts = (count - 1) // scan.restart if scan.restart else 0
    state = np.zeros(6, np.int64)
    runs = np.empty(count + 1 if scan.progressive else 0, np.int32)
    pads, marks = np.full(restarts + 1, NOTHING, np.uint8), np.zeros(restarts, np.uint8)
    tables = scan.tables
    source = np.array(np.frombuffer(data, np.uint8))  # kernels take no arrays that are read-only
    whole = read_scan(
        source, state, blocks, scan.parts, band, units, tables.look, tables.limits, tables.bases, tables.values, runs, pads, marks
    )
    record = ScanRecord(int(state[reading.PLACE]) if whole == count else len(data))
    passed = (max(whole, 1) - 1) // scan.restart if scan.restart else 0
    if not np.array_equal(marks[:passed], np.arange(passed) & 7):
        record.marks = marks[:passed]
    last = passed + 1 if whole == count else passed
    if not np.isin(pads[:last], (ONES, NOTHING)).all():
        record.pads = np.zeros(1, np.uint8) if np.isin(pads[:last], (0, NOTHING)).all() else pads[:last]
    if usual and whole == count:
        return record
    written = _write_scan(record, blocks, scan, whole)
    wanted = source[: record.size]
    if written is None or not np.array_equal(written, wanted):
        if scan.progressive and state[reading.RUNS]:
            record.runs = runs[: state[reading.RUNS]]
            written = _write_scan(record, blocks, scan, whole)
        if written is None:
            written = wanted[:0]
        if whole != count or not np.array_equal(written, wanted):
            same = min(len(written), len(wanted))
            differ = written[:same] != wanted[:same]
            record.whole, record.kept = whole, int(differ.argmax()) if differ.any() else same
            record.tail = wanted[record.kept :].tobytes()
    return record


def _write_scan(record: ScanRecord, blocks: Blocks, scan: Scan, whole: int) -> NDArray[np.uint8] | None:
    """What the coefficients give, None if there is no room for it."""
    band, units = _arrays(scan)
    out = np.empty(record.size + 2 * ROOM, np.uint8)
    state = np.zeros(6, np.int64)
    pads = np.full(1, ONES, np.uint8) if record.pads is None else record.pads
    marks = np.zeros(0, np.uint8) if record.marks is None else record.marks
    runs = np.zeros(0, np.int32) if record.runs is None else record.runs
    size = write_scan(out, state, blocks, scan.parts, band, units, scan.tables.codes, runs, record.runs is None, pads, marks, whole)
    return None if size < 0 or state[writing.MISSED] else out[:size]


def blank(record: bytes, most: int, size: tuple[int, int]) -> Picture:
    """The picture that a record tells of, with zeros for coefficients. size: (height, width) that it must have. Raises DamagedFile."""
    skeleton = unpack(record, most).skeleton

    def on_frame(frame: Frame) -> None:
        if (frame.height, frame.width) != size or frame.blocks > BLOCKS_PER_BYTE * most + 64:
            raise NotModelled("a frame of another size, or too large for its file")

    try:
        frame = walk(skeleton, size[0], on_frame, lambda frame, scan, start: start)
    except NotModelled as error:
        raise DamagedFile(f"the record of a JPEG file is damaged: {error}") from None
    blocks = _allocate(frame)
    return Picture(frame.height, frame.width, tuple(_component(part, blocks) for part in frame.parts))


def write(picture: Picture, record: bytes, most: int, *, exact: bool = True) -> bytes:
    """The inverse of `read`. most: bytes that the file may have. exact: the record tells how long the data of scans are;
    otherwise how long they may be.

    Raises DamagedFile.
    """
    parts = unpack(record, most)
    pieces: list[bytes] = []
    visits = _Visits()
    blocks: Blocks = np.concatenate([c.coefficients.reshape(-1, 64) for c in picture.components])
    skeleton, scans = parts.skeleton, iter(parts.scans)
    at = 0

    def on_frame(frame: Frame) -> None:
        if (frame.height, frame.width) != (picture.height, picture.width) or len(frame.parts) != len(picture.components):
            raise NotModelled("a frame of another size")
        for part, component in zip(frame.parts, picture.components, strict=True):
            if (part.rows, part.columns) != component.coefficients.shape[:2]:
                raise NotModelled("a frame of other components")

    def on_scan(frame: Frame, scan: Scan, start: int) -> int:
        nonlocal at
        visits.add(frame, scan)
        told = next(scans, None)
        count = scan.units[0] * scan.units[1]
        if told is None or (told.whole or 0) > count or any(a is not None and len(a) == 0 for a in (told.runs, told.pads)):
            raise NotModelled("a scan that the record does not tell of")
        written = _write_scan(told, blocks, scan, count if told.whole is None else told.whole)
        if written is not None and not exact:
            told.size = len(written)
        kept = told.size if told.whole is None else told.kept
        if written is None or len(written) < kept or (told.whole is None and len(written) != kept):
            raise NotModelled("a scan of another size")
        pieces.extend((skeleton[at:start], written[:kept].tobytes(), told.tail))
        at = start
        return start

    try:
        walk(skeleton, picture.height, on_frame, on_scan)
    except NotModelled as error:
        raise DamagedFile(f"the record of a JPEG file is damaged: {error}") from None
    if next(scans, None) is not None:
        raise DamagedFile("the record of a JPEG file is damaged: it tells of a scan that there is not")
    return b"".join([*pieces, skeleton[at:]])
