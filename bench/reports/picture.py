"""`python -m presage.bench.reports.picture PHOTO OUT [BPP]`: a piece of a photograph as codecs show it at one rate, side by side."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import presage

from ..compare.codecs import Pixels
from ..compare.lossy_codecs import CODECS, pillow_decode

PEERS = {"avif": "AVIF", "webp": "WebP", "jpeg": "JPEG"}
WIDTH, HEIGHT, LABEL, GAP = 288, 320, 24, 6  # pixels
PLACE = (0.53, 0.42)  # of the piece's middle in the photograph


def fitting(name: str, pixels: Pixels, limit: int) -> bytes:
    """The file of a codec of `lossy_codecs` with the highest whole quality that has at most so many bytes."""
    low, high = 0, 100
    found = CODECS[name].encode(pixels, low, 1)
    while low < high:
        middle = (low + high + 1) // 2
        data = CODECS[name].encode(pixels, middle, 1)
        low, high, found = (middle, high, data) if len(data) <= limit else (low, middle - 1, found)
    return found


def draw(photo: Path, target: Path, bpp: float) -> None:
    """Write the picture; every piece says the bytes and the PSNR of the whole photograph. The suffix says in which format."""
    pixels = pillow_decode(photo.read_bytes(), 1)
    limit = int(bpp * pixels.shape[0] * pixels.shape[1] / 8)
    shown = [("the photograph", b"", pixels)]
    files = {"Presage": partial(presage.encode_lossy, pixels, size=limit)}
    files |= {title: partial(fitting, name, pixels, limit) for name, title in PEERS.items() if not CODECS[name].missing}
    for title, encode in files.items():
        data = encode()
        decoded = np.asarray(presage.decode(data)) if title == "Presage" else pillow_decode(data, 1)
        shown.append((title, data, decoded))
    sheet = Image.new("RGB", (len(shown) * (WIDTH + GAP) - GAP, HEIGHT + LABEL), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    top, left = (round(share * side - size / 2) for share, side, size in zip(PLACE[::-1], pixels.shape[:2], (HEIGHT, WIDTH), strict=True))
    for i, (title, data, decoded) in enumerate(shown):
        x = i * (WIDTH + GAP)
        error = float(np.square(decoded.astype(float) - pixels).mean())
        text = f"{title}: {len(data):,} bytes, {10 * np.log10(255**2 / error):.1f} dB" if data else title
        pen.text((x, 2), text, "black", font)
        sheet.paste(Image.fromarray(decoded[top : top + HEIGHT, left : left + WIDTH]), (x, LABEL))
    sheet.save(target, quality=93, subsampling=0)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.15)
