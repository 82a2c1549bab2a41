"""Commands for whole trees: archive and restore."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import PresageError
from .options import FORCE, PATH, Command, common
from .work import Work, plain

if TYPE_CHECKING:
    from ..archive.tally import Event, Tally

OFTEN, SELDOM = 0.2, 10.0  # seconds between lines on a terminal, and elsewhere
LISTED = 20  # failures, reasons and the like that are shown


def workers(command: Command) -> Command:
    """Options of who works."""

    @click.option("-j", "--jobs", type=click.IntRange(min=0), default=0, help="Files at a time; 0: one for each processor.")
    @click.option(
        "--ray", is_flag=False, flag_value="", default=None, metavar="ADDRESS", help="On a Ray cluster; without ADDRESS one started here."
    )
    @wraps(command)
    def gathered(**options: Any) -> None:
        command(**options)

    return gathered


@click.command()
@common
@click.argument("folder", type=PATH, metavar="DIR")
@click.option("-o", "--output", type=PATH, required=True, help="Folder of the archive, which is begun or brought up to date.")
@click.option("-m", "--model", default="photo", show_default=True, help="Model of photographs.")
@click.option("--exact", is_flag=True, help="Every file comes back byte for byte: PNG and WebP files are copied.")
@click.option("--forget", is_flag=True, help="What is no longer in DIR leaves the archive.")
@click.option("--report", type=PATH, help="Also write a page about the archive, to be looked at in a browser.")
@click.option("-f", "--force", is_flag=True, help="Replace an existing page.")
@click.option("--dry-run", is_flag=True, help="Estimate bytes, time and memory from a sample, and write nothing.")
@workers
def archive(
    folder: Path,
    output: Path,
    work: Work,
    dry_run: bool,
    forget: bool,
    report: Path | None,
    force: bool,
    jobs: int,
    ray: str | None,
    **options: Any,
) -> None:
    """Keep a folder of pictures and all else, losslessly, in less space; each file is decoded and compared before it is kept."""
    shown = Shown(work)

    def act() -> int:
        if dry_run:
            return _estimate(work, folder, output, jobs, options)
        from ..archive import archiving, manifest
        from . import files, tools

        if report:
            files.check_output(report, force)

        tally = archiving.archive(folder, output, jobs=jobs, ray=ray, forget=forget, listener=shown, **options, **_options(work))
        _sum_up(work, tally)
        if report:
            tools.write_archive_page(output / manifest.NAME, report, force)
        return tally.exit_code

    _run(work, act)


@click.command()
@common
@click.argument("archive", type=PATH, metavar="ARCHIVE")
@click.option("-o", "--output", type=PATH, help="Folder for the tree; made if need be.")
@click.option("--check", is_flag=True, help="Only prove that everything comes back; writes nothing.")
@FORCE
@workers
def restore(archive: Path, output: Path | None, work: Work, check: bool, force: bool, jobs: int, ray: str | None) -> None:
    """Give back the folder that an archive was made of."""
    if check == (output is not None):
        raise click.UsageError("either -o DIR, or --check")

    def act() -> int:
        from ..archive import restoring

        tally = restoring.restore(archive, output, force=force, jobs=jobs, ray=ray, listener=Shown(work), **_options(work))
        _sum_up(work, tally)
        return tally.exit_code

    _run(work, act)


def _estimate(work: Work, folder: Path, output: Path, jobs: int, options: dict[str, Any]) -> int:
    from ..archive import sample

    found = sample.expected(folder, output, jobs=jobs, **options, **_options(work))
    if work.as_json:
        click.echo(json.dumps({"event": "estimate"} | found.facts()))
        return 0
    ratio, error = (count / max(1, found.bytes) for count in (found.stored, found.give_or_take))
    work.say(f"{found.files:,} files to archive, {size(found.bytes)}; {found.sampled} of them were tried, and nothing written")
    work.say(f"  about {size(found.stored)} in the archive ({ratio:.0%}, give or take {error:.0%})")
    work.say(f"  about {duration(found.seconds)} with {found.jobs} at a time, and at most about {size(found.memory)} of memory")
    return 0


def _options(work: Work) -> dict[str, Any]:
    return {name: getattr(work, name) for name in ("threads", "arithmetic", "device", "model_path", "limits")}


def _run(work: Work, act: Callable[[], int]) -> None:
    """Do it; exit with its code, or with that of what kept it from being done."""
    try:
        code = act()
    except PresageError as error:
        click.echo(plain(f"presage: {error}"), err=True)
        if work.as_json:
            click.echo(json.dumps({"event": "error", "error": str(error), "exit_code": error.exit_code}))
        code = error.exit_code
    except KeyboardInterrupt:
        work.say("presage: stopped; the same command goes on")
        code = 130
    sys.exit(code)


class Shown:
    """Progress: one line that is written anew on a terminal, a line now and then elsewhere, and events for programs."""

    def __init__(self, work: Work) -> None:
        self.work, self.terminal, self.last = work, sys.stderr.isatty(), time.monotonic()

    def __call__(self, tally: Tally, event: Event | None) -> None:
        ended = event is not None and event["event"] == "end"
        if self.work.as_json and event is not None:
            click.echo(json.dumps(event))
        if self.work.quiet:
            return
        if event is not None and event["event"] == "failed":
            self._clear()
            click.echo(plain(f"presage: {event['path']}: {event['error']}"), err=True)
        now = time.monotonic()
        if ended:
            self._clear()
        elif now - self.last > (OFTEN if self.terminal else SELDOM):
            self.last = now
            line = progress_line(tally)
            click.echo(f"\r{line}\033[K" if self.terminal else line, nl=not self.terminal, err=True)

    def _clear(self) -> None:
        if self.terminal:
            click.echo("\r\033[K", nl=False, err=True)


def progress_line(tally: Tally) -> str:
    """Share, files, bytes saved, speed, time that is left."""
    parts = [f"{tally.share:4.0%}", f"{tally.done + len(tally.failures):,}/{tally.files:,} files"]
    if tally.stored and tally.archiving:
        saved = tally.fresh_bytes - tally.stored
        parts.append(f"{size(saved)} saved ({saved / max(1, tally.fresh_bytes):.1%})")
    if tally.pixels:
        parts.append(f"{tally.pixels / 1e6 / tally.elapsed:.2f} MP/s")
    if not math.isnan(left := tally.left):
        parts.append(f"{duration(left)} left")
    return "  ".join(parts)


def size(count: float) -> str:
    """Bytes for people."""
    unit = 0
    while abs(count) >= 1000 and unit < 4:
        count, unit = count / 1000, unit + 1
    return f"{count:.0f} B" if not unit else f"{count:.1f} {'kMGT'[unit - 1]}B"


def duration(seconds: float) -> str:
    """A time for people: 0:42, 1:02:03, 3 days."""
    whole = round(seconds)
    if whole >= 2 * 86400:
        return f"{whole / 86400:.1f} days"
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _sum_up(work: Work, tally: Tally) -> None:
    """What came of it: what was coded and copied and why, what failed."""
    say = work.say
    fresh = tally.coded + sum(tally.copied.values())
    if tally.archiving:
        say(f"{fresh:,} files archived, {tally.unchanged:,} were there already, {len(tally.failures):,} failed; {duration(tally.elapsed)}")
        if fresh:
            before = tally.fresh_bytes
            say(f"  {before:,} -> {tally.stored:,} bytes ({tally.stored / max(1, before):.1%}), the manifest {tally.manifest_bytes:,}")
            say(f"  {tally.coded:,} coded, of which {tally.as_pixels:,} come back as the same pixels and all else in PNG or WebP files")
        if tally.copied:
            say(f"  {sum(tally.copied.values()):,} copied, byte for byte:")
        for why, count in tally.copied.most_common(LISTED):
            say(f"    {count:,}: {why}")
        if tally.missing:
            say(f"  {len(tally.missing):,} are in the archive and no more in the folder; --forget removes them")
    else:
        proven = tally.done if not tally.unchanged else f"{tally.done - tally.unchanged:,} and before that {tally.unchanged:,}"
        say(f"{proven} files, {tally.bytes_done:,} bytes, {len(tally.failures):,} failed; {duration(tally.elapsed)}")
    for path, note in tally.notes[:LISTED]:
        say(f"presage: {path}: {note}")
    if tally.failures and not work.quiet:
        say("failed:")
        for path, message, _ in tally.failures[:LISTED]:
            say(f"  {path}: {message}")
        if len(tally.failures) > LISTED:
            say(f"  and {len(tally.failures) - LISTED:,} more")
