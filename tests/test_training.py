"""A run from pictures to weights that encode, on a network and data of the test's own."""

import sys
import types
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import noise, unpack
from PIL import Image

import presage
from presage.codec.image import files as images
from presage.codec.paths import sets
from presage.codec.settings import Settings
from presage.models import catalogue, precision
from presage.models.photo import network as photo
from presage.models.training import data
from presage.models.training import loop as train

RUN = """
[run]
model = "photo"
name = "mine-1"
steps = 24
batch = 2
warm_up = 4
compile = false
report_every = 6
save_every = 12
[model]
hidden = 4
width = 8
blocks = 1
head = 8
mixtures = 2
[data]
folder = "{folder}"
crop = 16
hold_out = 4
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        Image.fromarray(noise(24, 30, i)).save(tmp_path / "pictures" / f"{i}.png")
    (tmp_path / "run.toml").write_text(RUN.format(folder=tmp_path / "pictures"))
    return tmp_path / "run.toml"


def test_train_resume_export_encode(run: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    train.run(run, ["run.steps=12"], tmp_path / "out", False, "cpu", lines.append)
    assert any("held-out" in line for line in lines)
    with pytest.raises(FileExistsError, match="--resume"):
        train.run(run, [], tmp_path / "out", False, "cpu", lines.append)
    train.run(run, [], tmp_path / "out", True, "cpu", lines.append)
    assert any(line.startswith("step 24/24") for line in lines)
    weights = train.export(run, [], tmp_path / "out")
    assert weights is not None
    assert catalogue.read(weights).metadata["model"] == "photo"
    pixels = noise(33, 40, 99)
    file = presage.encode(np.vstack([pixels, pixels[::-1]] * 4), model="mine", model_path=[tmp_path / "out"])
    assert presage.info(file)["coding"] in ("model", "stored")
    assert np.array_equal(np.asarray(presage.decode(file, model_path=[tmp_path / "out"]))[:33], pixels)


def test_unfinished_run_is_not_exported(run: Path, tmp_path: Path) -> None:
    train.run(run, ["run.quantise_from=1.0", "run.steps=12"], tmp_path / "out", False, "cpu", lambda _: None)
    with pytest.raises(ValueError, match="not on integer grids"):
        train.export(run, [], tmp_path / "out")


def test_wrong_runs_are_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no_such"):
        train.read_run(run, ["run.no_such=1"])
    with pytest.raises(FileNotFoundError, match="no images"):
        train.run(run, [f"data.folder={tmp_path / 'out'}"], tmp_path / "out", False, "cpu", lambda _: None)


def test_learning_rate_falls_to_nothing(run: Path) -> None:
    config = train.read_run(run, ["run.steps=1000", "run.warm_up=10"])
    rates = [train.learning_rate(config, step) for step in range(1000)]
    assert max(rates) == pytest.approx(config.rate, rel=0.01)
    assert rates[-1] < config.rate / 1000
    assert all(a >= b for a, b in pairwise(rates[10:]))


SYMBOLS = """
[run]
model = "pixelcnn"
name = "mine"
steps = 12
batch = 2
warm_up = 2
compile = false
save_every = 12
[model]
channels = 4
levels = 2
patch = 2
width = 8
blocks = 1
head = 8
embedding = 2
forecasters = ["h", "x", "h+quantile", "h+gumbel"]
forecast_steps = 2
[data]
folder = "{folder}"
crop = 16
hold_out = 4
symmetries = "mirror"
channels = 1
levels = 2
patch = 2
binarise = "sample"
"""


def test_a_model_of_symbols_trains_packs_and_samples(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "symbols.toml"
    path.write_text(SYMBOLS.format(folder=tmp_path / "pictures"))
    lines: list[str] = []
    train.run(path, [], tmp_path / "out", False, "cpu", lines.append)
    assert train.export(path, [], tmp_path / "out") == tmp_path / "out" / "mine.safetensors"
    train.run(path, [f"run.start={tmp_path / 'out' / 'mine.checkpoint'}"], tmp_path / "again", False, "cpu", lines.append)
    settings = Settings(model_path=[tmp_path / "out"])
    image = Image.fromarray(noise(20, 18)).convert("1")
    packed = sets.pack_pictures([("a.png", images.from_pillow(image))], "mine", 0, settings)
    ((_, back),), _ = unpack(packed, None, False, settings)
    assert back.tobytes() == image.tobytes()


def test_data_sets_of_torchvision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class SVHN:
        def __init__(self, root: str, split: str = "train") -> None:
            if root != str(tmp_path):
                raise RuntimeError("not found")
            self.pictures = [(Image.fromarray(noise(32, 32, i)), i) for i in range(4)]

        def __getitem__(self, i: int) -> tuple[Image.Image, int]:
            return self.pictures[i]

    monkeypatch.setitem(sys.modules, "torchvision.datasets", types.SimpleNamespace(SVHN=SVHN))
    found = data.Pictures(data.DataConfig(str(tmp_path), torchvision="SVHN", hold_out=2, crop=32))
    assert np.array_equal(found.training[0], noise(32, 32, 1))
    with pytest.raises(FileNotFoundError, match="not found"):
        data.Pictures(data.DataConfig("nowhere", torchvision="SVHN"))
    with pytest.raises(ValueError, match="no data set"):
        data.Pictures(data.DataConfig("nowhere", torchvision="MNISTY"))


@pytest.mark.parametrize("faster", [torch.bfloat16, torch.float32])
def test_training_computes_in_the_type_that_is_faster_here(faster: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_seconds", lambda dtype, _: 1.0 if dtype == faster else 100.0)
    precision.working_dtype.cache_clear()
    network, seen = photo.Photo(photo.PhotoConfig(hidden=8, width=16, blocks=1, head=8, mixtures=2)), []
    network.trunk.register_forward_pre_hook(lambda _, parts: seen.append(parts[0].dtype))
    network(torch.zeros((1, 9, 9, 3), dtype=torch.uint8)).mean().backward()
    assert seen == [faster]
    precision.working_dtype.cache_clear()
