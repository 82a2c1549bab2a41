"""The command that fills in what is missing of a picture: fill."""

from __future__ import annotations

import time
from pathlib import Path

import click

from . import files
from .options import CALLS, FORCE, PATH, common
from .work import Facts, Work, once


@click.command()
@common
@click.argument("path", type=PATH, metavar="FILE")
@click.option("--mask", type=PATH, required=True, help="A picture of the same size that is not black where pixels are lost.")
@click.option("-m", "--model", required=True, help="A model of stages, see `presage models`.")
@click.option("-o", "--output", type=PATH, required=True, help="The picture with these pixels drawn.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed draws the same pixels.")
@CALLS
@FORCE
def fill(work: Work, path: Path, mask: Path, model: str, output: Path, seed: int, calls: int | None, force: bool) -> None:
    """Draw lost pixels of a picture, given all others. They are likely; what was there, nobody knows."""

    def act() -> Facts:
        files.check_output(output, force)
        from ..image import files as images
        from ..paths.fill import fill_picture, lost_in
        from ..settings import Settings

        suffix = ".png" if output == files.STDIO else output.suffix
        images.check_suffix(suffix)
        picture = images.read(files.read(path), str(path), work.limits)
        shown = images.read(files.read(mask), str(mask), work.limits)
        lost = lost_in(shown.image)
        started = time.monotonic()
        made = fill_picture(picture, lost, model, calls or 0, seed, Settings(**work.options(path.name)))
        files.write(output, images.to_file(made.image, suffix), force)
        seconds = round(time.monotonic() - started, 3)
        text = f"{path} -> {output}  {int(lost.sum()):,} pixels drawn  {seconds:.1f} s"
        return {"output": str(output), "model": model, "seed": seed, "pixels": int(lost.sum()), "seconds": seconds, "text": text}

    once(work, act)
