"""From a name or a file's hash to a model: the one place that knows which kinds of models there are.

A weights file says in its metadata of what kind it is (`model`). New kinds are registered with what makes a model of tensors; the
shipped ones are imported when they are needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..models import catalogue
from .errors import DamagedFile, ImageRefused, WeightsError
from .format.container import CODED_MODES, Coding, Header, Mode
from .settings import Settings

if TYPE_CHECKING:
    from ..models.model import Factory, Model, Transformed

SHIPPED = {
    "photo": "ExactPhoto",
    "planes": "ExactPlanes",
    "jpeg": "ExactJpeg",
    "pixelcnn": "ExactPixelCNN",
    "latent": "ExactLatent",
    "ordered": "ExactOrdered",
    "progressive": "ExactProgressive",
    "flow": "ExactFlow",
    "ardm": "ExactArdm",
}
CODINGS = {
    ("tiles", False): (Coding.COLOUR, Coding.GRAY),
    ("groups", False): (Coding.CHAIN, Coding.SET),
    ("tiles", True): (Coding.LATENT,),
    ("groups", True): (Coding.LATENT, Coding.LATENT_SET),
    ("layers", True): (Coding.ORDERED,),
    ("digits", True): (Coding.DIGITS,),
    ("planes", False): (Coding.PLANES,),
    ("flow", False): (Coding.FLOW, Coding.FLOW_SET),
    ("stages", False): (Coding.STAGED, Coding.STAGED_SET),
    ("jpeg", False): (Coding.JPEG, Coding.RECOGNISED),
}
"""What the header of a model's files may say, given how its symbols are coded and whether it is lossy."""
UNCOLOURED = (Mode.BILEVEL, Mode.GRAY, Mode.GRAY_ALPHA)
COLOURED = (Mode.GRAY, Mode.GRAY_ALPHA, Mode.RGB, Mode.RGBA)
"""Modes of the files of models without colours, and of those with them."""
_registered: dict[str, Factory] = {}
LARGEST_SIDE = 4096
M = TypeVar("M", bound="Model | Transformed", covariant=True)


@dataclass(frozen=True)
class Loaded(Generic[M]):
    """A model with the name and hash of its weights, and the side of the pictures that it was trained on."""

    name: str
    hash: bytes
    side: int
    model: M

    @property
    def codings(self) -> tuple[Coding, ...]:
        """How its files may be coded."""
        return CODINGS[self.model.coding, self.model.lossy]

    def takes(self, mode: Mode) -> bool:
        """Whether pictures of a mode may be coded by it."""
        return any(mode in CODED_MODES[coding] for coding in self.codings)


def register_model(kind: str, factory: Factory) -> None:
    """Make weights files of a new kind usable everywhere: `factory` turns their tensors into a model, see `models/model.py`."""
    _registered[kind] = factory
    _model.cache_clear()


def load(name: str, settings: Settings, lossy: bool | None = None) -> Loaded[Model]:
    """A model by its name or release. lossy: what the caller says that it is. Raises WeightsError and ImageRefused."""
    loaded = _load(settings, catalogue.find, name)
    if lossy is not None and loaded.model.lossy != lossy:
        way, how = ("without", "leave out --lossy") if lossy else ("with", "use --lossy, or `presage.encode_lossy`")
        raise ImageRefused(f"the model {loaded.name} codes {way} loss; {how}")
    return loaded


def load_for(header: Header, settings: Settings) -> Loaded[Model]:
    """The model of a file. Raises WeightsError, and DamagedFile if the file is coded as this model's never are."""
    loaded = _load(settings, catalogue.find_hash, header.model, header.weights)
    modes = CODED_MODES[header.coding] if loaded.model.coding == "jpeg" else COLOURED if loaded.model.colour else UNCOLOURED
    if header.coding not in loaded.codings or header.mode not in modes:
        raise DamagedFile(f"the model {header.model} does not go with the file's coding or mode")
    return loaded


def _load(settings: Settings, find: Callable[..., catalogue.WeightsFile], *wanted: str | bytes) -> Loaded[Model]:
    try:
        weights = find(*wanted, settings.model_path)
    except catalogue.WeightsNotFound as error:
        raise WeightsError(str(error)) from None
    kind, side = weights.metadata.get("model", "photo"), weights.metadata.get("side", "32")
    if not (side.isascii() and side.isdecimal() and 0 < int(side[:9]) <= LARGEST_SIDE):
        raise WeightsError(f"{weights.path}: the side of training pictures is {side[:20]!r}")
    model = _model(weights.path, weights.hash, kind, settings.arithmetic, settings.device)
    return Loaded(weights.name, weights.hash, int(side), model)


@lru_cache(maxsize=4)
def _model(path: Path, digest: bytes, kind: str, arithmetic: str | None, device: str) -> Model:
    from safetensors.numpy import load_file

    from ..models import schema

    _check_device(device)
    if kind not in _registered and kind in SHIPPED:
        _registered[kind] = getattr(import_module(f"...models.{kind}.exact", __name__), SHIPPED[kind])
    if kind not in _registered:
        raise WeightsError(f"{path}: weights of the kind {kind[:40]!r}, which this program does not know")
    try:
        tensors = load_file(path)
        if kind in schema.KINDS:
            schema.check(kind, tensors)
        with _own_random_numbers():
            return _registered[kind](tensors, arithmetic, device)
    except MemoryError:
        raise
    except Exception as error:  # whatever a model that is made of a stranger's numbers runs into
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) and error.args else error
        raise WeightsError(f"{path}: {reason}") from error


def _check_device(device: str) -> None:
    """Raises ImageRefused for devices that torch does not have here; the processor is always there, without torch as well."""
    if device == "cpu":
        return
    import torch

    try:
        if torch.device(device).type == "meta":
            raise ValueError("it holds no numbers")
        torch.zeros(1, device=device).cpu()
    except Exception as error:  # torch raises anything
        raise ImageRefused(f"the device {device!r} cannot be used: {str(error).splitlines()[0]}") from None


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Networks are made with random weights before they get theirs: not with the random numbers of the host."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    import torch.random

    with torch.random.fork_rng(devices=[]):
        yield
