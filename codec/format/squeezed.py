"""What is kept beside the coefficients of a JPEG file, deflated; and what it says of the picture. Standard library only."""

import lzma
import zlib
from typing import Any

from ..errors import DamagedFile

STANDARD: tuple[tuple[int, bytes, bytes], ...] = (
    (0, bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)), bytes(range(12))),
    (
        4,
        bytes((0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125)),
        bytes.fromhex(
            "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a"
            "535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7"
            "c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
        ),
    ),
    (1, bytes((0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)), bytes(range(12))),
    (
        5,
        bytes((0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119)),
        bytes.fromhex(
            "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a43444546474849"
            "4a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5"
            "c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
        ),
    ),
)
"""Slot, counts and symbols of the tables of T.81, K.3 to K.6, in the order in which most encoders write them: what is in force until others
are defined, as in frames of motion JPEG, and what most files hold."""
PLAIN, DEFLATED, LZMA = 0, 1, 2
FILTERS = [{"id": lzma.FILTER_LZMA1, "dict_size": 1 << 24, "lc": 3, "lp": 0, "pb": 0}]
LONG = 4096  # bytes from which on LZMA is tried, which has no dictionary
MARKERS_WITHOUT_SEGMENT = (0x01, *range(0xD0, 0xD9), 0xFF)


def segments() -> bytes:
    """The standard tables as DHT segments, one after another: the dictionary of `pack`."""
    return b"".join(
        b"\xff\xc4" + (19 + len(symbols)).to_bytes(2) + bytes([slot // 4 << 4 | slot % 4]) + counts + symbols
        for slot, counts, symbols in STANDARD
    )


def varint(value: int) -> bytes:
    """A number in groups of seven bits, the lowest first, 128 added to all but the last."""
    out = bytearray()
    while value > 127:
        out.append(128 | value & 127)
        value >>= 7
    return bytes([*out, value])


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """The number, and the place behind it. Raises DamagedFile."""
    value = 0
    for shift in range(0, 35, 7):
        byte = data[place + shift // 7] if place + shift // 7 < len(data) else -1
        if byte < 0:
            raise DamagedFile("the record of a JPEG file is cut short")
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place + shift // 7 + 1
    raise DamagedFile("the record of a JPEG file has a number that is too large")


def pack(plain: bytes) -> bytes:
    """Bytes, deflated or by LZMA where that makes them fewer."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=segments())
    deflated = deflater.compress(plain) + deflater.flush()
    methods = [bytes([PLAIN]) + plain, bytes([DEFLATED]) + varint(len(plain)) + deflated]
    if len(plain) >= LONG:
        methods.append(bytes([LZMA]) + varint(len(plain)) + lzma.compress(plain, lzma.FORMAT_RAW, filters=FILTERS))
    return min(methods, key=len)


def unpack(data: bytes, most: int) -> bytes:
    """The inverse. Raises DamagedFile, also for more than `most` bytes."""
    if data[:1] == bytes([PLAIN]):
        return data[1:]
    if data[:1] not in (bytes([DEFLATED]), bytes([LZMA])):
        raise DamagedFile("the record of a JPEG file is of an unknown kind")
    size, place = read_varint(data, 1)
    if size > most:
        raise DamagedFile("the record of a JPEG file is too large for the file")
    inflater: Any = zlib.decompressobj(-15, zdict=segments())
    if data[0] == LZMA:
        inflater = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=FILTERS)
    try:
        plain: bytes = inflater.decompress(data[place:], size + 1)
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise DamagedFile(f"the record of a JPEG file is damaged: {error}") from None
    if len(plain) != size or inflater.unused_data or not inflater.eof:
        raise DamagedFile("the record of a JPEG file has another size than it says")
    return plain
