"""The codecs whose files are cut: how each makes one file of an image, cuts it to a number of bytes and decodes what is left.

WebP's files cannot be cut; it stands beside the others with a file of its own for every number of bytes.
"""

import bisect
import itertools
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

import presage

from ...codec import api
from ...codec.settings import Settings
from .codecs import J2K, JPEG, WEBP, Codec, Pixels, flif_decode, flif_encode, pillow_decode, pillow_encode, presage_decode

RATES = (0.05, 0.1, 0.2, 0.3, 0.44, 0.5)  # bits a pixel at which codecs are compared
CURVE = (0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.37, 0.44, 0.5, 0.6, 0.75, 1, 1.25, 1.6, 2)
"""Bits a pixel of the other codecs' cuts; all of RATES are among them."""


@dataclass(frozen=True)
class Anytime(Codec):
    """encode: (pixels, threads) -> source, what `cut` needs; its length is how many bytes all of it takes, unless it is `endless`.

    cut: (source, bytes) -> a file of at most so many bytes, None if there is none so small. model: one of Presage's.
    decode_all: (file, sizes, threads) -> pixels of the file's cuts at sizes, the same as one after the other, and faster.
    """

    cut: Callable[[Any, int], bytes | None] = field(kw_only=True)
    endless: bool = field(default=False, kw_only=True)
    model: bool = field(default=False, kw_only=True)
    decode_all: Callable[[bytes, Sequence[int], int], list[Pixels]] | None = field(default=None, kw_only=True)


def budget(pixels: Pixels, rate: float) -> int:
    """Bytes at a rate in bits a pixel, rounded down."""
    return int(rate * pixels.shape[0] * pixels.shape[1] / 8)


# ----------------------------------------------------------------------------------------------------------- Presage


def of_model(name: str, folders: Sequence[Path] = ()) -> Anytime:
    """Presage with one of its models for files that can be cut; folders: where else to look for weights."""
    return Anytime(
        name,
        f"Presage, model `{name}`, one file cut",
        partial(_presage_encode, name, folders),
        partial(presage_decode, model_path=folders),
        cut=_presage_cut,
        model=True,
        option="presage",  # stands for all of its models
        decode_all=partial(_presage_decode_all, folders),
    )


def _presage_encode(model: str, folders: Sequence[Path], pixels: Pixels, threads: int) -> bytes:
    data = presage.encode_lossy(pixels, model=model, quality=100, threads=threads, model_path=folders)
    return presage.truncate(data, len(data))  # refuses what cannot be cut at all


def _presage_cut(data: bytes, size: int) -> bytes | None:
    """None where not even what is needed to decode fits."""
    try:
        return presage.truncate(data, size)
    except presage.ImageRefused:
        return None


def _presage_decode_all(folders: Sequence[Path], data: bytes, sizes: Sequence[int], threads: int) -> list[Pixels]:
    return [np.asarray(image) for image in api.decode_cuts(data, sizes, Settings(threads=threads, model_path=folders))]


# --------------------------------------------------------------------------------------------------------- JPEG 2000

SOT, PLT, SOD, EOC = 0xFF90, 0xFF58, 0xFF93, b"\xff\xd9"
SMALLEST_LAYER = 512  # bytes
ROUNDS = 8


@dataclass(frozen=True)
class Codestream:
    """A JPEG 2000 codestream of one tile, taken apart: main header, marker segment of the tile, packets, where each packet ends."""

    head: bytes
    tile: bytes
    packets: bytes
    ends: tuple[int, ...]

    def file(self, count: int) -> bytes:
        """A codestream with only the first packets: of a few layers all, of the next a part."""
        end = self.ends[count - 1] if count else 0
        tile = self.tile[:6] + struct.pack(">I", len(self.tile) + 2 + end) + self.tile[10:]
        return self.head + tile + struct.pack(">H", SOD) + self.packets[:end] + EOC

    @property
    def frame(self) -> int:
        """Bytes of a file with no packets."""
        return len(self.file(0))

    def __len__(self) -> int:
        return self.frame + len(self.packets)


def read_codestream(data: bytes) -> Codestream:
    """Take a codestream of one tile apart; its packets' lengths are in its PLT segments, which are left out of what is made of it
    (ISO/IEC 15444-1, annex A.7.3). Raises ValueError for more than one tile part and if the lengths do not fit.
    """
    at, start, lengths, value = 2, 0, [], 0
    while (marker := struct.unpack_from(">H", data, at)[0]) != SOD:
        (length,) = struct.unpack_from(">H", data, at + 2)
        if marker == SOT:
            start = at
        elif marker == PLT:
            for byte in data[at + 5 : at + 2 + length]:
                value = value << 7 | byte & 127
                if byte < 128:
                    lengths.append(value)
                    value = 0
        at += 2 + length
    packets = data[at + 2 : -2]
    if sum(lengths) != len(packets):
        raise ValueError("a codestream with several tile parts, or without the lengths of its packets")
    return Codestream(data[:start], data[start : start + 12], packets, tuple(itertools.accumulate(lengths)))


def _j2k_encode(pixels: Pixels, threads: int) -> Codestream:
    """Layers that end just below the budgets of CURVE: asked for, looked at, and asked for anew where one ends above."""
    goals = np.array([size for size in (budget(pixels, rate) for rate in CURVE) if size >= SMALLEST_LAYER], float)
    asked = goals.copy()
    for _ in range(ROUNDS):
        layers = {"quality_layers": (pixels.size / asked).tolist(), "progression": "LRCP", "plt": True}
        stream = read_codestream(pillow_encode("JPEG2000", J2K | layers, pixels))
        over = np.array(stream.ends).reshape(len(goals), -1)[:, -1] + stream.frame - goals
        if (over <= 0).all():
            break
        asked = np.maximum(asked - np.where(over > 0, over + 8, 0), 1)
    return stream


def _j2k_cut(stream: Codestream, size: int) -> bytes | None:
    """As many whole packets as there is room for: half a packet only disturbs OpenJPEG."""
    count = bisect.bisect_right(stream.ends, size - stream.frame)
    return stream.file(count) if count else None


# -------------------------------------------------------------------------------------------------- progressive JPEG

START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
NEXT_MARKER = re.compile(rb"\xff[^\x00\xff]")  # after the data of a scan, where 255 is followed by 0
JPEG_WHOLE = 1.0  # bits a pixel that the whole file shall have at least


def _jpeg_encode(pixels: Pixels, threads: int) -> bytes:
    """The lowest quality (up to 95) with at least JPEG_WHOLE: a higher one shows less in the same bytes."""
    file = partial(pillow_encode, "JPEG", JPEG | {"progressive": True}, pixels, threads)
    return file(1 + bisect.bisect_left(range(1, 95), budget(pixels, JPEG_WHOLE), key=lambda quality: len(file(quality))))


def _jpeg_cut(data: bytes, size: int) -> bytes | None:
    """None where no scan begins."""
    cut = data[:size]
    return cut if any(cut[at + 1] == START_OF_SCAN for at, _ in _segments(cut)) else None


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the whole segments of a JPEG file begin and end, a scan with the data that follow its header."""
    at = 2
    while at + 4 <= len(data):
        end = at + 2 + int(struct.unpack_from(">H", data, at + 2)[0])
        if end > len(data):
            return
        if data[at + 1] == START_OF_SCAN:
            following = NEXT_MARKER.search(data, end)
            end = following.start() if following else len(data)
        yield at, end
        at = end


def _jpeg_decode(data: bytes, threads: int) -> Pixels:
    """What is missing counts as zero coefficients. Half a header is dropped; the end marker that the decoder waits for costs no bytes."""
    *_, (_, end) = _segments(data)
    return pillow_decode(data[:end] + END_OF_IMAGE)


# -------------------------------------------------------------------------------------------------------------- WebP

WEBP_STEPS = 1000  # qualities between 0 and 100: whole ones lie up to half a file apart


def _webp_encode(pixels: Pixels, threads: int) -> Callable[[int], bytes]:
    """Files by step, made when asked for."""

    @cache
    def file(step: int) -> bytes:
        return pillow_encode("WEBP", WEBP, pixels, threads, 100 * step / WEBP_STEPS)

    return file


def _webp_cut(file: Callable[[int], bytes], size: int) -> bytes | None:
    count = bisect.bisect_right(range(WEBP_STEPS + 1), size, key=lambda step: len(file(step)))
    return file(count - 1) if count else None


# --------------------------------------------------------------------------------------------------------------- all


def _first_bytes(data: bytes, size: int) -> bytes:
    return data[:size]


PEERS = (
    Anytime(
        "j2k", "JPEG 2000 cut: one codestream, layers that end just below the cuts, 9/7 wavelet, whole packets (OpenJPEG, in Pillow)",
        _j2k_encode, pillow_decode, cut=_j2k_cut, feature="jpg_2000",
    ),
    Anytime(
        "jpeg", "progressive JPEG cut: one file of at least 1 bpp, optimised Huffman tables, 4:2:0 (libjpeg-turbo, in Pillow)",
        _jpeg_encode, _jpeg_decode, cut=_jpeg_cut,
    ),
    Anytime(
        "webp", "WebP, not cut: for every budget a file of its own, method 6, the highest quality that fits (libwebp, in Pillow)",
        _webp_encode, pillow_decode, cut=_webp_cut, endless=True, feature="webp",
    ),
    Anytime("flif", "FLIF cut: one file, default options", flif_encode, flif_decode, cut=_first_bytes, program="flif"),
)  # fmt: skip
