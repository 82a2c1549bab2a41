"""Pillow reads and writes .psg files as any other format, once Presage is registered.

python examples/pillow_plugin.py PHOTO FOLDER
"""

import argparse
from pathlib import Path

from PIL import Image

import presage

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    options.folder.mkdir(exist_ok=True)
    presage.register_pillow()
    photo = Image.open(options.photo).convert("RGB")
    photo.save(options.folder / "whole.psg")  # without loss; takes the options of presage.encode
    photo.save(options.folder / "small.psg", lossy=True, bpp=0.5)  # takes those of presage.encode_lossy
    for name in ("whole.psg", "small.psg"):
        path = options.folder / name
        with Image.open(path) as image:  # the pixels are decoded when they are first needed
            same = image.convert("RGB").tobytes() == photo.tobytes()
            print(f"{path}: {image.format} {image.mode} {image.size}, {path.stat().st_size:,} bytes, {'equal' if same else 'with loss'}")
