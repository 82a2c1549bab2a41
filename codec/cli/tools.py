"""Commands about models and measurements: models, train, bench."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial, reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from ..errors import PresageError
from . import files
from .options import FORCE, PATH, Command
from .work import plain

EXISTING = click.Path(path_type=Path, exists=True)
FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)
POSITIVE = click.IntRange(min=1)
NATURAL = click.IntRange(min=0)
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
MODEL_PATH = click.option("--model-path", type=PATH, multiple=True, help="One more folder with weights (or PRESAGE_MODELS).")


@click.command()
@MODEL_PATH
@click.option("-v", "--verbose", is_flag=True, help="Also what multiplies for each on this machine, and how fast that is.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for every weights file.")
def models(model_path: tuple[Path, ...], verbose: bool, as_json: bool) -> None:
    """List the models: names, hashes, sizes."""
    from ...models import catalogue

    if verbose and not as_json:
        from ...models import choice

        click.echo(f"processor: {choice.described()}")
    for weights in catalogue.available(model_path):
        about = f"{weights.name:12} {weights.hash.hex()}  {weights.size:>9,} bytes  {weights.metadata.get('about', '')}"
        facts = {"name": weights.name, "hash": weights.hash.hex(), "bytes": weights.size, "path": str(weights.path)} | weights.metadata
        if verbose:
            more, text = _products(weights.path)
            facts, about = facts | more, about + text
        click.echo(json.dumps(facts) if as_json else "\n".join(plain(line) for line in about.splitlines()))


def _products(path: Path) -> tuple[dict[str, Any], str]:
    """What multiplies for the model of a weights file here: as facts, and for people."""
    from safetensors.numpy import load_file

    from ...models import choice

    try:
        found = choice.choice(choice.shapes_of(load_file(path)))
    except (ValueError, OSError) as error:
        return {"arithmetic": None, "why": str(error)}, f"\n    {error}"
    speeds = {speed.name: {"gmacs": round(speed.gmacs, 2), "right": speed.right} for speed in found.speeds}
    facts = {"arithmetic": found.taken, "why": found.why, "products": speeds, "processor": choice.features()}
    return facts, "".join(f"\n    {line}" for line in choice.lines(found))


@click.command()
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
    from ...models.training import loop as training

    try:
        if not export_only:
            training.run(run, overrides, out, resume, device, partial(click.echo, err=True))
        weights = training.export(run, overrides, out)
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from None
    if weights:
        click.echo(f"{weights}", err=True)


@click.group()
def bench() -> None:
    """Measure Presage beside other codecs."""


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """Several options as one decorator."""
    return lambda command: reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def _names(context: click.Context, option: click.Parameter, text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _print(room: str, name: str, as_json: bool, plot: Path | None = None, plot_samples: Path | None = None, **options: Any) -> None:
    """Measure by a module of the bench, draw what is wanted, and print the result by the report of the same name."""
    measure = import_module(f"presage.bench.{room}.{name}")
    report = import_module(f"presage.bench.reports.{name}")
    try:
        result = measure.run(log=partial(click.echo, err=True), **options)
        if plot:
            report.draw(result, plot)
        if plot_samples:
            report.draw_samples(result, plot_samples)
    except (ValueError, ImportError, RuntimeError, OSError, PresageError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(json.dumps(result, indent=1) if as_json else report.markdown(result))


ON_FOLDER = _together(
    click.argument("folder", type=FOLDER, metavar="DIR"),
    click.option("--codecs", "names", default="", callback=_names, help="Comma-separated; by default all that are installed."),
    click.option("--threads", type=POSITIVE, default=2, show_default=True),
    click.option("--limit", type=POSITIVE, help="Only the first images."),
    JSON,
)
SMALL_PICTURES = _together(
    click.argument("data", type=EXISTING, metavar="PICTURES"),
    click.option("--count", type=NATURAL, default=0, help="Only the first so many pictures; 0: all."),
)
CURVES = _together(
    ON_FOLDER,
    click.option("-j", "--jobs", type=POSITIVE, default=1, show_default=True, help="Images worked on at a time, in processes."),
    click.option("--beside", type=EXISTING, help="Result of an earlier run: take over its other codecs."),
    click.option("--plot", type=PATH, help="Draw the curves."),
)


@bench.command("lossless")
@ON_FOLDER
@click.option("--repeats", type=POSITIVE, default=3, show_default=True, help="Times are the median of so many runs.")
@click.option("--ladder", is_flag=True, help="Also: what tiles, integers and the coder cost.")
@click.option("--checkpoint", type=EXISTING, help="Float network for the ladder.")
@click.option("--instructions", "by_instructions", is_flag=True, help="Also: the first image held to older instruction sets.")
def bench_lossless(**options: Any) -> None:
    """Real bytes, speed and memory on the images of a folder."""
    _print("compare", "lossless", **options)


@bench.command("lossy")
@CURVES
def bench_lossy(**options: Any) -> None:
    """PSNR and MS-SSIM against real bytes on the images of a folder."""
    _print("compare", "lossy", **options)


@bench.command("anytime")
@CURVES
@click.option(
    "-m", "--model", "models", multiple=True, default=("progressive", "ordered"), show_default=True, help="For `presage`; may be repeated."
)
@MODEL_PATH
def bench_anytime(**options: Any) -> None:
    """PSNR and MS-SSIM of one file an image that is cut, on the images of a folder."""
    _print("compare", "anytime", **options)


@bench.command("jpeg")
@ON_FOLDER
@click.option("-m", "--model", default="jpeg", show_default=True, help="For `presage`.")
@MODEL_PATH
def bench_jpeg(**options: Any) -> None:
    """Bytes and times of JPEG files that come back bit for bit, on the JPEG files of a folder."""
    _print("compare", "jpeg", **options)


@bench.command("origins")
@click.argument("run_file", type=EXISTING, metavar="RUN.toml")
@click.option("--way", "ways", multiple=True, help="What the pictures went through; may be repeated; by default everything.")
@click.option("--every", type=POSITIVE, default=1, show_default=True, help="Only each n-th picture.")
@click.option("--alone", is_flag=True, help="Without the RGB model, planes and JPEG XL beside it.")
@click.option("--beside", type=EXISTING, help="Result of an earlier run: take over its other ways.")
@click.option("--threads", type=POSITIVE, default=2, show_default=True)
@click.option("--limit", type=POSITIVE, help="Only the first pictures.")
@JSON
def bench_origins(**options: Any) -> None:
    """Bytes of the pictures that a training run holds out: as they are, and out of JPEG files and video frames."""
    _print("compare", "origins", **options)


@bench.command("calls")
@click.option("-m", "--model", required=True, help="Model or release, see `presage models`.")
@click.option("--data", type=EXISTING, help="Pictures to decode: a folder, or a mosaic of square ones.")
@click.option("--batches", type=POSITIVE, default=10, show_default=True)
@click.option("--batch", type=POSITIVE, default=1, show_default=True, help="Images in a batch; one packed set each.")
@click.option("--stochastic", is_flag=True, help="Make pixels white with the probability grey / 255 (seed 0).")
@click.option("--slow-batches", type=NATURAL, default=3, show_default=True, help="For rows with nearly a call a symbol; 0: without.")
@click.option("--part", "parts", multiple=True, help="sampling, decoding, windows, precision, times or packed; by default all.")
@click.option("--threads", type=NATURAL, default=0, help="For the packed file of all pictures.")
@click.option("--plot", type=PATH, help="Draw calls against evaluations and precision.")
@JSON
def bench_calls(**options: Any) -> None:
    """How often predictive decoding calls a model, for samples and for real pictures."""
    _print("papers", "calls", **options)


@bench.command("families")
@SMALL_PICTURES
@click.option("-m", "--model", "models", multiple=True, help="Of the models of the table only this one; repeatable.")
@click.option("--threads", type=NATURAL, default=0, help="For the file of all pictures.")
@click.option("--beside", type=EXISTING, help="Result of an earlier run: take over its other models.")
@click.option("--plot", type=PATH, help="Draw bits against calls and seconds.")
@JSON
def bench_families(**options: Any) -> None:
    """Families of generative models as codecs of small pictures: a mosaic or a folder of them, 32 x 32."""
    _print("papers", "families", **options)


@bench.command("absorbing")
@SMALL_PICTURES
@click.option("-m", "--model", default="cifar10-ardm", show_default=True, help="An order-agnostic model.")
@click.option("--steps", type=POSITIVE, multiple=True, default=(20, 256, 1000), show_default=True, help="Repeatable.")
@JSON
def bench_absorbing(**options: Any) -> None:
    """Absorbing diffusion with the network of an order-agnostic model: the bound on its bits, by steps."""
    _print("papers", "absorbing", **options)


@bench.command("codes")
@click.argument("folder", type=FOLDER, metavar="CHECKPOINTS")
@click.option("--data", type=EXISTING, multiple=True, required=True, help="Mosaic of test pictures; may be repeated.")
@click.option("-m", "--model", default="", help="Also time the exact sampler of this model, here or in CHECKPOINTS.")
@click.option("--samples", type=click.IntRange(min=2), default=2000, show_default=True, help="Of each prior.")
@click.option("--limit", type=NATURAL, default=1000, show_default=True, help="Test pictures of the error curves; 0: all.")
@click.option("--features", "weights", type=PATH, help="Weights of the feature distance; by default those in the repository.")
@click.option("--part", "parts", multiple=True, help="curves, bits or samples; by default all.")
@click.option("--plot", type=PATH, help="Draw importance and errors of the codes.")
@click.option("--plot-samples", type=PATH, help="Draw feature distance and time of samples.")
@click.option("--beside", type=EXISTING, help="Result of an earlier run: measure only what it lacks.")
@click.option("--grid", type=PATH, help="Draw samples at 25, 50, 75 and 100 % of the codes.")
@JSON
def bench_codes(**options: Any) -> None:
    """How much ordered codes matter one by one, and what samples of a part of them are worth (CIFAR-10)."""
    _print("papers", "codes", **options)


@bench.command("report")
@click.argument("results", nargs=-1, type=EXISTING, metavar="RESULTS...")
@click.option("-o", "--output", type=PATH, required=True, help="The page: one file of HTML that needs nothing else.")
@click.option("--picture", "pictures", type=EXISTING, multiple=True, help="A photograph to show as codecs do, and as cut files do.")
@click.option("--bpp", type=click.FloatRange(min=0, min_open=True), default=0.3, show_default=True, help="Of these files, at most.")
@click.option("-m", "--model", "models", multiple=True, default=("ordered",), show_default=True, help="Whose files are cut; repeatable.")
@click.option("--threads", type=POSITIVE, default=2, show_default=True)
@FORCE
def bench_report(
    results: tuple[Path, ...], output: Path, pictures: tuple[Path, ...], bpp: float, models: tuple[str, ...], threads: int, force: bool
) -> None:
    """A page of what other commands measured: curves, tables, pictures. RESULTS: their JSON files, or manifests of archives."""
    if not results and not pictures:
        raise click.UsageError("results, or --picture, say what the page is about")
    report, page = (import_module(f"presage.bench.reports.{name}") for name in ("report", "page"))
    log = partial(click.echo, err=True)

    def made() -> str:
        sections = [report.read_section(path, number) for number, path in enumerate(results)]
        if pictures:
            shown = import_module("presage.bench.reports.pictures")
            sections += [shown.section(path, number, bpp, models, threads, log) for number, path in enumerate(pictures)]
        return str(page.render("Presage: what was measured", "Real files, decoded and compared. Click a heading to sort by it.", sections))

    _write_page(output, force, made)


def write_archive_page(manifest: Path, output: Path, force: bool) -> None:
    """Write the page about an archive. Raises click.ClickException."""
    _write_page(output, force, partial(import_module("presage.bench.reports.archive").write, manifest))


def _write_page(output: Path, force: bool, made: Callable[[], str]) -> None:
    try:
        files.check_output(output, force)
        files.write(output, made().encode(), force)
    except (ValueError, ImportError, RuntimeError, OSError, PresageError) as error:
        raise click.ClickException(str(error)) from None
