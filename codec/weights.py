"""Networks of weights files, loaded once, and the settings of the work. torch is imported where it is used."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..models import catalogue as store
from .errors import ImageRefused, WeightsError
from .format.container import Header
from .predictive.schedule import Schedule

if TYPE_CHECKING:
    from ..models.latent.exact import ExactLatent
    from ..models.ordered.exact import ExactOrdered
    from ..models.photo.exact import ExactPhoto
    from ..models.pixelcnn.exact import ExactPixelCNN
    from .predictive.decoder import Statistics

    Network = ExactPhoto | ExactPixelCNN | ExactLatent | ExactOrdered

LOSSY_KINDS = ("latent", "ordered")


def _quiet(_: float) -> None:
    pass


@dataclass(frozen=True)
class Settings:
    """How the work is done. Nothing here changes a byte of a file or a pixel of an image.

    threads: 0 means one for each processor. arithmetic: int8, float32 or float64; by default the first that passes its
    known-answer test. device: a torch device. model_path: more folders to look for weights. schedule: of predictive decoding.
    statistics: a list that gets what every predictively decoded tile took. progress: called with 0..1.
    """

    threads: int = 0
    arithmetic: str | None = None
    device: str = "cpu"
    model_path: Sequence[Path] = ()
    schedule: Schedule = field(default_factory=Schedule)
    statistics: list[Statistics] | None = None
    progress: Callable[[float], None] = field(default=_quiet)

    @property
    def thread_count(self) -> int:
        return self.threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else self.threads or os.cpu_count() or 1

    @property
    def worker_count(self) -> int:
        """Processes that share the work: one on a GPU."""
        return self.thread_count if self.device == "cpu" else 1


@lru_cache(maxsize=4)
def _network(path: Path, digest: bytes, kind: str, arithmetic: str | None, device: str) -> Network:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from ..models.latent.exact import ExactLatent
    from ..models.ordered.exact import ExactOrdered
    from ..models.photo.exact import ExactPhoto
    from ..models.pixelcnn.exact import ExactPixelCNN

    kinds: dict[str, type[Network]] = {"photo": ExactPhoto, "pixelcnn": ExactPixelCNN, "latent": ExactLatent, "ordered": ExactOrdered}
    try:
        return kinds[kind](load_file(path), arithmetic, device)
    except (KeyError, ValueError, OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: {error}") from None


def _load(weights: store.Weights, settings: Settings) -> Network:
    return _network(weights.path, weights.hash, weights.metadata.get("model", "photo"), settings.arithmetic, settings.device)


def find_weights(name: str, settings: Settings) -> store.Weights:
    """The weights of a model's name or release. Raises WeightsError."""
    try:
        return store.find(name, settings.model_path)
    except store.WeightsNotFound as error:
        raise WeightsError(str(error)) from None


def load_model(name: str, settings: Settings) -> tuple[store.Weights, Network]:
    """The weights of a model's name or release, and its network. Raises WeightsError."""
    weights = find_weights(name, settings)
    return weights, _load(weights, settings)


def generative_model(name: str, settings: Settings) -> tuple[store.Weights, ExactPixelCNN | ExactLatent]:
    """A model that draws samples symbol by symbol, predictively. Raises WeightsError and ImageRefused."""
    from ..models.latent.exact import ExactLatent
    from ..models.pixelcnn.exact import ExactPixelCNN

    weights, network = load_model(name, settings)
    if not isinstance(network, ExactPixelCNN | ExactLatent):
        raise ImageRefused(f"the model {weights.name} draws no samples predictively; `presage models` lists those that do")
    return weights, network


def check_loss(name: str, lossy: bool, settings: Settings) -> None:
    """Whether a model codes with loss as the user said it does. Raises WeightsError and ImageRefused."""
    weights = find_weights(name, settings)
    if (weights.metadata.get("model") in LOSSY_KINDS) != lossy:
        raise ImageRefused(f"the model {weights.name} codes {'without loss; leave out' if lossy else 'with loss; say so with'} --lossy")


def network_of(header: Header, settings: Settings) -> Network:
    """The network of a file. Raises WeightsError."""
    try:
        weights = store.find_hash(header.model, header.weights, settings.model_path)
    except store.WeightsNotFound as error:
        raise WeightsError(str(error)) from None
    return _load(weights, settings)
