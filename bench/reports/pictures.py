"""Photographs as codecs show them, for a page: whole files of one size beside one another, and files that are cut. Everything is real:
the files are made, cut and decoded, and bytes and decibels are theirs; only what is shown of it went through WebP at a high quality."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..compare.anytime_codecs import PEERS, budget, of_model
from ..compare.codecs import LOSSY, Pixels
from ..compare.common import psnr, read_pixels
from .page import Section

BPP = 0.3
CUTS = 14
SHOWN = 92  # quality of WebP
LONGEST = 1024  # pixels of a side that is shown
STEPS = 7  # of the search for a quality
Log = Callable[[str], None]


def data_uri(pixels: Pixels) -> str:
    """A picture in a page."""
    buffer, image = io.BytesIO(), Image.fromarray(pixels)
    image.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    image.save(buffer, "WEBP", quality=SHOWN, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _facts(pixels: Pixels, size: int, decoded: Pixels) -> str:
    bpp = 8 * size / (pixels.shape[0] * pixels.shape[1])
    return f"{size:,} bytes, {bpp:.3f} bits a pixel, {psnr(pixels, decoded):.2f} dB"


def section(
    photo: Path, number: int, bpp: float = BPP, models: Sequence[str] = ("ordered",), threads: int = 2, log: Log = lambda _: None
) -> Section:
    """Both sliders of a photograph. models: of Presage, whose files are cut. Raises ImageRefused, WeightsError and OSError."""
    pixels = read_pixels(photo)
    return Section(f"pictures-{number}", photo.stem, pairs=[_pair(pixels, bpp, threads, log)], cuts=[_cut(pixels, models, threads, log)])


def _pair(pixels: Pixels, bpp: float, threads: int, log: Log) -> dict[str, Any]:
    """The photograph, and the files of all codecs at hand that have at most so many bits a pixel."""
    shown = [{"name": "the photograph", "picture": data_uri(pixels), "facts": "the photograph"}]
    for name, codec in LOSSY.items():
        if codec.missing:
            continue
        settings = sorted(codec.settings)
        low, high = min(settings), max(settings)
        best: bytes | None = None
        rising = len(codec.encode(pixels, threads, high)) > len(codec.encode(pixels, threads, low))
        for _ in range(STEPS):
            middle = (low + high) / 2
            middle = middle if name in ("jxl", "j2k") else round(middle)
            data = codec.encode(pixels, threads, middle)
            fits = len(data) <= budget(pixels, bpp)
            best = data if fits and (best is None or len(data) > len(best)) else best
            low, high = (middle, high) if fits == rising else (low, middle)
        if best is None:
            log(f"{name}: no file of at most {bpp} bits a pixel")
            continue
        decoded = codec.decode(best, threads)
        shown.append({"name": name, "picture": data_uri(decoded), "facts": _facts(pixels, len(best), decoded)})
        log(f"{name}: {shown[-1]['facts']}")
    return {"title": f"Files of at most {bpp} bits a pixel, side by side", "shown": shown}


def _cut(pixels: Pixels, models: Sequence[str], threads: int, log: Log) -> dict[str, Any]:
    """One file each of codecs whose files can be cut, at sizes that grow by a factor."""
    files = []
    for codec in (*map(of_model, models), *(peer for peer in PEERS if peer.name == "jpeg")):
        source = codec.encode(pixels, threads)
        sizes = [round(size) for size in np.geomspace(min(400, len(source)), len(source), CUTS)]
        parts = [(size, part) for size in sizes if (part := codec.cut(source, size)) is not None]
        if codec.decode_all:
            decoded = codec.decode_all(source, [len(part) for _, part in parts], threads)
        else:
            decoded = [codec.decode(part, threads) for _, part in parts]
        cuts = [
            {"bytes": len(part), "picture": data_uri(picture), "facts": _facts(pixels, len(part), picture)}
            for (_, part), picture in zip(parts, decoded, strict=True)
        ]
        files.append({"name": f"Presage, {codec.name}" if codec.model else "progressive JPEG", "cuts": cuts})
        log(f"{codec.name}: {len(cuts)} cuts of {len(source):,} bytes")
    return {"title": "One file, cut", "files": files}
