"""The codecs whose files are cut: how each makes one file of an image, cuts it to a number of bytes and decodes what is left.

WebP's files cannot be cut; it stands beside the others with a file of its own for every number of bytes.
"""

import bisect
import io
import itertools
import json
import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import presage

from ...codec import api
from ...codec.settings import Settings
from . import codecs, lossy_codecs
from .codecs import KODAK_SHAPES, Pixels, lacking

RATES = (0.05, 0.1, 0.2, 0.3, 0.44, 0.5)  # bits a pixel at which codecs are compared
CURVE = (0.02, 0.025, 0.03, 0.04, 0.05, 0.065, 0.08, 0.1, 0.13, 0.16, 0.2, 0.25, 0.3, 0.37, 0.44, 0.5, 0.6, 0.75, 1, 1.25, 1.6, 2)
"""Bits a pixel of the other codecs' cuts; all of RATES are among them."""
RECORDED_FLIF = Path(__file__).resolve().parents[1] / "recorded" / "kodak-flif-cut.json"
KODAK = 24
OURS = "presage"


@dataclass(frozen=True)
class Anytime:
    """encode: (pixels, threads) -> source, what `cut` needs; `whole` says how many bytes all of it takes, None if it has no end.

    cut: (source, bytes) -> a file of at most so many bytes, None if there is none so small. decode: (file, threads) -> pixels.
    decode_all: (file, sizes, threads) -> pixels of the file's cuts at sizes, the same as one after the other, and faster.
    needs, program, feature: module, program on PATH and feature of Pillow without which it cannot run. model: one of Presage's.
    """

    name: str
    description: str
    encode: Callable[[Pixels, int], Any]
    cut: Callable[[Any, int], bytes | None]
    decode: Callable[[bytes, int], Pixels]
    whole: Callable[[Any], int | None] = len
    needs: str = ""
    program: str = ""
    feature: str = ""
    model: bool = False
    decode_all: Callable[[bytes, Sequence[int], int], list[Pixels]] | None = None

    @property
    def missing(self) -> str:
        """What has to be installed first; empty if nothing."""
        return lacking(self.name, self.needs, self.program, self.feature)


def budget(pixels: Pixels, rate: float) -> int:
    """Bytes at a rate in bits a pixel, rounded down."""
    return int(rate * pixels.shape[0] * pixels.shape[1] / 8)


# ----------------------------------------------------------------------------------------------------------- Presage


def of_model(name: str, folders: Sequence[Path] = ()) -> Anytime:
    """Presage with one of its models for files that can be cut; folders: where else to look for weights."""
    settings = {"model_path": list(folders)}
    return Anytime(
        name,
        f"Presage, model `{name}`, one file cut",
        partial(_presage_encode, name, settings),
        _presage_cut,
        partial(_presage_decode, settings),
        model=True,
        decode_all=partial(_presage_decode_all, settings),
    )


def _presage_encode(model: str, settings: dict[str, Any], pixels: Pixels, threads: int) -> bytes:
    data = presage.encode_lossy(pixels, model=model, quality=100, threads=threads, **settings)
    return presage.truncate(data, len(data))  # refuses what cannot be cut at all


def _presage_cut(data: bytes, size: int) -> bytes | None:
    """None where not even what is needed to decode fits."""
    try:
        return presage.truncate(data, size)
    except presage.ImageRefused:
        return None


def _presage_decode(settings: dict[str, Any], data: bytes, threads: int) -> Pixels:
    return np.asarray(presage.decode(data, threads=threads, **settings))


def _presage_decode_all(settings: dict[str, Any], data: bytes, sizes: Sequence[int], threads: int) -> list[Pixels]:
    return [np.asarray(image) for image in api.decode_cuts(data, sizes, Settings(threads=threads, **settings))]


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
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(
            buffer, "JPEG2000", quality_mode="rates", quality_layers=(pixels.size / asked).tolist(), irreversible=True, mct=1, no_jp2=True,
            num_resolutions=6, progression="LRCP", plt=True,
        )  # fmt: skip
        stream = read_codestream(buffer.getvalue())
        over = np.array(stream.ends).reshape(len(goals), -1)[:, -1] + stream.frame - goals
        if (over <= 0).all():
            break
        asked = np.maximum(asked - np.where(over > 0, over + 8, 0), 1)
    return stream


def _j2k_cut(stream: Codestream, size: int) -> bytes | None:
    """As many whole packets as there is room for: half a packet only disturbs OpenJPEG."""
    count = bisect.bisect_right(stream.ends, size - stream.frame)
    return stream.file(count) if count else None


def _j2k_whole(stream: Codestream) -> int:
    return stream.frame + len(stream.packets)


# -------------------------------------------------------------------------------------------------- progressive JPEG

START_OF_SCAN, END_OF_IMAGE = 0xDA, b"\xff\xd9"
NEXT_MARKER = re.compile(rb"\xff[^\x00\xff]")  # after the data of a scan, where 255 is followed by 0
JPEG_WHOLE = 1.0  # bits a pixel that the whole file shall have at least
JPEG: dict[str, Any] = {"progressive": True, "optimize": True, "subsampling": "4:2:0"}


def _jpeg_encode(pixels: Pixels, threads: int) -> bytes:
    """The lowest quality (up to 95) with at least JPEG_WHOLE: a higher one shows less in the same bytes."""

    def file(quality: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, **JPEG)
        return buffer.getvalue()

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
    with Image.open(io.BytesIO(data[:end] + END_OF_IMAGE)) as image:
        return np.asarray(image.convert("RGB"))


# -------------------------------------------------------------------------------------------------------------- WebP


WEBP_STEPS = 1000  # qualities between 0 and 100: whole ones lie up to half a file apart


def _webp_encode(pixels: Pixels, threads: int) -> Callable[[int], bytes]:
    """Files by step, made when asked for."""

    @cache
    def file(step: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "WEBP", quality=100 * step / WEBP_STEPS, **lossy_codecs.WEBP)
        return buffer.getvalue()

    return file


def _endless(_: Any) -> None:
    """WebP has no whole file to be cut."""


def _webp_cut(file: Callable[[int], bytes], size: int) -> bytes | None:
    count = bisect.bisect_right(range(WEBP_STEPS + 1), size, key=lambda step: len(file(step)))
    return file(count - 1) if count else None


# -------------------------------------------------------------------------------------------------------------- FLIF


def _slice(data: bytes, size: int) -> bytes:
    return data[:size]


def recorded_flif(shapes: dict[str, tuple[int, ...]]) -> dict[str, Any] | None:
    """Recorded figures of FLIF files that were cut, or None unless these images (shape by name) are the Kodak set."""
    known = {f"kodim{number:02}.png" for number in range(1, KODAK + 1)}
    if set(shapes) != known or any(shape not in KODAK_SHAPES for shape in shapes.values()):
        return None
    recorded: dict[str, Any] = json.loads(RECORDED_FLIF.read_text())
    return recorded


# -------------------------------------------------------------------------------------------------------------- all

PEERS = (
    Anytime(
        "j2k", "JPEG 2000 cut: one codestream, layers that end just below the cuts, 9/7 wavelet, whole packets (OpenJPEG, in Pillow)",
        _j2k_encode, _j2k_cut, lossy_codecs.pillow_decode, _j2k_whole, feature="jpg_2000",
    ),
    Anytime(
        "jpeg", "progressive JPEG cut: one file of at least 1 bpp, optimised Huffman tables, 4:2:0 (libjpeg-turbo, in Pillow)",
        _jpeg_encode, _jpeg_cut, _jpeg_decode,
    ),
    Anytime(
        "webp", "WebP, not cut: for every budget a file of its own, method 6, the highest quality that fits (libwebp, in Pillow)",
        _webp_encode, _webp_cut, lossy_codecs.pillow_decode, _endless, feature="webp",
    ),
    Anytime("flif", "FLIF cut: one file, default options", codecs.flif_encode, _slice, codecs.flif_decode, program="flif"),
)  # fmt: skip


def choose(names: Sequence[str], models: Sequence[str], folders: Sequence[Path]) -> tuple[list[Anytime], list[str]]:
    """The codecs to run, Presage's models first, and a note for each that was left out; no names: all that are installed.

    `presage` among the names stands for all the models. FLIF that is not installed is left out, named or not: there may be
    recorded figures. Raises ValueError for an unknown name and ImportError for one that is named but not installed.
    """
    known = [OURS, *(codec.name for codec in PEERS)]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no codec called {', '.join(unknown)}; there are {', '.join(known)}")
    ours = [of_model(name, folders) for name in models] if not names or OURS in names else []
    wanted = [codec for codec in PEERS if not names or codec.name in names]
    absent = [codec for codec in wanted if codec.missing]
    if names and any(codec.name != "flif" for codec in absent):
        raise ImportError("; ".join(codec.missing for codec in absent))
    return ours + [codec for codec in wanted if codec not in absent], [f"left out: {codec.missing}" for codec in absent]
