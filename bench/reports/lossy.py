"""`python -m presage.bench.reports.lossy RESULT.json [OUT.png]`: tables and figure of what `lossy.run` measured."""

import json
import sys
from pathlib import Path
from typing import Any

from ..compare.lossy import RATES
from .figures import blank
from .tables import rows_of, threads

COLOURS = {"presage": "#c2410c", "avif": "#1e3a5f", "jxl": "#4d7c0f", "webp": "#7e22ce", "j2k": "#0e7490", "jpeg": "#6b7280"}
TITLES = {"psnr": "PSNR, dB", "ms_ssim_db": "MS-SSIM, dB (-10 log10(1 - MS-SSIM))"}


def markdown(result: dict[str, Any]) -> str:
    """All tables."""
    machine, images = result["machine"], result["images"]
    parts = [f"Means over {len(images)} images, real files; {threads(machine)}, {machine['processor']}."]
    for measure, table in result["at_rates"].items():
        rows = [[name, *(f"{value:.2f}" if value == value else "-" for value in values)] for name, values in table.items()]
        parts.append(rows_of([f"{TITLES[measure].split(',')[0]} in dB at", *(f"{rate} bpp" for rate in RATES)], rows))
    if "bd_rate" in result:
        rows = [[name, *(f"{100 * result['bd_rate'][m][name]:+.1f} %" for m in result["bd_rate"])] for name in result["bd_rate"]["psnr"]]
        parts.append(rows_of(["Presage's bytes beside", "for the same PSNR (BD-rate)", "for the same MS-SSIM"], rows))
        rows = [[name, *(f"{a} of {b}" for a, b in zip(f["above"], f["of"], strict=True))] for name, f in result["images_above"].items()]
        parts.append(rows_of(["images with a better PSNR than", *(f"{rate} bpp" for rate in RATES)], rows))
    rows = []
    for name, curve in result["curves"].items():
        middle = min(curve, key=lambda point: abs(point["bpp"] - 0.3))
        rows.append([name, result["codecs"][name], f"{middle['encode_s']:.2f}", f"{middle['decode_s']:.2f}"])
    parts.append(rows_of(["codec", "how", "encode, s (near 0.3 bpp)", "decode, s"], rows))
    return "\n\n".join(parts + result["notes"])


def draw(result: dict[str, Any], target: Path) -> None:
    """The curves; the suffix says in which format. Raises ImportError without matplotlib."""
    figure, axes = blank((10.5, 5), 2)
    for axis, (measure, title) in zip(axes, TITLES.items(), strict=True):
        for name, curve in result["curves"].items():
            own = name == "presage"
            style = {"color": COLOURS[name], "linewidth": 2.2 if own else 1.2, "zorder": 3 if own else 2}
            axis.plot([p["bpp"] for p in curve], [p[measure] for p in curve], "o-", markersize=4 if own else 2.5, label=name, **style)
        axis.set_xlim(0.05, 1.0)
        inside = [p[measure] for curve in result["curves"].values() for p in curve if 0.07 <= p["bpp"] <= 1.0]
        axis.set_ylim(min(inside) - 0.3, max(inside) + 0.3)
        axis.set_xlabel("bits a pixel, whole files")
        axis.set_ylabel(title)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.suptitle(f"Lossy: means over {len(result['images'])} images", fontsize=10)
    figure.savefig(target, dpi=150)


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[1]).read_text())
    print(markdown(found))
    if len(sys.argv) > 2:
        draw(found, Path(sys.argv[2]))
