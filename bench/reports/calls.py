"""Tables and figure of what `calls.run` measured.

`python -m presage.bench.reports.calls RESULT.json... [OUT.png]`: all tables of one result, or a summary of several; the figure is of
the first.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..papers.calls import FULL
from .figures import blank
from .tables import rows_of


def markdown(result: dict[str, Any]) -> str:
    """All tables of a result, with what has to be known to read them."""
    count, symbols = result["batches"], result["symbols"]
    parts = [
        f"{result['model']}: means and deviations over up to {count} batches of {result['batch']}; calls in percent of {symbols}, one for "
        f"every symbol, counted image by image; one thread of {result['processor']}."
    ]
    full = result["sampling"][FULL]["seconds"] if "sampling" in result else 0.0
    parts += [_calls(phase, result[phase], full) for phase in ("sampling", "decoding") if phase in result]
    for name, table in (("packed", _packed), ("times", _times), ("windows", _windows), ("precision", _precision)):
        if name in result:
            parts.append(table(result[name]))
    return "\n\n".join(parts)


def summary(results: Sequence[dict[str, Any]]) -> str:
    """One row for every model: real bytes of all pictures in one file, and calls."""

    def calls(table: dict[str, Any], name: str) -> str:
        return f"{100 * table[name]['share']:.2f}" if name in table else "-"

    rows = []
    for result in results:
        packed, sampling = result["packed"], result["sampling"]
        rows.append(
            [
                result["model"],
                f"{packed['bits_per_dimension']:.4f}",
                f"{packed['model_bits_per_dimension']:.4f}",
                f"{packed['bits_over_the_model_a_group']:.1f}",
                f"{100 * packed['fixed_point']['share']:.2f}",
                f"{100 * packed['at_once']['share']:.2f}",
                calls(result["decoding"], "fixed point, in turn"),
                calls(sampling, "fixed point, in turn"),
                calls(sampling, "fixed point, at once"),
            ]
        )
    head = ["model", "file, bits/dim", "model's own", "bits over it a group"]
    head += ["packed: calls %", "packed, at once", "a batch: calls %", "sampling: calls %", "sampling, at once"]
    return rows_of(head, rows)


def _calls(phase: str, table: dict[str, Any], full: float) -> str:
    rows = [
        [
            name,
            f"{100 * row['share']:.2f} ± {100 * row['share_deviation']:.2f}",
            f"{row['batches']}",
            f"{row['evaluations']:.1f}",
            f"{row['seconds']:.2f} ± {row['seconds_deviation']:.2f}",
            f"{full / row['seconds']:.1f}",
        ]
        for name, row in table.items()
    ]
    return rows_of([phase, "calls %", "batches", "evaluations a pixel", "seconds a batch", "times as fast as full forwards"], rows)


def _packed(packed: dict[str, Any]) -> str:
    rows = [
        ["images", f"{packed['images']:,}"],
        ["bytes of the file", f"{packed['bytes']:,}"],
        ["bits a dimension, whole file", f"{packed['bits_per_dimension']:.4f}"],
        ["the exact model's own code length, bits a dimension", f"{packed['model_bits_per_dimension']:.4f}"],
        ["groups", f"{packed['groups']}"],
        ["bits a group over the model", f"{packed['bits_over_the_model_a_group']:.1f}"],
        ["bytes of the container", f"{packed['container_bytes']}"],
        ["encoding, seconds", f"{packed['encode_seconds']:.1f}"],
    ]
    if "squared_error" in packed:
        rows.append(["mean squared error, pixels in -1..1", f"{packed['squared_error']:.5f}"])
    for label in ("fixed_point", "at_once", "auto"):
        found = packed[label]
        rows.append([f"decoding, {label.replace('_', ' ')}", f"{found['share']:.2%} of the calls, {found['seconds']:.1f} s"])
    return rows_of(["all pictures in one file", ""], rows)


def _times(times: dict[str, Any]) -> str:
    ways = {name: seconds for name, seconds in times.items() if name != "images"}
    ancestral = ways["ancestral, cached"]
    rows = [[name, f"{s:.2f}", f"{ways[FULL] / s:.1f}", f"{ancestral / s:.2f}"] for name, s in ways.items()]
    return rows_of([f"{times['images']} packed images", "seconds", "times as fast as full forwards", "as the cached ancestral"], rows)


def _windows(windows: list[dict[str, Any]]) -> str:
    rows = [[str(w["window"] or "all"), f"{w['share']:.2%}", f"{w['evaluations']:.1f}", f"{w['seconds']:.2f}"] for w in windows]
    return rows_of(["window, pixels", "calls", "evaluations a pixel", "seconds"], rows)


def _precision(precisions: list[dict[str, Any]]) -> str:
    rows = [[str(p["precision"]), f"{p['bits']:.4f}", f"{p['share']:.2%}"] for p in precisions]
    return rows_of(["P", "bits a dimension", "calls"], rows)


def draw(result: dict[str, Any], target: Path) -> None:
    """Calls against evaluations over window sizes, and against P. Raises ImportError without matplotlib."""
    if "windows" not in result or "precision" not in result:
        raise ValueError("the figure needs pictures to decode; name some with --data")
    figure, axes = blank((9.5, 4.2), 2)
    windows = result["windows"]
    axes[0].plot([w["evaluations"] for w in windows], [100 * w["share"] for w in windows], "o-", color="#c2410c")
    for w in windows:
        axes[0].annotate(str(w["window"] or "all"), (w["evaluations"], 100 * w["share"]), (5, 5), textcoords="offset points", fontsize=8)
    axes[0].set_xscale("log")
    axes[0].set_xlabel("evaluations a pixel (log scale)")
    axes[0].set_title("by the window, in pixels", fontsize=10)
    axes[1].plot([p["precision"] for p in result["precision"]], [100 * p["share"] for p in result["precision"]], "o-", color="#1e3a5f")
    axes[1].set_xlabel("P, bits of a quantile")
    axes[1].set_title("by the precision", fontsize=10)
    for axis in axes:
        axis.set_ylabel("calls, % of one a symbol")
        axis.grid(alpha=0.25)
        axis.margins(0.12)
        axis.set_ylim(0, None)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{result['model']}: fixed-point decoding of packed images", fontsize=10)
    figure.savefig(target, dpi=150)


if __name__ == "__main__":
    found = [json.loads(Path(name).read_text()) for name in sys.argv[1:] if name.endswith(".json")]
    print(markdown(found[0]) if len(found) == 1 else summary(found))
    if sys.argv[-1].endswith(".png"):
        draw(found[0], Path(sys.argv[-1]))
