"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any

import click

from ..errors import ImageRefused
from ..limits import Limits
from ..predictive.schedule import SCHEDULES, Schedule
from ..settings import ARITHMETICS
from . import files
from .files import Item, Outputs
from .work import Work

PATH = click.Path(path_type=Path)
WAYS = click.Choice(SCHEDULES)
VERIFY = click.option("--verify", is_flag=True, help="Decode in memory and compare before the file is written.")
CALLS = click.option("--calls", type=click.IntRange(min=1), help="Of models of stages: decode each in so many calls; more cost fewer bits.")
FILL = click.option("--fill", is_flag=True, help="With --recover, where the file's model can: draw what is lost, and list it.")
DRAWN = "presage: what is lost was drawn by the model of the file: it is likely, and not what was there"
FORCE = click.option("-f", "--force", is_flag=True, help="Replace existing files.")
Command = Callable[..., Any]


class Numbers(click.ParamType[tuple[int, ...]]):
    """As many whole numbers as `name` has parts, with the same separator."""

    def __init__(self, name: str, meaning: str, separator: str) -> None:
        self.name, self.meaning, self.separator = name, meaning, separator

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        try:
            numbers = tuple(int(part) for part in value.lower().split(self.separator))
        except ValueError:
            numbers = ()
        if len(numbers) != self.name.count(self.separator) + 1:
            self.fail(f"{value!r} is not {self.meaning}", param, ctx)
        return numbers


def check_fill(fill: bool, recover: bool) -> None:
    """Raises UsageError for --fill alone."""
    if fill and not recover:
        raise click.UsageError("--fill goes with --recover")


def _limits(options: dict[str, Any]) -> Limits:
    """The limits that options say, which they lose."""
    given = {field.name: options.pop(f"limit_{field.name}") for field in fields(Limits)}
    try:
        return Limits(**{name: value for name, value in given.items() if value is not None})
    except ImageRefused as refused:
        raise click.UsageError(str(refused)) from None


_LIMITS = (
    click.option("--limit-seconds", type=click.FloatRange(min=0, min_open=True), help="At most so long for a file; 3600 by default."),
    click.option("--limit-name", type=click.IntRange(min=1), help="At most so many letters in a name in a set; 1,024 by default."),
    click.option("--limit-images", type=click.IntRange(min=1), help="At most so many images in a set; 2^20 by default."),
    click.option("--limit-memory", type=click.IntRange(min=1), help="At most so many bytes of memory are asked for; 6 GiB by default."),
    click.option("--limit-pixels", type=click.IntRange(min=1), help="At most so many pixels; 2^28 by default."),
)


def limited(command: Command) -> Command:
    """Options that say how much a file may ask for."""
    for option in _LIMITS:
        command = option(command)
    return command


def common(command: Command) -> Command:
    """Options of every command that uses a model; the command gets them as its `work`."""
    return _with_model(command, announced=True)


def rarely(command: Command) -> Command:
    """The same for a command that hardly ever needs a model: it starts at once, and calls `work.announce` when it does."""
    return _with_model(command, announced=False)


def _with_model(command: Command, announced: bool) -> Command:

    @click.option("--threads", type=click.IntRange(min=0), default=0, help="Threads; 0: one for each processor.")
    @click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
    @click.option("--arithmetic", type=click.Choice(ARITHMETICS), help="Who multiplies; the result is the same.")
    @click.option("--model-path", type=PATH, multiple=True, help="One more folder with weights (or PRESAGE_MODELS).")
    @click.option("-q", "--quiet", is_flag=True, help="Only errors on stderr.")
    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object for every input.")
    @limited
    @wraps(command)
    def gathered(**options: Any) -> None:
        about = ("quiet", "as_json", "threads", "device", "arithmetic", "model_path")
        limits = _limits(options)
        work = Work(**{key: options.pop(key) for key in about}, limits=limits)
        if announced:
            work.announce()
        command(work=work, **options)

    return gathered


def light(command: Command) -> Command:
    """Options of a command that needs no model."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON object for every input.")
    @limited
    @wraps(command)
    def gathered(as_json: bool, **options: Any) -> None:
        command(work=Work(quiet=True, as_json=as_json, limits=_limits(options)), **options)

    return gathered


def several(suffix: str = "") -> Callable[[Command], Command]:
    """The inputs of a command, as its `items`: of folders all files in them with the suffix, if there is one; and how many at a time."""

    def decorate(command: Command) -> Command:
        @click.argument("paths", nargs=-1, required=True, type=PATH, metavar="FILE|DIR...")
        @click.option("-r", "--recursive", is_flag=True, help="Of folders also what is in the folders below.")
        @click.option("-j", "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Files at a time, in processes.")
        @wraps(command)
        def gathered(paths: Sequence[Path], recursive: bool, work: Work, jobs: int, **options: Any) -> None:
            try:
                found = files.items(paths, recursive, suffix, f"{suffix} files".lstrip())
            except files.FileProblem as problem:
                raise click.ClickException(str(problem)) from None
            command(items=found, work=work.in_processes(jobs), **options)

        return gathered

    return decorate


def results(suffix: str) -> Callable[[Command], Command]:
    """Where a command writes a file with the suffix for every input, as its `outputs`."""

    def decorate(command: Command) -> Command:
        @click.option("-o", "--output", type=PATH, help="Result of a single input; - for standard output.")
        @click.option("--out-dir", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results; made if need be.")
        @FORCE
        @wraps(command)
        def gathered(items: Sequence[Item], work: Work, output: Path | None, out_dir: Path | None, force: bool, **options: Any) -> None:
            outputs = Outputs(output, out_dir, force, suffix)
            items = [item for item in items if not (item.inside and item.path.suffix == suffix)]  # results of earlier work
            if output is not None and (len(items) > 1 or out_dir is not None or any(item.inside for item in items)):
                raise click.UsageError("-o goes with a single input and without --out-dir")
            if work.as_json and (output == files.STDIO or (output is None and any(item.path == files.STDIO for item in items))):
                raise click.UsageError("--json and a result on standard output do not go together; use -o FILE")
            try:
                files.check_distinct((item.path, outputs.of(item)) for item in items)
            except files.FileProblem as problem:
                raise click.UsageError(str(problem)) from None
            command(items=items, work=work, outputs=outputs, **options)

        return gathered

    return decorate


def scheduled(command: Command) -> Command:
    """Options of predictive decoding; the command gets them as its `schedule`, and `stats`."""

    @click.option("--schedule", "name", default="auto", show_default=True, type=WAYS, help="What to guess; the result is the same.")
    @click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True, help="Symbols that it forecasts.")
    @click.option("--module", default="h", show_default=True, help="Learned forecasting module of --schedule forecast.")
    @click.option("--window", type=click.IntRange(min=0), default=0, help="Guess at most so many pixels ahead; 0: all of the block.")
    @click.option("--at-once", is_flag=True, help="Guess the channels of a pixel at once instead of in turn within a call.")
    @click.option("--stats", is_flag=True, help="Show how often the model was called.")
    @wraps(command)
    def gathered(at_once: bool, window: int, module: str, steps: int, name: str, **options: Any) -> None:
        command(schedule=Schedule(name, not at_once, window, steps, module), **options)

    return gathered
