"""`python -m presage.bench.reports.anytime RESULT.json [OUT.png]`: tables and figure of what `anytime.run` measured."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..compare.anytime_codecs import RATES
from .figures import blank
from .lossy import COLOURS as PEER_COLOURS
from .lossy import TITLES
from .tables import rows_of, threads

OURS = ("#c2410c", "#1e3a5f", "#4d7c0f", "#be185d")  # of Presage's models, in their order
COLOURS = PEER_COLOURS | {"flif": "#a16207"}
SHOWN = (0.019, 2.0)  # bits a pixel
LOSSLESS = 99.0  # dB
MEASURED = (("psnr", "{:.2f}", "PSNR, dB"), ("ms_ssim", "{:.4f}", "MS-SSIM"), ("bpp", "{:.3f}", "bpp really spent"))


def markdown(result: dict[str, Any]) -> str:
    """All tables."""
    machine, images = result["machine"], result["images"]
    parts = [f"Means over {len(images)} images, real files cut to real bytes; {threads(machine)}, {machine['processor']}."]
    rates = [*(f"{rate} bpp" for rate in RATES), "100 %"]
    for measure, pattern, title in (
        ("psnr", "{:.2f}", "PSNR, dB"),
        ("ms_ssim", "{:.4f}", "MS-SSIM"),
        ("bpp", "{:.3f}", "bpp really spent"),
    ):
        rows = [[_label(result, name), *_numbers(values, pattern)] for name, values in result["at_rates"][measure].items()]
        parts.append(rows_of([f"{title}; cut at", *rates], rows))
    short = [_short(name, counts, len(images)) for name, counts in result["reached"].items() if min(counts) < len(images)]
    if result["models"]:
        parts.append(_steady(result["models"]))
    if result.get("savings"):
        parts.append(_savings(result["savings"]))
    parts += _tenths(result)
    described = [f"- {name}: {text}." for name, text in result["codecs"].items()]
    described += [
        f"- {name} (recorded): {facts['what']} Between those points by the logarithm of the rate."
        for name, facts in result["recorded"].items()
    ]
    described += [f"- {note}." for note in short + result["notes"]]
    return "\n\n".join([*parts, "\n".join(described)])


def _short(name: str, counts: Sequence[int], images: int) -> str:
    some = [f"{rate} bpp for {count}" for rate, count in zip(RATES, counts, strict=True) if count < images]
    return f"{name}: files so small are possible at {', at '.join(some)} of the {images} images"


def _label(result: dict[str, Any], name: str) -> str:
    return f"{name} (recorded)" if name in result["recorded"] else name


def _numbers(values: Sequence[float | None], pattern: str) -> list[str]:
    return ["-" if value is None else "lossless" if value > LOSSLESS else pattern.format(value) for value in values]


def _steady(models: dict[str, Any]) -> str:
    """Whether more bytes show more."""
    rows = []
    for name, facts in models.items():
        fall, own = facts["largest_fall_db"], facts["largest_fall_of_an_image_db"]
        rows.append(
            [
                name,
                f"{facts['whole']['bytes']:,.0f}",
                f"{facts['fine_cuts']} from {facts['smallest_bytes']:,.0f} bytes",
                f"{fall:.3f} dB" + (f" at {facts['largest_fall_at_bpp']:.3f} bpp" if fall else ""),
                f"{own:.3f} dB" + (f" ({facts['image_of_largest_fall']})" if own else ""),
                f"{facts['share_within_near']:.0%}",
                f"{facts['encode_s']:.2f}",
                f"{facts['decode_s']:.2f}",
            ]
        )
    near = next(iter(models.values()))["near_db"]
    head = [
        "Presage's model",
        "bytes of the whole file",
        "cuts",
        "largest fall of the mean PSNR from a cut to the next larger",
        "of an image's",
    ]
    return rows_of([*head, f"share of the bytes within {near} dB of the whole", "encode, s", "decode, s"], rows)


def _savings(found: Sequence[dict[str, Any]]) -> str:
    """What the prior saves."""
    rows = []
    for facts in found:
        others = [f"{facts[f'{name}_bytes']:,.0f} ({facts[f'saved_against_{name}']:.1%})" for name in ("uniform", "independent")]
        rows.append([facts["model"], f"{facts['prior_bytes']:,.0f}", *others])
    head = ["bytes of all codes, with checks", "with the prior", "entries alike (saved)", "frequencies of each layer (saved)"]
    return rows_of(head, rows)


def _tenths(result: dict[str, Any]) -> list[str]:
    """Models at equal shares of their files, and at equal rates."""
    if "models_compared" not in result:
        rows = [[name, *_numbers([p and p["psnr"] for p in facts["tenths"]], "{:.2f}")] for name, facts in result["models"].items()]
        return [rows_of(["PSNR, dB; share of its file", *(f"{tenth}0 %" for tenth in range(1, 11))], rows)] if rows else []
    found = result["models_compared"]
    parts = []
    for key, title, heads in (
        ("psnr_at_shares", "share of its file", [f"{share:.0%}" for share in found["shares"]]),
        ("psnr_at_bpp", "at", [f"{rate:.3f} bpp" for rate in found["bpp"]]),
    ):
        parts.append(rows_of([f"PSNR, dB; {title}", *heads], [[name, *_numbers(row, "{:.2f}")] for name, row in found[key].items()]))
    first, below = next(iter(found["psnr_at_shares"])), f"{found['below']:.0%}"
    text = f"Below {below}, {first} is {_not(found['above_at_shares'])}above at every tenth of the own files and "
    text += f"{_not(found['above_at_bpp'])}above at every equal rate. "
    missed = found["percents_not_above"]
    text += f"Percents of the own files below {below} where it is not above: {', '.join(map(str, missed)) or 'none'}."
    return [*parts, text]


def _not(fact: bool) -> str:
    return "" if fact else "not "


def draw(result: dict[str, Any], target: Path) -> None:
    """The curves; the suffix says in which format. Raises ImportError without matplotlib."""
    figure, axes = blank((10.5, 5), 2)
    curves = {name: (curve, "-") for name, curve in result["curves"].items()}
    curves |= {name: (facts["points"], "--") for name, facts in result["recorded"].items()}
    ours = list(result["models"])
    for axis, (measure, title) in zip(axes, TITLES.items(), strict=True):
        inside = []
        for name, (curve, line) in curves.items():
            points = [(p["bpp"], p[measure]) for p in curve if measure in p and SHOWN[0] <= p["bpp"] <= SHOWN[1] and p[measure] < LOSSLESS]
            if not points:
                continue
            own = name in ours
            colour = OURS[ours.index(name) % len(OURS)] if own else COLOURS[name]
            label = f"{_label(result, name)}{' (a file each)' if name == 'webp' else ''}"
            axis.plot(
                *zip(*points, strict=True), f"o{line}", color=colour, label=label,
                markersize=3.5 if own else 2.5, linewidth=2.2 if own else 1.2, zorder=3 if own else 2,
            )  # fmt: skip
            inside += [value for _, value in points]
        axis.set_xscale("log")
        axis.set_xlim(*SHOWN)
        ticks = [rate for rate in (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)]
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.set_ylim(max(0, min(inside) - 0.5), max(inside) + 0.5)
        axis.set_xlabel("bits a pixel that are left")
        axis.set_ylabel(title)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].legend(frameon=False)
    figure.suptitle(f"One file an image, cut: means over {len(result['images'])} images", fontsize=10)
    figure.savefig(target, dpi=150)


if __name__ == "__main__":
    found = json.loads(Path(sys.argv[1]).read_text())
    print(markdown(found))
    if len(sys.argv) > 2:
        draw(found, Path(sys.argv[2]))
