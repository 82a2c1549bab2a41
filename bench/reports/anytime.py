"""Tables and figure of what `anytime.run` measured."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..compare.anytime_codecs import RATES
from .layout import COLOURS, blank, bullets, emphasis, number, rows_of, save, threads, times
from .lossy import TITLES

OURS = ("#c2410c", "#1e3a5f", "#4d7c0f", "#be185d")  # of Presage's models, in their order
SHOWN = (0.019, 2.0)  # bits a pixel
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
LOSSLESS = 99.0  # dB
MEASURED = {"psnr": ("PSNR, dB", "{:.2f}"), "ms_ssim": ("MS-SSIM", "{:.4f}"), "bpp": ("bpp really spent", "{:.3f}")}


def markdown(result: dict[str, Any]) -> str:
    """All tables."""
    machine, images = result["machine"], len(result["images"])
    parts = [f"Means over {images} images, real files cut to real bytes; {threads(machine)}, {machine['processor']}."]
    for measure, (title, pattern) in MEASURED.items():
        rows = [[_label(result, name), *_numbers(values, pattern)] for name, values in result["at_rates"][measure].items()]
        parts.append(rows_of([f"{title}; cut at", *(f"{rate} bpp" for rate in RATES), "100 %"], rows))
    if result["models"]:
        parts.append(_steady(result["models"]))
    if result.get("savings"):
        parts.append(_savings(result["savings"]))
    if "models_compared" in result:
        parts += _compared(result["models_compared"])
    elif result["models"]:
        tenths = {name: [point and point["psnr"] for point in facts["tenths"]] for name, facts in result["models"].items()}
        parts.append(_psnr("share of its file", [f"{tenth}0 %" for tenth in range(1, 11)], tenths))
    described = [f"{name}: {text}." for name, text in result["codecs"].items()]
    for name, facts in result["recorded"].items():
        described.append(f"{name} (recorded): {facts['what']} Between those points by the logarithm of the rate.")
    short = [_short(name, counts, images) for name, counts in result["reached"].items() if min(counts) < images]
    return "\n\n".join([*parts, bullets([*described, *(f"{note}." for note in short + result["notes"])])])


def _short(name: str, counts: Sequence[int], images: int) -> str:
    some = [f"{rate} bpp for {count}" for rate, count in zip(RATES, counts, strict=True) if count < images]
    return f"{name}: files so small are possible at {', at '.join(some)} of the {images} images"


def _label(result: dict[str, Any], name: str) -> str:
    return f"{name} (recorded)" if name in result["recorded"] else name


def _numbers(values: Sequence[float | None], pattern: str) -> list[str]:
    return ["lossless" if value and value > LOSSLESS else number(pattern, value) for value in values]


def _steady(models: dict[str, Any]) -> str:
    """Whether more bytes show more."""
    rows = []
    for name, facts in models.items():
        fall, own = facts["largest_fall_db"], facts["largest_fall_of_an_image_db"]
        sizes = [f"{facts['whole']['bytes']:,.0f}", f"{facts['fine_cuts']} from {facts['smallest_bytes']:,.0f} bytes"]
        falls = [f"{fall:.3f} dB" + (f" at {facts['largest_fall_at_bpp']:.3f} bpp" if fall else "")]
        falls += [f"{own:.3f} dB" + (f" ({facts['image_of_largest_fall']})" if own else "")]
        rows.append([name, *sizes, *falls, f"{facts['share_within_near']:.0%}", times(facts["encode_s"]), times(facts["decode_s"])])
    near = next(iter(models.values()))["near_db"]
    head = ["Presage's model", "bytes of the whole file", "cuts", "largest fall of the mean PSNR from a cut to the next larger"]
    return rows_of([*head, "of an image's", f"share of the bytes within {near} dB of the whole", "encode, s", "decode, s"], rows)


def _savings(savings: Sequence[dict[str, Any]]) -> str:
    """What the prior saves."""
    rows = []
    for facts in savings:
        others = [f"{facts[f'{name}_bytes']:,.0f} ({facts[f'saved_against_{name}']:.1%})" for name in ("uniform", "independent")]
        rows.append([facts["model"], f"{facts['prior_bytes']:,.0f}", *others])
    head = ["bytes of all codes, with checks", "with the prior", "entries alike (saved)", "frequencies of each layer (saved)"]
    return rows_of(head, rows)


def _compared(compared: dict[str, Any]) -> list[str]:
    """Models at equal shares of their files, and at equal rates."""
    first, below = next(iter(compared["psnr_at_shares"])), f"{compared['below']:.0%}"
    at_shares, at_bpp = ("" if compared[key] else "not " for key in ("above_at_shares", "above_at_bpp"))
    missed = ", ".join(map(str, compared["percents_not_above"])) or "none"
    return [
        _psnr("share of its file", [f"{share:.0%}" for share in compared["shares"]], compared["psnr_at_shares"]),
        _psnr("at", [f"{rate:.3f} bpp" for rate in compared["bpp"]], compared["psnr_at_bpp"]),
        f"Below {below}, {first} is {at_shares}above at every tenth of the own files and {at_bpp}above at every equal rate. "
        f"Percents of the own files below {below} where it is not above: {missed}.",
    ]


def _psnr(title: str, heads: Sequence[str], values: Mapping[str, Sequence[float | None]]) -> str:
    return rows_of([f"PSNR, dB; {title}", *heads], [[name, *_numbers(row, "{:.2f}")] for name, row in values.items()])


def draw(result: dict[str, Any], target: Path) -> None:
    """The curves; the suffix says in which format. Raises ImportError without matplotlib."""
    figure, axes = blank((10.5, 5), 2)
    curves = {name: (curve, "-") for name, curve in result["curves"].items()}
    curves |= {name: (facts["points"], "--") for name, facts in result["recorded"].items()}
    colours = COLOURS | {name: OURS[i % len(OURS)] for i, name in enumerate(result["models"])}
    for axis, (measure, title) in zip(axes, TITLES.items(), strict=True):
        inside = []
        for name, (curve, line) in curves.items():
            points = [(p["bpp"], p[measure]) for p in curve if measure in p and SHOWN[0] <= p["bpp"] <= SHOWN[1] and p[measure] < LOSSLESS]
            if not points:
                continue
            own = name in result["models"]
            style = emphasis(own) | {"color": colours[name], "markersize": 3.5 if own else 2.5}
            label = f"{_label(result, name)}{' (a file each)' if name == 'webp' else ''}"
            axis.plot(*zip(*points, strict=True), f"o{line}", label=label, **style)
            inside += [value for _, value in points]
        axis.set(xscale="log", xlim=SHOWN, xlabel="bits a pixel that are left", ylabel=title)
        axis.set(xticks=TICKS, xticklabels=TICKS, ylim=(max(0, min(inside) - 0.5), max(inside) + 0.5))
        axis.minorticks_off()
    axes[0].legend(frameon=False)
    save(figure, target, f"One file an image, cut: means over {len(result['images'])} images")
