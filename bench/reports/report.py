"""Which sections of a page show what the bench measured, and what is in archives."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import anytime, archive, calls, charts, codes, jpeg, lossless, lossy
from .page import Section, blocks_of


@dataclass(frozen=True)
class Kind:
    """A kind of result: the keys by which it is known, its title, its report and what draws it."""

    keys: tuple[str, ...]
    title: str
    markdown: Callable[[dict[str, Any]], str]
    draw: Callable[[dict[str, Any]], list[dict[str, Any]]]


def _nothing(_: dict[str, Any]) -> list[dict[str, Any]]:
    return []


KINDS = (
    Kind(("mean", "relative_to_jxl9"), "Without loss", lossless.markdown, charts.lossless),
    Kind(("curves", "bd_rate"), "With loss", lossy.markdown, charts.lossy),
    Kind(("curves", "reached"), "Files that are cut", anytime.markdown, charts.anytime),
    Kind(("sums", "files"), "JPEG files", jpeg.markdown, charts.jpeg),
    Kind(("symbols", "batches"), "Calls of a model", calls.markdown, _nothing),
    Kind(("test_pictures", "curves"), "Codes", codes.markdown, _nothing),
)


def section_of(result: dict[str, Any], name: str, label: str) -> Section:
    """The section of a result of the bench. name: of the section on the page. label: of where it comes from. Raises ValueError."""
    kind = next((kind for kind in KINDS if all(key in result for key in kind.keys)), None)
    if kind is None:
        raise ValueError(f"{label} is no result of `presage bench ... --json` that can be shown")
    try:
        return Section(name, f"{kind.title} ({label})", blocks_of(kind.markdown(result)), kind.draw(result))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{label} is not what `presage bench` writes: {type(error).__name__} {error}") from error


def read_section(path: Path, number: int) -> Section:
    """The section of a file: a result of the bench, or the manifest of an archive. Raises ValueError and OSError."""
    if path.suffix == ".jsonl":
        return archive.section(path, f"section-{number}")
    try:
        result = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(result, dict):
        raise ValueError(f"{path} is no result of `presage bench ... --json`")
    return section_of(result, f"section-{number}", path.stem)
