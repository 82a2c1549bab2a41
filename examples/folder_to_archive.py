"""A folder of photographs to .psg files, x.png to x.png.psg, without loss; each is decoded and compared before it is written.

python examples/folder_to_archive.py PHOTOS ARCHIVE
"""

import argparse
import sys
from pathlib import Path

from PIL import Image

import presage


def archive(source: Path, target: Path) -> bool:
    """Write target, a .psg file, unless Presage does not take the picture; says what happened on stderr."""
    try:
        data = presage.encode(source)
    except presage.ImageRefused as refusal:
        print(f"{source}: left out: {refusal}", file=sys.stderr)
        return False
    with Image.open(source) as image:
        if presage.decode(data).tobytes() != image.tobytes():
            raise RuntimeError(f"{source}: the decoded pixels differ")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    print(f"{source} -> {target}  {source.stat().st_size:,} -> {len(data):,} bytes", file=sys.stderr)
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("archive", type=Path)
    options = parser.parse_args()
    files = sorted(path for path in options.photos.rglob("*") if path.is_file())
    kept = [archive(path, options.archive / f"{path.relative_to(options.photos)}.psg") for path in files]
    print(f"{sum(kept)} of {len(kept)} files in {options.archive}")
