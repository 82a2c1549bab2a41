"""`python docs/results.py [--check | --figures]`: the tables of README.md and docs/, made of bench/recorded.

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

from presage.bench.compare.anytime_codecs import RATES
from presage.bench.reports import absorbing, anytime, calls, codes, families, jpeg, lossless, lossy, origins
from presage.bench.reports.layout import bullets, nearest, number, relative, rows_of, threads
from presage.models import catalogue

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "bench" / "recorded"
BLOCK = re.compile(r"(<!-- results: begin ?(\S*) -->\n).*?(<!-- results: end -->)", re.DOTALL)
MARKER = "<!-- results: begin"
DRAWN = ("lossless", "lossy", "anytime", "calls-cifar10", "codes", "families")
NOTHING = "Nothing is recorded.\n"
RATE = 0.3  # bits a pixel, of the summary
OF_IMAGES = ("cifar10", "cifar10-5bit", "mnist", "mnist-stochastic")
TITLES = {
    "presage": "**Presage**",
    "presage-rgb": "Presage, RGB pixels alone",
    "jxl": "JPEG XL",
    "avif": "AVIF",
    "avif444": "AVIF, 4:4:4",
    "heic": "HEIC",
    "webp": "WebP",
    "flif": "FLIF",
    "j2k": "JPEG 2000",
}
TITLES |= {"png": "PNG", "jpeg": "JPEG"}
CUT = {
    "progressive": "Presage's digits of latents",
    "ordered": "Presage's ordered codes",
    "j2k": "JPEG 2000",
    "jpeg": "progressive JPEG",
    "flif": "FLIF",
}
MEASURES = {"psnr": "{:.1f} dB", "ms_ssim": "{:.3f}"}
LOSSLESS_NAMES = {"jxl": "jxl9"}  # of the codec without loss, where it has another name


def load(name: str) -> dict[str, Any]:
    """A recorded result; empty where it is not there."""
    path = RECORDED / f"{name}.json"
    result: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return result


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
        numbers = _lossless_numbers(without.get("mean", {}), LOSSLESS_NAMES.get(name, name)) + _lossy_numbers(with_loss, name)
        if any(number != "-" for number in numbers):
            rows.append([title, *numbers])
    head = ["", "lossless: bits per sub-pixel", "to Presage's", "encode, s", "decode, s"]
    head += ["lossy: bytes to Presage's for the same PSNR", "for the same MS-SSIM", "encode, s", "decode, s"]
    remarks = _remarks(without, with_loss, load("kodak-anytime"))
    return f"{rows_of(head, rows)}\n\n{bullets(remarks)}\n"


def _seconds(point: dict[str, float]) -> list[str]:
    values = [point["encode_s"], point["decode_s"]]
    return [number("{:.3f}" if value and value < 0.1 else "{:.2f}", value) for value in values]


def _lossless_numbers(means: dict[str, Any], name: str) -> list[str]:
    if name not in means:
        return ["-"] * 4
    bpsp = means[name]["bpsp"]
    more = relative(bpsp / means["presage"]["bpsp"] - 1) if name != "presage" and "presage" in means else ""
    return [f"{bpsp:.3f}", more, *_seconds(means[name])]


def _lossy_numbers(result: dict[str, Any], name: str) -> list[str]:
    if name not in result.get("curves", {}):
        return ["-"] * 4
    return [*(relative(v) if v else "" for v in _sizes(result, name)), *_seconds(nearest(result["curves"][name], RATE))]


def _sizes(result: dict[str, Any], name: str) -> list[float]:
    """Bytes of a codec to Presage's, less 1, for the same PSNR and the same MS-SSIM: BD-rates the other way round. 0 for Presage."""
    return [1 / (1 + result["bd_rate"][measure].get(name, 0.0)) - 1 for measure in ("psnr", "ms_ssim_db")]


def _remarks(without: dict[str, Any], with_loss: dict[str, Any], cut: dict[str, Any]) -> list[str]:
    """What is recorded, in words: conditions, how slow decoding is, AVIF beside Presage, and files that are cut to RATE."""
    remarks = []
    if results := {way: result for way, result in (("without", without), ("with", with_loss)) if result}:
        count = len(next(iter(results.values()))["images"])
        on = (f"{way} loss {threads(result['machine'])} of {result['machine']['processor']}" for way, result in results.items())
        remarks.append(
            f"The {count} Kodak images, real files; lossy sizes are BD-rates, lossy times near {RATE} bits a pixel. "
            f"Seconds an image in a running process, {', '.join(on)}. JPEG XL at effort 9 and 7, WebP at its slowest setting, AVIF tuned "
            "for PSNR, FLIF recorded earlier. -: not measured."
        )
    points = {name: nearest(curve, RATE) for name, curve in with_loss.get("curves", {}).items()}
    slower = []
    for seconds, peer, words in ((without.get("mean", {}), "jxl9", "JPEG XL's without"), (points, "avif", "AVIF's with")):
        if {"presage", peer} <= seconds.keys():
            slower.append(f"{seconds['presage']['decode_s'] / seconds[peer]['decode_s']:.0f} times as long as {words} loss")
    if slower:
        remarks.append(f"Decoding takes {' and '.join(slower)}.")
    if "avif" in points:
        psnr, ssim = (f"{abs(v):.0%} {'smaller' if v < 0 else 'larger'}" for v in _sizes(with_loss, "avif"))
        remarks.append(f"AVIF's files are {psnr} than Presage's for the same PSNR and {ssim} for the same MS-SSIM.")
    if cut:
        peers = []
        for name, title in CUT.items():
            values = [(cut["at_rates"][measure].get(name), pattern) for measure, pattern in MEASURES.items()]
            shown = [pattern.format(at[RATES.index(RATE)]) for at, pattern in values if at and at[RATES.index(RATE)] is not None]
            peers += [f"{title} {' and '.join(shown)}"] if shown else []
        remarks.append(f"One file cut to {RATE} bits a pixel shows, in PSNR and MS-SSIM: {', '.join(peers)}.")
    return remarks


# ------------------------------------------------------------------------------------------------------ predictive decoding


def calls_summary() -> str:
    """A row for every model of small images."""
    results = [result for name in OF_IMAGES if (result := load(f"calls-{name}"))]
    return f"{calls.summary(results)}\n" if results else NOTHING


def latents() -> str:
    """The latents of CIFAR-10, one picture and 32 at a time."""
    results = {1: load("calls-cifar10-latent"), 32: load("calls-cifar10-latent-32")}
    return f"{calls.of_latents(results)}\n" if results[1] else NOTHING


# --------------------------------------------------------------------------------------------------------------- models


def models() -> str:
    """The weights that are shipped."""
    rows = []
    for weights in catalogue.available():
        if weights.path.parent == catalogue.PACKAGED:
            facts = [f"`{weights.metadata['model']}`", f"{weights.size:,}", f"`{weights.hash.hex()[:8]}`"]
            rows.append([f"`{weights.name}`", weights.metadata.get("about", ""), *facts])
    return f"{rows_of(['weights', 'what for', 'kind', 'bytes', 'hash begins'], rows)}\n"


def card(path: Path) -> str:
    """The tables of a card's section Figures, and what its heading says of them."""
    section = path.read_text().partition("## Figures")[2].partition("\n## ")[0]
    heading, *lines = section.splitlines()
    tables = re.findall(r"(?:^\|.*\n)+", "\n".join(lines) + "\n", re.MULTILINE)
    return "\n".join([f"Figures{heading}:\n", *tables])


# ---------------------------------------------------------------------------------------------------------------- pages

REPORTS: dict[str, tuple[Any, str]] = {
    "lossless": (lossless, "kodak-lossless"),
    "lossy": (lossy, "kodak-lossy"),
    "anytime": (anytime, "kodak-anytime"),
    "jpeg": (jpeg, "jpeg-camera"),
    "jpeg-train": (jpeg, "jpeg-train"),
    "jpeg-odd": (jpeg, "jpeg-odd"),
    "origins": (origins, "held-out"),
    "recognised": (origins, "recognised"),
    "codes": (codes, "codes-cifar10"),
    "families": (families, "families"),
    "absorbing": (absorbing, "absorbing"),
    **{f"calls-{name}": (calls, f"calls-{name}") for name in OF_IMAGES},
}
"""Module of the report, and what is recorded for it."""
BLOCKS: dict[str, Callable[[], str]] = {
    "summary": summary,
    **{name: partial(_whole, report.markdown, recorded) for name, (report, recorded) in REPORTS.items()},
    "calls": calls_summary,
    "latents": latents,
    "models": models,
    **{f"card-{path.stem}": partial(card, path) for path in sorted(catalogue.PACKAGED.glob("*.md"))},
}
FIGURES = {f"{recorded}.png": (report.draw, recorded) for name, (report, recorded) in REPORTS.items() if name in DRAWN}
FIGURES["codes-samples-cifar10.png"] = (codes.draw_samples, "codes-cifar10")


def pages(folder: Path) -> list[Path]:
    """The pages of a source folder that have tables of results."""
    every = [folder / "README.md", *sorted((folder / "docs").glob("*.md"))]
    return [page for page in every if page.exists() and MARKER in page.read_text()]


def filled(text: str) -> str:
    """A page with its blocks made anew. Raises ValueError for a block that has no end or a name that there is not."""

    def block(match: re.Match[str]) -> str:
        name = match[2] or "summary"
        if name not in BLOCKS:
            raise ValueError(f"there are no results called {name}; there are {', '.join(BLOCKS)}")
        return f"{match[1]}{BLOCKS[name]()}{match[3]}"

    blocks = list(BLOCK.finditer(text))
    if len(blocks) != text.count(MARKER) or any(MARKER in match[0][len(MARKER) :] for match in blocks):
        raise ValueError("a block of results has no end")
    return BLOCK.sub(block, text)


def main(arguments: Sequence[str]) -> int:
    """Exit code: 0 fine, 1 stale pages."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the pages that are stale")
    parser.add_argument("--figures", action="store_true", help="draw the figures of bench/recorded as well")
    parser.add_argument("--folder", type=Path, default=ROOT, help="with README.md and docs/; by default that of this program's source")
    options = parser.parse_args(arguments)
    stale, with_tables = 0, pages(options.folder)
    if not with_tables:
        parser.error(f"{options.folder} has no pages with tables of results")
    for page in with_tables:
        text = page.read_text()
        try:
            new = filled(text)
        except ValueError as error:
            parser.error(f"{page}: {error}")
        if new != text:
            stale += 1
            print(f"{page.relative_to(options.folder)}: {'stale; run python docs/results.py' if options.check else 'written'}")
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
