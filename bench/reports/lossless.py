"""Tables and figure of what `lossless.run` measured."""

from pathlib import Path
from typing import Any

from . import instructions
from .layout import OWN, PEER, blank, bullets, number, plural, rows_of, save, threads, times

COLUMNS = {
    "encode_s": ("encode s", "{:.2f}"),
    "decode_s": ("decode s", "{:.2f}"),
    "encode_mb_s": ("encode MB/s", "{:.2f}"),
    "decode_mb_s": ("decode MB/s", "{:.2f}"),
    "encode_mib": ("encode MiB", "{:,.0f}"),
    "decode_mib": ("decode MiB", "{:,.0f}"),
}
BPSP = "{:.4f}"
BELOW = ("jxl9",)  # whose labels go right below the point, because neighbours are just above and left of it


def markdown(result: dict[str, Any]) -> str:
    """All tables of a result, with what has to be known to read them."""
    means = dict(sorted(result["mean"].items(), key=lambda item: item[1]["bpsp"]))
    parts = [_sizes(result, means), bullets(_notes(result))]
    if "command_line" in result:
        parts += _presage_only(result)
    if "instructions" in result:
        parts.append(instructions.markdown(result["instructions"]))
    if "ladder" in result:
        parts.append(_ladder(result["ladder"]))
    if len(result["images"]) > 1:
        rows = [[image["name"], *(BPSP.format(image["codecs"][name]["bpsp"]) for name in means)] for image in result["images"]]
        parts.append(rows_of(["bpsp", *means], rows))
    return "\n\n".join(parts)


def _sizes(result: dict[str, Any], means: dict[str, dict[str, Any]]) -> str:
    rows = []
    for name, mean in means.items():
        sizes = [BPSP.format(mean["bpsp"]), number("{:+.2%}", result["relative_to_jxl9"].get(name))]
        values = [number(pattern, mean.get(key)) for key, (_, pattern) in COLUMNS.items()]
        rows.append([f"{name} (recorded)" if mean["recorded"] else name, *sizes, *values])
    return rows_of(["codec", "bpsp", "to jxl9", *(title for title, _ in COLUMNS.values())], rows)


def _notes(result: dict[str, Any]) -> list[str]:
    machine, images = result["machine"], plural(len(result["images"]), "image")
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    return [
        f"Means over {images}; bpsp: bits per sub-pixel of whole files, each decoded and compared with its image.",
        f"{machine['processor']}, {threads(machine)}; MB/s of pixels.",
        f"Seconds an image: median of {result['repeats']}, or one turn where encoding takes over 5 s.",
        f"MiB: peak of a process that does nothing else, on {result['memory_image']}; with the interpreter, and for Presage with torch.",
        *(f"{name}: {description}." for name, description in result["codecs"].items()),
        *(f"{note[0].upper()}{note[1:]}." for note in result["notes"]),
        f"Versions: {versions}.",
    ]


def _presage_only(result: dict[str, Any]) -> list[str]:
    image = result["first_image"]
    measured = result["images"][0]["codecs"]
    seconds = {
        "`presage encode`, start to exit": result["command_line"]["encode_s"],
        "`presage decode`, start to exit": result["command_line"]["decode_s"],
        "decode in a running process, float32 arithmetic": result["portable_float32"]["decode_s"],
        f"the same, {result['arithmetic']} arithmetic (chosen here)": measured.get("presage-rgb", measured["presage"])["decode_s"],
    }
    return [
        *([instructions.products(result["products"])] if "products" in result else []),  # older results have none
        rows_of([f"Presage ({result['model']}) on {image}", "seconds"], [[name, times(value)] for name, value in seconds.items()]),
        rows_of(
            [f"decoding {image}, one thread", "seconds", "share"],
            [[entry["part"], times(entry["seconds"]), f"{entry['share']:.0%}"] for entry in result["time"]],
        ),
    ]


def _ladder(ladder: dict[str, Any]) -> str:
    if not ladder["images"]:
        return f"Ladder: {ladder['note']}"
    rows = [[rung["rung"], BPSP.format(rung["bpsp"]), number("{:+.2f} %", rung["increment_percent"])] for rung in ladder["rungs"]]
    text = rows_of([f"mean of {plural(ladder['images'], 'image')}", "bpsp", "adds"], rows)
    return f"{text}\n\n- {ladder['note']}" if ladder["note"] else text


def draw(result: dict[str, Any], target: Path) -> None:
    """Size against seconds; the suffix says in which format. Raises ImportError without matplotlib."""
    figure, axes = blank((9.5, 5.2), 2, sharey=True)
    for axis, (key, title) in zip(axes, (("encode_s", "Encoding"), ("decode_s", "Decoding")), strict=True):
        slowest = max(mean[key] for mean in result["mean"].values() if not mean["recorded"])
        for name, mean in result["mean"].items():
            bpsp, seconds, own = mean["bpsp"], mean[key], name == "presage"
            if mean["recorded"]:
                axis.axhline(bpsp, color=PEER, linewidth=1, linestyle=":")
                anchor = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "ha": "left", "va": "top"}
                axis.annotate(f"{name} (recorded size)", (0.01, bpsp), (0, -3), fontsize=8, **anchor)
                continue
            axis.plot(seconds, bpsp, "o", markersize=8, color=OWN if own else PEER)
            left = seconds > slowest / 3 and name not in BELOW
            style = {"color": OWN if own else PEER, "weight": "bold" if own else "normal", "ha": "right" if left else "left"}
            axis.annotate(name, (seconds, bpsp), (-8 if left else 8, -12 if name in BELOW else 4), textcoords="offset points", **style)
        axis.set(xscale="log", title=title, xlabel="seconds an image (log scale)")
        axis.margins(0.15)
    axes[0].set_ylabel("bits per sub-pixel (lower is better)")
    machine = result["machine"]
    save(figure, target, f"Lossless size and time: {plural(len(result['images']), 'image')}, {threads(machine)}, {machine['processor']}")
