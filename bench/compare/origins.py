"""Pictures that once were something else: held-out photographs as they are, out of JPEG files, and out of video frames, without loss."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import presage

from ...models.training.data import DataConfig, Pictures
from ...models.training.loop import read_run
from .codecs import LOSSLESS, RGB, Pixels
from .common import Log, machine, timed

REFERENCE = LOSSLESS["jxl9"]
SUBSAMPLINGS = {"4:4:4": 0, "4:2:2": 1, "4:2:0": 2}
BT709 = np.array([[0.2126, 0.7152, 0.0722], [-0.2126 / 1.8556, -0.7152 / 1.8556, 0.5], [0.5, -0.7152 / 1.5748, -0.0722 / 1.5748]])
"""R, G, B in 0..1 -> luma in 0..1 and colour differences within half of 1 (ITU-R BT.709, items 3.2 and 3.3)."""
QUALITIES = (75, 92, 95, 98)


@dataclass(frozen=True)
class Made:
    """A picture out of something. source: the file that it was decoded from, if there was one."""

    pixels: Pixels
    source: bytes | None = None


def through_jpeg(quality: int, subsampling: str, pixels: Pixels) -> Made:
    """What Pillow decodes of the JPEG file that it makes; gray for the subsampling "gray"."""
    image, file = Image.fromarray(pixels), io.BytesIO()
    if subsampling == "gray":
        image.convert("L").save(file, "JPEG", quality=quality)
    else:
        image.save(file, "JPEG", quality=quality, subsampling=SUBSAMPLINGS[subsampling])
    return Made(np.asarray(Image.open(file)), file.getvalue())


def through_video(pixels: Pixels) -> Made:
    """BT.709 in video range (16..235, 16..240), each 2 x 2 pixels with one pair of colour differences; back to the nearest levels."""
    values = pixels / 255 @ BT709.T
    luma = np.rint(16 + 219 * values[..., 0])
    height, width = (side // 2 for side in luma.shape)
    small = values[: 2 * height, : 2 * width, 1:].reshape(height, 2, width, 2, 2).mean((1, 3))
    chroma = np.rint(128 + 224 * small).repeat(2, 0).repeat(2, 1)
    back = np.concatenate([(luma[: 2 * height, : 2 * width, None] - 16) / 219, (chroma - 128) / 224], -1) @ np.linalg.inv(BT709).T
    return Made(np.rint(255 * back).clip(0, 255).astype(np.uint8))


def through_contrast(pixels: Pixels) -> Made:
    """With contrast 1.4 times as high, which leaves levels out."""
    return Made(np.rint((pixels.astype(float) - 128) * 1.4 + 128).clip(0, 255).astype(np.uint8))


WAYS: dict[str, Callable[[Pixels], Made]] = {
    "as they are": Made,
    **{f"JPEG, quality {q}, {s}": partial(through_jpeg, q, s) for q in QUALITIES for s in ("4:2:0", "4:2:2", "4:4:4", "gray")},
    "BT.709, video range, 4:2:0": through_video,
    "contrast 1.4 times as high": through_contrast,
}


def run(
    run_file: Path,
    *,
    threads: int,
    limit: int | None,
    ways: Sequence[str] = (),
    every: int = 1,
    alone: bool = False,
    beside: Path | None = None,
    log: Log = lambda _: None,
) -> dict[str, Any]:
    """Measure on the pictures that a training run holds out; a dict for JSON and `reports.origins`. every: only each n-th of them.
    alone: without what Presage is compared with. beside: an earlier result for as many pictures of the run, whose other ways stand first.

    Of every way: the sums of bytes by default, by the RGB model alone, by planes where they can be, of JPEG XL effort 9; what the files
    became; and of pictures out of JPEG files the bytes of these, as they are and through Presage. Raises ValueError for a run or a way
    that there is not, and RuntimeError if a picture does not come back.
    """
    unknown = set(ways) - set(WAYS)
    if unknown:
        raise ValueError(f"no way is called {sorted(unknown)[0]!r}; there are: {'; '.join(WAYS)}")
    config = DataConfig(**read_run(run_file, []).data)
    pictures = Pictures(config).validation[::every][:limit]
    earlier: dict[str, Any] = json.loads(beside.read_text()) if beside else {"run": run_file.name, "pictures": len(pictures), "ways": []}
    if (earlier.get("run"), earlier.get("pictures")) != (run_file.name, len(pictures)):
        raise ValueError(f"{beside} is not of these pictures")
    rows = [row for row in earlier["ways"] if row["way"] not in (ways or WAYS)]
    for way in ways or WAYS:
        rows.append({"way": way} | _sum([_measure(WAYS[way](picture), threads, alone) for picture in pictures]))
        log(f"{way}: {rows[-1]['presage']:,} bytes; {rows[-1]['codings']}")
    return {"machine": machine(threads), "run": run_file.name, "pictures": len(pictures), "ways": rows}


def _measure(made: Made, threads: int, alone: bool) -> dict[str, Any]:
    pixels = made.pixels
    data, seconds = timed(partial(presage.encode, threads=threads), pixels)
    _compare(data, pixels)
    facts: dict[str, Any] = {"presage": len(data), "coding": presage.info(data)["coding"], "seconds": seconds, "samples": pixels.size}
    return facts | ({} if alone else _beside(pixels, threads)) | _of_source(made.source, threads)


def _beside(pixels: Pixels, threads: int) -> dict[str, Any]:
    """What the RGB model, planes and JPEG XL make of pixels."""
    rgb = presage.encode(pixels, model=RGB, threads=threads)
    _compare(rgb, pixels)
    reference, reference_s = timed(REFERENCE.encode, pixels, threads)
    facts: dict[str, Any] = {"rgb": len(rgb), "jxl9": len(reference), "jxl9_seconds": reference_s}
    try:
        by_planes = presage.encode(pixels, model="planes", threads=threads)
        _compare(by_planes, pixels)
        facts["planes"] = len(by_planes)
    except presage.ImageRefused:
        facts["planes"] = None
    return facts


def _of_source(source: bytes | None, threads: int) -> dict[str, Any]:
    """What Presage makes of the JPEG file that pixels come from."""
    if source is None:
        return {}
    again = presage.encode(source, threads=threads)
    if presage.decode_file(again) != source:
        raise RuntimeError("a JPEG file does not come back")
    return {"source": len(source), "source_presage": len(again)}


def _compare(data: bytes, pixels: Pixels) -> None:
    if not np.array_equal(np.asarray(presage.decode(data)), pixels):
        raise RuntimeError("a picture does not come back")


def _sum(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Sums of bytes and seconds; how many pictures became what."""
    names = [name for name in ("presage", "rgb", "jxl9", "seconds", "jxl9_seconds", "samples") if name in facts[0]]
    sums: dict[str, Any] = {name: sum(entry[name] for entry in facts) for name in names}
    kinds = [entry["coding"] for entry in facts]
    sums["codings"] = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
    if "jxl9" in facts[0]:
        planes = [entry for entry in facts if entry["planes"] is not None]
        sums["planes"] = {key: sum(entry[key] for entry in planes) for key in ("planes", "jxl9")} | {"pictures": len(planes)}
        sums["above_reference"] = sum(entry["presage"] > entry["jxl9"] for entry in facts)
    if "source" in facts[0]:
        sums["source"], sums["source_presage"] = (sum(entry[key] for entry in facts) for key in ("source", "source_presage"))
        sums["largest_to_source"] = max(entry["presage"] / entry["source_presage"] for entry in facts)
    return sums
