"""Commands for files of ordered codes: truncate; and what decode and sample do for them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from . import files
from .options import PATH, Work
from .sets import FORCE, finish

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
    """Cut a file of ordered codes shorter; needs no weights. The picture is still whole, and coarser."""
    if [size, bpp, fraction].count(None) != 2:
        raise click.UsageError("one of --bytes, --bpp and --fraction says where to cut")
    if as_json and output == files.STDIO:
        raise click.UsageError("--json and a result on standard output do not go together; use -o FILE")

    def act() -> dict[str, Any]:
        from .. import api
        from ..paths import target as lossy

        files.check_output(output, force)
        with files.mapped(path) as data:
            found = lossy.truncate(data, size, bpp=bpp, fraction=fraction)
            before = len(data)
        facts = api.info(found) | {"output": str(output), "source_bytes": before}
        files.write(output, found, force)
        text = f"{path} -> {output}  {before:,} -> {len(found):,} bytes  {facts['bits_per_pixel']:.3f} bits/pixel"
        return facts | {"text": text}

    finish(Work(quiet, as_json, 0, "cpu", None, ()), act)


def cut_note(data: Any) -> tuple[dict[str, Any], str]:
    """Facts, and a line for people, about a file of ordered codes that is cut; nothing for all other files."""
    from .. import api
    from ..errors import DamagedFile
    from ..format import container

    header = container.read_header(data, partial=True)
    if header.coding != container.Coding.ORDERED or len(data) >= header.size:
        return {}, ""
    places = container.ChunkStream(data, header)
    share = f"{len(data):,} of {header.size:,} bytes"
    facts = {"cut": True, "chunks": len(places)}
    try:
        facts |= (found := api.codes_of(data, header))
        if "layers" in found:
            share += f", {found['layers_there']:.1f} of {found['layers']} codes of every patch"
    except DamagedFile:
        pass
    return facts, f"the file is cut: {share}"


def write_progressive(work: Work, folder: Path, force: bool, path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The pictures at several cuts of a file, as PNG files in a folder."""
    from .. import weights as networks
    from ..errors import ImageRefused
    from ..format import container
    from ..image import files as images
    from ..paths import ordered

    started = time.monotonic()
    with files.mapped(path) as data:
        header = container.read_header(data)
        if header.coding != container.Coding.ORDERED:
            raise ImageRefused("the file has no ordered codes; leave out --progressive")
        folder.mkdir(parents=True, exist_ok=True)
        stem = "picture" if path == files.STDIO else path.stem
        targets = [folder / f"{stem}-{round(100 * share):03}.png" for share in SHARES]
        for target in targets:
            files.check_output(target, force)
        sizes = [round(share * len(data)) for share in SHARES]
        found = ordered.decode_cuts(data, sizes, networks.Settings(**settings))
        pixels = header.width * header.height
    for target, size, image in zip(targets, sizes, found, strict=True):
        files.write(target, images.to_file(image, ".png"), force)
        work.say(f"  {target}  {size:>9,} bytes  {8 * size / pixels:.3f} bits/pixel")
    seconds = round(time.monotonic() - started, 3)
    text = f"{path} -> {len(found)} pictures in {folder}  {seconds:.1f} s"
    return {"outputs": [str(t) for t in targets], "sizes": sizes, "seconds": seconds, "text": text}


def draw_codes(
    work: Work,
    model: str,
    count: int,
    seed: int,
    size: tuple[int, int] | None,
    codes: int | None,
    seconds: float | None,
    output: Path,
    force: bool,
) -> dict[str, Any]:
    """Draw pictures from a model of ordered codes, with some of the codes or for some time."""
    from ...models.ordered.exact import ExactOrdered
    from .. import weights as networks
    from ..image import files as images
    from ..paths import ordered
    from . import sheets as pictures

    settings = networks.Settings(**work.settings(output.name))
    weights, network = networks.load_model(model, settings)
    assert isinstance(network, ExactOrdered)
    width, height = size or (int(weights.metadata.get("side", "32")),) * 2
    started = time.monotonic()
    drawn, layers = ordered.draw(network, count, (height, width), seed, settings, codes, seconds)
    spent = round(time.monotonic() - started, 3)
    suffix = ".png" if output == files.STDIO else output.suffix
    images.check_suffix(suffix)
    files.write(output, images.to_file(pictures.grid(list(drawn)), suffix), force)
    facts = {"output": str(output), "model": weights.name, "seed": seed, "seconds": spent, "codes": layers, "of": network.config.count}
    text = f"{count} samples of {weights.name}, {layers} of {network.config.count} codes -> {output}  {spent:.1f} s"
    return facts | {"text": text}
