"""`python docs/small_pictures.py MOSAIC OUT_FOLDER`: lost parts of small pictures filled in, and a file of stages cut after each.

The first 16 tiles of a mosaic of 32 x 32 pictures; prints bytes and PSNR of the cuts.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import presage
from presage.bench.compare.common import psnr
from presage.bench.papers.families import load_pictures
from presage.codec.cli.sheets import grid

COUNT, SIDE, SCALE = 16, 32, 2  # pictures, pixels, times as large
GRAY = 128
Pixels = NDArray[np.uint8]


def lost_parts() -> list[NDArray[np.bool_]]:
    """Masks in turn: the middle, scattered pixels, the right half, stripes."""
    y, x = np.indices((SIDE, SIDE))
    middle = (abs(y - SIDE / 2) < SIDE / 4) & (abs(x - SIDE / 2) < SIDE / 4)
    return [middle, np.random.default_rng(0).random((SIDE, SIDE)) < 0.75, x >= SIDE // 2, y // 3 % 2 == 0]


def fill(pictures: Sequence[Pixels], target: Path) -> None:
    """Pictures, the same with lost parts in gray, and two of what `presage.fill` makes of these."""
    masks = [lost_parts()[i % 4] for i in range(len(pictures))]
    damaged = [np.where(mask[..., None], np.uint8(GRAY), picture) for picture, mask in zip(pictures, masks, strict=True)]
    filled = [
        [
            np.asarray(presage.fill(part, mask, model="cifar10-ardm", calls=100, seed=seed))
            for part, mask in zip(damaged, masks, strict=True)
        ]
        for seed in (0, 1)
    ]
    grid([*pictures, *damaged, *filled[0], *filled[1]], COUNT, SCALE).save(target)


def cuts(pictures: Sequence[Pixels], target: Path) -> None:
    """A set in one file of four stages, cut after the first, the second and the third, and whole."""
    data = presage.pack({f"{i:02}.png": picture for i, picture in enumerate(pictures)}, model="cifar10-upscale")
    rows: list[Pixels] = []  # from the coarsest on
    while True:
        shown = [np.asarray(image) for image in presage.unpack(data).values()]
        there = presage.info(data)["stages_there"]
        mean = np.mean([min(psnr(a, b), 99.0) for a, b in zip(pictures, shown, strict=True)])
        print(f"{there} stages: {len(data):,} bytes, {8 * len(data) / sum(p.size for p in pictures):.3f} bits/dim, {mean:.2f} dB")
        rows = shown + rows
        if there == 1:
            break
        data = presage.truncate(data, size=len(data) - 1)
    grid(rows, COUNT, SCALE).save(target)


if __name__ == "__main__":
    first, folder = load_pictures(Path(sys.argv[1]), COUNT), Path(sys.argv[2])
    fill(first, folder / "filled.png")
    cuts(first, folder / "stages.png")
