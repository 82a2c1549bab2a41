"""Training and loading of what is compared with `cifar10-ordered` in ablations.

`python -m presage.bench.papers.ablations_train FOLDER NAME...` trains some of NAMES from the checkpoints of `cifar10-ordered-full` and
`cifar10-ordered-autoencoder` in a folder and writes their own there. `bench codes` measures those that it finds. Budgets are equal
within each comparison, and small: STEPS of an autoencoder after `cifar10-ordered-full`, PRIOR_STEPS of a prior; `base` is what
`cifar10-ordered` is at this budget.
"""

import sys
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ...models.ordered.network import Ordered, OrderedConfig
from ...models.ordered.prior import Transformer
from ...models.training import loop as train
from ...models.training.data import Pixels
from ..compare.common import Log
from . import ablations, priors
from .ablations import RUNS, Channels, Coder, load_ordered, training_pictures

FULL, ORDERED, UNORDERED = "cifar10-ordered-full", "cifar10-ordered-autoencoder", "cifar10-unordered-autoencoder"
GEOMETRIC = {"geometric-0.03": 0.03, "geometric-0.1": 0.1}  # of the cuts, appendix C.3
TAILORED = {"tailored-14": 14, "tailored-28": 28, "tailored-42": 42}  # number of codes, appendix C.5
BASE = "base"
MAIN = ("ordered", "unordered")
OWN = ("spatial", "vae-ordered", "vae-unordered")
AUTOENCODERS = (BASE, *GEOMETRIC, *TAILORED, *OWN)
PRIORS = (BASE, "lstm", "pixelcnn", *GEOMETRIC, *TAILORED)  # over the codes of `base` unless the name says otherwise
NAMES = (*AUTOENCODERS, *(f"{name}-prior" for name in PRIORS))
STEPS, BATCH, RATE = 1000, 32, 1e-3
PRIOR_STEPS, PRIOR_BATCH, PRIOR_RATE = 300, 64, 2e-3
Network = TypeVar("Network", bound=nn.Module)


def run_of(name: str) -> tuple[str, tuple[str, ...]]:
    """The run file and overrides of an ordinary network that only its settings tell from `cifar10-ordered`."""
    short = (f"run.name=cifar10-{name}", f"run.steps={STEPS}", f"run.save_every={STEPS}")
    if name == BASE:
        return ORDERED, short
    if name in GEOMETRIC:
        return ORDERED, (*short, "model.cuts=geometric", f"model.geometric={GEOMETRIC[name]}")
    return UNORDERED, (*short, f"model.channels={TAILORED[name]}")


def own(name: str) -> ablations.Ablation:
    """A network that is here only, untrained."""
    return ablations.Spatial() if name == "spatial" else ablations.Vae(ordered=name == "vae-ordered")


def tailored_start(folder: Path, count: int, target: Path) -> None:
    """A checkpoint of `cifar10-ordered-full` with only the channels whose codes have the most energy."""
    config = train.read_run(RUNS / f"{FULL}.toml", ())
    whole = load_ordered(FULL, folder)
    pixels = torch.from_numpy(training_pictures(FULL).crops(512, np.random.default_rng(0)))
    energy = Channels(whole).encode(pixels).square().sum(2).mean(0)
    chosen = energy.topk(count).indices.sort().values
    old = whole.state_dict()
    new = Ordered(OrderedConfig(**{**config.network, "channels": count})).state_dict()
    for name, value in new.items():
        other = old[name]
        for axis, (a, b) in enumerate(zip(value.shape, other.shape, strict=True)):
            if (a, b) == (count, whole.config.channels):
                other = other.index_select(axis, chosen)
        if other.shape == value.shape:
            new[name] = other.clone()
    torch.save({"network": new, "average": {}}, target)


def train_autoencoder(name: str, folder: Path, log: Log) -> None:
    """Train one of AUTOENCODERS."""
    if name in OWN:
        network = own(name)
        torch.manual_seed(0)
        network.start(train.averaged(torch.load(folder / f"{FULL}.checkpoint", map_location="cpu", weights_only=True)))
        ablations.train_ablation(network, training_pictures(FULL), STEPS, BATCH, RATE, log)
        torch.save({"network": network.state_dict()}, folder / f"cifar10-{name}.checkpoint")
        return
    run, overrides = run_of(name)
    start = folder / f"{FULL}.checkpoint"
    if name in TAILORED:
        start = folder / f"cifar10-{name}-start.checkpoint"
        tailored_start(folder, TAILORED[name], start)
    train.run(RUNS / f"{run}.toml", (*overrides, f"run.start={start}"), folder, False, "cpu", log)


def load_coder(name: str, folder: Path) -> Coder:
    """One of AUTOENCODERS, `ordered` or `unordered`. Raises FileNotFoundError."""
    if name in MAIN:
        return Channels(load_ordered(f"cifar10-{name}", folder))
    if name in OWN:
        return load_own(own(name), folder / f"cifar10-{name}.checkpoint")
    run, overrides = run_of(name)
    return Channels(load_ordered(run, folder, overrides))


def load_own(network: Network, path: Path) -> Network:
    """A network with what was trained here. Raises FileNotFoundError."""
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["network"])
    return network.eval().requires_grad_(False)


def coder_of(prior: str) -> str:
    """Whose codes a prior is over."""
    return prior if prior in (*AUTOENCODERS, *MAIN) else BASE


def new_prior(name: str, coder: Channels) -> priors.Prior:
    """An untrained prior."""
    entries = coder.network.config.entries
    if name == "lstm":
        return priors.Lstm(coder.count, entries)
    if name == "pixelcnn":
        return priors.PixelCnn(coder.count, entries)
    transformer = Transformer(coder.network.config.prior_config())
    transformer.start_embedding(coder.network.codebooks.vectors)
    return priors.Cached(transformer)


def symbols_of(coder: Channels, pictures: Pixels) -> Tensor:
    """Codes int64 (n, K) of pictures (n, 32, 32, 3)."""
    with torch.no_grad():
        return torch.cat([coder.symbols(part) for part in torch.from_numpy(np.ascontiguousarray(pictures)).split(256)])


def train_prior(name: str, folder: Path, log: Log) -> None:
    """Train one of PRIORS on the codes of the training pictures, mirrored ones as well."""
    coder = load_coder(coder_of(name), folder)
    if not isinstance(coder, Channels):
        raise ValueError(f"{name} has no codes for a prior")
    pictures = np.stack(training_pictures(FULL).training)
    codes = torch.cat([symbols_of(coder, part) for part in (pictures, pictures[:, :, ::-1])])
    torch.manual_seed(0)
    prior = new_prior(name, coder)
    seconds = priors.train(prior, codes, PRIOR_STEPS, PRIOR_BATCH, PRIOR_RATE, log)
    torch.save({"network": prior.network.state_dict(), "seconds": seconds}, folder / f"cifar10-{name}-prior.checkpoint")


def load_prior(name: str, folder: Path, coder: Channels) -> priors.Prior:
    """One of PRIORS over the codes of `coder`, or that of `ordered` or `unordered` themselves. Raises FileNotFoundError."""
    if name in MAIN:
        return priors.Cached(coder.network.prior)
    prior = new_prior(name, coder)
    load_own(prior.network, folder / f"cifar10-{name}-prior.checkpoint")
    return prior


if __name__ == "__main__":
    torch.set_num_threads(1)
    train.keep_memory()
    say = partial(print, flush=True)
    for wanted in sys.argv[2:]:
        if wanted not in NAMES:
            raise SystemExit(f"{wanted} is none of {', '.join(NAMES)}")
        say(wanted)
        train_one = train_prior if wanted.endswith("-prior") else train_autoencoder
        train_one(wanted.removesuffix("-prior"), Path(sys.argv[1]), say)
