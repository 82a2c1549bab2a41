"""`make demo`: compress a photograph, get it back, check every pixel, and show the size beside other codecs.

python -m presage.bench.demo PHOTO FOLDER
"""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

import presage

from .compare import lossy_codecs
from .compare.codecs import CODECS, Pixels

LOSSY_BPP = 0.3
CUTS = (0.05, 0.1, 0.3, 0.5)  # bits a pixel


def main(source: Path, folder: Path) -> None:
    """Write PHOTO.psg and its decoded PNG into the folder, and print a table."""
    folder.mkdir(exist_ok=True)
    pixels = np.asarray(Image.open(source).convert("RGB"))
    started = time.monotonic()
    data = presage.encode(source)
    encoded = time.monotonic()
    image = presage.decode(data)
    decoded = time.monotonic()
    (folder / f"{source.stem}.psg").write_bytes(data)
    image.save(folder / f"{source.stem}.png")
    if not np.array_equal(np.asarray(image), pixels):
        sys.exit("the decoded pixels differ")
    print(f"{source.name}: {image.width} x {image.height}, encoded in {encoded - started:.1f} s, decoded in {decoded - encoded:.1f} s,")
    print(f"every pixel equal. The files are in {folder}/.\n")
    sizes = {"Presage": len(data)}
    for codec in (CODECS[name] for name in ("png", "webp", "jxl7", "jxl9")):
        if not codec.missing:
            sizes[codec.description] = len(codec.encode(pixels, 2))
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        print(f"{name:36} {size:>9,} bytes  {8 * size / pixels.size:6.3f} bits/sample  {size / len(data) - 1:+7.1%}")
    _lossy(source, pixels, folder)
    _cuts(source, pixels, folder)


def _lossy(source: Path, pixels: Pixels, folder: Path) -> None:
    """The same at LOSSY_BPP bits a pixel, beside JPEG at its smallest setting that is not below."""
    started = time.monotonic()
    data = presage.encode_lossy(source, bpp=LOSSY_BPP)
    encoded = time.monotonic()
    image = presage.decode(data)
    decoded = time.monotonic()
    (folder / f"{source.stem}-lossy.psg").write_bytes(data)
    image.save(folder / f"{source.stem}-lossy.png")
    print(f"\nWith loss, encoded in {encoded - started:.1f} s, decoded in {decoded - encoded:.1f} s:")
    jpeg = lossy_codecs.CODECS["jpeg"]
    files = (jpeg.encode(pixels, quality, 1) for quality in range(1, 96))
    other = next(file for file in files if len(file) >= len(data))
    for name, size, shown in (("Presage", len(data), np.asarray(image)), ("JPEG", len(other), jpeg.decode(other, 1))):
        _print_lossy(name, size, shown, pixels)


def _print_lossy(name: str, size: int, shown: Pixels, pixels: Pixels) -> None:
    error = np.square(shown.astype(float) - pixels).mean()
    print(f"{name:36} {size:>9,} bytes  {8 * size / pixels[..., 0].size:6.3f} bits/pixel   {10 * np.log10(255**2 / error):7.2f} dB")


def _cuts(source: Path, pixels: Pixels, folder: Path) -> None:
    """One file of ordered codes, whole and cut."""
    data = presage.encode_lossy(source, model="ordered")
    (folder / f"{source.stem}-ordered.psg").write_bytes(data)
    print("\nOne file of ordered codes, cut:")
    for bpp in (*CUTS, 8 * len(data) / pixels[..., 0].size):
        part = presage.truncate(data, bpp=bpp)
        image = presage.decode(part)
        image.save(folder / f"{source.stem}-ordered-{bpp:.2f}.png")
        _print_lossy("whole" if len(part) == len(data) else f"at {bpp} bits a pixel", len(part), np.asarray(image), pixels)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
