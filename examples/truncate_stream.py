"""One file of ordered codes, cut to several sizes: what each part shows.

python examples/truncate_stream.py PHOTO FOLDER [SHARE...]
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import presage

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("shares", type=float, nargs="*", default=[0.1, 0.3, 1.0], help="of the bytes, 0 to 1")
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    pixels = np.asarray(Image.open(options.photo).convert("RGB"))
    data = presage.encode_lossy(pixels, model="ordered")
    for share in options.shares:
        part = data[: int(share * len(data))]  # cut by anything; presage.truncate leaves no byte idle
        shown = presage.decode(part)
        target = options.folder / f"{options.photo.stem}-{100 * share:.0f}.png"
        shown.save(target)
        error = float(np.square(np.asarray(shown).astype(float) - pixels).mean())
        print(f"{target}: {len(part):,} bytes, {10 * np.log10(255**2 / error):.2f} dB")
