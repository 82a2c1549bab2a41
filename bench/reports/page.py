"""A page of HTML that shows results: everything is in the one file, and nothing is fetched. Needs plotly and jinja2."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

TEMPLATE = "page.html"
INLINE = ("`", "**")


@dataclass
class Section:
    """A part of a page.

    blocks: tables, lists and paragraphs. charts: as plotly takes them. pairs: pictures beside one another, with a slider. cuts: files
    of which a slider cuts the end off. sums: the figures in front, by their names.
    """

    name: str
    title: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    charts: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[dict[str, Any]] = field(default_factory=list)
    cuts: list[dict[str, Any]] = field(default_factory=list)
    sums: list[tuple[str, str]] = field(default_factory=list)


def blocks_of(markdown: str) -> list[dict[str, Any]]:
    """Tables, lists and paragraphs of the Markdown that reports write."""
    blocks: list[dict[str, Any]] = []
    for part in markdown.strip().split("\n\n"):
        lines = [line.strip() for line in part.splitlines()]
        if all(line.startswith("|") for line in lines) and len(lines) > 1:
            head, _, *rows = ([_plain(cell) for cell in line.strip("|").split(" | ")] for line in lines)
            blocks.append({"head": head, "rows": [row for row in rows if len(row) == len(head)]})
        elif all(line.startswith("- ") for line in lines):
            blocks.append({"bullets": [_plain(line[2:]) for line in lines]})
        else:
            blocks.append({"text": _plain(" ".join(lines))})
    return blocks


def _plain(text: str) -> str:
    for mark in INLINE:
        text = text.replace(mark, "")
    return text.strip()


def render(title: str, about: str, sections: Sequence[Section]) -> str:
    """The page. Raises ImportError without plotly and jinja2."""
    try:
        from jinja2 import Environment, FileSystemLoader
        from markupsafe import Markup
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise ImportError("a report needs plotly and jinja2: pip install presage[report]") from None

    drawn = any(section.charts for section in sections)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    data = [{key: asdict(section)[key] for key in ("name", "charts", "pairs", "cuts")} for section in sections]
    return environment.get_template(TEMPLATE).render(
        title=title,
        about=about,
        sections=sections,
        data=Markup(json.dumps(_finite(data), separators=(",", ":")).replace("<", "\\u003c")),
        plotly=Markup(get_plotlyjs().replace("</script", "<\\/script") if drawn else ""),
    )


def _finite(value: Any) -> Any:
    """The same with nothing where a number is none: JSON has no NaN."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return [_finite(inner) for inner in value] if isinstance(value, list | tuple) else value
