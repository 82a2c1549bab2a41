"""Tables and figure of what `lossy.run` measured."""

from pathlib import Path
from typing import Any

from ..compare.lossy import RATES
from .layout import COLOURS, blank, emphasis, nearest, number, relative, rows_of, save, threads, times

TITLES = {"psnr": "PSNR, dB", "ms_ssim_db": "MS-SSIM, dB (-10 log10(1 - MS-SSIM))"}


def markdown(result: dict[str, Any]) -> str:
    """All tables."""
    machine, images = result["machine"], result["images"]
    parts = [f"Means over {len(images)} images, real files; {threads(machine)}, {machine['processor']}."]
    heads = [f"{rate} bpp" for rate in RATES]
    for measure, table in result["at_rates"].items():
        rows = [[name, *(number("{:.2f}", value) for value in values)] for name, values in table.items()]
        parts.append(rows_of([f"{TITLES[measure].split(',')[0]} in dB at", *heads], rows))
    if "bd_rate" in result:
        rows = [[name, *(relative(of_measure[name]) for of_measure in result["bd_rate"].values())] for name in result["bd_rate"]["psnr"]]
        parts.append(rows_of(["Presage's bytes beside", "for the same PSNR (BD-rate)", "for the same MS-SSIM"], rows))
        rows = [[name, *(f"{a} of {b}" for a, b in zip(f["above"], f["of"], strict=True))] for name, f in result["images_above"].items()]
        parts.append(rows_of(["images with a better PSNR than", *heads], rows))
    middle = {name: nearest(curve, 0.3) for name, curve in result["curves"].items()}
    rows = [[name, result["codecs"][name], times(point["encode_s"]), times(point["decode_s"])] for name, point in middle.items()]
    parts.append(rows_of(["codec", "how", "encode, s (near 0.3 bpp)", "decode, s"], rows))
    return "\n\n".join(parts + result["notes"])


def draw(result: dict[str, Any], target: Path) -> None:
    """The curves; the suffix says in which format. Raises ImportError without matplotlib."""
    figure, axes = blank((10.5, 5), 2)
    for axis, (measure, title) in zip(axes, TITLES.items(), strict=True):
        for name, curve in result["curves"].items():
            own = name == "presage"
            style = emphasis(own) | {"color": COLOURS[name], "markersize": 4 if own else 2.5}
            axis.plot([p["bpp"] for p in curve], [p[measure] for p in curve], "o-", label=name, **style)
        inside = [p[measure] for curve in result["curves"].values() for p in curve if 0.07 <= p["bpp"] <= 1.0]
        axis.set(xlim=(0.05, 1.0), ylim=(min(inside) - 0.3, max(inside) + 0.3), xlabel="bits a pixel, whole files", ylabel=title)
    axes[0].legend(frameon=False)
    save(figure, target, f"Lossy: means over {len(result['images'])} images")
