"""The command that shows small pictures of files: preview."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import click

from . import files
from .files import Item, Outputs
from .options import rarely, results, several
from .work import Facts, Work, each

SUFFIX = ".preview.png"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


@click.command()
@rarely
@several(".psg")
@results(SUFFIX)
@click.option("--size", type=click.IntRange(min=1), default=256, show_default=True, help="No side has more pixels.")
@click.option("--format", "kind", type=click.Choice(["png", "jpeg", "webp"]), help="Of the result; by default its suffix says it.")
def preview(items: list[Item], outputs: Outputs, work: Work, size: int, kind: str | None) -> None:
    """Show small pictures of .psg files: in milliseconds where they were encoded with --preview, otherwise by the cheapest way."""
    if kind is None and outputs.path not in (None, files.STDIO) and _suffix(outputs.path) not in FORMATS:
        raise click.UsageError(f"previews are written as {', '.join(FORMATS)}; --format says it for other names")
    each(items, partial(_preview, work, outputs, size, kind), work)


def _suffix(path: Path | None) -> str:
    return path.suffix.lower() if path else ""


def _preview(work: Work, outputs: Outputs, size: int, kind: str | None, item: Item) -> Facts:
    from .. import previews

    path, target = item.path, outputs.prepared(item)
    started = time.monotonic()
    with files.mapped(path) as data:
        found = previews.shown(data, size, work.announce, **work.options(path.name))
    image, name = found.image, kind.upper() if kind else FORMATS.get(_suffix(target), "PNG")
    files.write(target, previews.to_file(image, name), outputs.force)
    seconds = round(time.monotonic() - started, 3)
    facts: Facts = {"output": str(target), "way": found.way, "width": image.width, "height": image.height, "seconds": seconds}
    return facts | {"text": f"{path} -> {target}  {image.width}x{image.height}  {found.way}  {seconds:.3f} s"}
