"""Tables and figure of what `families.run` measured."""

from pathlib import Path
from typing import Any

from .layout import OWN, PEER, blank, number, rows_of, save, times

LEAST = 8.0  # published bits of one image alone that say "8 or more"


def markdown(result: dict[str, Any]) -> str:
    """Measured rows, and published ones."""
    pictures, timed = result["pictures"], result["timed"]
    rows = []
    for row in result["rows"]:
        calls = number("{:,.0f}", row.get("calls", row["timed_calls"]))
        sizes = [
            f"{row['model_bits']:.4f}",
            f"{row['set']:.4f}",
            f"{row['set_bytes']:,}",
            f"{row['alone_streams']:.3f}",
            f"{row['alone_bytes']:,.0f}",
        ]
        seconds = [times(row["encode_s"]), times(row.get("decode_s")), times(row["timed_decode_s"])]
        rows.append([f"{row['model']}, {row['way']}", calls, *sizes, *seconds, f"{row['parameters']:,}"])
    head = ["", "calls", "exact model, bits/dim", f"{pictures:,} in a file", "bytes", "one alone, without container", "bytes of its file"]
    head += ["encode all, s", "decode all, s", f"decode {timed}, one thread, s", "parameters"]
    about = f"{result['alone']} files of one picture; {result['threads']} threads of {result['processor']}, but where it says one."
    published = [
        [
            f"{row['model']}, published",
            number("{:,}", row["calls"]),
            "8 or more" if row["alone"] >= LEAST else f"{row['alone']:.2f}",
            f"{row['set']:.2f}",
        ]
        for row in result["published"]
    ]
    theirs = rows_of(
        ["CIFAR-10, other and larger models, all of the training set", "steps", "one image, bits/dim", "the data set"], published
    )
    return "\n\n".join([rows_of(head, rows), about, theirs])


def draw(result: dict[str, Any], target: Path) -> None:
    """Bits of the set against calls, and against the time of decoding. Raises ImportError without matplotlib."""
    figure, axes = blank((10.5, 4.4), 2)
    for axis, key, label in zip(axes, ("timed_calls", "timed_decode_s"), ("calls of a network", "seconds"), strict=True):
        for model in dict.fromkeys(row["model"] for row in result["rows"]):
            rows = [row for row in result["rows"] if row["model"] == model]
            colour = OWN if "cifar10-1" in model else PEER
            axis.plot([row[key] for row in rows], [row["set"] for row in rows], "o-", color=colour, linewidth=1.2)
            for row in rows:
                about = (row[key], row["set"]), (5, 5)
                axis.annotate(f"{model}, {row['way']}", *about, textcoords="offset points", fontsize=7)
        axis.set(xscale="log", xlabel=f"{label} (log scale)", ylabel="bits a dimension, all in a file")
        axis.margins(0.25)
    save(figure, target, f"{result['timed']} pictures, decoded on one thread")
