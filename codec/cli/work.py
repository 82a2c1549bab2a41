"""Doing what a command was asked for: one input after another or in several processes, reports, exit codes."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from ..errors import NotAnImage, PresageError
from ..estimate import WORTH_SAYING, Estimate
from ..limits import Limits
from ..parallel import end_with_parent
from ..settings import Options, processors
from .files import Item

BAR_AFTER = 1.0  # seconds
COMPILING = "presage: compiling kernels, once on this machine"
Facts = dict[str, Any]
"""What --json prints; `text` is the line that people read instead, `more` one below it."""


@dataclass(frozen=True)
class Work:
    """Options that all commands share, in a form that can be sent to another process."""

    quiet: bool
    as_json: bool
    threads: int = 0
    device: str = "cpu"
    arithmetic: str | None = None
    model_path: tuple[Path, ...] = ()
    jobs: int = 1
    limits: Limits = field(default_factory=Limits)
    verify: bool = False

    def in_processes(self, jobs: int) -> Work:
        """The same for each of several processes: they share the processors and draw no bars over each other."""
        return replace(self, jobs=jobs, threads=self.threads or (max(1, processors() // jobs) if jobs > 1 else 0))

    def options(self, label: str) -> Options:
        """Options of the library's functions."""
        options: Options = {"threads": self.threads, "device": self.device, "arithmetic": self.arithmetic, "model_path": self.model_path}
        options |= {"limits": self.limits, "verify": self.verify}
        if self.jobs == 1 and not self.quiet and sys.stderr.isatty():
            options["progress"] = Bar(label)
        return options

    def announce(self) -> None:
        """Say so if this process has to compile kernels before its work, which takes seconds, and have it helped, also in quiet."""
        from ...models.kernels import jit

        jit.on_compiling(self._compile)

    def _compile(self) -> None:
        from .compiling import help_compiling

        self.say(COMPILING)
        help_compiling()

    def say(self, text: str) -> None:
        """A line for people, on stderr."""
        if not self.quiet:
            click.echo(plain(text), err=True)

    def warn(self, what: object, estimate: Estimate) -> None:
        """Say beforehand what much work will take."""
        if estimate.memory > WORTH_SAYING:
            self.say(f"presage: {what}: this takes {estimate}")


def plain(text: object) -> str:
    """A line that does nothing to a terminal: control characters of names, and what cannot be written in UTF-8, as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in str(text))


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
            click.echo(f"\r{plain(self.label)} [{filled:30}] {share:4.0%}", nl=False, err=True)


@dataclass(frozen=True)
class Outcome:
    """What became of an input: an exit code, facts, and a message where it failed. skipped: it was no image, and nobody said it was."""

    code: int
    facts: Facts
    message: str = ""
    skipped: bool = False


def once(work: Work, act: Callable[[], Facts]) -> None:
    """Do the one thing a command does; report it, or its failure and exit code."""
    outcome = _attempt(lambda _: act(), Item(Path()))
    _report(work, outcome, {})
    sys.exit(outcome.code)


def each(items: Sequence[Item], one: Callable[[Item], Facts], work: Work) -> None:
    """Do every input, report each, sum up what was found in folders, and exit with the worst code."""
    outcomes = []
    for item, outcome in zip(items, _outcomes(items, one, work.jobs), strict=True):
        named = outcome.message if str(item.path) in outcome.message else f"{item.path}: {outcome.message}"
        outcomes.append(replace(outcome, message=named if outcome.message else ""))
        _report(work, outcomes[-1], {"file": str(item.path)})
    if any(item.inside for item in items):
        work.say(_summary(outcomes))
    sys.exit(max((outcome.code for outcome in outcomes), default=0))


def _report(work: Work, outcome: Outcome, named: Facts) -> None:
    """A line for people, an object for programs; errors on stderr whatever was asked for."""
    facts = dict(outcome.facts)
    text, more = facts.pop("text", ""), facts.pop("more", "")
    if outcome.skipped:
        work.say(f"presage: {outcome.message}; skipped")
        facts = {"skipped": outcome.message}
    elif outcome.code:
        click.echo(plain(f"presage: {outcome.message}"), err=True)
        facts = {"error": outcome.message, "exit_code": outcome.code}
    elif text and not work.as_json:
        work.say(text)
        if more:
            work.say(f"  {more}")
    if work.as_json:
        click.echo(json.dumps(named | facts))


def _summary(outcomes: Sequence[Outcome]) -> str:
    """How many inputs there were, and what became of their bytes."""
    done = [o.facts for o in outcomes if not o.code and not o.skipped]
    failed, skipped = sum(o.code > 0 for o in outcomes), sum(o.skipped for o in outcomes)
    before, after = (sum(facts.get(key, 0) for facts in done) for key in ("source_bytes", "bytes"))
    sizes = f"  {before:,} -> {after:,} bytes ({after / before:.1%})" if before and after else ""
    return f"{len(done)} files{sizes}  {failed} failed  {skipped} skipped"


def _outcomes(items: Sequence[Item], one: Callable[[Item], Facts], jobs: int) -> Iterable[Outcome]:
    if jobs == 1 or len(items) < 2:
        return map(partial(_attempt, one), items)
    return _in_processes(items, one, jobs)


def _in_processes(items: Sequence[Item], one: Callable[[Item], Facts], jobs: int) -> Iterator[Outcome]:
    """Several inputs at a time. If a process is killed, for example for memory, the first that it took with it is tried again alone."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    def pool(count: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=end_with_parent)

    done = 0
    while done < len(items):
        with pool(min(jobs, len(items) - done)) as workers:
            for future in [workers.submit(_attempt, one, item) for item in items[done:]]:
                try:
                    yield future.result()
                except BrokenProcessPool:
                    break
                done += 1
        if done < len(items):
            with pool(1) as alone:
                try:
                    yield alone.submit(_attempt, one, items[done]).result()
                except BrokenProcessPool:
                    yield Outcome(1, {}, "the process that worked on it was killed; was there enough memory?")
            done += 1


def _attempt(one: Callable[[Item], Facts], item: Item) -> Outcome:
    try:
        return Outcome(0, one(item))
    except NotAnImage as error:
        return Outcome(0 if item.inside else error.exit_code, {}, str(error), skipped=item.inside is not None)
    except PresageError as error:
        return Outcome(error.exit_code, {}, str(error))
    except MemoryError:
        return Outcome(1, {}, "not enough memory")
    except Exception as error:  # one input must not take the others with it
        return Outcome(1, {}, f"{type(error).__name__}: {error} (this should not happen; please report it)")


def add_calls(facts: Facts, statistics: Sequence[Any]) -> None:
    """ARM calls, means and of every tile, as facts and, in their text, for people."""
    count = len(statistics)
    facts |= {
        "tiles": count,
        "calls": round(sum(s.calls for s in statistics) / count, 2),
        "share_of_ancestral": round(sum(s.share for s in statistics) / count, 5),
        "evaluations_a_pixel": round(sum(s.heads / s.pixels for s in statistics) / count, 3),
        "calls_of_tiles": [s.calls for s in statistics],
        "evaluations_of_tiles": [s.heads for s in statistics],
    }
    facts["more"] = (
        f"{facts['calls']:.1f} calls of the model a tile, {facts['share_of_ancestral']:.2%} of one for every symbol; "
        f"every pixel evaluated {facts['evaluations_a_pixel']:.1f} times"
    )
