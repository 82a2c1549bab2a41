"""Table of what `origins.run` measured."""

from collections.abc import Sequence
from typing import Any

from .layout import number, rows_of, threads


def markdown(result: dict[str, Any]) -> str:
    """All of it."""
    machine, rows = result["machine"], result["ways"]
    head = (
        f"{result['pictures']} held-out photographs of {result['run']}, every pixel compared; {threads(machine)}, {machine['processor']}."
    )
    compared, once = [row for row in rows if "jxl9" in row], [row for row in rows if "source" in row]
    return "\n\n".join([head, *([table(compared)] if compared else []), *([recognised(once)] if once else [])])


def table(ways: Sequence[dict[str, Any]]) -> str:
    """Shares of JPEG XL's bytes."""
    names = ["photographs", "JPEG XL effort 9, bpsp", "Presage", "RGB model", "planes", "became", "JPEG files"]
    return rows_of(names, [_row(row) for row in ways])


def _row(row: dict[str, Any]) -> list[str]:
    jxl, planes, source = row["jxl9"], row["planes"], row.get("source")
    return [
        row["way"],
        f"{8 * jxl / row['samples']:.3f}",
        f"{row['presage'] / jxl:.3f}",
        f"{row['rgb'] / jxl:.3f}",
        f"{planes['planes'] / planes['jxl9']:.3f}" if planes["pictures"] else "-",
        _became(row),
        number("{:.3f}", source and source / jxl),
    ]


def recognised(ways: Sequence[dict[str, Any]]) -> str:
    """Pictures that once were JPEG files beside these."""
    head = ["pictures out of", "became", "JPEG files, bpsp", "through Presage, to them"]
    head += ["pictures, to the JPEG files", "to these through Presage", "worst"]
    rows = []
    for row in ways:
        source, again = row["source"], row["source_presage"]
        shares = (again / source, row["presage"] / source, row["presage"] / again, row["largest_to_source"])
        rows.append([row["way"], _became(row), f"{8 * source / row['samples']:.3f}", *(f"{share:.3f}" for share in shares)])
    return rows_of(head, rows)


def _became(row: dict[str, Any]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in row["codings"].items())
