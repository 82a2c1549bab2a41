"""Commands for many small images in one file: pack, unpack."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ..predictive.schedule import Schedule
from . import files
from .options import FORCE, PATH, common, scheduled
from .work import Facts, Work, add_calls, once

SUFFIXES = (".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".gif", ".jpg", ".jpeg")


def _unpacked(folder: Path, name: str) -> Path:
    """Where `unpack` puts the image of that name."""
    return (folder / name).with_suffix(".png")


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="DIR|FILE...")
@click.option("-m", "--model", required=True, help="Model or release, see `presage models`.")
@click.option("-o", "--output", type=PATH, required=True, help="The set; - for standard output.")
@click.option("--tile", type=click.IntRange(8, 1024), default=None, help="Side of the independent tiles; by default what suits the model.")
@click.option("--quantise", is_flag=True, help="Bring the pictures to the grey levels that the model has, with loss.")
@click.option("--lossy", is_flag=True, help="With loss, for models that do so.")
@FORCE
@common
def pack(work: Work, paths: tuple[Path, ...], model: str, output: Path, tile: int | None, quantise: bool, lossy: bool, force: bool) -> None:
    """Compress many images to one .psg file; for small ones."""

    def act() -> Facts:
        files.check_output(output, force)
        found = files.items(paths, True, SUFFIXES, "pictures")
        named = [((item.inside or Path(item.path.name)).as_posix(), item.path) for item in found]
        files.check_distinct((path, _unpacked(Path(), name)) for name, path in named)
        from .. import weights
        from ..format.info import info
        from ..image import files as images
        from ..image.pixels import quantised
        from ..paths.sets import pack_pictures
        from ..settings import Settings

        settings = Settings(**work.options(output.name))
        loaded = weights.load(model, settings, lossy)
        pictures, source = [], 0
        for name, path in named:
            content = files.read(path)
            source += len(content)
            picture = images.read(content, str(path))
            pictures.append((name, quantised(picture, loaded.model) if quantise else picture))
        started = time.monotonic()
        data = pack_pictures(pictures, model, tile or 0, settings)
        files.write(output, data, force)
        facts = info(data) | {"output": str(output), "source_bytes": source, "seconds": round(time.monotonic() - started, 3)}
        del facts["names"]
        facts["text"] = (
            f"{len(pictures)} images -> {output}  {source:,} -> {len(data):,} bytes  {facts['bits_per_sample']:.4f} bits/sample"
            f"  {facts['seconds']:.1f} s"
        )
        return facts

    once(work, act)


@click.command()
@click.argument("path", type=PATH, metavar="SET.psg")
@click.option("-n", "--name", "names", multiple=True, help="Only the image of this name; may be repeated.")
@click.option("--out-dir", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for the images, as PNG.")
@click.option("--recover", is_flag=True, help="Save what is whole of a damaged set; lost images are listed.")
@scheduled
@FORCE
@common
def unpack(
    work: Work, path: Path, names: tuple[str, ...], out_dir: Path, recover: bool, force: bool, schedule: Schedule, stats: bool
) -> None:
    """Decompress the images of a packed set to PNG files."""

    def act() -> Facts:
        from ..format.container import read_header
        from ..image import files as images
        from ..paths.reading import Reading
        from ..paths.sets import unpack_pictures
        from ..settings import Settings

        statistics: list[Any] = []
        settings = Settings(**work.options(path.name) | {"schedule": schedule, "statistics": statistics})
        started = time.monotonic()
        with files.mapped(path) as data:
            unpacked, lost = unpack_pictures(Reading(data, read_header(data, partial=recover), recover, settings), names or None)
        seconds = round(time.monotonic() - started, 3)
        targets = [_unpacked(out_dir, name) for name, _ in unpacked]
        files.check_distinct((name, target) for (name, _), target in zip(unpacked, targets, strict=True))
        for target in targets:
            files.make_folder(target.parent)
            files.check_output(target, force)
        for target, (_, image) in zip(targets, unpacked, strict=True):
            files.write(target, images.to_file(image, ".png"), force)
        for name in lost:
            work.say(f"presage: {path}: lost {name}")
        facts: Facts = {"images": len(unpacked), "lost": lost, "seconds": seconds}
        facts["text"] = f"{path} -> {len(unpacked)} images in {out_dir}  {seconds:.1f} s"
        if stats and statistics:
            add_calls(facts, statistics)
        return facts

    once(work, act)
