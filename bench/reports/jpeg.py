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
    return "\n\n".join([head, table, *([bullets(result["notes"])] if result["notes"] else [])])
