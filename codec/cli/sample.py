"""The command that draws pictures from a model: sample."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ..errors import ImageRefused
from ..predictive.schedule import Schedule
from . import files
from .options import CALLS, FORCE, PATH, Numbers, common, scheduled
from .work import Facts, Work, add_calls, once


@click.command()
@click.option("-m", "--model", required=True, help="Model or release, see `presage models`.")
@click.option("-n", "--count", type=click.IntRange(1, 4096), default=16, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed draws the same pictures.")
@click.option("--size", type=Numbers("WxH", "WIDTHxHEIGHT", "x"), help="Of a picture; by default that of the model's training pictures.")
@click.option("-o", "--output", type=PATH, required=True, help="Picture of all samples.")
@click.option("--mistakes", type=PATH, help="Picture of where guesses were wrong first.")
@click.option("--convergence", type=PATH, help="Picture of the call in which each pixel took its final value.")
@click.option("--noise", type=click.Choice(["quantile", "gumbel"]), default="quantile", show_default=True)
@click.option("--quality", type=click.FloatRange(0, 100), default=50, show_default=True, help="Of pictures that a lossy model draws.")
@click.option("--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Samples drawn together.")
@click.option("--codes", "layers", type=click.IntRange(min=0), help="Of a model of ordered codes: only the first so many of every patch.")
@click.option("--seconds", type=click.FloatRange(min=0), help="Of a model of ordered codes: stop drawing when they are over, and decode.")
@CALLS
@scheduled
@FORCE
@common
def sample(
    model: str,
    count: int,
    seed: int,
    size: tuple[int, int] | None,
    output: Path,
    mistakes: Path | None,
    convergence: Path | None,
    noise: str,
    calls: int | None,
    work: Work,
    schedule: Schedule,
    stats: bool,
    force: bool,
    **drawing: Any,
) -> None:
    """Draw pictures from a model by decoding random bits."""

    def act() -> Facts:
        for target in filter(None, (output, mistakes, convergence)):
            files.check_output(target, force)
        from .. import weights
        from ..image import files as images
        from ..predictive import sampling
        from ..settings import Settings
        from . import sheets

        settings = Settings(**work.options(output.name) | {"schedule": schedule})
        loaded = weights.load(model, settings)
        width, height = size or (loaded.side, loaded.side)
        started = time.monotonic()
        drawn = sampling.draw_pictures(
            loaded.model, count, (height, width), seed, settings, gumbel=noise == "gumbel", calls=calls or 0, **drawing
        )
        seconds = round(time.monotonic() - started, 3)
        if (mistakes or convergence) and not drawn.samples:
            raise ImageRefused("nothing is guessed for this model: there are no mistakes and no convergence to show")
        pictures = {output: drawn.pictures}
        if mistakes:
            most = max(int(counts.max()) for counts in drawn.mistakes)
            pictures[mistakes] = [sheets.mistakes(p, c, most) for p, c in zip(drawn.pictures, drawn.mistakes, strict=True)]
        if convergence:
            most = max(int(counts.max()) for counts in drawn.converged)
            pictures[convergence] = [sheets.heat(counts, most) for counts in drawn.converged]
        for target, sheet in pictures.items():
            suffix = ".png" if target == files.STDIO else target.suffix
            images.check_suffix(suffix)
            files.write(target, images.to_file(sheets.grid(sheet), suffix), force)
        facts: Facts = {"output": str(output), "model": loaded.name, "seed": seed, "seconds": seconds}
        if drawn.of:
            facts |= {"codes": drawn.layers, "of": drawn.of}
        part = f", {drawn.layers} of {drawn.of} codes" if drawn.of else ""
        facts["text"] = f"{count} samples of {loaded.name}{part} -> {output}  {seconds:.1f} s"
        if drawn.samples and (stats or work.as_json):
            add_calls(facts, [s.statistics for s in drawn.samples])
        return facts

    once(work, act)
