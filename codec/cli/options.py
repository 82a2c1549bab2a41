"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ..predictive.schedule import SCHEDULES, Schedule
from . import files

PATH = click.Path(path_type=Path)
FORCE = click.option("-f", "--force", is_flag=True, help="Replace existing files.")
RECURSIVE = click.option("-r", "--recursive", is_flag=True, help="Of folders also what is in the folders below.")


class Crop(click.ParamType[tuple[int, int, int, int]]):
    """X,Y,WIDTH,HEIGHT"""

    name = "x,y,w,h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int, int]:
        try:
            x, y, width, height = (int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not X,Y,WIDTH,HEIGHT", param, ctx)
        return x, y, width, height


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of every command that uses a model."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object for every input."),
        click.option("-q", "--quiet", is_flag=True, help="Only errors on stderr."),
        click.option("--model-path", type=PATH, multiple=True, help="One more folder with weights (or PRESAGE_MODELS)."),
        click.option("--arithmetic", type=click.Choice(["int8", "float32", "float64"]), help="Who multiplies; the result is the same."),
        click.option("--device", default="cpu", show_default=True, help="cpu or cuda."),
        click.option("--threads", type=click.IntRange(min=0), default=0, help="Threads; 0: one for each processor."),
    ):
        command = option(command)
    return command


def jobs(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Files worked on at a time, in processes."
    )(command)


def outputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that write a file for every input."""
    for option in (
        FORCE,
        RECURSIVE,
        click.option("--out-dir", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results; made if need be."),
        click.option("-o", "--output", type=PATH, help="Result of a single input; - for standard output."),
        click.argument("paths", nargs=-1, required=True, type=PATH, metavar="FILE|DIR..."),
    ):
        command = option(command)
    return command


def inputs(paths: Sequence[Path], recursive: bool, suffix: str = "") -> list[files.Item]:
    """The inputs that paths name, what is in folders among them."""
    try:
        return files.items(paths, recursive, suffix)
    except files.FileProblem as problem:
        raise click.ClickException(str(problem)) from None


def check_outputs(items: Sequence[files.Item], output: Path | None, folder: Path | None, suffix: str, as_json: bool) -> None:
    """Whether results have a place of their own each."""
    if output is not None and (len(items) > 1 or folder is not None or any(item.inside for item in items)):
        raise click.UsageError("-o goes with a single input and without --out-dir")
    if as_json and (output == files.STDIO or (output is None and any(item.path == files.STDIO for item in items))):
        raise click.UsageError("--json and a result on standard output do not go together; use -o FILE")
    try:
        files.check_distinct((item.path, files.output_of(item, output, folder, suffix)) for item in items)
    except files.FileProblem as problem:
        raise click.UsageError(str(problem)) from None


def scheduled(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of predictive decoding."""
    for option in (
        click.option("--stats", is_flag=True, help="Show how often the model was called."),
        click.option("--at-once", is_flag=True, help="Guess the channels of a pixel at once instead of in turn within a call."),
        click.option("--window", type=click.IntRange(min=0), default=0, help="Guess at most so many pixels ahead; 0: all of the block."),
        click.option("--module", default="h", show_default=True, help="Learned forecasting module of --schedule forecast."),
        click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True, help="Symbols that it forecasts."),
        click.option(
            "--schedule", default="auto", show_default=True, type=click.Choice(SCHEDULES), help="What to guess; the result is the same."
        ),
    ):
        command = option(command)
    return command


def schedule_of(options: dict[str, Any]) -> Schedule:
    """Take the options of `scheduled` out of a command's options."""
    name, steps, module = (options.pop(key) for key in ("schedule", "steps", "module"))
    return Schedule(name, not options.pop("at_once"), options.pop("window"), steps, module)
