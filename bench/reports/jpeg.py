"""Table of what `jpeg.run` measured."""

from typing import Any

from .layout import bullets, number, rows_of, threads


def markdown(result: dict[str, Any]) -> str:
    """All of it."""
    files = result["files"]
    total = sum(row["bytes"] for row in files)
    machine = result["machine"]
    head = f"{len(files)} JPEG files, {total:,} bytes, each compared after decoding; {threads(machine)}, {machine['processor']}."
    rows = [
        [
            result["codecs"][name],
            f"{facts['bytes']:,}",
            f"{facts['share']:.1%}",
            f"{facts['mean_share']:.1%}",
            f"{facts['taken']}",
            number("{:.2f}", facts["encode_mb_s"]),
            number("{:.2f}", facts["decode_mb_s"]),
        ]
        for name, facts in result["sums"].items()
    ]
    table = rows_of(["coder", "bytes", "of the JPEG files", "mean of files", "files taken", "encode, MB/s", "decode, MB/s"], rows)
    notes = [line for name, facts in result["sums"].items() for line in _kept(result["codecs"][name], facts)] + result["notes"]
    return "\n\n".join([head, table, *([bullets(notes)] if notes else [])])


def _kept(name: str, facts: dict[str, Any]) -> list[str]:
    """What a coder keeps as it is, and why."""
    kept = facts.get("kept")
    if not kept:
        return []
    reasons = ", ".join(f"{count}: {why}" for why, count in sorted(kept.items(), key=lambda pair: -pair[1]))
    return [f"{name} keeps as they are, {reasons}. No file grows by more than {facts['most_growth']} bytes."]
