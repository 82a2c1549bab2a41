"""A page about an archive, of its manifest alone."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .charts import PALETTE, chart
from .page import Section, render

MOST_ROWS = 1000  # of files in the table
Entry = dict[str, Any]


def entries(path: Path) -> list[Entry]:
    """What an archive has, by its manifest: of several lines of a path the last. Raises ValueError and OSError."""
    found: dict[str, Entry] = {}
    for number, said in enumerate(_lines(path)):
        if number == 0 and said.get("presage") != "archive":
            raise ValueError(f"{path} is no manifest of an archive")
        if isinstance(name := said.get("path"), str):
            found.pop(name, None)
            if said.get("kind") != "gone":
                found[name] = said
    return list(found.values())


def _lines(path: Path) -> Iterator[Entry]:
    with path.open("rb") as file:
        for number, line in enumerate(file):
            try:
                said = json.loads(line)
            except ValueError:
                if not line.endswith(b"\n"):  # it was being written
                    return
                raise ValueError(f"{path}: line {number + 1} is damaged") from None
            if not isinstance(said, dict):
                raise ValueError(f"{path}: line {number + 1} is no object")
            yield said


def _size(entry: Entry, key: str) -> int:
    return int(entry.get(key, 0))


def section(path: Path, name: str = "archive") -> Section:
    """Sums, charts and tables of an archive. Raises ValueError and OSError."""
    every = entries(path)
    listed = [entry for entry in every if entry.get("kind") == "file"]
    before, after = (sum(_size(entry, key) for entry in listed) for key in ("bytes", "stored_bytes"))
    seconds = sum(float(entry.get("seconds", 0)) for entry in listed)
    pixels = sum(_size(entry, "width") * _size(entry, "height") for entry in listed if entry.get("result") == "coded")
    grown = sum(_size(entry, "stored_bytes") > _size(entry, "bytes") for entry in listed)
    sums = [
        ("files", f"{len(listed):,}"), ("bytes before", f"{before:,}"), ("bytes after", f"{after:,}"),
        ("of the bytes before", f"{after / before:.1%}" if before else "-"),
        ("coded", f"{sum(entry.get('result') == 'coded' for entry in listed):,}"),
        ("copied", f"{sum(entry.get('result') == 'copied' for entry in listed):,}"),
        ("grew", f"{grown:,}"), ("links and folders", f"{len(every) - len(listed):,}"),
        ("hours of work", f"{seconds / 3600:.2f}"), ("coded megapixels a second", f"{pixels / 1e6 / seconds:.2f}" if seconds else "-"),
    ]  # fmt: skip
    kinds = _kinds(listed)
    blocks: list[dict[str, Any]] = [{"head": ["kind", "files", "bytes before", "bytes after", "share", "seconds"], "rows": kinds}]
    if reasons := Counter(str(entry["why"]) for entry in listed if entry.get("why")):
        blocks.append({"head": ["copied because", "files"], "rows": [[why, f"{count:,}"] for why, count in reasons.most_common()]})
    largest = sorted(listed, key=lambda entry: -_size(entry, "bytes"))[:MOST_ROWS]
    if len(largest) < len(listed):
        blocks.append({"text": f"The {MOST_ROWS:,} largest of {len(listed):,} files:"})
    blocks.append(
        {"head": ["file", "kind", "bytes before", "bytes after", "share", "seconds", "model"], "rows": [_row(e) for e in largest]}
    )
    return Section(name, f"Archive ({path.parent.name or path.stem})", blocks, _charts(listed, kinds), sums=sums)


def _kind(entry: Entry) -> str:
    return f"{entry.get('format') or 'other'}, {entry.get('coding') or entry.get('result') or 'unknown'}"


def _share(before: int, after: int) -> str:
    return f"{after / before:.1%}" if before else "-"


def _kinds(listed: list[Entry]) -> list[list[str]]:
    """A row for every kind of files."""
    sums: dict[str, list[float]] = {}
    for entry in listed:
        found = sums.setdefault(_kind(entry), [0, 0, 0, 0.0])
        for place, value in enumerate((1, _size(entry, "bytes"), _size(entry, "stored_bytes"), float(entry.get("seconds", 0)))):
            found[place] += value
    ordered = sorted(sums.items(), key=lambda item: -item[1][1])
    return [[name, f"{n:,.0f}", f"{b:,.0f}", f"{a:,.0f}", _share(int(b), int(a)), f"{s:,.1f}"] for name, (n, b, a, s) in ordered]


def _row(entry: Entry) -> list[str]:
    before, after = _size(entry, "bytes"), _size(entry, "stored_bytes")
    name = str(entry["path"]).encode("utf-8", "backslashreplace").decode()
    return [
        name,
        _kind(entry),
        f"{before:,}",
        f"{after:,}",
        _share(before, after),
        f"{float(entry.get('seconds', 0)):.2f}",
        str(entry.get("model", "")),
    ]


def _charts(listed: list[Entry], kinds: list[list[str]]) -> list[dict[str, Any]]:
    names = [row[0] for row in kinds]
    bars = [
        {"type": "bar", "name": title, "x": names, "y": [int(row[column].replace(",", "")) for row in kinds], "marker": {"color": colour}}
        for title, column, colour in (("before", 2, PALETTE[5]), ("after", 3, PALETTE[0]))
    ]
    shares = [_size(entry, "stored_bytes") / _size(entry, "bytes") for entry in listed if _size(entry, "bytes")]
    counts = Counter(min(int(20 * share), 24) for share in shares)
    places = [5 * place for place in range(25)]
    histogram = {"type": "bar", "x": places, "y": [counts[place // 5] for place in places], "marker": {"color": PALETTE[0]}}
    return [
        chart("Bytes by kind", {"title": {"text": ""}}, "bytes", bars),
        chart("Files by what they take, % of before", {"title": {"text": "% and up to 5 more"}}, "files", [histogram]),
    ]


def write(manifest: Path) -> str:
    """The page of an archive. Raises ValueError, OSError, and ImportError without plotly and jinja2."""
    return render("A Presage archive", f"Of {manifest}. All figures are sums of its lines.", [section(manifest)])
