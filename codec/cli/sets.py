"""Commands for many small images in one file: pack, unpack."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from ..predictive.schedule import Schedule
from . import files
from .options import CALLS, DRAWN, FILL, FORCE, PATH, VERIFY, check_fill, common, scheduled
from .ordered import cut_note
from .work import Facts, Work, add_calls, once

SUFFIXES = (".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".gif", ".jpg", ".jpeg")


def _check_names(named: Sequence[tuple[str, Path]], output: Path) -> None:
    """Refuse pictures of which one would be lost when they are unpacked, and a set that would replace one of them."""
    taken: dict[Path, Path] = {}
    for name, path in named:
        if taken.setdefault(_unpacked(Path(), name), path) != path:
            raise files.FileProblem(f"{taken[_unpacked(Path(), name)]} and {path} would both be unpacked to {_unpacked(Path(), name)}")
        files.check_distinct([(path, output)])


def _unpacked(folder: Path, name: str) -> Path:
    """Where `unpack` puts the image of that name."""
    return (folder / name).with_suffix(".png")


def _targets(folder: Path, names: Sequence[str], force: bool) -> list[Path]:
    """Where images of those names go. Raises FileProblem, before any work, if one of them cannot be written."""
    targets = [_unpacked(folder, name) for name in names]
    files.check_distinct(zip(names, targets, strict=True))
    for target in targets:
        files.check_free(target, force)
    return targets


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="DIR|FILE...")
@click.option("-m", "--model", required=True, help="Model or release, see `presage models`.")
@click.option("-o", "--output", type=PATH, required=True, help="The set; - for standard output.")
@click.option("--tile", type=click.IntRange(8, 1024), default=None, help="Side of the independent tiles; by default what suits the model.")
@click.option("--quantise", is_flag=True, help="Bring the pictures to the grey levels that the model has, with loss.")
@click.option("--lossy", is_flag=True, help="With loss, for models that do so.")
@CALLS
@VERIFY
@FORCE
@common
def pack(
    work: Work,
    paths: tuple[Path, ...],
    model: str,
    output: Path,
    tile: int | None,
    quantise: bool,
    lossy: bool,
    calls: int | None,
    force: bool,
    verify: bool,
) -> None:
    """Compress many images to one .psg file; for small ones."""

    def act() -> Facts:
        files.check_output(output, force)
        found = files.items(paths, True, SUFFIXES, "pictures")
        named = [((item.inside or Path(item.path.name)).as_posix(), item.path) for item in found]
        _check_names(named, output)
        from .. import weights
        from ..format.info import info
        from ..image import files as images
        from ..image.pixels import quantised
        from ..paths.sets import pack_pictures
        from ..settings import Settings

        settings = Settings(**work.options(output.name) | {"verify": verify})
        loaded = weights.load(model, settings, lossy)
        pictures, source = [], 0
        for name, path in named:
            content = files.read(path)
            source += len(content)
            picture = images.read(content, str(path), work.limits)
            pictures.append((name, quantised(picture, loaded.model) if quantise else picture))
        started = time.monotonic()
        data = pack_pictures(pictures, model, tile or 0, settings, calls or 0)
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
@FILL
@scheduled
@FORCE
@common
def unpack(
    work: Work, path: Path, names: tuple[str, ...], out_dir: Path, recover: bool, fill: bool, force: bool, schedule: Schedule, stats: bool
) -> None:
    """Decompress the images of a packed set to PNG files."""
    check_fill(fill, recover)

    def act() -> Facts:
        from .. import estimate
        from ..format.container import SETS, read_header
        from ..format.listing import read_list
        from ..image import files as images
        from ..paths.reading import Reading
        from ..paths.sets import unpack_pictures
        from ..settings import Settings

        statistics: list[Any] = []
        settings = Settings(**work.options(path.name) | {"schedule": schedule, "statistics": statistics})
        started = time.monotonic()
        with files.mapped(path) as data:
            header = read_header(data, partial=recover)
            listed = read_list(data, header, work.limits) if header.coding in SETS else []
            _targets(out_dir, [name for name, _ in listed if not names or name in names], force)
            if listed:
                work.warn(path, estimate.decoding(data, header, sum(width * height for _, (width, height) in listed)))
            unpacked, lost = unpack_pictures(Reading(data, header, recover, settings, fill), names or None)
            facts: Facts = cut_note(work, path, data)
        targets = [_unpacked(out_dir, name) for name, _ in unpacked]
        seconds = round(time.monotonic() - started, 3)
        there = {target for target in targets if target.exists()}  # on some file systems one image may make another's name
        for target, (_, image) in zip(targets, unpacked, strict=True):
            files.make_folder(target.parent)
            files.write(target, images.to_file(image, ".png"), force and target in there)
        for name in lost:
            work.say(f"presage: {path}: lost {name}")
        if lost and fill:
            work.say(DRAWN)
        facts |= {"images": len(unpacked), "lost": lost, "seconds": seconds}
        facts["text"] = f"{path} -> {len(unpacked)} images in {out_dir}  {seconds:.1f} s"
        if stats and statistics:
            add_calls(facts, statistics)
        return facts

    once(work, act)
