"""Commands for single images: encode, decode, info, verify."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from mmap import mmap
from pathlib import Path
from typing import Any

import click

from ..errors import DamagedFile, PresageError
from ..predictive.schedule import Schedule
from ..settings import Options
from . import files
from .files import Item, Outputs
from .options import CALLS, DRAWN, FILL, VERIFY, Numbers, check_fill, common, light, results, scheduled, several
from .ordered import cut_note, write_progressive
from .work import Facts, Work, add_calls, each, plain

PROGRESSIVE = "progressive"  # the model of --progressive
JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo")


@click.command()
@common
@several()
@results(".psg")
@click.option("-m", "--model", help="Model or release, see `presage models`; by default photo, or latent with --lossy.")
@click.option("--lossy", is_flag=True, help="With loss, to a file of a fraction of the size.")
@click.option(
    "--quality", type=click.FloatRange(0, 100), help="With --lossy: 0 to 100; 50 if nothing is said, 100 for files that may be cut."
)
@click.option("--bpp", type=click.FloatRange(min=0), help="With --lossy: at most so many bits a pixel.")
@click.option("--bytes", "size", type=click.IntRange(min=1), help="With --lossy: at most so many bytes.")
@click.option("--psnr", type=click.FloatRange(min=0), help="With --lossy: at least so many decibels.")
@click.option("--effort", type=click.IntRange(1, 9), help="With --lossy: how long to work on a better file; 5, and 1 is fastest.")
@click.option("--progressive", is_flag=True, help="With --lossy: to a file that may be cut anywhere; the model progressive.")
@click.option("--tile", type=click.IntRange(8, 1024), default=None, help="Side of the independent tiles; by default what suits the model.")
@click.option("--pixels", is_flag=True, help="Of JPEG files only the pixels; by default decoding gives back the very file.")
@click.option("--preview", is_flag=True, help="Put a small picture in front, at most 1.5 % of the bytes, for `presage preview`.")
@click.option("--quantise", is_flag=True, help="Bring the picture to the grey levels that the model has, with loss.")
@CALLS
@VERIFY
def encode(
    items: list[Item],
    outputs: Outputs,
    work: Work,
    model: str | None,
    lossy: bool,
    progressive: bool,
    tile: int | None,
    quantise: bool,
    pixels: bool,
    preview: bool,
    calls: int | None,
    verify: bool,
    effort: int | None,
    **target: Any,
) -> None:
    """Compress images to .psg files, without loss or with it; of folders all images in them."""
    wanted = {key: value for key, value in target.items() if value is not None}
    if ((wanted or effort) and not lossy) or len(wanted) > 1 or (lossy and quantise):
        raise click.UsageError("one of --quality, --bpp, --bytes and --psnr, and --effort, go with --lossy; --quantise does not")
    if progressive and (not lossy or model):
        raise click.UsageError("--progressive goes with --lossy, and without a model: it takes `progressive`")
    model = PROGRESSIVE if progressive else model
    if effort:
        wanted["effort"] = effort
    work = replace(work, verify=verify)
    one = _encode if lossy or pixels or quantise else _encode_file
    how = Coded(model, tile or 0, calls or 0, quantise, preview, wanted if lossy else None)
    each(items, partial(one, work, outputs, how), work)


@dataclass(frozen=True)
class Coded:
    """How a picture is to be coded. wanted: with loss what is asked for, otherwise None."""

    model: str | None
    tile: int
    calls: int
    quantise: bool
    preview: bool
    wanted: dict[str, Any] | None


def _encode_file(work: Work, outputs: Outputs, how: Coded, item: Item) -> Facts:
    """A JPEG file whose bytes are kept; any other picture as `_encode` does it."""
    from .. import api
    from ..settings import Settings

    path, source = item.path, files.read(item.path)
    settings = Settings(**work.options(path.name))
    model = how.model or api.DEFAULT_MODEL
    if not api.takes_jpeg(source, model, settings):
        return _encode(work, outputs, how, item, source)
    destination = outputs.prepared(item)
    started = time.monotonic()
    data = api.encode_jpeg(source, model, how.tile, settings, how.preview)
    files.write(destination, data, outputs.force)
    return _written(work, path, destination, data, len(source), started, f"{len(data) / len(source):.1%}", how.preview)


def _written(work: Work, path: Path, destination: Path, data: bytes, source: int, started: float, rate: str, preview: bool) -> Facts:
    """Facts of a file that was written; people are told if a preview that they asked for is not there."""
    from ..format.container import Tag, read_header
    from ..format.info import info

    if preview and not read_header(data).section(Tag.PREVIEW):
        work.say(f"presage: {path}: no preview: 1.5 % of {len(data):,} bytes are too few for one")
    facts: Facts = info(data) | {"output": str(destination), "source_bytes": source, "seconds": round(time.monotonic() - started, 3)}
    facts["text"] = f"{path} -> {destination}  {source:,} -> {len(data):,} bytes  {rate}  {facts['seconds']:.1f} s"
    return facts


def _encode(work: Work, outputs: Outputs, how: Coded, item: Item, source: bytes | None = None) -> Facts:
    from .. import api, estimate, weights
    from ..format.container import Coding
    from ..image import files as images
    from ..image.pixels import quantised
    from ..paths.target import Target
    from ..settings import Settings

    path, name, wanted = item.path, how.model, how.wanted
    source = files.read(path) if source is None else source
    picture = images.read(source, str(path), work.limits)
    destination = outputs.prepared(item)
    coding = Coding.COLOUR if wanted is None else {"ordered": Coding.ORDERED, "progressive": Coding.DIGITS}.get(name or "", Coding.LATENT)
    work.warn(path, estimate.encoding(picture.image.width * picture.image.height, picture.mode, coding))
    if picture.lossy_source and wanted is None:
        kind = picture.lossy_source
        work.say(f"presage: {path}: a {kind} file holds fewer bytes than its pixels; the .psg will be larger than this file")
    started = time.monotonic()
    settings = Settings(**work.options(path.name))
    model = name or (api.DEFAULT_MODEL if wanted is None else api.DEFAULT_LOSSY)
    if how.quantise:
        picture = quantised(picture, weights.load(model, settings).model)
    target = None if wanted is None else Target(**wanted)
    data = api.encode_picture(picture, model, how.tile, settings, target, how.preview, how.calls)
    files.write(destination, data, outputs.force)
    size = picture.image.width * picture.image.height
    samples = 1 if wanted is not None else len(picture.image.getbands())
    rate = f"{8 * len(data) / (size * samples):.3f} bits/{'pixel' if wanted is not None else 'sample'}"
    return _written(work, path, destination, data, len(source), started, rate, how.preview)


@click.command()
@common
@several(".psg")
@results(".png")
@click.option("--crop", type=Numbers("x,y,w,h", "X,Y,WIDTH,HEIGHT", ","), help="Only this part; reads only the tiles it needs.")
@click.option("--recover", is_flag=True, help="Save what is whole of a damaged file; lost tiles become gray and are listed.")
@FILL
@click.option(
    "--codes",
    type=click.IntRange(min=0),
    help="Of a file that may be cut: only the first so many codes of every patch, or rounds of digits.",
)
@click.option("--progressive", type=click.Path(path_type=Path, file_okay=False), help="Folder for the picture at several cuts of the file.")
@scheduled
def decode(
    items: list[Item],
    outputs: Outputs,
    work: Work,
    recover: bool,
    fill: bool,
    progressive: Path | None,
    schedule: Schedule,
    stats: bool,
    **part: Any,
) -> None:
    """Decompress .psg files, to PNG or to the format of -o; of folders all .psg files in them."""
    check_fill(fill, recover)
    if progressive is None:
        one = partial(_decode, work, outputs, recover, schedule, stats, part | {"fill": True} if fill else part)
    elif recover or any(value is not None for value in (outputs.path, outputs.folder, *part.values())):
        raise click.UsageError("--progressive goes without -o, --out-dir, --crop, --recover and --codes")
    else:
        one = partial(write_progressive, work, progressive, outputs.force)
    each(items, one, work)


def _decode(work: Work, outputs: Outputs, recovering: bool, schedule: Schedule, stats: bool, part: dict[str, Any], item: Item) -> Facts:
    with files.mapped(item.path) as data:  # once, since a pipe is read only once
        if item.path != files.STDIO and _is_jpeg(data, recovering) and (made := _decode_file(work, outputs, recovering, part, item, data)):
            return made
        return _decode_picture(work, outputs, recovering, schedule, stats, part, item, data)


def _decode_picture(
    work: Work,
    outputs: Outputs,
    recovering: bool,
    schedule: Schedule,
    stats: bool,
    part: dict[str, Any],
    item: Item,
    data: bytes | mmap,
) -> Facts:
    """Give back pixels."""
    from .. import api, estimate
    from ..format.container import PIL_MODES, read_header
    from ..image import files as images

    path, default = item.path, _suffix_of(data, recovering)
    if outputs.path is None:
        outputs = replace(outputs, suffix=default)
    target = outputs.prepared(item)
    suffix = default if target == files.STDIO else target.suffix
    images.check_suffix(suffix)
    started = time.monotonic()
    facts: Facts = {"output": str(target)}
    statistics: list[Any] = []
    options: Options = work.options(path.name) | {"schedule": schedule, "statistics": statistics}
    header = read_header(data, partial=recovering)
    with suppress(DamagedFile):  # which is found out below
        work.warn(path, estimate.decoding(data, header, header.width * header.height))
    source = None if recovering or part["crop"] or part["codes"] is not None else _source(data, suffix, work)
    if source is not None:
        made, width, height, mode = source, header.width, header.height, PIL_MODES[header.mode]
    else:
        if recovering:
            image, lost = api.recover(data, **part, **options)
            _tell_lost(work, path, facts, lost)
            if lost and part.get("fill"):
                work.say(DRAWN)
        else:
            image = api.decode(data, **part, **options)
        facts |= cut_note(work, path, data)
        made, width, height, mode = images.to_file(image, suffix), *image.size, image.mode
    files.write(target, made, outputs.force)
    seconds = round(time.monotonic() - started, 3)
    facts |= {"width": width, "height": height, "mode": mode, "seconds": seconds}
    facts["text"] = f"{path} -> {target}  {width}x{height} {mode}  {seconds:.1f} s"
    if stats and statistics:
        add_calls(facts, statistics)
    return facts


def _source(data: bytes | mmap, suffix: str, work: Work) -> bytes | None:
    """The PNG with 16 bits a channel in colour that a file was made of. Raises PresageError if another format is asked for."""
    from .. import api

    source = api.source_file(data, work.limits)
    if source is not None and suffix != ".png":
        raise PresageError("the image has 16 bits a channel; only a .png keeps them")
    return source


def _suffix_of(data: bytes | mmap, recovering: bool) -> str:
    """Of the images that pixels are written to where nobody says it: PNG holds no CMYK."""
    from ..format.container import Mode, read_header

    return ".tif" if read_header(data, partial=recovering).mode == Mode.CMYK else ".png"


def _tell_lost(work: Work, path: Path, facts: Facts, lost: list[tuple[int, int, int, int]]) -> None:
    """What could not be recovered of a picture."""
    facts["lost"] = lost
    for x, y, width, height in lost:
        work.say(f"presage: {path}: lost {width}x{height} pixels at {x},{y}")


def _is_jpeg(data: bytes | mmap, recovering: bool) -> bool:
    """Whether a file holds a JPEG file."""
    from ..format.container import Coding, read_header

    with suppress(DamagedFile):  # which is found out later
        return read_header(data, partial=recovering).coding == Coding.JPEG
    return False


def _decode_file(work: Work, outputs: Outputs, recovering: bool, part: dict[str, Any], item: Item, data: bytes | mmap) -> Facts | None:
    """Give back a JPEG file, unless pixels are asked for."""
    from .. import api

    target = outputs.of(item) if outputs.path else outputs.of(item).with_suffix(".jpg")
    if part["crop"] is not None or part["codes"] is not None or (target != files.STDIO and target.suffix.lower() not in JPEG_SUFFIXES):
        return None
    path, outputs = item.path, replace(outputs, suffix=".jpg")
    target, started = outputs.prepared(item), time.monotonic()
    facts: Facts = {"output": str(target)}
    if recovering:
        content, lost = api.recover_file(data, **work.options(path.name))
        _tell_lost(work, path, facts, lost)
    else:
        content = api.decode_file(data, **work.options(path.name))
    files.write(target, content, outputs.force)
    facts |= {"jpeg_bytes": len(content), "seconds": round(time.monotonic() - started, 3)}
    facts["text"] = f"{path} -> {target}  {len(content):,} bytes  {facts['seconds']:.1f} s"
    return facts


@click.command()
@light
@several(".psg")
@click.option("--estimate", is_flag=True, help="Also how much memory and how many seconds decoding will take, more or less.")
def info(items: Sequence[Item], work: Work, estimate: bool) -> None:
    """Show what .psg files say of themselves; needs no weights."""
    each(items, partial(_info, work, estimate), work)


def _info(work: Work, estimated: bool, item: Item) -> Facts:
    from .. import estimate
    from ..format.container import read_header
    from ..format.info import info, pixels_of

    with files.mapped(item.path) as data:
        facts = info(data, work.limits)
        if estimated:
            header = read_header(data)
            wanted = estimate.decoding(data, header, pixels_of(data, header, work.limits))
            facts |= {"memory_to_decode": wanted.memory, "seconds_to_decode": wanted.seconds}
    if not work.as_json:
        click.echo(plain(item.path))
        for key, value in facts.items():
            shown = ", ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
            shown = ", ".join(shown[:8]) + (", ..." if len(shown) > 8 else "") if isinstance(shown, list) else shown
            click.echo(plain(f"  {key.replace('_', ' '):16} {shown}"))
    return facts


@click.command()
@common
@several(".psg")
def verify(items: Sequence[Item], work: Work) -> None:
    """Decode .psg files without writing anything, and check every checksum."""
    each(items, partial(_verify, work), work)


def _verify(work: Work, item: Item) -> Facts:
    from .. import api
    from ..format.container import SETS, Coding, read_header

    path, options = item.path, work.options(item.path.name)
    with files.mapped(path) as data:
        if read_header(data).coding == Coding.JPEG:
            made = api.decode_file(data, **options)
            return {"ok": True, "jpeg_bytes": len(made), "text": f"{path}: ok, a JPEG file of {len(made):,} bytes"}
        if read_header(data).coding in SETS:
            images = api.unpack(data, **options)
            return {"ok": True, "images": len(images), "text": f"{path}: ok, {len(images)} images"}
        image = api.decode(data, **options)
        facts = cut_note(work, path, data)
    text = f"{path}: ok, {image.width}x{image.height} {image.mode}"
    return facts | {"ok": True, "width": image.width, "height": image.height, "text": text}
