"""Commands for files that may be cut: truncate; and what decode and sample do for them."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from ..format.container import Header
from . import files
from .files import Item
from .options import FORCE, PATH
from .work import Facts, Work, once

SHARES = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0)  # of a file's bytes, for `decode --progressive`


@click.command()
@click.argument("path", type=PATH, metavar="FILE.psg")
@click.option("-o", "--output", type=PATH, required=True, help="The shorter file; - for standard output.")
@click.option("--bytes", "size", type=click.IntRange(min=1), help="At most so many bytes.")
@click.option("--bpp", type=click.FloatRange(min=0), help="At most so many bits a pixel.")
@click.option("--fraction", type=click.FloatRange(0, 1), help="At most this part of the bytes.")
@FORCE
@click.option("-q", "--quiet", is_flag=True, help="Only errors on stderr.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
def truncate(
    path: Path, output: Path, size: int | None, bpp: float | None, fraction: float | None, force: bool, quiet: bool, as_json: bool
) -> None:
    """Cut a file of --progressive, of ordered codes or of stages, shorter; needs no weights. The picture is still whole, and coarser."""
    if [size, bpp, fraction].count(None) != 2:
        raise click.UsageError("one of --bytes, --bpp and --fraction says where to cut")
    if as_json and output == files.STDIO:
        raise click.UsageError("--json and a result on standard output do not go together; use -o FILE")

    def act() -> Facts:
        from ..format.info import info
        from ..paths.truncate import truncate

        files.check_output(output, force)
        with files.mapped(path) as data:
            shorter = truncate(data, size, bpp=bpp, fraction=fraction)
            before = len(data)
        facts = info(shorter) | {"output": str(output), "source_bytes": before}
        files.write(output, shorter, force)
        pixels = "bits_per_pixel" in facts
        rate = f"{facts['bits_per_pixel']:.3f} bits/pixel" if pixels else f"{facts['bits_per_sample']:.3f} bits/sample"
        text = f"{path} -> {output}  {before:,} -> {len(shorter):,} bytes  {rate}"
        return facts | {"text": text}

    once(Work(quiet, as_json), act)


def cut_note(work: Work, path: Path, data: Any) -> Facts:
    """Facts about a file that may be cut and is, of which people are told; nothing for all other files."""
    from ..errors import DamagedFile
    from ..format import container
    from ..format.info import codes_of

    header = container.read_header(data, partial=True)
    if header.coding not in (*container.CUT, *container.STAGED) or len(data) >= header.size:
        return {}
    if header.coding in container.STAGED:
        return _stages_note(work, path, data, header)
    places = container.ChunkStream(data, header)
    share = f"{len(data):,} of {header.size:,} bytes"
    facts = {"cut": True, "chunks": len(places)}
    with suppress(DamagedFile):
        facts |= codes_of(data, header)
        if "layers" in facts:
            share += f", {facts['layers_there']:.1f} of {facts['layers']} codes of every patch"
    work.say(f"presage: {path}: the file is cut: {share}")
    return facts


def _stages_note(work: Work, path: Path, data: Any, header: Header) -> Facts:
    """The same of a file of stages."""
    from ..errors import DamagedFile
    from ..format.stages import facts_of

    facts: Facts = {"cut": True}
    with suppress(DamagedFile):
        facts |= facts_of(data, header)
    stages = f"; of all tiles {facts['stages_there']} of {facts['stages']} stages are there" if "stages" in facts else ""
    work.say(f"presage: {path}: the file is cut: {len(data):,} of {header.size:,} bytes{stages}")
    return facts


def write_progressive(work: Work, folder: Path, force: bool, item: Item) -> Facts:
    """The pictures at several cuts of a file, as PNG files in a folder."""
    from .. import api
    from ..errors import ImageRefused
    from ..format.container import CUT, read_header
    from ..image import files as images
    from ..settings import Settings

    started, path = time.monotonic(), item.path
    stem = "picture" if path == files.STDIO else path.stem
    targets = [folder / f"{stem}-{round(100 * share):03}.png" for share in SHARES]
    with files.mapped(path) as data:
        sizes = [round(share * len(data)) for share in SHARES]
        header = read_header(data)
        if header.coding not in CUT:
            raise ImageRefused("the file is not one that may be cut; leave out --progressive")
        for target in targets:
            files.make_folder(folder)
            files.check_output(target, force)
        pictures = api.decode_cuts(data, sizes, Settings(**work.options(path.name)))
    for target, size, image in zip(targets, sizes, pictures, strict=True):
        files.write(target, images.to_file(image, ".png"), force)
        work.say(f"  {target}  {size:>9,} bytes  {8 * size / (header.width * header.height):.3f} bits/pixel")
    seconds = round(time.monotonic() - started, 3)
    text = f"{path} -> {len(pictures)} pictures in {folder}  {seconds:.1f} s"
    return {"outputs": [str(t) for t in targets], "sizes": sizes, "seconds": seconds, "text": text}
