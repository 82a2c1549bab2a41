"""What the commands share: options, exit codes, progress, reports."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import PresageError
from ..predictive.schedule import SCHEDULES, Schedule
from . import files

PATH = click.Path(path_type=Path)
BAR_AFTER = 1.0  # seconds


class Crop(click.ParamType[tuple[int, int, int, int]]):
    """X,Y,WIDTH,HEIGHT"""

    name = "x,y,w,h"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int, int]:
        try:
            x, y, width, height = (int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is not X,Y,WIDTH,HEIGHT", param, ctx)
        return x, y, width, height


@dataclass(frozen=True)
class Work:
    """Options that all commands share, in a form that can be sent to another process."""

    quiet: bool
    as_json: bool
    threads: int
    device: str
    arithmetic: str | None
    model_path: tuple[Path, ...]
    bar: bool = True

    def beside(self, jobs: int) -> Work:
        """The same for each of several processes: they share the processors and draw no bars over each other."""
        if jobs == 1:
            return self
        return replace(self, threads=self.threads or max(1, (os.cpu_count() or 1) // jobs), bar=False)

    def settings(self, label: str) -> dict[str, Any]:
        """Settings of the library calls."""
        kept = {"threads": self.threads, "device": self.device, "arithmetic": self.arithmetic, "model_path": self.model_path}
        return kept | ({"progress": Bar(label)} if self.bar and not self.quiet and sys.stderr.isatty() else {})

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        if not self.quiet:
            click.echo(text, err=True)


class Bar:
    """A progress bar on stderr that appears when the work takes longer than a second."""

    def __init__(self, label: str) -> None:
        self.label, self.started, self.shown = label, time.monotonic(), 0.0

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if share >= 0.999:
            if self.shown:
                click.echo("\r\033[K", nl=False, err=True)
        elif now - self.started > BAR_AFTER and now - self.shown > 0.1:
            self.shown = now
            filled = "#" * int(30 * share)
            click.echo(f"\r{self.label} [{filled:30}] {share:4.0%}", nl=False, err=True)


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


def each(paths: Sequence[Path], one: Callable[[Path], dict[str, Any]], work: Work, count: int = 1) -> None:
    """Do every input, report each, and exit with the worst code."""
    worst = 0
    for path, outcome in zip(paths, _outcomes(paths, one, count), strict=True):
        code, facts, message = outcome
        worst = max(worst, code)
        if code:
            click.echo(f"presage: {message}" if str(path) in message else f"presage: {path}: {message}", err=True)
            facts = {"error": message, "exit_code": code}
        if work.as_json:
            click.echo(json.dumps({"file": str(path)} | facts))
        elif not code and facts.get("text"):
            work.say(facts["text"])
    sys.exit(worst)


def _outcomes(paths: Sequence[Path], one: Callable[[Path], dict[str, Any]], count: int) -> Any:
    if count == 1 or len(paths) == 1:
        return map(partial(_attempt, one), paths)
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(count, len(paths)), mp_context=context, initializer=_end_with_parent)
    return pool.map(partial(_attempt, one), paths)


def _end_with_parent() -> None:
    """Do not outlive a parent that was killed."""
    import multiprocessing
    import threading
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=lambda: (wait([parent.sentinel]), os._exit(1)), daemon=True).start()


def _attempt(one: Callable[[Path], dict[str, Any]], path: Path) -> tuple[int, dict[str, Any], str]:
    try:
        return 0, one(path), ""
    except PresageError as error:
        return error.exit_code, {}, str(error)
    except MemoryError:
        return 1, {}, "not enough memory"


def outputs(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of commands that write a file for every input."""
    for option in (
        click.option("-f", "--force", is_flag=True, help="Replace existing files."),
        click.option("--out-dir", type=click.Path(path_type=Path, file_okay=False, exists=True), help="Folder for the results."),
        click.option("-o", "--output", type=PATH, help="Result of a single input; - for standard output."),
        click.argument("paths", nargs=-1, required=True, type=PATH, metavar="FILE..."),
    ):
        command = option(command)
    return command


def check_outputs(paths: Sequence[Path], output: Path | None, folder: Path | None, suffix: str, as_json: bool) -> None:
    """Whether results have a place of their own each."""
    if output is not None and (len(paths) > 1 or folder is not None):
        raise click.UsageError("-o goes with a single input and without --out-dir")
    if as_json and (output == files.STDIO or (output is None and files.STDIO in paths)):
        raise click.UsageError("--json and a result on standard output do not go together; use -o FILE")
    try:
        files.check_distinct((path, files.output_of(path, output, folder, suffix)) for path in paths)
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


def calls(statistics: Sequence[Any]) -> dict[str, Any]:
    """ARM calls, means and of every tile, as facts."""
    count = len(statistics)
    return {
        "tiles": count,
        "calls": round(sum(s.calls for s in statistics) / count, 2),
        "share_of_ancestral": round(sum(s.share for s in statistics) / count, 5),
        "evaluations_a_pixel": round(sum(s.heads / s.pixels for s in statistics) / count, 3),
        "calls_of_tiles": [s.calls for s in statistics],
        "evaluations_of_tiles": [s.heads for s in statistics],
    }


def calls_text(facts: dict[str, Any]) -> str:
    """The same for people."""
    return (
        f"{facts['calls']:.1f} calls of the model a tile, {facts['share_of_ancestral']:.2%} of one for every symbol; "
        f"every pixel evaluated {facts['evaluations_a_pixel']:.1f} times"
    )
