"""`python -m presage.bench.reports.recorded RESULT.json OUT.png`: draw size against speed, and print the tables."""

import json
import sys
from pathlib import Path
from typing import Any

from ..compare.lossless import table
from .figures import blank
from .tables import threads

DIRECTIONS = (("encode_s", "Encoding"), ("decode_s", "Decoding"))
BELOW = ("jxl9",)  # whose labels go right below the point, because neighbours are just above and left of it
OWN, PEER = "#c2410c", "#1e3a5f"


def draw(result: dict[str, Any], target: Path) -> None:
    """Write the figure of a result of `lossless.run`; the suffix says in which format. Raises ImportError without matplotlib."""
    figure, axes = blank((9.5, 5.2), 2, sharey=True)
    for axis, (key, title) in zip(axes, DIRECTIONS, strict=True):
        timed = {name: mean[key] for name, mean in result["mean"].items() if not mean["recorded"]}
        for name, mean in result["mean"].items():
            colour = OWN if name == "presage" else PEER
            if mean["recorded"]:
                axis.axhline(mean["bpsp"], color=PEER, linewidth=1, linestyle=":")
                place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "left", "va": "top"}
                axis.annotate(f"{name} (recorded size)", (0.01, mean["bpsp"]), (0, -3), fontsize=8, **place)
                continue
            axis.plot(timed[name], mean["bpsp"], "o", markersize=8, color=colour)
            left = timed[name] > max(timed.values()) / 3 and name not in BELOW
            style = {"color": colour, "weight": "bold" if name == "presage" else "normal", "ha": "right" if left else "left"}
            offset = (-8 if left else 8, -12 if name in BELOW else 4)
            axis.annotate(name, (timed[name], mean["bpsp"]), offset, textcoords="offset points", **style)
        axis.set_xscale("log")
        axis.margins(0.15)
        axis.set_title(title)
        axis.set_xlabel("seconds an image (log scale)")
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("bits per sub-pixel (lower is better)")
    count, machine = len(result["images"]), result["machine"]
    where = f"{threads(machine)}, {machine['processor']}"
    figure.suptitle(f"Lossless size and time: {count} image{'s' * (count > 1)}, {where}", fontsize=10)
    figure.savefig(target, dpi=150)


def _main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    result = json.loads(Path(arguments[0]).read_text())
    draw(result, Path(arguments[1]))
    print(table(result))
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
