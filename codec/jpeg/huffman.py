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
