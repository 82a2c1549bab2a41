"""Markdown tables, and how numbers stand in them."""

from collections.abc import Sequence
from math import isnan
from typing import Any


def rows_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose others are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def bullets(lines: Sequence[str]) -> str:
    """A list."""
    return "\n".join(f"- {line}" for line in lines)


def number(pattern: str, value: float | None) -> str:
    """A number; - where there is none."""
    return "-" if value is None or isnan(value) else pattern.format(value)


def numbers(pattern: str, values: Sequence[float | None]) -> list[str]:
    """Several of them."""
    return [number(pattern, value) for value in values]


def times(value: float | None) -> str:
    """Seconds."""
    return number("{:.2f}", value)


def relative(share: float) -> str:
    """How much more or less, in percent."""
    return f"{100 * share:+.1f} %"


def rates(values: Sequence[float]) -> list[str]:
    """Heads of columns."""
    return [f"{value} bpp" for value in values]


def plural(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count} {noun}{'s' * (count > 1)}"


def nearest(curve: Sequence[dict[str, float]], rate: float) -> dict[str, float]:
    """The point of a curve that is nearest to a rate."""
    return min(curve, key=lambda point: abs(point["bpp"] - rate))


def threads(machine: dict[str, Any]) -> str:
    """How many threads a result was measured with."""
    return plural(machine["threads"], "thread")
