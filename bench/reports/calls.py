"""Tables and figure of what `calls.run` measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..papers.calls import FULL
from .layout import OWN, PEER, blank, rows_of, save, times

PACKED = {
    "images": "{images:,}",
    "bytes of the file": "{bytes:,}",
    "bits a dimension, whole file": "{bits_per_dimension:.4f}",
    "the exact model's own code length, bits a dimension": "{model_bits_per_dimension:.4f}",
    "groups": "{groups}",
    "bits a group over the model": "{bits_over_the_model_a_group:.1f}",
    "bytes of the container": "{container_bytes}",
    "encoding, seconds": "{encode_seconds:.1f}",
}
LATENT = {"mean squared error, pixels in -1..1": "{squared_error:.5f}"}
DECODING = {
    "decoding, fixed point": "{fixed_point[share]:.2%} of the calls, {fixed_point[seconds]:.1f} s",
    "decoding, at once": "{at_once[share]:.2%} of the calls, {at_once[seconds]:.1f} s",
    "decoding, auto": "{auto[share]:.2%} of the calls, {auto[seconds]:.1f} s",
}
LATENT_ROWS = (FULL, "ancestral", "argmax, no noise", "fixed point, at once", "fixed point, in turn", "wavefront")


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
    rows = []
    for result in results:
        packed, sampling, decoding = result["packed"], result["sampling"], result["decoding"]
        sizes = [f"{packed['bits_per_dimension']:.4f}", f"{packed['model_bits_per_dimension']:.4f}"]
        tables = [packed.get("fixed_point"), packed.get("at_once"), decoding.get("fixed point, in turn")]
        tables += [sampling.get("fixed point, in turn"), sampling.get("fixed point, at once")]
        shares = [f"{100 * row['share']:.2f}" if row else "-" for row in tables]
        rows.append([result["model"], *sizes, f"{packed['bits_over_the_model_a_group']:.1f}", *shares])
    head = ["model", "file, bits/dim", "model's own", "bits over it a group"]
    head += ["packed: calls %", "packed, at once", "a batch: calls %", "sampling: calls %", "sampling, at once"]
    return rows_of(head, rows)


def of_latents(results: dict[int, dict[str, Any]]) -> str:
    """Table 2 of the paper, of results by the pictures in a batch; then the rest of the first."""
    columns = [(phase, batch) for phase in ("sampling", "decoding") for batch, result in results.items() if phase in result]
    rows = []
    for name in LATENT_ROWS:
        measured = [results[batch][phase].get(name) for phase, batch in columns]
        rows.append([name, *(f"{_calls_of(row, 1)}, {times(row['seconds'])} s" if row else "-" for row in measured)])
    table = rows_of(["latents: calls %, seconds a batch", *(f"{phase}, {batch} at a time" for phase, batch in columns)], rows)
    rest = {key: value for key, value in next(iter(results.values())).items() if key not in ("sampling", "decoding")}
    return f"{table}\n\n{markdown(rest)}"


def _calls_of(row: dict[str, float], digits: int) -> str:
    return f"{100 * row['share']:.{digits}f} ± {100 * row['share_deviation']:.{digits}f}"


def _calls(phase: str, table: dict[str, Any], full: float) -> str:
    rows = []
    for name, row in table.items():
        seconds = f"{row['seconds']:.2f} ± {row['seconds_deviation']:.2f}"
        speed = f"{full / row['seconds']:.1f}"
        rows.append([name, _calls_of(row, 2), f"{row['batches']}", f"{row['evaluations']:.1f}", seconds, speed])
    return rows_of([phase, "calls %", "batches", "evaluations a pixel", "seconds a batch", "times as fast as full forwards"], rows)


def _packed(packed: dict[str, Any]) -> str:
    patterns = PACKED | (LATENT if "squared_error" in packed else {}) | DECODING
    return rows_of(["all pictures in one file", ""], [[title, pattern.format_map(packed)] for title, pattern in patterns.items()])


def _times(measured: dict[str, Any]) -> str:
    ways = {name: seconds for name, seconds in measured.items() if name != "images"}
    ancestral = ways["ancestral, cached"]
    rows = [[name, times(s), f"{ways[FULL] / s:.1f}", f"{ancestral / s:.2f}"] for name, s in ways.items()]
    return rows_of([f"{measured['images']} packed images", "seconds", "times as fast as full forwards", "as the cached ancestral"], rows)


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
    axes[0].plot([w["evaluations"] for w in windows], [100 * w["share"] for w in windows], "o-", color=OWN)
    for w in windows:
        axes[0].annotate(str(w["window"] or "all"), (w["evaluations"], 100 * w["share"]), (5, 5), textcoords="offset points", fontsize=8)
    axes[0].set(xscale="log", xlabel="evaluations a pixel (log scale)")
    axes[0].set_title("by the window, in pixels", fontsize=10)
    axes[1].plot([p["precision"] for p in result["precision"]], [100 * p["share"] for p in result["precision"]], "o-", color=PEER)
    axes[1].set_xlabel("P, bits of a quantile")
    axes[1].set_title("by the precision", fontsize=10)
    for axis in axes:
        axis.margins(0.12)
        axis.set(ylabel="calls, % of one a symbol", ylim=(0, None))
    save(figure, target, f"{result['model']}: fixed-point decoding of packed images")
