"""How work is done. Nothing here changes a byte of a file or a pixel of an image. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from .predictive.schedule import Schedule

if TYPE_CHECKING:
    from .predictive.decoder import Statistics

Progress = Callable[[float], None]
"""Called with the share of the work that is done, 0..1."""


def quiet(_: float) -> None:
    """Progress that nobody looks at."""


class Options(TypedDict, total=False):
    """The keyword arguments that all functions of the library share: those of `Settings`."""

    threads: int
    arithmetic: str | None
    device: str
    model_path: Sequence[Path]
    schedule: Schedule
    statistics: list[Statistics] | None
    progress: Progress


@dataclass(frozen=True)
class Settings:
    """threads: 0 means one for each processor. arithmetic: int8, float32 or float64; by default the fastest that passes its
    known-answer test. device: a torch device. model_path: more folders to look for weights. schedule: of predictive decoding.
    statistics: a list that gets what every predictively decoded tile took. progress: called with 0..1.
    """

    threads: int = 0
    arithmetic: str | None = None
    device: str = "cpu"
    model_path: Sequence[Path] = ()
    schedule: Schedule = field(default_factory=Schedule)
    statistics: list[Statistics] | None = None
    progress: Progress = quiet

    @property
    def workers(self) -> int:
        """Threads or processes that share the work: one on a GPU."""
        return 1 if self.device != "cpu" else self.threads or processors()


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
