"""The same bytes and the same pixels whatever does the work: threads, batches, arithmetic, instruction sets, processes."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import HERE, noise
from PIL import Image

import presage
from presage.models.photo.exact import ExactPhoto

OTHERS = ("set-", "flow", "lossy", "ordered", "digits", "jpeg", "preview")  # with tests of their own
GOLDEN = sorted(path for path in (HERE / "golden").glob("*.psg") if not path.stem.startswith(OTHERS))


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.hstack([noise(70, 60), np.asarray(Image.open(HERE / "golden" / "rgb.png"))[:70][:61].repeat(2, 0)[:70]])


@pytest.fixture(scope="module")
def reference(picture: np.ndarray) -> bytes:
    return presage.encode(picture, model="tiny", tile=24, threads=1, arithmetic="float64", model_path=[HERE / "data"])


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 5, 48])
def test_threads_and_batches(picture: np.ndarray, reference: bytes, threads: int, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExactPhoto, "batch", batch)
    assert presage.encode(picture, model="tiny", tile=24, threads=threads) == reference
    assert np.array_equal(np.asarray(presage.decode(reference, threads=threads)), picture)


@pytest.mark.parametrize("arithmetic", ["int8", "float32", "float64"])
def test_arithmetic(picture: np.ndarray, reference: bytes, arithmetic: str) -> None:
    assert presage.encode(picture, model="tiny", tile=24, arithmetic=arithmetic) == reference
    assert np.array_equal(np.asarray(presage.decode(reference, arithmetic=arithmetic)), picture)


INSTRUCTIONS = [
    {},
    {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
]
FRESH = """
import sys, hashlib, numpy as np, presage
from PIL import Image
data = open(sys.argv[1], "rb").read()
pixels = np.load(sys.argv[2])
assert np.array_equal(np.asarray(presage.decode(data)), pixels)
lossy = np.asarray(presage.decode(open(sys.argv[3] + ".psg", "rb").read())).astype(int)  # latents are checked with a CRC-32
assert np.abs(lossy - np.asarray(Image.open(sys.argv[3] + ".png"))).max() <= 1
print(hashlib.sha256(presage.encode(pixels, model="tiny", tile=24)).hexdigest())
"""


@pytest.mark.parametrize("settings", INSTRUCTIONS)
def test_fresh_process_and_plain_instructions(picture: np.ndarray, reference: bytes, settings: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "x.psg").write_bytes(reference)
    np.save(tmp_path / "x.npy", picture)
    command = [sys.executable, "-c", FRESH, *map(str, (tmp_path / "x.psg", tmp_path / "x.npy", HERE / "golden" / "lossy"))]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, cwd=HERE.parent, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == hashlib.sha256(reference).hexdigest()


@pytest.mark.parametrize("path", GOLDEN, ids=lambda p: p.stem)
def test_golden_files(path: Path) -> None:
    """The format is a contract: old files decode, and encoding them again gives the same bytes."""
    data = path.read_bytes()
    image, kept = presage.decode(data), Image.open(next(path.parent.glob(f"{path.stem}.[pt][ni][gf]")))
    assert (image.mode, image.size, image.tobytes()) == (kept.mode, kept.size, kept.tobytes())
    assert image.getpalette() == kept.getpalette()
    info = presage.info(data)
    if info["coding"] == "model":
        assert presage.encode(kept, model="tiny", tile=info["tile"]) == data
    if info["coding"] == "chain":
        assert presage.encode(kept, model="tiny-chain", tile=12) == data
    if info["coding"] == "planes":
        assert presage.encode(kept, model="tiny-planes", tile=24) == data


def test_golden_files_cover_all_codings() -> None:
    assert {presage.info(p.read_bytes())["coding"] for p in GOLDEN} == {"model", "stored", "chain", "planes", "recognised", "stages"}


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="no CUDA device")
def test_gpu_and_cpu_agree(picture: np.ndarray, reference: bytes) -> None:
    assert presage.encode(picture, model="tiny", tile=24, device="cuda") == reference
    assert np.array_equal(np.asarray(presage.decode(reference, device="cuda")), picture)


@pytest.mark.parametrize(
    ("model", "arithmetic"), [("tiny", "float32"), ("tiny-chain", "float32"), ("tiny-latent", None), ("tiny-ordered", None)]
)
def test_work_under_a_host_s_autocast(model: str, arithmetic: str | None, photo: np.ndarray) -> None:
    encode = presage.encode_lossy if model in ("tiny-latent", "tiny-ordered") else presage.encode
    plain = encode(photo, model=model, arithmetic=arithmetic)
    expected = presage.decode(plain, arithmetic=arithmetic)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert encode(photo, model=model, arithmetic=arithmetic) == plain
        assert presage.decode(plain, arithmetic=arithmetic).tobytes() == expected.tobytes()
