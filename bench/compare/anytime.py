"""What one file an image shows when it is cut: PSNR and MS-SSIM against the bytes that are left, for Presage and for other codecs.

Every number is of a real file, cut to real bytes and decoded.
"""

import bisect
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

import presage

from ...codec.coders.chunks import Writer
from ...codec.errors import WeightsError
from ...codec.format import container
from ...codec.paths.layers import read_codes
from ...codec.paths.reading import Reading
from ...codec.settings import Settings
from ...codec.weights import load
from ...models.ordered.exact import ExactOrdered
from .anytime_codecs import CURVE, PEERS, RATES, Anytime, budget, of_model
from .codecs import KODAK, Pixels, choose, recorded_flif
from .common import Options, Point, at_rate, distances, mean_curve, measure_folder, read_pixels, timed

MEASURES = ("bpp", "psnr", "ms_ssim", "ms_ssim_db")
TENTHS = tuple(round(tenth / 10, 1) for tenth in range(1, 11))  # shares of a model's own file
FINE = 20  # cuts of a model's file, in steps of one ratio from just after the header to the whole file
BELOW = 0.8  # share of the file up to which a model shall be above the others
NEAR = 0.1  # dB from the whole file's PSNR
SHARE_BITS = 23  # of a frequency as a weight
Values = NDArray[np.float64]
Codes = list[NDArray[np.int64]]


def run(
    folder: Path,
    names: Sequence[str],
    *,
    models: Sequence[str] = ("progressive", "ordered"),
    model_path: Sequence[Path] = (),
    **options: Unpack[Options],
) -> dict[str, Any]:
    """Measure codecs (none named: all that are installed) on the 8-bit RGB images of a folder; a dict for JSON and `reports.anytime`.

    models: Presage's, for the name `presage`; model_path: where else to look for their weights. What is raised: see `measure_folder`
    and `choose`; RuntimeError if a decoded image has another size, and what Presage raises.
    """
    chosen, notes = choose([*(of_model(name, model_path) for name in models), *PEERS], names)
    result, earlier = measure_folder(folder, (chosen, notes), _cuts, lambda entry: (entry["rates"]["0.3"] or {}).get("psnr"), **options)
    rows, described = result["images"], result["codecs"]
    recorded = {}
    if "flif" not in described and (not names or "flif" in names or "flif" in earlier.get("recorded", {})) and len(rows) == len(KODAK):
        flif = recorded_flif("kodak-flif-cut.json", {row["name"]: (row["height"], row["width"], 3) for row in rows})
        recorded = {"flif": flif} if flif else {}
    if recorded:
        result["notes"] = [note for note in notes if "flif" not in note]
        result["notes"].append("FLIF: figures recorded earlier, not measured in this run")
    entries = {name: [row["codecs"][name] for row in rows] for name in described}
    ours = [codec.name for codec in chosen if codec.model]
    ours += [name for name in earlier.get("models", {}) if name not in ours]
    files, threads = [folder / row["name"] for row in rows], result["machine"]["threads"]
    ordered = [codec.name for codec in chosen if codec.model and _ordered(codec.name, model_path)]
    savings = [_savings(files, name, threads, model_path) for name in ordered]
    result |= {
        "recorded": recorded,
        "curves": {name: _curve(of_images) for name, of_images in entries.items()},
        "at_rates": _at_rates(entries, recorded),
        "reached": {
            name: [sum(entry["rates"][str(rate)] is not None for entry in of_images) for rate in RATES]
            for name, of_images in entries.items()
        },
        "models": {name: _of_model(entries[name], [row["name"] for row in rows]) for name in ours},
        "savings": savings or earlier.get("savings", []),
    }
    return result | ({"models_compared": _compared({name: entries[name] for name in ours})} if len(ours) > 1 else {})


# --------------------------------------------------------------------------------------------------------- measuring


def _cuts(codec: Anytime, pixels: Pixels, threads: int) -> dict[str, Any]:
    """One file, cut at every rate; for a model of Presage also at every tenth and finely. A point is None where nothing is left."""
    source, encode_s = timed(codec.encode, pixels, threads)
    whole = None if codec.endless else len(source)
    rates = {str(rate): budget(pixels, rate) for rate in (RATES if codec.model else CURVE)}
    tenths: list[int] = []
    fine: list[int] = []
    if codec.model and whole is not None:
        tenths = [int(share * whole) for share in TENTHS]
        fine = np.geomspace(_smallest(partial(codec.cut, source), whole), whole, FINE).round().astype(int).tolist()
    files: dict[int, bytes | None] = {}
    for size in {*rates.values(), *tenths, *fine, *([] if whole is None else [whole])}:
        files[size] = data = codec.cut(source, size)
        if data is not None and len(data) > size:
            raise RuntimeError(f"{codec.name} leaves {len(data)} bytes where {size} were asked for")
    by_length = {len(data): data for data in files.values() if data is not None}
    lengths = sorted(by_length)
    cuts = codec.decode_all(source, lengths, threads) if codec.decode_all else [codec.decode(by_length[n], threads) for n in lengths]
    decoded = dict(zip(lengths, cuts, strict=True))
    if wrong := [shown.shape for shown in decoded.values() if shown.shape != pixels.shape]:
        raise RuntimeError(f"{codec.name} gives back {wrong[0]} instead of {pixels.shape}")
    points = {length: distances(pixels, shown, length) for length, shown in decoded.items()}

    def at(size: int) -> Point | None:
        data = files[size]
        return None if data is None else points[len(data)]

    entry: dict[str, Any] = {"encode_s": encode_s, "rates": {rate: at(size) for rate, size in rates.items()}}
    entry["whole"] = None if whole is None else at(whole)
    if fine and whole is not None:
        alone, decode_s = timed(codec.decode, by_length[whole], threads)
        if not np.array_equal(alone, decoded[whole]):
            raise RuntimeError(f"{codec.name} decodes all cuts together to other pixels than one")
        entry |= {"tenths": [at(size) for size in tenths], "fine": [at(size) for size in fine], "decode_s": decode_s}
    return entry


def _smallest(cut: Callable[[int], bytes | None], whole: int) -> int:
    """The fewest bytes to which a file can be cut."""
    return 1 + bisect.bisect_left(range(1, whole), True, key=lambda size: cut(size) is not None)


# ------------------------------------------------------------------------------------------------- means over images


def _mean(points: Sequence[Point | None]) -> Point | None:
    """The mean over images; None unless all of them have the point."""
    complete = [[point] for point in points if point is not None]
    return mean_curve(complete)[0] if len(complete) == len(points) else None


def _curve(entries: Sequence[dict[str, Any]]) -> list[Point]:
    """Means at every cut, by bytes."""
    if "fine" in entries[0]:
        return [point for points in zip(*(entry["fine"] for entry in entries), strict=True) if (point := _mean(points))]
    means = [_mean([entry["rates"][str(rate)] for entry in entries]) for rate in CURVE]
    whole = _mean([entry["whole"] for entry in entries])
    cut = [point for point in means if point and not (whole and point["bytes"] >= whole["bytes"])]
    return [*cut, whole] if whole else cut


def _at_rates(entries: dict[str, list[dict[str, Any]]], recorded: dict[str, Any]) -> dict[str, dict[str, list[float | None]]]:
    """By measure and codec: means at RATES and of whole files; None where there is none. bpp: what was really spent."""
    table: dict[str, dict[str, list[float | None]]] = {measure: {} for measure in MEASURES}
    for name, of_images in entries.items():
        points = [_mean([entry["rates"][str(rate)] for entry in of_images]) for rate in RATES]
        points.append(_mean([entry["whole"] for entry in of_images]))
        for measure in MEASURES:
            table[measure][name] = [point[measure] if point else None for point in points]
    for name, facts in recorded.items():
        table["psnr"][name] = [*_plain([at_rate(facts["points"], rate, "psnr") for rate in RATES]), None]
    return table


# -------------------------------------------------------------------------------------------------- Presage's models


def _of_model(entries: Sequence[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """Whether more bytes show more: the largest fall of the mean PSNR (and of an image's) from one fine cut to the next, dB; from
    which share of the file on the mean PSNR is within NEAR of the whole file's.
    """
    fine, whole = _curve(entries), fmean(entry["whole"]["psnr"] for entry in entries)
    falls = [before["psnr"] - after["psnr"] for before, after in pairwise(fine)]
    worst = int(np.argmax(falls))
    of_images = [max(before["psnr"] - after["psnr"] for before, after in pairwise(entry["fine"])) for entry in entries]
    far = np.flatnonzero(_percents(entries) < whole - NEAR)
    return {
        "whole": _mean([entry["whole"] for entry in entries]),
        "tenths": [_mean([entry["tenths"][i] for entry in entries]) for i in range(len(TENTHS))],
        "fine_cuts": len(fine),
        "smallest_bytes": fine[0]["bytes"],
        "largest_fall_db": max(0.0, falls[worst]),
        "largest_fall_at_bpp": fine[worst]["bpp"] if falls[worst] > 0 else None,
        "largest_fall_of_an_image_db": max(0.0, max(of_images)),
        "image_of_largest_fall": names[int(np.argmax(of_images))] if max(of_images) > 0 else None,
        "share_within_near": float(far[-1] + 2) / 100 if len(far) else 0.01,
        "near_db": NEAR,
        "encode_s": fmean(entry["encode_s"] for entry in entries),
        "decode_s": fmean(entry["decode_s"] for entry in entries),
    }


def _mean_psnr(entries: Sequence[dict[str, Any]], sizes: Callable[[Point], Values]) -> Values:
    """Mean PSNR of a model's files cut to `sizes(whole)` bytes, between its cuts straight in the logarithm of the bytes; NaN below the
    smallest.
    """
    of_images = []
    for entry in entries:
        points = [*entry["rates"].values(), *entry["tenths"], *entry["fine"]]
        by_size = dict(sorted((point["bytes"], point["psnr"]) for point in points if point is not None))
        of_images.append(np.interp(np.log(sizes(entry["whole"])), np.log(list(by_size)), list(by_size.values()), left=np.nan))
    mean: Values = np.stack(of_images).mean(0)
    return mean


def _percents(entries: Sequence[dict[str, Any]]) -> Values:
    """Mean PSNR at 1, 2, ... 100 percent of every image's own file."""
    return _mean_psnr(entries, lambda whole: np.arange(1, 101) / 100 * whole["bytes"])


def _compared(entries: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Mean PSNR of several models at the same shares of their own files, and at the same bits a pixel (tenths of the mean rate of the
    first one's whole files); and whether the first is above all others wherever less than BELOW of the file is left.
    """
    rates = np.array(TENTHS) * fmean(entry["whole"]["bpp"] for entry in next(iter(entries.values())))
    percents = {name: _percents(of_images) for name, of_images in entries.items()}
    tenths = {name: values[9::10] for name, values in percents.items()}
    at_bpp = partial(_mean_psnr, sizes=lambda whole: rates * whole["bytes"] / whole["bpp"])
    same_rate = {name: at_bpp(of_images) for name, of_images in entries.items()}
    below = np.array(TENTHS) < BELOW
    return {
        "below": BELOW,
        "shares": list(TENTHS),
        "psnr_at_shares": {name: _plain(values) for name, values in tenths.items()},
        "bpp": rates.tolist(),
        "psnr_at_bpp": {name: _plain(values) for name, values in same_rate.items()},
        "above_at_shares": bool(_above(tenths)[below].all()),
        "above_at_bpp": bool(_above(same_rate)[below].all()),
        "percents_not_above": [i for i, above in enumerate(_above(percents), 1) if i / 100 < BELOW and not above],
    }


def _above(psnr: dict[str, Values]) -> NDArray[np.bool_]:
    """Where the first is above all others; where one shows nothing yet, nobody is."""
    first, *others = psnr.values()
    above: NDArray[np.bool_] = np.logical_and.reduce([(first > other) | np.isnan(first) | np.isnan(other) for other in others])
    return above


def _plain(values: Sequence[float] | Values) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


# --------------------------------------------------------------------------------------------- the prior of ordered codes


def _ordered(model: str, model_path: Sequence[Path]) -> bool:
    """Whether a model is one of ordered codes."""
    try:
        return isinstance(load(model, Settings(model_path=model_path)).model, ExactOrdered)
    except WeightsError:
        return False


def _savings(paths: Sequence[Path], model: str, threads: int, model_path: Sequence[Path] = ()) -> dict[str, Any]:
    """What the Transformer prior saves: mean bytes of the ordered codes of images as they are in files, and of the same chunks with their
    checks, by the same range coder, with other weights: all entries alike, or the frequencies of the entries in each layer. These are
    counted on the very images that are measured, which favours them. Raises ValueError for a model without ordered codes.
    """
    settings = Settings(threads=threads, model_path=model_path)
    network = load(model, settings).model
    if not isinstance(network, ExactOrdered):
        raise ValueError(f"the model {model} has no ordered codes")
    sizes: list[int] = []
    every: list[Codes] = []
    for path in paths:
        data = presage.encode_lossy(read_pixels(path), model=model, threads=threads, model_path=model_path)
        header = container.read_header(data)
        section = header.section(container.Tag.CODES)
        assert section is not None
        sizes.append(section.size)
        every.append(read_codes(Reading(data, header, False, settings), network, None)[0])
    entries, layers = network.config.entries, network.config.count
    uniform = np.ones((layers, entries), np.float32)
    independent = np.stack([_frequencies([codes[layer] for codes in every], entries) for layer in range(layers)])
    prior = fmean(sizes)
    savings: dict[str, Any] = {"model": model, "images": len(paths), "prior_bytes": prior}
    for name, weights in (("uniform", uniform), ("independent", independent)):
        other = fmean(_size(codes, weights) for codes in every)
        savings |= {f"{name}_bytes": other, f"saved_against_{name}": 1 - prior / other}
    return savings


def _frequencies(codes: Codes, entries: int) -> NDArray[np.float32]:
    """How often each entry is used, as a weight of at least 1."""
    counts = np.bincount(np.concatenate(codes), minlength=entries).astype(np.float64)
    weights: NDArray[np.float32] = (1 + np.floor(counts / counts.sum() * ((1 << SHARE_BITS) - entries))).astype(np.float32)
    return weights


def _size(codes: Codes, weights: NDArray[np.float32]) -> int:
    """Bytes of the chunks of codes with weights (layers, entries)."""
    writer = Writer()
    for layer, chosen in enumerate(codes):
        for part in np.array_split(chosen, -(-len(chosen) // 4096)):
            writer.add(part, np.broadcast_to(weights[layer], (len(part), weights.shape[1])))
    return len(writer.finish())
