"""How reports look: Markdown tables, numbers in them, and figures where matplotlib is installed."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Any

OWN, PEER = "#c2410c", "#1e3a5f"
COLOURS = {"presage": OWN, "avif": PEER, "jxl": "#4d7c0f", "webp": "#7e22ce", "j2k": "#0e7490", "jpeg": "#6b7280", "flif": "#a16207"}
COLOURS |= {"presage-1": "#fb923c", "presage-3": "#ea580c", "presage-9": "#7c2d12", "avif444": "#60a5fa", "heic": "#be185d"}


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


def times(value: float | None) -> str:
    """Seconds."""
    return number("{:.2f}", value)


def relative(share: float) -> str:
    """How much more or less, in percent."""
    return f"{100 * share:+.1f} %"


def plural(count: int, noun: str) -> str:
    """So many of something."""
    return f"{count} {noun}{'s' * (count > 1)}"


def nearest(curve: Sequence[dict[str, float]], rate: float) -> dict[str, float]:
    """The point of a curve that is nearest to a rate."""
    return min(curve, key=lambda point: abs(point["bpp"] - rate))


def threads(machine: dict[str, Any]) -> str:
    """How many threads a result was measured with."""
    return plural(machine["threads"], "thread")


def blank(size: tuple[float, float], columns: int, **options: Any) -> tuple[Any, Any]:
    """A figure of a size in inches and its axes side by side; options: of `Figure.subplots`. Raises ImportError without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("the figure needs matplotlib: pip install presage[bench]") from None

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, **options)
    for axis in axes:
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def emphasis(own: bool) -> dict[str, float]:
    """How the line of Presage, or of another codec, is drawn."""
    return {"linewidth": 2.2, "zorder": 3} if own else {"linewidth": 1.2, "zorder": 2}


def save(figure: Any, target: Path, title: str = "") -> None:
    """Write a figure; the suffix says in which format."""
    if title:
        figure.suptitle(title, fontsize=10)
    figure.savefig(target, dpi=150)
