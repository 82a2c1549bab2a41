"""From a name or a file's hash to a model: the one place that knows which kinds of models there are.

A weights file says in its metadata of what kind it is (`model`). New kinds are registered with what makes a model of tensors; the
shipped ones are imported when they are needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from ..models import catalogue
from .errors import DamagedFile, ImageRefused, WeightsError
from .format.container import CODED_MODES, Coding, Header, Mode
from .settings import Settings

if TYPE_CHECKING:
    from ..models.model import Factory, Model

SHIPPED = {"photo": "ExactPhoto", "planes": "ExactPlanes", "pixelcnn": "ExactPixelCNN", "latent": "ExactLatent", "ordered": "ExactOrdered"}
CODINGS = {
    ("tiles", False): (Coding.COLOUR, Coding.GRAY),
    ("groups", False): (Coding.CHAIN, Coding.SET),
    ("tiles", True): (Coding.LATENT,),
    ("groups", True): (Coding.LATENT, Coding.LATENT_SET),
    ("layers", True): (Coding.ORDERED,),
    ("planes", False): (Coding.PLANES,),
}
"""What the header of a model's files may say, given how its symbols are coded and whether it is lossy."""
_registered: dict[str, Factory] = {}
M = TypeVar("M", bound="Model", covariant=True)


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
    if header.coding not in loaded.codings:
        raise DamagedFile(f"the model {header.model} does not go with the file's coding")
    return loaded


def _load(settings: Settings, find: Callable[..., catalogue.WeightsFile], *wanted: str | bytes) -> Loaded[Model]:
    try:
        weights = find(*wanted, settings.model_path)
    except catalogue.WeightsNotFound as error:
        raise WeightsError(str(error)) from None
    kind = weights.metadata.get("model", "photo")
    model = _model(weights.path, weights.hash, kind, settings.arithmetic, settings.device)
    return Loaded(weights.name, weights.hash, int(weights.metadata.get("side", "32")), model)


@lru_cache(maxsize=4)
def _model(path: Path, digest: bytes, kind: str, arithmetic: str | None, device: str) -> Model:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if kind not in _registered and kind in SHIPPED:
        _registered[kind] = getattr(import_module(f"...models.{kind}.exact", __name__), SHIPPED[kind])
    if kind not in _registered:
        raise WeightsError(f"{path}: weights of the kind {kind!r}, which this program does not know")
    try:
        return _registered[kind](load_file(path), arithmetic, device)
    except (KeyError, ValueError, OSError, SafetensorError) as error:
        raise WeightsError(f"{path}: {error}") from None
