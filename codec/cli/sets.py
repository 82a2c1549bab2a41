"""Commands for many small images: pack, unpack, sample."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from ..errors import ImageRefused, PresageError
from . import files
from .options import PATH, Work, calls, calls_text, common, schedule_of, scheduled

FORCE = click.option("-f", "--force", is_flag=True, help="Replace existing files.")
SUFFIXES = {".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm", ".pbm", ".gif", ".jpg", ".jpeg"}


def finish(work: Work, act: Callable[[], dict[str, Any]]) -> None:
    """Do the one thing a command does; report it, or its failure and exit code."""
    try:
        facts = act()
    except PresageError as error:
        click.echo(f"presage: {error}", err=True)
        if work.as_json:
            click.echo(json.dumps({"error": str(error), "exit_code": error.exit_code}))
        sys.exit(error.exit_code)
    text = facts.pop("text")
    if work.as_json:
        click.echo(json.dumps(facts))
    else:
        work.say(text)


def _pictures_in(paths: Sequence[Path]) -> list[tuple[str, Path]]:
    """Names and files; a folder gives all the pictures in it and below, with their paths in it for names."""
    found: list[tuple[str, Path]] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES)
            if not inside:
                raise ImageRefused(f"{path}: no pictures in this folder")
            found += [(p.relative_to(path).as_posix(), p) for p in inside]
        else:
            found.append((path.name, path))
    return found


def _unpacked(folder: Path, name: str) -> Path:
    """Where `unpack` puts the image of that name."""
    return (folder / name).with_suffix(".png")


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True), metavar="DIR|FILE...")
@click.option("-m", "--model", required=True, help="Model or release, see `presage models`.")
@click.option("-o", "--output", type=PATH, required=True, help="The set; - for standard output.")
@click.option("--tile", type=click.IntRange(8, 1024), default=None, help="Side of the independent tiles; by default what suits the model.")
@click.option("--quantise", is_flag=True, help="Bring the pictures to the grey levels that the model has, with loss.")
@click.option("--lossy", is_flag=True, help="With loss, for models that do so.")
@FORCE
@common
def pack(
    paths: tuple[Path, ...], model: str, output: Path, tile: int | None, quantise: bool, lossy: bool, force: bool, **options: Any
) -> None:
    """Compress many images to one .psg file; for small ones."""
    work = Work(**options)

    def act() -> dict[str, Any]:
        files.check_output(output, force)
        named = _pictures_in(paths)
        files.check_distinct((path, _unpacked(Path(), name)) for name, path in named)
        from .. import api
        from .. import weights as networks
        from ..image import files as images
        from ..paths import sets

        settings = networks.Settings(**work.settings(output.name))
        networks.check_loss(model, lossy, settings)
        pictures, source = [], 0
        for name, path in named:
            content = files.read(path)
            source += len(content)
            picture = images.read(content, str(path))
            pictures.append((name, api.quantised(picture, model, settings) if quantise else picture))
        started = time.monotonic()
        data = sets.pack_pictures(pictures, model, tile or 0, settings)
        files.write(output, data, force)
        facts = api.info(data) | {"output": str(output), "source_bytes": source, "seconds": round(time.monotonic() - started, 3)}
        del facts["names"]
        facts["text"] = (
            f"{len(pictures)} images -> {output}  {source:,} -> {len(data):,} bytes  {facts['bits_per_sample']:.4f} bits/sample"
            f"  {facts['seconds']:.1f} s"
        )
        return facts

    finish(work, act)


@click.command()
@click.argument("path", type=PATH, metavar="SET.psg")
@click.option("-n", "--name", "names", multiple=True, help="Only the image of this name; may be repeated.")
@click.option("--out-dir", type=click.Path(path_type=Path, file_okay=False), default=Path(), help="Folder for the images, as PNG.")
@click.option("--recover", is_flag=True, help="Save what is whole of a damaged set; lost images are listed.")
@scheduled
@FORCE
@common
def unpack(path: Path, names: tuple[str, ...], out_dir: Path, recover: bool, force: bool, stats: bool, **options: Any) -> None:
    """Decompress the images of a packed set to PNG files."""
    schedule = schedule_of(options)
    work = Work(**options)

    def act() -> dict[str, Any]:
        from .. import weights as networks
        from ..image import files as images
        from ..paths import sets

        statistics: list[Any] = []
        settings = networks.Settings(**work.settings(path.name), schedule=schedule, statistics=statistics)
        started = time.monotonic()
        with files.mapped(path) as data:
            found, lost = sets.unpack_images(data, names or None, recover, settings)
        seconds = round(time.monotonic() - started, 3)
        targets = [_unpacked(out_dir, name) for name, _ in found]
        files.check_distinct((name, target) for (name, _), target in zip(found, targets, strict=True))
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
            files.check_output(target, force)
        for target, (_, image) in zip(targets, found, strict=True):
            files.write(target, images.to_file(image, ".png"), force)
        for name in lost:
            work.say(f"presage: {path}: lost {name}")
        text = f"{path} -> {len(found)} images in {out_dir}  {seconds:.1f} s"
        facts: dict[str, Any] = {"images": len(found), "lost": lost, "seconds": seconds}
        if stats and statistics:
            facts |= calls(statistics)
            text += f"\n  {calls_text(facts)}"
        return facts | {"text": text}

    finish(work, act)


class Size(click.ParamType[tuple[int, int]]):
    """WIDTHxHEIGHT"""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        try:
            width, height = (int(part) for part in value.lower().split("x"))
        except ValueError:
            self.fail(f"{value!r} is not WIDTHxHEIGHT", param, ctx)
        return width, height


@click.command()
@click.option("-m", "--model", required=True, help="Model or release, see `presage models`.")
@click.option("-n", "--count", type=click.IntRange(1, 4096), default=16, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed draws the same pictures.")
@click.option("--size", type=Size(), help="Of a picture; by default that of the model's training pictures.")
@click.option("-o", "--output", type=PATH, required=True, help="Picture of all samples.")
@click.option("--mistakes", type=PATH, help="Picture of where guesses were wrong first.")
@click.option("--convergence", type=PATH, help="Picture of the call in which each pixel took its final value.")
@click.option("--noise", type=click.Choice(["quantile", "gumbel"]), default="quantile", show_default=True)
@click.option("--quality", type=click.FloatRange(0, 100), default=50, show_default=True, help="Of pictures that a lossy model draws.")
@click.option("--batch", type=click.IntRange(min=1), default=64, show_default=True, help="Samples drawn together.")
@click.option("--codes", type=click.IntRange(min=0), help="Of a model of ordered codes: only the first so many of every patch.")
@click.option(
    "--seconds", "limit", type=click.FloatRange(min=0), help="Of a model of ordered codes: stop drawing when they are over, and decode."
)
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
    quality: float,
    batch: int,
    codes: int | None,
    limit: float | None,
    stats: bool,
    force: bool,
    **options: Any,
) -> None:
    """Draw pictures from a model by decoding random bits."""
    schedule = schedule_of(options)
    work = Work(**options)

    def act() -> dict[str, Any]:
        for target in filter(None, (output, mistakes, convergence)):
            files.check_output(target, force)
        from ...models.latent.exact import ExactLatent
        from .. import weights as networks
        from ..image import files as images
        from ..predictive import sampling
        from . import ordered as cli_ordered
        from . import sheets as pictures

        settings = networks.Settings(**work.settings(output.name))
        if networks.find_weights(model, settings).metadata.get("model") == "ordered":
            if mistakes or convergence:
                raise ImageRefused("codes are not guessed: there are no mistakes and no convergence to show")
            return cli_ordered.draw_codes(work, model, count, seed, size, codes, limit, output, force)
        if codes is not None or limit is not None:
            raise ImageRefused("--codes and --seconds are for models of ordered codes")
        weights, network = networks.generative_model(model, settings)
        width, height = size or (int(weights.metadata.get("side", "32")),) * 2
        started = time.monotonic()
        how: dict[str, Any] = {"threads": settings.thread_count, "gumbel": noise == "gumbel", "batch": batch, "progress": settings.progress}
        if isinstance(network, ExactLatent):
            place = round(quality * (network.qualities - 1) / 100)
            drawn = sampling.draw_pictures(network, place, count, (height, width), seed, schedule, **how)
        else:
            drawn = sampling.draw(network, count, (height, width), seed, schedule, **how)
        seconds = round(time.monotonic() - started, 3)
        sheets = {output: [s.pixels for s in drawn]}
        if mistakes:
            most = max(int(s.mistakes.max()) for s in drawn)
            sheets[mistakes] = [pictures.mistakes(s.pixels, s.mistakes, most) for s in drawn]
        if convergence:
            most = max(int(s.converged.max()) for s in drawn)
            sheets[convergence] = [pictures.heat(s.converged, most) for s in drawn]
        for target, sheet in sheets.items():
            suffix = ".png" if target == files.STDIO else target.suffix
            images.check_suffix(suffix)
            files.write(target, images.to_file(pictures.grid(sheet), suffix), force)
        facts: dict[str, Any] = {"output": str(output), "model": weights.name, "seed": seed, "seconds": seconds}
        text = f"{count} samples of {weights.name} -> {output}  {seconds:.1f} s"
        if stats or work.as_json:
            facts |= calls([s.statistics for s in drawn])
            text += f"\n  {calls_text(facts)}"
        return facts | {"text": text}

    finish(work, act)
