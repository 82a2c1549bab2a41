"""Table of what `origins.run` measured."""

from typing import Any

from .layout import number, rows_of, threads


def markdown(result: dict[str, Any]) -> str:
    """All of it."""
    machine = result["machine"]
    head = (
        f"{result['pictures']} held-out photographs of {result['run']}, every pixel compared; {threads(machine)}, {machine['processor']}."
    )
    return f"{head}\n\n{table(result)}"


def table(result: dict[str, Any]) -> str:
    """Shares of JPEG XL's bytes and of those of the JPEG files themselves."""
    names = [
        "photographs",
        "JPEG XL effort 9, bpsp",
        "Presage",
        "RGB model",
        "planes",
        "became",
        "JPEG files",
        "they through Presage",
        "to these",
        "worst",
    ]
    return rows_of(names, [_row(row) for row in result["ways"]])


def _row(row: dict[str, Any]) -> list[str]:
    jxl, planes, source = row["jxl9"], row["planes"], row.get("source")
    became = ", ".join(f"{count} {kind}" for kind, count in row["codings"].items())
    return [
        row["way"],
        f"{8 * jxl / row['samples']:.3f}",
        f"{row['presage'] / jxl:.3f}",
        f"{row['rgb'] / jxl:.3f}",
        f"{planes['planes'] / planes['jxl9']:.3f}" if planes["pictures"] else "-",
        became,
        number("{:.3f}", source and source / jxl),
        number("{:.3f}", source and row["source_presage"] / jxl),
        number("{:.3f}", source and row["presage"] / row["source_presage"]),
        number("{:.3f}", source and row["largest_to_source"]),
    ]
