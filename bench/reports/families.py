"""Tables and figure of what `families.run` measured."""

from pathlib import Path
from typing import Any

from .charts import PALETTE
from .layout import blank, number, plural, rows_of, save, times

LEAST = 8.0  # published bits of one image alone that say "8 or more"


def markdown(result: dict[str, Any]) -> str:
    """Measured rows of all pictures, those of the first ones by calls, and published ones."""
    pictures, timed = f"{result['pictures']:,}", result["timed"]
    head = ["", "calls", "exact model, bits/dim", f"{pictures} in a file", "bytes", "one alone, without container", "bytes of its file"]
    head += ["encode all, s", "decode all, s", "parameters"]
    whole = [_of_all(row) for row in result["rows"] if "set_bits" in row]
    about = f"{result['alone']} files of one picture; {plural(result['threads'], 'thread')} of {result['processor']}."
    few = ["", "calls", "exact model, bits/dim", f"{timed} in a file", "encode, s", "decode, s"]
    some = f"The first {timed} pictures, on one thread."
    theirs = ["CIFAR-10, other and larger models, all of the training set", "steps", "one image, bits/dim", "the data set"]
    tables = [rows_of(head, whole), about, rows_of(few, [_of_some(row) for row in result["rows"]]), some]
    return "\n\n".join([*tables, rows_of(theirs, [_published(row) for row in result["published"]])])


def _of_all(row: dict[str, Any]) -> list[str]:
    sizes = [f"{row['set_model_bits']:.4f}", f"{row['set_bits']:.4f}", f"{row['set_bytes']:,}"]
    alone = [f"{row['alone_streams']:.3f}", f"{row['alone_bytes']:,.0f}"]
    seconds = [times(row["set_encode_s"]), times(row.get("set_decode_s"))]
    calls = number("{:,.0f}", row.get("set_calls", row["timed_calls"]))
    return [f"{row['model']}, {row['way']}", calls, *sizes, *alone, *seconds, f"{row['parameters']:,}"]


def _of_some(row: dict[str, Any]) -> list[str]:
    sizes = [f"{row['timed_model_bits']:.4f}", f"{row['timed_bits']:.4f}"]
    seconds = [times(row.get("timed_encode_s")), times(row["timed_decode_s"])]
    return [f"{row['model']}, {row['way']}", number("{:,.0f}", row["timed_calls"]), *sizes, *seconds]


def _published(row: dict[str, Any]) -> list[str]:
    alone = "8 or more" if row["alone"] >= LEAST else f"{row['alone']:.2f}"
    return [f"{row['model']}, published", number("{:,}", row["calls"]), alone, f"{row['set']:.2f}"]


def draw(result: dict[str, Any], target: Path) -> None:
    """Bits of the first pictures against calls, and against the time of decoding. Raises ImportError without matplotlib."""
    figure, axes = blank((10.5, 4.4), 2)
    models = list(dict.fromkeys(row["model"] for row in result["rows"]))
    for axis, key, label in zip(axes, ("timed_calls", "timed_decode_s"), ("calls of a network", "seconds"), strict=True):
        for place, model in enumerate(models):
            rows = [row for row in result["rows"] if row["model"] == model]
            axis.plot(
                [row[key] for row in rows], [row["timed_bits"] for row in rows], "o-", color=PALETTE[place], linewidth=1.2, label=model
            )
        axis.set(xscale="log", xlabel=f"{label} (log scale)", ylabel=f"bits a dimension, {result['timed']} in a file")
    axes[0].legend(fontsize=8)
    save(figure, target, f"{result['timed']} pictures, decoded on one thread")
