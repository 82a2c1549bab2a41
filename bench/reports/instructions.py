"""The table of what `instructions.run` measured."""

from typing import Any

from .layout import bullets, number, rows_of, times


def markdown(result: dict[str, Any]) -> str:
    """Seconds by instruction set, and their ratios to the reference's encoding time in the same run."""
    reference = result["reference_encode_s"]
    rows = []
    for row in result["sets"]:
        ratios = [number("{:.2f}", row[key] / reference if reference else None) for key in ("encode_s", "decode_s")]
        rows.append([row["set"], f"{row['bytes']:,}", times(row["encode_s"]), times(row["decode_s"]), *ratios])
    beside = result["reference"]
    head = [f"{result['image']} ({result['model']})", "bytes", "encode s", "decode s", f"encode to {beside}", f"decode to {beside}"]
    notes = [
        f"Files are the same to the byte; ratios are to {beside}'s encoding time, {times(reference)} s in this run.",
        *(f"{row['set']}: {row['processor']}." for row in result["sets"]),
    ]
    return f"{rows_of(head, rows)}\n\n{bullets(notes)}"


def products(found: dict[str, Any]) -> str:
    """Who multiplies on this machine, and why."""
    speeds = ", ".join(f"{s['name']} {s['gmacs']:.1f}{'' if s['right'] else ' (not right)'}" for s in found["speeds"])
    return bullets(
        [
            f"Processor: {found['processor']}.",
            f"Products: {found['taken']} ({found['why']}).",
            f"GMAC/s at the model's shapes, one thread: {speeds}.",
        ]
    )
