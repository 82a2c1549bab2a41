"""`make demo`: compress a photograph, get it back, check every pixel, and show the size beside other codecs.

python -m presage.bench.demo PHOTO FOLDER
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import presage

from .compare.codecs import LOSSLESS, LOSSY, Pixels
from .compare.common import bits_a_pixel, psnr, timed

LOSSY_BPP = 0.3
CUTS = (0.05, 0.1, 0.3, 0.5)  # bits a pixel


def main(source: Path, folder: Path) -> None:
    """Write PHOTO.psg and its decoded PNG into the folder, and print a table; then the same with loss, and for a file that is cut."""
    folder.mkdir(exist_ok=True)
    pixels = np.asarray(Image.open(source).convert("RGB"))
    start = folder / source.stem
    data, encode_s = timed(presage.encode, source)
    decoded, decode_s = _decoded(data, f"{start}.psg", f"{start}.png")
    if not np.array_equal(decoded, pixels):
        sys.exit("the decoded pixels differ")
    print(f"{source.name}: {pixels.shape[1]} x {pixels.shape[0]}, encoded in {encode_s:.1f} s, decoded in {decode_s:.1f} s,")
    print(f"every pixel equal. The files are in {folder}/.\n")
    sizes = {"Presage": len(data)}
    for codec in (LOSSLESS[name] for name in ("png", "webp", "jxl7", "jxl9")):
        if not codec.missing:
            sizes[codec.description] = len(codec.encode(pixels, 2))
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        print(f"{name:36} {size:>9,} bytes  {8 * size / pixels.size:6.3f} bits/sample  {size / len(data) - 1:+7.1%}")
    _with_loss(source, pixels, start)
    _cuts(source, pixels, start)


def _decoded(data: bytes, file: str, picture: str) -> tuple[Pixels, float]:
    """Write a file and what it decodes to; the pixels, and the seconds of decoding."""
    image, seconds = timed(presage.decode, data)
    Path(file).write_bytes(data)
    image.save(picture)
    return np.asarray(image), seconds


def _with_loss(source: Path, pixels: Pixels, start: Path) -> None:
    """The same at LOSSY_BPP bits a pixel, beside JPEG at its smallest setting that is not below."""
    data, encode_s = timed(partial(presage.encode_lossy, source, bpp=LOSSY_BPP))
    decoded, decode_s = _decoded(data, f"{start}-lossy.psg", f"{start}-lossy.png")
    print(f"\nWith loss, encoded in {encode_s:.1f} s, decoded in {decode_s:.1f} s:")
    files = (LOSSY["jpeg"].encode(pixels, 1, quality) for quality in range(1, 96))
    jpeg = next(file for file in files if len(file) >= len(data))
    _print_lossy("Presage", len(data), decoded, pixels)
    _print_lossy("JPEG", len(jpeg), LOSSY["jpeg"].decode(jpeg, 1), pixels)


def _print_lossy(name: str, size: int, decoded: Pixels, pixels: Pixels) -> None:
    print(f"{name:36} {size:>9,} bytes  {bits_a_pixel(pixels, size):6.3f} bits/pixel   {psnr(pixels, decoded):7.2f} dB")


def _cuts(source: Path, pixels: Pixels, start: Path) -> None:
    """One file of ordered codes, whole and cut."""
    data = presage.encode_lossy(source, model="ordered")
    Path(f"{start}-ordered.psg").write_bytes(data)
    print("\nOne file of ordered codes, cut:")
    for bpp in (*CUTS, bits_a_pixel(pixels, len(data))):
        part = presage.truncate(data, bpp=bpp)
        image = presage.decode(part)
        image.save(f"{start}-ordered-{bpp:.2f}.png")
        _print_lossy("whole" if len(part) == len(data) else f"at {bpp} bits a pixel", len(part), np.asarray(image), pixels)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
