"""What an order of codes is good for: the figures and ablations of Xu et al. (2021) on CIFAR-10, with this project's networks.

How much each code matters and the error after so many codes (Figures 3 and 7), the quality of samples and the time that they take
against the number of codes (Figure 4), and the ablations of appendix C.2 (priors), C.3 (cuts) and C.5 (fewer codes from the
start). Networks are the checkpoints of run files and of `ablations_train.py` in one folder; what is missing there is left out.
Quality is the feature distance of `features.py`, which is not the Inception distance of the paper.
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...codec.predictive.sampling import draw_pictures
from ...codec.settings import Settings
from ...codec.weights import load
from ...models.ordered.exact import ExactOrdered
from ...models.training.data import Pixels
from ..compare.common import Log, processor, timed
from . import ablations_train as trained
from . import features, priors
from .ablations import Channels, Coder, Components, training_pictures
from .ablations_train import MAIN
from .features import Features

SHARES = tuple(i / 10 for i in range(1, 11))  # of the codes, where the distance is measured
SHOWN = (0.25, 0.5, 0.75, 1.0)  # of the codes, in the grid of samples
COLUMNS = 16  # samples of the grid
BATCH = 100  # pictures that are sampled at once, as in the paper
TURNS = 3
TOLERANCE = 1.05  # a distance that is so many times that with all codes is as good
PARTS = ("curves", "bits", "samples")
T = TypeVar("T")
Grids = dict[str, list[Pixels]]
"""Samples (n, 32, 32, 3) at each of SHOWN, by the name of the prior."""


def run(
    data: Sequence[Path],
    folder: Path,
    samples: int,
    limit: int,
    parts: Sequence[str],
    weights: Path | None,
    log: Log,
    beside: Path | None = None,
    model: str = "",
    grid: Path | None = None,
) -> dict[str, Any]:
    """Measure the checkpoints in a folder. data: mosaics of test pictures. samples: of each prior, half as many of ablations. limit: test
    pictures of the error curves; 0: all. parts: of PARTS; by default all. weights: of the network of the feature distance, if not those
    recorded. beside: an earlier result of the same pictures and numbers; what it has is taken over. model: weights whose exact sampler
    is timed as well, here or in the folder. grid: a picture of samples.

    Raises ValueError and FileNotFoundError where pictures or `cifar10-ordered` and `cifar10-unordered` are missing.
    """
    chosen = parts or PARTS
    if set(chosen) - set(PARTS):
        raise ValueError(f"parts are {', '.join(PARTS)}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        test = features.read_pictures(data)
        training = np.stack(training_pictures(trained.FULL).training)
        coders = {name: trained.load_coder(name, folder) for name in MAIN}
        coders |= _present({name: partial(trained.load_coder, name, folder) for name in trained.AUTOENCODERS})
        result: dict[str, Any] = json.loads(beside.read_text()) if beside else {}
        result |= {
            "processor": processor(),
            "threads": 1,
            "cores": os.cpu_count(),
            "test_pictures": len(test),
            "training_pictures": len(training),
            "ablation_steps": trained.STEPS,
            "ablation_prior_steps": trained.PRIOR_STEPS,
        }
        grids: Grids = {}
        if "curves" in chosen:
            curves = result.setdefault("curves", {})
            result["curve_pictures"] = len(test[: limit or None])
            for name in ("pca", *coders):
                if name not in curves:
                    coder = coders[name] if name in coders else Components(training, coders["ordered"].count)
                    curves[name] = curve(coder, test[: limit or None])
                    log(f"{name}: PSNR with all codes {curves[name]['psnr'][-1]:.2f} dB")
        over = {name: coders.get(trained.coder_of(name)) for name in (*MAIN, *trained.PRIORS)}
        channels = {name: coder for name, coder in over.items() if isinstance(coder, Channels)}
        loaded = _present({name: partial(trained.load_prior, name, folder, coder) for name, coder in channels.items()})
        if "bits" in chosen:
            bits = result.setdefault("bits", {})
            for name in [name for name in loaded if name not in bits]:
                count = sum(p.numel() for p in loaded[name].network.parameters())
                bits[name] = row = {"parameters": count} | code_lengths(loaded[name], channels[name], training, test)
                log(f"{name}: {row['mean']:.3f} bits a code, by its own frequencies {row['independent']:.3f}, evenly {row['even']:.3f}")
        if "samples" in chosen:
            network, accuracy = features.load(weights or features.RECORDED)
            yardstick = features.Yardstick(network, training[::2])
            floor = yardstick.distance(test)
            result["features"] = {"accuracy": accuracy, "reference_pictures": len(training[::2]), "floor": floor}
            log(f"feature distance of {len(test)} test pictures from {len(training[::2])} training pictures: {floor:.3f}")
            rows = result.setdefault("samples", {"count": samples, "batch": BATCH})
            for name in [name for name in loaded if name not in rows]:
                real, count = (trained.symbols_of(channels[name], test), samples) if name in MAIN else (None, max(2, samples // 2))
                rows[name], grids[name] = sampled(loaded[name], channels[name], count, real, yardstick)
                distances = zip(SHARES, rows[name]["distance"], strict=True)
                log(f"{name}: feature distance {', '.join(f'{share:.0%} {distance:.2f}' for share, distance in distances)}")
        if model:
            result["exact"] = exact_times(model, folder)
            log(f"{model}: {result['exact']['seconds'][-1]:.2f} s for {result['exact']['count']} samples with all codes")
    finally:
        torch.set_num_threads(threads)
    if grid:
        draw_grid(grids, grid)
    return result


def _present(loaders: dict[str, Callable[[], T]]) -> dict[str, T]:
    """What is loaded; without what is not there."""
    loaded = {}
    for name, load_one in loaders.items():
        with suppress(FileNotFoundError):
            loaded[name] = load_one()
    return loaded


@torch.no_grad()
def curve(coder: Coder, pixels: Pixels) -> dict[str, Any]:
    """Squared error after 0..K codes, |d(z_<=i) - x|^2 of Eq. 7 with values of pixels in 0..1, and PSNR; means over pictures."""
    parts = []
    for part in torch.from_numpy(np.ascontiguousarray(pixels)).split(250):
        codes, target = coder.encode(part), part.float()
        rows = [coder.decode(first(codes, i)) for i in range(coder.count + 1)]
        parts.append(torch.stack([((row - target) / 255).square().sum((1, 2, 3)) for row in rows]))
    squares = torch.cat(parts, 1).double().numpy()
    ratio = -10 * np.log10(np.maximum(squares, 1e-9) / pixels[0].size)
    return {"codes": coder.count, "error": squares.mean(1).tolist(), "psnr": ratio.mean(1).tolist()}


def first(codes: Tensor, count: int) -> Tensor:
    """Codes (B, K, D) of which all but the first are zeros."""
    return torch.cat([codes[:, :count], torch.zeros_like(codes[:, count:])], 1)


def importance(error: Sequence[float]) -> Features:
    """Delta(i) of Eq. 7, by how much the i-th code lowers the error (K + 1); (K)."""
    return -np.diff(np.asarray(error))


def code_lengths(prior: priors.Prior, coder: Channels, training: Pixels, test: Pixels) -> dict[str, Any]:
    """Bits a code of test pictures with a prior, place by place, and without one."""
    entries = coder.network.config.entries
    known, unseen = trained.symbols_of(coder, training), trained.symbols_of(coder, test)
    places = priors.bits(prior, unseen)
    return {
        "codes": coder.count,
        "mean": float(places.mean()),
        "places": places.tolist(),
        "independent": float(priors.independent_bits(known, unseen, entries).mean()),
        "even": math.log2(entries),
        "used": priors.used(known, entries),
    }


@torch.no_grad()
def decoded(coder: Channels, symbols: Tensor, count: int) -> Pixels:
    """Pictures (n, 32, 32, 3) of the first codes of (n, K)."""
    levels = torch.cat([coder.decode(first(coder.look_up(part), count)) for part in symbols.split(BATCH)])
    return levels.round().to(torch.uint8).numpy()


def sampled(
    prior: priors.Prior, coder: Channels, count: int, real: Tensor | None, yardstick: features.Yardstick
) -> tuple[dict[str, Any], list[Pixels]]:
    """Distances and times of so many samples cut at SHARES, and a few of them at SHOWN.

    A row of codes is sampled once and cut: its first codes are what sampling would have found if it had stopped there. real: codes of
    real pictures, whose distances are those that a perfect prior would have. Times are the processor's, of the one thread that works.
    """
    random = torch.Generator().manual_seed(0)
    seconds = np.zeros(coder.count)
    rows = []
    for start in range(0, count, BATCH):
        marks = [time.process_time()]
        rows.append(prior.sample(min(BATCH, count - start), coder.count, random, lambda _, m=marks: m.append(time.process_time())))  # type: ignore[misc]
        seconds += np.array(marks[1:]) - marks[0]
    symbols = torch.cat(rows)
    row: dict[str, Any] = {
        "count": count,
        "codes": coder.count,
        "lengths": [round(share * coder.count) for share in SHARES],
        "distance": [],
        "reconstruction": [],
        "seconds": seconds.tolist(),  # for all samples, after each code
        "decode_seconds": [],  # for all samples, at each of the lengths
    }
    for length in row["lengths"]:
        pixels, spent = timed(decoded, coder, symbols, length, clock=time.process_time)
        row["decode_seconds"].append(spent)
        row["distance"].append(yardstick.distance(pixels))
        if real is not None:
            row["reconstruction"].append(yardstick.distance(decoded(coder, real, length)))
    row["enough"] = enough(row["distance"])
    return row, [decoded(coder, symbols[:COLUMNS], round(share * coder.count)) for share in SHOWN]


def draw_grid(grids: Grids, target: Path, scale: int = 2) -> None:
    """Samples of the ordered and, below, of the unordered model; a row for each of SHOWN, a column for each sample."""
    names = [name for name in MAIN if name in grids]
    step = features.SIDE + 2
    rows = len(names) * len(SHOWN)
    sheet = np.full((rows * step + 2 + 6 * (len(names) - 1), COLUMNS * step + 2, 3), 255, np.uint8)
    for i, pixels in enumerate(picture for name in names for picture in grids[name]):
        top = 2 + i * step + 6 * (i // len(SHOWN))
        for column, one in enumerate(pixels[:COLUMNS]):
            left = 2 + column * step
            sheet[top : top + features.SIDE, left : left + features.SIDE] = one
    image = Image.fromarray(sheet)
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(target)


def exact_times(model: str, folder: Path) -> dict[str, Any]:
    """Processor time in which the sampler of the codec, exact in integers, draws BATCH pictures with so many codes; decoding included."""
    settings = Settings(threads=1, model_path=(folder,))
    loaded = load(model, settings)
    network = loaded.model
    if not isinstance(network, ExactOrdered):
        raise ValueError(f"{loaded.name} is no model of ordered codes")
    lengths = [0, *(round(share * network.config.count) for share in SHARES)]
    times = np.zeros((TURNS, len(lengths)))
    for turn in range(TURNS):  # all lengths in turn, so that what else the machine does strikes all of them
        for i, length in enumerate(lengths):
            sampler = partial(draw_pictures, network, BATCH, (features.SIDE, features.SIDE), turn, settings, layers=length)
            times[turn, i] = timed(sampler, clock=time.process_time)[1]
    facts = {"model": loaded.name, "weights": loaded.hash.hex(), "count": BATCH, "lengths": lengths}
    return facts | {"seconds": np.median(times, 0).tolist()}


def enough(distance: Sequence[float]) -> float:
    """The smallest of SHARES from which on the distance stays within TOLERANCE of that with all codes."""
    good = [d <= TOLERANCE * distance[-1] for d in distance]
    last_bad = max((i for i, g in enumerate(good) if not g), default=-1)
    return SHARES[last_bad + 1]


def linearity(seconds: Sequence[float]) -> tuple[float, float]:
    """Of the time after each code: the share of its variance that a straight line explains, and the largest distance from that line in
    shares of the whole time."""
    x, y = np.arange(1, len(seconds) + 1), np.asarray(seconds)
    line = np.polyval(np.polyfit(x, y, 1), x)
    return float(1 - np.square(y - line).sum() / np.square(y - y.mean()).sum()), float(np.abs(y - line).max() / y[-1])
