"""Fixtures: tiny weights that are in the repository, and the shared pictures where they are at hand."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from presage.codec import weights
from presage.codec.api import picture_of
from presage.codec.format.container import read_header
from presage.codec.paths.reading import Reading
from presage.codec.paths.sets import unpack_pictures
from presage.codec.paths.tiles import TiledEncoding
from presage.codec.settings import Settings
from presage.codec.weights import Loaded
from presage.models.model import Tiled, Walkable

HERE = Path(__file__).resolve().parent
TINY = HERE / "data"
SHARED = HERE.parent.parent / "shared" / "data"


@pytest.fixture(autouse=True)
def _tiny_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test finds the model `tiny`, in subprocesses too."""
    monkeypatch.setenv("PRESAGE_MODELS", str(TINY))


@pytest.fixture(scope="session")
def network() -> Walkable:
    """The tiny network."""
    os.environ["PRESAGE_MODELS"] = str(TINY)
    return cast(Walkable, weights.load("tiny", Settings()).model)


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """A piece of a photograph, uint8 (61, 83, 3)."""
    return np.asarray(Image.open(HERE / "golden" / "rgb.png"))


@pytest.fixture
def small_tree(tmp_path: Path) -> Path:
    """A folder with three pictures and a text, and room beside it."""
    folder = tmp_path / "small"
    (folder / "below").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.bmp", "below/c.png")):
        Image.fromarray(noise(40, 48, number)).save(folder / name)
    (folder / "text").write_text("no picture")
    return folder


def unpack(
    data: bytes, wanted: Sequence[str] | None, recovering: bool, settings: Settings
) -> tuple[list[tuple[str, Image.Image]], list[str]]:
    """The images of a set, and what of it is lost."""
    return unpack_pictures(Reading(data, read_header(data, partial=recovering), recovering, settings), wanted)


def in_stages(image: Image.Image | NDArray[np.uint8], model: str, calls: int = 20, tile: int = 0, **options: Any) -> bytes:
    """The file of a picture by a model of stages, also where a conventional coder makes a smaller one."""
    settings = Settings(**{"model_path": [TINY]} | options)
    return TiledEncoding(picture_of(image), cast(Loaded[Tiled], weights.load(model, settings)), tile, settings, calls).file(0)


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """What is exported, as it is read from a weights file."""
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def shared(name: str) -> Path:
    """A file or folder of the shared data; skips the test where it is absent."""
    if not (SHARED / name).exists():
        pytest.skip(f"shared data {name} is not at hand")
    return SHARED / name


def noise(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """Smooth noise, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    steps = random.integers(-9, 10, (height, width, 3)).cumsum(0).cumsum(1)
    return (128 + steps // 4).clip(0, 255).astype(np.uint8)
