"""Tables and figures of what `codes.run` measured."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..papers.ablations_train import BASE, GEOMETRIC, MAIN, TAILORED
from ..papers.codes import SHARES, TOLERANCE, importance, linearity
from .layout import OWN, PEER, blank, rows_of, save

COLOURS = {"ordered": OWN, "unordered": PEER, "pca": "#15803d"}
FAINT = {"vae-ordered": "#f59e0b", "vae-unordered": "#60a5fa", "spatial": "#a855f7"}
TITLES = {
    "ordered": "ordered VQ-VAE",
    "unordered": "unordered VQ-VAE",
    "pca": "PCA",
    "spatial": "ordered VQ-VAE, places as codes",
    "vae-ordered": "ordered VAE",
    "vae-unordered": "VAE",
    BASE: "base: ordered, uniform cuts, Transformer",
    "lstm": "LSTM",
    "pixelcnn": "PixelCNN, 9 x 9",
}
COMPARED = (0.2, 0.4, 0.6, 0.8, 1.0)
ABLATIONS = {
    "C.2, priors at the same training budget": (BASE, "lstm", "pixelcnn"),
    "C.3, where training cuts": (BASE, *GEOMETRIC),
}


def title(name: str) -> str:
    """What a network is called in tables."""
    if name in GEOMETRIC:
        return f"cuts geometric, {GEOMETRIC[name]}"
    return f"{TAILORED[name]} codes from the start" if name in TAILORED else TITLES[name]


def markdown(result: dict[str, Any]) -> str:
    """All tables of a result, with what has to be known to read them."""
    parts = [
        f"CIFAR-10: {result['training_pictures']:,} training and {result['test_pictures']:,} test pictures; "
        f"one thread of {result['processor']}. Ablations have {result['ablation_steps']:,} steps of an autoencoder after the common "
        f"pre-training and {result['ablation_prior_steps']:,} of a prior, `base` as well; the ordered and the unordered VQ-VAE have more."
    ]
    if "curves" in result:
        parts += [f"Errors of {result['curve_pictures']:,} test pictures:", _curves(result["curves"]), _importance(result["curves"])]
    if "bits" in result:
        parts.append(_bits(result["bits"]))
    if "samples" in result:
        feature, samples = result["features"], result["samples"]
        parts.append(
            "Feature distance: Fréchet distance of features that tell right angles apart "
            f"({feature['accuracy']:.1%} right). This is **not** the Inception distance (FID). "
            f"{samples['count']:,} samples (ablations: half as many) against {feature['reference_pictures']:,} training pictures; "
            f"the floor, that of the {result['test_pictures']:,} test pictures, is {feature['floor']:.2f}."
        )
        parts += [_distances(samples), _times(samples)]
        for head, names in ABLATIONS.items():
            if any(name in samples for name in names[1:]):
                parts.append(_ablation(head, names, result))
        if any(name in samples for name in TAILORED):
            parts.append(_tailored(samples))
    if "exact" in result:
        exact = result["exact"]
        text = f"{exact['model']}, exact: processor time for {exact['count']} samples, decoding included"
        row = ["seconds at a number of codes", *_two(exact["seconds"]), _line(exact["seconds"])]
        parts.append(rows_of([text, *map(str, exact["lengths"]), "from a straight line"], [row]))
    return "\n\n".join(parts)


def _two(values: Sequence[float]) -> list[str]:
    """With two digits."""
    return [f"{value:.2f}" for value in values]


def _percents(shares: Sequence[float]) -> list[str]:
    return [f"{share:.0%}" for share in shares]


def _line(seconds: Sequence[float]) -> str:
    explained, farthest = linearity(seconds)
    return f"R² {explained:.4f}, within {farthest:.1%}"


def _curves(curves: dict[str, Any]) -> str:
    shares = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
    rows = []
    for name, c in curves.items():
        lengths = [round(share * c["codes"]) for share in shares]
        rows.append([title(name), str(c["codes"]), *(f"{c['error'][i]:.1f} / {c['psnr'][i]:.2f}" for i in lengths)])
    return rows_of(["squared error of a picture / PSNR in dB", "codes", *(f"{s} of the codes" for s in _percents(shares))], rows)


def _importance(curves: dict[str, Any]) -> str:
    rows = []
    for name, curve in curves.items():
        delta = importance(curve["error"])
        quarters = [delta[i * len(delta) // 4 : (i + 1) * len(delta) // 4].sum() / delta.sum() for i in range(4)]
        falls = float((np.diff(delta) <= 0).mean())
        rows.append([title(name), *(f"{q:.1%}" for q in quarters), f"{falls:.0%}", f"{int((delta < 0).sum())}"])
    head = ["share of the gain, by quarters of the codes", "1st", "2nd", "3rd", "4th", "codes that gain less than the one before"]
    return rows_of([*head, "codes that make it worse"], rows)


def _bits(bits: dict[str, Any]) -> str:
    rows = []
    for name, row in bits.items():
        lengths = [f"{row[key]:.3f}" for key in ("mean", "independent", "even")]
        rows.append([title(name), f"{row['codes']}", f"{row['parameters'] / 1e6:.2f} M", *lengths, f"{row['used']:.0f}"])
    head = ["bits a code, test pictures", "codes", "parameters", "with the prior", "by each place's frequencies", "evenly"]
    return rows_of([*head, "entries in use (2^entropy)"], rows)


def _distances(samples: dict[str, Any]) -> str:
    rows = []
    for name in MAIN:
        row = samples[name]
        least = SHARES[int(np.argmin(row["distance"]))]
        rows.append([f"{title(name)}, samples", *_two(row["distance"]), *_percents([row["enough"], least])])
        rows.append([f"{title(name)}, test pictures decoded", *_two(row["reconstruction"]), "", ""])
    head = ["feature distance at a share of the codes", *_percents(SHARES)]
    return rows_of([*head, f"as good as all, within {TOLERANCE - 1:.0%}, from", "least at"], rows)


def _times(samples: dict[str, Any]) -> str:
    rows = []
    for name in MAIN:
        row = samples[name]
        seconds = [row["seconds"][length - 1] for length in row["lengths"]]
        rows.append([f"{title(name)}, codes", *_two(seconds), _line(row["seconds"])])
        rows.append([f"{title(name)}, decoding", *_two(row["decode_seconds"]), ""])
    head = f"seconds of processor time for {samples['count']:,} samples, {samples['batch']} at once"
    return rows_of([head, *_percents(SHARES), "from a straight line"], rows)


def _ablation(head: str, names: Sequence[str], result: dict[str, Any]) -> str:
    samples, bits = result["samples"], result.get("bits", {})
    rows = []
    for name in names:
        if name in samples:
            distances = [samples[name]["distance"][SHARES.index(share)] for share in COMPARED]
            mean = f"{bits[name]['mean']:.3f}" if name in bits else ""
            rows.append([title(name), *_two(distances), mean, f"{samples[name]['seconds'][-1]:.1f}"])
    return rows_of([head, *_percents(COMPARED), "bits a code", "seconds for all codes"], rows)


def _tailored(samples: dict[str, Any]) -> str:
    whole, rows = samples[BASE], []
    for row in (samples[name] for name in TAILORED if name in samples):
        at = whole["lengths"].index(row["codes"])
        rows.append([f"{row['codes']}", *_two([row["distance"][-1], whole["distance"][at]])])
    rows.append([f"{whole['codes']}", "", *_two(whole["distance"][-1:])])
    return rows_of(["C.5, feature distance at a number of codes", "a VQ-VAE with so many", "ordered codes, cut"], rows)


def draw(result: dict[str, Any], target: Path) -> None:
    """Figure 3, and beside it those of other codes: importance, and error against the share of the codes."""
    curves = result["curves"]
    figure, axes = blank((13.5, 4.4), 3)
    for name, colour in COLOURS.items():
        delta = importance(curves[name]["error"])
        axes[0].plot(range(1, len(delta) + 1), delta, ".-", color=colour, label=title(name), linewidth=1)
        axes[1].plot(range(1, len(delta) + 1), curves[name]["error"][1:], color=colour, label=title(name))
        axes[2].plot(np.linspace(0, 100, len(delta) + 1)[1:], curves[name]["psnr"][1:], color=colour, label=title(name))
    for name, colour in FAINT.items():
        if name in curves:
            psnr = curves[name]["psnr"]
            axes[2].plot(np.linspace(0, 100, len(psnr))[1:], psnr[1:], "--", color=colour, label=title(name))
    axes[0].set_yscale("symlog", linthresh=0.1)
    axes[1].set_yscale("log")
    labels = ("importance of the i-th code, Δ(i)", "squared error of a picture, log scale", "PSNR, dB")
    for axis, label in zip(axes, labels, strict=True):
        axis.set(ylabel=label, xlabel="% of the codes" if axis is axes[2] else "code")
        axis.legend(frameon=False, fontsize=8)
    save(figure, target, f"Codes of {result['curve_pictures']:,} CIFAR-10 test pictures")


def draw_samples(result: dict[str, Any], target: Path) -> None:
    """Figure 4: feature distance and sampling time against the share of the codes."""
    samples = result["samples"]
    figure, axes = blank((9.5, 4.2), 2)
    shares = [100 * s for s in SHARES]
    for name in MAIN:
        row, colour = samples[name], COLOURS[name]
        axes[0].plot(shares, row["distance"], "o-", color=colour, label=title(name))
        axes[0].plot(shares, row["reconstruction"], ":", color=colour, label=f"{title(name)}, test pictures decoded")
        axes[1].plot(np.linspace(0, 100, len(row["seconds"]) + 1)[1:], row["seconds"], color=colour, label=f"{title(name)}, codes")
        axes[1].plot(shares, row["decode_seconds"], ":", color=colour, label=f"{title(name)}, decoding")
    if "exact" in result:
        exact = result["exact"]
        scale = samples["count"] / exact["count"]
        percents = [100 * length / exact["lengths"][-1] for length in exact["lengths"]]
        style = {"color": OWN, "markersize": 4, "label": "ordered, exact integers, with decoding"}
        axes[1].plot(percents, [scale * t for t in exact["seconds"]], "s--", **style)
    axes[0].axhline(result["features"]["floor"], color="#888888", linewidth=0.8, label="test pictures themselves")
    axes[0].set(yscale="log", ylim=(0.03, None), ylabel="feature distance (not Inception), log scale")  # room for the legend
    axes[1].set(ylabel=f"processor seconds for {samples['count']:,} samples", ylim=(0, None))
    for axis in axes:
        axis.set_xlabel("% of the codes")
        axis.legend(frameon=False, fontsize=8)
    save(figure, target)
