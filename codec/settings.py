"""How work is done. Nothing here changes a byte of a file or a pixel of an image. Standard library only."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from .errors import ImageRefused
from .limits import Limits, Progress
from .predictive.schedule import Schedule

if TYPE_CHECKING:
    from .predictive.statistics import Statistics

__all__ = ["Limits", "Options", "Progress", "Settings", "processors", "quiet"]
ARITHMETICS = ("int16", "int8", "onednn", "float32", "float64")


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
    limits: Limits
    verify: bool


@dataclass(frozen=True)
class Settings:
    """threads: 0 means one for each processor. arithmetic: int8, float32 or float64; by default the fastest that passes its
    known-answer test. device: a torch device. model_path: more folders to look for weights. schedule: of predictive decoding.
    statistics: a list that gets what every predictively decoded tile took. progress: called with 0..1. limits: of what is worked on.
    verify: decode what was encoded, and compare, before it is returned. Raises ImageRefused for values that are none of these.
    """

    threads: int = 0
    arithmetic: str | None = None
    device: str = "cpu"
    model_path: Sequence[Path] = ()
    schedule: Schedule = field(default_factory=Schedule)
    statistics: list[Statistics] | None = None
    progress: Progress = quiet
    limits: Limits = field(default_factory=Limits)
    verify: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.threads, int) or self.threads < 0:
            raise ImageRefused(f"threads are a number from 0 on, not {self.threads!r}")
        if self.arithmetic is not None and self.arithmetic not in ARITHMETICS:
            raise ImageRefused(f"no arithmetic called {self.arithmetic!r}; there are {', '.join(ARITHMETICS)}")
        if not isinstance(self.device, str):
            raise ImageRefused(f"a device is called by its name, such as cpu or cuda, not {self.device!r}")
        if isinstance(self.model_path, str | Path) or not all(isinstance(folder, str | Path) for folder in self.model_path):
            raise ImageRefused("model_path is a list of folders")
        if not isinstance(self.schedule, Schedule) or not isinstance(self.limits, Limits):
            raise ImageRefused("schedule and limits are a presage.Schedule and presage.Limits")

    def started(self) -> Settings:
        """The same for work that begins now: its progress raises LimitExceeded when the time is up."""
        return replace(self, progress=self.limits.watched(self.progress))

    @property
    def workers(self) -> int:
        """Threads or processes that share the work: one on a GPU."""
        return 1 if self.device != "cpu" else self.threads or processors()


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
