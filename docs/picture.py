"""`python docs/picture.py PHOTO OUT [BPP]`: a piece of a photograph as codecs show it at one rate, side by side."""

import sys
from bisect import bisect_right
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import presage
from presage.bench.compare.anytime_codecs import budget
from presage.bench.compare.codecs import LOSSY, Pixels, pillow_decode
from presage.bench.compare.common import psnr, read_pixels

PEERS = {"avif": "AVIF", "webp": "WebP", "jpeg": "JPEG"}
WIDTH, HEIGHT, LABEL, GAP = 288, 320, 24, 6  # pixels
CENTRE = (0.53, 0.42)  # of the piece's middle in the photograph


def fitting(name: str, pixels: Pixels, limit: int) -> bytes:
    """The file of a lossy codec with the highest whole quality that has at most so many bytes, or with the lowest quality."""

    def file(quality: int) -> bytes:
        data: bytes = LOSSY[name].encode(pixels, 1, quality)
        return data

    return file(bisect_right(range(1, 101), limit, key=lambda quality: len(file(quality))))


def draw(photo: Path, target: Path, bpp: float) -> None:
    """Write the picture; every piece says the bytes and the PSNR of the whole photograph. The suffix says in which format."""
    pixels = read_pixels(photo)
    limit = budget(pixels, bpp)
    presages = presage.encode_lossy(pixels, size=limit)
    shown = [("the photograph", b"", pixels), ("Presage", presages, np.asarray(presage.decode(presages)))]
    for name, title in PEERS.items():
        if not LOSSY[name].missing:
            data = fitting(name, pixels, limit)
            shown.append((title, data, pillow_decode(data)))
    sheet = Image.new("RGB", (len(shown) * (WIDTH + GAP) - GAP, HEIGHT + LABEL), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    top, left = (round(share * side - size / 2) for share, side, size in zip(CENTRE[::-1], pixels.shape[:2], (HEIGHT, WIDTH), strict=True))
    for i, (title, data, decoded) in enumerate(shown):
        x = i * (WIDTH + GAP)
        text = f"{title}: {len(data):,} bytes, {psnr(pixels, decoded):.1f} dB" if data else title
        pen.text((x, 2), text, "black", font)
        sheet.paste(Image.fromarray(decoded[top : top + HEIGHT, left : left + WIDTH]), (x, LABEL))
    sheet.save(target, quality=93, subsampling=0)


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.15)
