"""The `presage` command. Light: torch, numpy and Pillow are imported by what needs them."""

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

from . import files
from .errors import PresageError

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


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="presage", prog_name="presage")
@click.option(
    "-V", is_flag=True, is_eager=True, expose_value=False, callback=lambda c, _, v: _version(c) if v else None, help="Same as --version."
)
def main() -> None:
    """Presage: a neural image codec whose files decode to the same pixels on every machine."""


def _version(context: click.Context) -> None:
    from importlib.metadata import version

    click.echo(f"presage, version {version('presage')}")
    context.exit()


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


def check_outputs(paths: Sequence[Path], output: Path | None, folder: Path | None, as_json: bool) -> None:
    if output is not None and (len(paths) > 1 or folder is not None):
        raise click.UsageError("-o goes with a single input and without --out-dir")
    if as_json and (output == files.STDIO or (output is None and files.STDIO in paths)):
        raise click.UsageError("--json and a result on standard output do not go together; use -o FILE")


@main.command()
@outputs
@click.option("-m", "--model", default="photo", show_default=True, help="Model or release, see `presage models`.")
@click.option("--tile", type=click.IntRange(8, 1024), default=128, show_default=True, help="Side of the independent tiles.")
@jobs
@common
def encode(
    paths: tuple[Path, ...], output: Path | None, out_dir: Path | None, force: bool, model: str, tile: int, jobs: int, **options: Any
) -> None:
    """Compress images without loss to .psg files."""
    work = Work(**options).beside(jobs)
    check_outputs(paths, output, out_dir, work.as_json)
    each(paths, partial(_encode, work, output, out_dir, force, model, tile), work, jobs)


def _encode(work: Work, output: Path | None, folder: Path | None, force: bool, model: str, tile: int, path: Path) -> dict[str, Any]:
    target = files.output_of(path, output, folder, ".psg")
    files.check_output(target, force)
    source = files.read(path)
    from . import api, images

    picture = images.read(source, str(path))
    if picture.lossy_source:
        work.say(
            f"presage: {path}: a {picture.lossy_source} file holds fewer bytes than its pixels; the .psg will be larger than this file"
        )
    started = time.monotonic()
    data = api.encode_picture(picture, model, tile, api.Settings(**work.settings(path.name)))
    files.write(target, data, force)
    facts = api.info(data) | {"output": str(target), "source_bytes": len(source), "seconds": round(time.monotonic() - started, 3)}
    facts["text"] = (
        f"{path} -> {target}  {len(source):,} -> {len(data):,} bytes  {facts['bits_per_sample']:.3f} bits/sample  {facts['seconds']:.1f} s"
    )
    return facts


@main.command()
@outputs
@click.option("--crop", type=Crop(), help="Only this part; reads only the tiles it needs.")
@click.option("--recover", is_flag=True, help="Save what is whole of a damaged file; lost tiles become gray and are listed.")
@jobs
@common
def decode(
    paths: tuple[Path, ...],
    output: Path | None,
    out_dir: Path | None,
    force: bool,
    crop: tuple[int, int, int, int] | None,
    recover: bool,
    jobs: int,
    **options: Any,
) -> None:
    """Decompress .psg files, to PNG or to the format of -o."""
    work = Work(**options).beside(jobs)
    check_outputs(paths, output, out_dir, work.as_json)
    each(paths, partial(_decode, work, output, out_dir, force, crop, recover), work, jobs)


def _decode(
    work: Work, output: Path | None, folder: Path | None, force: bool, crop: tuple[int, int, int, int] | None, recovering: bool, path: Path
) -> dict[str, Any]:
    target = files.output_of(path, output, folder, ".png")
    files.check_output(target, force)
    from . import api, images

    suffix = ".png" if target == files.STDIO else target.suffix
    images.check_suffix(suffix)
    started = time.monotonic()
    facts: dict[str, Any] = {"output": str(target)}
    with files.mapped(path) as data:
        source = None if recovering or crop else api.source_file(data)
        if recovering:
            image, lost = api.recover(data, crop=crop, **work.settings(path.name))
            facts["lost"] = lost
            for x, y, width, height in lost:
                work.say(f"presage: {path}: lost {width}x{height} pixels at {x},{y}")
        else:
            image = api.decode(data, crop=crop, **work.settings(path.name))
        if source is not None and suffix != ".png":
            raise PresageError("the image has 16 bits a channel; only a .png keeps them")
        content = source if source is not None else images.to_file(image, suffix)
    files.write(target, content, force)
    seconds = round(time.monotonic() - started, 3)
    text = f"{path} -> {target}  {image.width}x{image.height} {image.mode}  {seconds:.1f} s"
    return facts | {"width": image.width, "height": image.height, "mode": image.mode, "seconds": seconds, "text": text}


@main.command()
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="FILE...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for every input.")
def info(paths: tuple[Path, ...], as_json: bool) -> None:
    """Show what .psg files say of themselves; needs no weights."""
    each(paths, partial(_info, as_json), Work(False, as_json, 0, "cpu", None, ()))


def _info(as_json: bool, path: Path) -> dict[str, Any]:
    from . import api

    with files.mapped(path) as data:
        facts = api.info(data)
    if not as_json:
        click.echo(f"{path}")
        for key, value in facts.items():
            shown = ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
            click.echo(f"  {key.replace('_', ' '):16} {shown}")
    return facts


@main.command()
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="FILE...")
@jobs
@common
def verify(paths: tuple[Path, ...], jobs: int, **options: Any) -> None:
    """Decode .psg files without writing anything, and check every checksum."""
    work = Work(**options).beside(jobs)
    each(paths, partial(_verify, work), work, jobs)


def _verify(work: Work, path: Path) -> dict[str, Any]:
    from . import api

    with files.mapped(path) as data:
        image = api.decode(data, **work.settings(path.name))
    return {"ok": True, "width": image.width, "height": image.height, "text": f"{path}: ok, {image.width}x{image.height} {image.mode}"}


@main.command()
@click.option("--model-path", type=PATH, multiple=True, help="One more folder with weights (or PRESAGE_MODELS).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for every weights file.")
def models(model_path: tuple[Path, ...], as_json: bool) -> None:
    """List the models: names, hashes, sizes."""
    from ..models import store

    for weights in store.available(model_path):
        if as_json:
            facts = {"name": weights.name, "hash": weights.hash.hex(), "bytes": weights.size, "path": str(weights.path)}
            click.echo(json.dumps(facts | weights.metadata))
        else:
            click.echo(f"{weights.name:12} {weights.hash.hex()}  {weights.size:>9,} bytes  {weights.metadata.get('about', '')}")


@main.command()
@click.argument("run", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="RUN.toml")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting, such as run.steps=1000 or data.folder=photos."
)
@click.option("--out", type=PATH, default=Path("runs"), show_default=True, help="Folder for checkpoint and weights.")
@click.option("--resume", is_flag=True, help="Continue from the checkpoint.")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option("--export", "export_only", is_flag=True, help="Only write the integer weights of the checkpoint.")
def train(run: Path, overrides: tuple[str, ...], out: Path, resume: bool, device: str, export_only: bool) -> None:
    """Train a model as a run file says; under torchrun on several processes or GPUs."""
    from ..models import train as training

    try:
        if not export_only:
            training.run(run, overrides, out, resume, device, partial(click.echo, err=True))
        weights = training.export(run, overrides, out)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if weights:
        click.echo(f"{weights}", err=True)


@main.group()
def bench() -> None:
    """Measure Presage beside other codecs."""


@bench.command("lossless")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@click.option("--codecs", default="", help="Comma-separated; by default all that are installed.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--repeats", type=click.IntRange(min=1), default=3, show_default=True, help="Times are the median of so many runs.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first images.")
@click.option("--ladder", is_flag=True, help="Also: what tiles, integers and the coder cost.")
@click.option("--checkpoint", type=click.Path(path_type=Path, exists=True), help="Float network for the ladder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def bench_lossless(folder: Path, codecs: str, as_json: bool, **options: Any) -> None:
    """Real bytes, speed and memory on the images of a folder."""
    from ..bench import lossless

    try:
        result = lossless.run(folder, [c for c in codecs.split(",") if c], log=partial(click.echo, err=True), **options)
    except (ValueError, ImportError, RuntimeError, OSError, PresageError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(result, indent=1) if as_json else lossless.table(result))
