"""`python -m presage.bench.results [--check | --figures]`: the tables of README.md and docs/, made of bench/recorded.

In these pages a table stands between `<!-- results: begin NAME -->` and `<!-- results: end -->`; NAME is one of BLOCKS, `summary` where
there is none. --check writes nothing and names the pages that are stale; --figures draws the figures of bench/recorded as well.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..models import catalogue
from .compare.anytime_codecs import RATES
from .papers.calls import FULL
from .reports import anytime, calls, codes, lossy, recorded, tables
from .reports.tables import rows_of

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "bench" / "recorded"
BLOCK = re.compile(r"(<!-- results: begin ?(\S*) -->\n).*?(<!-- results: end -->)", re.DOTALL)
MARKER = "<!-- results: begin"
NOTHING = "Nothing is recorded.\n"
RATE = 0.3  # bits a pixel, of the summary
OF_IMAGES = ("cifar10", "cifar10-5bit", "mnist", "mnist-stochastic")
TITLES = {"presage": "**Presage**", "jxl": "JPEG XL", "avif": "AVIF", "webp": "WebP", "flif": "FLIF", "j2k": "JPEG 2000"}
TITLES |= {"png": "PNG", "jpeg": "JPEG"}
CUT = {"ordered": "Presage's ordered codes", "j2k": "JPEG 2000", "jpeg": "progressive JPEG", "flif": "FLIF"}
LOSSLESS_NAMES = {"jxl": "jxl9"}  # of the codec without loss, where it has another name
LATENT_ROWS = (FULL, "ancestral", "argmax, no noise", "fixed point, at once", "fixed point, in turn", "wavefront")


def load(name: str) -> dict[str, Any]:
    """A recorded result; empty where it is not there."""
    path = RECORDED / f"{name}.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _whole(report: Callable[[dict[str, Any]], str], name: str) -> str:
    """All tables of a recorded result."""
    result = load(name)
    return f"{report(result)}\n" if result else NOTHING


# --------------------------------------------------------------------------------------------------------- the summary


def summary() -> str:
    """One table over all codecs on Kodak, and what follows from it in words."""
    without, with_loss = load("kodak-lossless"), load("kodak-lossy")
    rows = []
    for name, title in TITLES.items():
        numbers = _lossless_numbers(without, LOSSLESS_NAMES.get(name, name)) + _lossy_numbers(with_loss, name)
        if any(number != "-" for number in numbers):
            rows.append([title, *numbers])
    head = ["", "lossless: bits per sub-pixel", "to Presage's", "encode, s", "decode, s"]
    head += ["lossy: bytes to Presage's for the same PSNR", "for the same MS-SSIM", "encode, s", "decode, s"]
    lines = [*_conditions(without, with_loss), *_slower(without, with_loss), *_beside_avif(with_loss), *_cut(load("kodak-anytime"))]
    return f"{rows_of(head, rows)}\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"


def _relative(value: float) -> str:
    return f"{100 * value:+.1f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _lossless_numbers(result: dict[str, Any], name: str) -> list[str]:
    means = result.get("mean", {})
    if name not in means:
        return ["-"] * 4
    mean = means[name]
    relative = _relative(mean["bpsp"] / means["presage"]["bpsp"] - 1) if name != "presage" and "presage" in means else ""
    return [f"{mean['bpsp']:.3f}", relative, _seconds(mean["encode_s"]), _seconds(mean["decode_s"])]


def _lossy_numbers(result: dict[str, Any], name: str) -> list[str]:
    if name not in result.get("curves", {}):
        return ["-"] * 4
    point = _near(result, name)
    return [*(_relative(v) if v else "" for v in _sizes(result, name)), _seconds(point["encode_s"]), _seconds(point["decode_s"])]


def _sizes(result: dict[str, Any], name: str) -> list[float]:
    """Bytes of a codec to Presage's, less 1, for the same PSNR and the same MS-SSIM: BD-rates the other way round. 0 for Presage."""
    return [1 / (1 + result["bd_rate"][measure].get(name, 0.0)) - 1 for measure in ("psnr", "ms_ssim_db")]


def _near(result: dict[str, Any], name: str) -> dict[str, float]:
    """The point of a codec's curve that is nearest to RATE."""
    curve: list[dict[str, float]] = result["curves"][name]
    return min(curve, key=lambda point: abs(point["bpp"] - RATE))


def _conditions(without: dict[str, Any], with_loss: dict[str, Any]) -> list[str]:
    found = [result for result in (without, with_loss) if result]
    if not found:
        return []
    cores = " and ".join(tables.threads(result["machine"]) for result in found)
    return [
        f"The {len(found[0]['images'])} Kodak images, real files; lossy sizes are BD-rates, lossy times near {RATE} bits a pixel. "
        f"Seconds an image in a running process, {found[0]['machine']['processor']}, {cores} without and with loss. JPEG XL at effort 9 "
        "and 7, WebP at its slowest setting, AVIF tuned for PSNR, FLIF recorded earlier. -: not measured."
    ]


def _slower(without: dict[str, Any], with_loss: dict[str, Any]) -> list[str]:
    parts = []
    if {"presage", "jxl9"} <= without.get("mean", {}).keys():
        own, other = (without["mean"][name]["decode_s"] for name in ("presage", "jxl9"))
        parts.append(f"{own / other:.0f} times as long as JPEG XL's without loss")
    if {"presage", "avif"} <= with_loss.get("curves", {}).keys():
        own, other = (_near(with_loss, name)["decode_s"] for name in ("presage", "avif"))
        parts.append(f"{own / other:.0f} times as long as AVIF's with loss")
    return [f"Decoding takes {' and '.join(parts)}."] if parts else []


def _beside_avif(result: dict[str, Any]) -> list[str]:
    if "avif" not in result.get("curves", {}):
        return []
    psnr, ssim = (f"{abs(v):.0%} {'smaller' if v < 0 else 'larger'}" for v in _sizes(result, "avif"))
    return [f"AVIF's files are {psnr} than Presage's for the same PSNR and {ssim} for the same MS-SSIM."]


def _cut(result: dict[str, Any]) -> list[str]:
    """Files that are cut, at RATE."""
    if not result:
        return []
    place = RATES.index(RATE)

    def shown(name: str) -> str:
        found = ((result["at_rates"][measure].get(name), pattern) for measure, pattern in (("psnr", "{:.1f} dB"), ("ms_ssim", "{:.3f}")))
        return " and ".join(pattern.format(values[place]) for values, pattern in found if values and values[place] is not None)

    peers = [f"{title} {shown(name)}" for name, title in CUT.items() if shown(name)]
    return [f"One file cut to {RATE} bits a pixel shows, in PSNR and MS-SSIM: {', '.join(peers)}."]


# ------------------------------------------------------------------------------------------------------ predictive decoding


def calls_summary() -> str:
    """A row for every model of small images."""
    results = [found for name in OF_IMAGES if (found := load(f"calls-{name}"))]
    return f"{calls.summary(results)}\n" if results else NOTHING


def latents() -> str:
    """Table 2 of the paper: the latents of CIFAR-10, one picture and 32 at a time; then the packed file."""
    results = {1: load("calls-cifar10-latent"), 32: load("calls-cifar10-latent-32")}
    if not results[1]:
        return NOTHING
    columns = [(phase, batch) for phase in ("sampling", "decoding") for batch in results if phase in results[batch]]
    rows = [[name, *(_cell(results[batch][phase].get(name)) for phase, batch in columns)] for name in LATENT_ROWS]
    table = rows_of(["latents: calls %, seconds a batch", *(f"{phase}, {batch} at a time" for phase, batch in columns)], rows)
    rest = {key: value for key, value in results[1].items() if key not in ("sampling", "decoding")}
    return f"{table}\n\n{calls.markdown(rest)}\n"


def _cell(row: dict[str, float] | None) -> str:
    return f"{100 * row['share']:.1f} ± {100 * row['share_deviation']:.1f}, {row['seconds']:.2f} s" if row else "-"


# --------------------------------------------------------------------------------------------------------------- models


def models() -> str:
    """The weights that are shipped."""
    found = [weights for weights in catalogue.available() if weights.path.parent == catalogue.PACKAGED]
    rows = [[f"`{w.name}`", w.metadata.get("about", ""), f"`{w.metadata['model']}`", f"{w.size:,}", f"`{w.hash.hex()[:8]}`"] for w in found]
    return f"{rows_of(['weights', 'what for', 'kind', 'bytes', 'hash begins'], rows)}\n"


def card(path: Path) -> str:
    """The tables of a card's section Figures, and what its heading says of them."""
    section = path.read_text().partition("## Figures")[2].partition("\n## ")[0]
    heading, *lines = section.splitlines()
    found = re.findall(r"(?:^\|.*\n)+", "\n".join(lines) + "\n", re.MULTILINE)
    return "\n".join([f"Figures{heading}:\n", *found])


# ---------------------------------------------------------------------------------------------------------------- pages

BLOCKS: dict[str, Callable[[], str]] = {
    "summary": summary,
    "lossless": partial(_whole, tables.markdown, "kodak-lossless"),
    "lossy": partial(_whole, lossy.markdown, "kodak-lossy"),
    "anytime": partial(_whole, anytime.markdown, "kodak-anytime"),
    "calls": calls_summary,
    **{f"calls-{name}": partial(_whole, calls.markdown, f"calls-{name}") for name in OF_IMAGES},
    "latents": latents,
    "codes": partial(_whole, codes.markdown, "codes-cifar10"),
    "models": models,
    **{f"card-{path.stem}": partial(card, path) for path in sorted(catalogue.PACKAGED.glob("*.md"))},
}
FIGURES: dict[str, tuple[Callable[[dict[str, Any], Path], None], str]] = {
    "kodak-lossless.png": (recorded.draw, "kodak-lossless"),
    "kodak-lossy.png": (lossy.draw, "kodak-lossy"),
    "kodak-anytime.png": (anytime.draw, "kodak-anytime"),
    "calls-cifar10.png": (calls.draw, "calls-cifar10"),
    "codes-cifar10.png": (codes.draw, "codes-cifar10"),
    "codes-samples-cifar10.png": (codes.draw_samples, "codes-cifar10"),
}


def pages(folder: Path) -> list[Path]:
    """The pages of a source folder that have tables of results."""
    found = [folder / "README.md", *sorted((folder / "docs").glob("*.md"))]
    return [page for page in found if page.exists() and MARKER in page.read_text()]


def filled(text: str) -> str:
    """A page with its blocks made anew. Raises ValueError for a block that has no end or a name that there is not."""

    def block(match: re.Match[str]) -> str:
        name = match[2] or "summary"
        if name not in BLOCKS:
            raise ValueError(f"there are no results called {name}; there are {', '.join(BLOCKS)}")
        return f"{match[1]}{BLOCKS[name]()}{match[3]}"

    found = list(BLOCK.finditer(text))
    if len(found) != text.count(MARKER) or any(MARKER in match[0][len(MARKER) :] for match in found):
        raise ValueError("a block of results has no end")
    return BLOCK.sub(block, text)


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 fine, 1 stale pages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the pages that are stale")
    parser.add_argument("--figures", action="store_true", help="draw the figures of bench/recorded as well")
    parser.add_argument("--folder", type=Path, default=ROOT, help="with README.md and docs/; by default that of this program's source")
    options = parser.parse_args(arguments)
    stale, found = 0, pages(options.folder)
    if not found:
        parser.error(f"{options.folder} has no pages with tables of results")
    for page in found:
        text = page.read_text()
        try:
            new = filled(text)
        except ValueError as error:
            parser.error(f"{page}: {error}")
        if new != text:
            stale += 1
            print(f"{page.relative_to(options.folder)}: {'stale; run python -m presage.bench.results' if options.check else 'written'}")
            if not options.check:
                page.write_text(new)
    if options.figures and not options.check:
        for name, (draw, source) in FIGURES.items():
            if result := load(source):
                draw(result, RECORDED / name)
                print(f"bench/recorded/{name}: drawn")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
