"""Weights files: names, releases, hashes."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY
from safetensors.torch import load_file, save_file

import presage
from presage.models import catalogue

FILE = TINY / "tiny-1.safetensors"


def test_newest_release_is_taken_by_the_models_name(tmp_path: Path) -> None:
    tensors = load_file(FILE)
    for release in (2, 10):
        tensors["tables.error"][5] += 1
        save_file(tensors, tmp_path / f"tiny-{release}.safetensors")
    (tmp_path / "tiny-11.safetensors").write_bytes(b"not weights")
    assert catalogue.find("tiny", [tmp_path]).name == "tiny-10"
    assert catalogue.find("tiny-2", [tmp_path]).path == tmp_path / "tiny-2.safetensors"
    with pytest.raises(catalogue.WeightsNotFound, match="no model called"):
        catalogue.find("tiny-11", [tmp_path])


def test_hash_is_of_the_tensors_alone(tmp_path: Path) -> None:
    tensors = load_file(FILE)
    save_file(tensors, tmp_path / "other.safetensors", {"anything": "else"})
    assert catalogue.read(tmp_path / "other.safetensors").hash == catalogue.read(FILE).hash
    assert catalogue.find_hash("any name", catalogue.read(FILE).hash).name == "tiny-1"
    tensors["outs.0.bias"][0] += 1
    save_file(tensors, tmp_path / "other.safetensors")
    assert catalogue.read(tmp_path / "other.safetensors").hash != catalogue.read(FILE).hash


def test_old_files_stay_decodable_beside_a_new_release(tmp_path: Path) -> None:
    tensors = load_file(FILE)
    tensors["outs.0.bias"] += 100
    save_file(tensors, tmp_path / "tiny-2.safetensors")
    golden = TINY.parent / "golden" / "rgb.psg"
    assert presage.decode(golden.read_bytes(), model_path=[tmp_path]).size == (83, 61)


@pytest.mark.parametrize("change", ["overflow", "missing", "shift"])
def test_weights_that_are_not_exact_are_refused(change: str, tmp_path: Path) -> None:
    tensors = load_file(FILE)
    if change == "overflow":
        tensors["trunk.bias"][0] = 1 << 24
    elif change == "shift":
        tensors["trunk.shift"] = torch.full_like(tensors["trunk.shift"], 31)
    else:
        del tensors["trunk.bias"]
    save_file(tensors, tmp_path / "bad-1.safetensors")
    with pytest.raises(presage.WeightsError, match="bad-1"):
        presage.encode(torch.zeros(9, 9, 3, dtype=torch.uint8).numpy(), model="bad", model_path=[tmp_path])


def test_only_the_file_that_is_asked_for_is_read_and_only_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tiny-7", "other-1"):
        shutil.copy(FILE, tmp_path / f"{name}.safetensors")
    (tmp_path / "tiny-9.safetensors").write_bytes(b"not weights")
    read: list[str] = []
    real: Any = Path.open

    def watched(path: Path, *mode: str) -> Any:
        read.append(path.stem)
        return real(path, *mode)

    monkeypatch.setattr(Path, "open", watched)
    for _ in range(2):
        assert catalogue.find("tiny", [tmp_path]).name == "tiny-7"
        assert catalogue.find_hash("tiny-7", catalogue.find("tiny-7", [tmp_path]).hash, [tmp_path]).name == "tiny-7"
    assert set(read) == {"tiny-9", "tiny-7"}
    assert read.count("tiny-7") == 1
    copy = tmp_path / "tiny-7.safetensors"
    shutil.copy(FILE.with_name("tiny-chain-1.safetensors"), copy)
    assert catalogue.find("tiny-7", [tmp_path]).hash == catalogue.read(FILE.with_name("tiny-chain-1.safetensors")).hash
