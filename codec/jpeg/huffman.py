"""Huffman tables of JPEG (ITU-T T.81, annex C), for reading and for writing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .refusal import NotModelled

SLOTS = 8  # tables of DC 0..3, then of AC 0..3
LOOK = 10  # bits that are looked up at once


@dataclass(frozen=True)
class Tables:
    """The eight tables that are in force at a scan; those that nobody defined hold no codes.

    look: (8, 1 << LOOK) int32, length << 8 | symbol of the code that begins so, 0 if it is longer or there is none. limits, bases:
    (8, 17) int64, for codes of each length: 16 bits below limits[length] are a code of at most this length, whose symbol is
    values[bases[length] + code]. values: (8, 256) uint8. codes: (8, 256) int32, of each symbol code << 5 | length, 0 if it has none.
    """

    look: NDArray[np.int32]
    limits: NDArray[np.int64]
    bases: NDArray[np.int64]
    values: NDArray[np.uint8]
    codes: NDArray[np.int32]


def empty() -> Tables:
    return Tables(
        np.zeros((SLOTS, 1 << LOOK), np.int32),
        np.zeros((SLOTS, 17), np.int64),
        np.zeros((SLOTS, 17), np.int64),
        np.zeros((SLOTS, 256), np.uint8),
        np.zeros((SLOTS, 256), np.int32),
    )


def define(tables: Tables, slot: int, counts: Sequence[int], symbols: bytes) -> None:
    """Put a table into a slot: how many codes there are of lengths 1..16, and their symbols. Raises NotModelled if these are no codes."""
    look, limits, bases, values, codes = tables.look[slot], tables.limits[slot], tables.bases[slot], tables.values[slot], tables.codes[slot]
    if len(symbols) > 256:
        raise NotModelled("a Huffman table of more than 256 codes")
    for array in (look, limits, bases, values, codes):
        array[...] = 0
    values[: len(symbols)] = np.frombuffer(symbols, np.uint8)
    code = at = 0
    for length in range(1, 17):
        count = counts[length - 1]
        if code + count > 1 << length:
            raise NotModelled("a Huffman table with more codes than there are bits for")
        bases[length] = at - code
        for symbol in symbols[at : at + count]:
            codes[symbol] = code << 5 | length
            if length <= LOOK:
                look[code << (LOOK - length) : (code + 1) << (LOOK - length)] = length << 8 | symbol
            code += 1
        at += count
        limits[length] = code << (16 - length)
        code <<= 1


def _ac(rows: str) -> bytes:
    return bytes.fromhex(rows)


STANDARD: tuple[tuple[int, bytes, bytes], ...] = (
    (0, bytes((0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0)), bytes(range(12))),
    (
        4,
        bytes((0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125)),
        _ac(
            "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435363738393a434445464748494a"
            "535455565758595a636465666768696a737475767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7"
            "c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9fa"
        ),
    ),
    (1, bytes((0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0)), bytes(range(12))),
    (
        5,
        bytes((0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119)),
        _ac(
            "000102031104052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a35363738393a43444546474849"
            "4a535455565758595a636465666768696a737475767778797a82838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5"
            "c6c7c8c9cad2d3d4d5d6d7d8d9dae2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
        ),
    ),
)
"""Slot, counts and symbols of the tables of T.81, K.3 to K.6, in the order in which most encoders write them: what is in force until others
are defined, as in frames of motion JPEG, and what most files hold."""


def segments() -> bytes:
    """The standard tables as DHT segments, one after another."""
    return b"".join(
        b"\xff\xc4" + (19 + len(symbols)).to_bytes(2) + bytes([slot // 4 << 4 | slot % 4]) + counts + symbols for slot, counts, symbols in STANDARD
    )
