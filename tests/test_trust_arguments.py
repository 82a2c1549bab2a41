"""Wrong arguments, other programs' interfaces and hostile weights end in Presage's own exceptions, or those that are expected there."""

import io
import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HERE, TINY, noise
from PIL import Image
from safetensors.numpy import load_file, save_file
from test_trust import PICTURE, RGB, SET, little_memory, same

import presage
from presage.models import catalogue

library: Any = presage  # for calls that are wrong on purpose


# ------------------------------------------------------------------------------------------------------------ arguments


@pytest.mark.parametrize(
    "call",
    [
        lambda: library.decode("path.psg"), lambda: library.info("path.psg"), lambda: library.unpack(None), lambda: library.truncate(7, 1),
        lambda: library.decode(RGB, threads=-1), lambda: library.decode(RGB, device="bogus"), lambda: library.decode(RGB, device="meta"),
        lambda: library.decode(RGB, arithmetic="bogus"), lambda: library.decode(RGB, model_path="x"),
        lambda: library.decode(RGB, schedule="x"),
        lambda: library.decode(RGB, crop=(1.5, 0, 1, 1)), lambda: library.decode(RGB, crop=7), lambda: library.decode(RGB, codes="x"),
        lambda: library.decode((HERE / "golden" / "ordered.psg").read_bytes(), codes=-1),
        lambda: library.encode(None), lambda: library.encode([[1]]), lambda: library.encode("missing.png"), lambda: library.encode("a\0b"),
        lambda: library.encode(np.zeros((0, 5), np.uint8)), lambda: library.encode(PICTURE, tile="8"),
        lambda: library.encode(PICTURE, tile=8.5),
        lambda: library.encode_lossy(PICTURE, bpp=float("nan")), lambda: library.encode_lossy(PICTURE, psnr=float("inf")),
        lambda: library.encode_lossy(PICTURE, quality="50"), lambda: library.pack({1: PICTURE}, model="tiny-chain"),
        lambda: library.pack({"\ud800": PICTURE}, model="tiny-chain"), lambda: library.pack({".": PICTURE}, model="tiny-chain"),
        lambda: library.unpack(SET, "part-08.png"),
        lambda: library.truncate((HERE / "golden" / "ordered.psg").read_bytes(), bpp=float("nan")),
        lambda: library.truncate((HERE / "golden" / "ordered.psg").read_bytes(), fraction=float("inf")),
    ],
)  # fmt: skip
def test_wrong_arguments(call: Callable[[], object]) -> None:
    with pytest.raises(presage.ImageRefused):
        call()


def test_all_that_holds_bytes() -> None:
    for kind in (bytes, bytearray, memoryview):
        assert same(presage.decode(kind(RGB)), PICTURE)
        assert presage.info(kind(RGB))["width"] == 83
        assert presage.encode(kind((HERE / "golden" / "rgb.png").read_bytes()), model="tiny")


def test_only_promised_formats_are_opened() -> None:
    for kind, taken in (("PNG", True), ("BMP", True), ("TGA", False), ("PCX", False), ("EPS", False), ("ICO", False), ("JPEG2000", False)):
        buffer = io.BytesIO()
        PICTURE.save(buffer, kind)
        if taken:
            assert presage.encode(buffer.getvalue(), model="tiny")
        else:
            with pytest.raises(presage.ImageRefused, match="not an image of a format"):
                presage.encode(buffer.getvalue(), model="tiny")


def test_the_pillow_plugin_raises_as_pillow_does() -> None:
    presage.register_pillow()
    buffer = io.BytesIO()
    PICTURE.save(buffer, "PSG", model="tiny")
    image = Image.open(buffer)
    assert same(pickle.loads(pickle.dumps(image)), PICTURE)
    Image.open(io.BytesIO(buffer.getvalue())).verify()
    damaged = bytearray(buffer.getvalue())
    damaged[-9] ^= 1
    with pytest.raises(OSError, match="damaged"):
        Image.open(io.BytesIO(damaged)).verify()
    with pytest.raises(OSError, match="damaged"):
        Image.open(io.BytesIO(damaged)).load()
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(io.BytesIO(SET))
    with pytest.raises(OSError, match="mode F"):
        PICTURE.convert("F").save(io.BytesIO(), "PSG")


# -------------------------------------------------------------------------------------------------------------- weights


def config(name: str, **changes: object) -> dict[str, np.ndarray]:
    """The arrays of tiny weights with other settings."""
    arrays = load_file(TINY / f"{name}.safetensors")
    key = "prior.config" if "prior" in changes else "config"
    changes.pop("prior", None)
    text = json.dumps(json.loads(arrays[key].tobytes()) | changes).encode()
    return arrays | {key: np.frombuffer(text, np.uint8)}


def wrong(name: str, change: Callable[[dict[str, np.ndarray]], object]) -> dict[str, np.ndarray]:
    arrays = load_file(TINY / f"{name}.safetensors")
    change(arrays)
    return arrays


WEIGHTS = {
    "blocks": ("pixelcnn", config("tiny-chain-1", blocks=10**12)),
    "width": ("latent", config("tiny-latent-1", width=10**5)),
    "settings": ("pixelcnn", config("tiny-chain-1", channels="3")),
    "prior": ("ordered", config("tiny-ordered-1", sides=[4] * 10**6, prior=True)),
    "shape": ("photo", wrong("tiny-1", lambda a: a.update({"outs.1.bias": a["outs.1.bias"][:-1]}))),
    "table": ("photo", wrong("tiny-1", lambda a: a.update({"tables.sigmoid": a["tables.sigmoid"][:100]}))),
    "range": ("photo", wrong("tiny-1", lambda a: a.update({"tables.sigmoid": a["tables.sigmoid"] * 3}))),
    "inputs": ("photo", wrong("tiny-1", lambda a: a.update({"trunk.weight": a["trunk.weight"][:, :-1].copy()}))),
    "nan": ("latent", wrong("tiny-latent-1", lambda a: a["transforms.gain"].__setitem__((0, 0), np.nan))),
    "infinite": ("ordered", wrong("tiny-ordered-1", lambda a: a["codebooks"].__setitem__((0, 0, 0), np.inf))),
    "planes": ("progressive", config("tiny-progressive-1", tops=[9] * 6)),
    "channels": ("progressive", config("tiny-progressive-1", order=[0] * 6)),
    "flow": ("flow", wrong("tiny-flow-1", lambda a: a["plan"].__setitem__((0, 1), 13))),
    "no flow": ("flow", wrong("tiny-flow-1", lambda a: a.update({"last": np.zeros((3, 10**6 * 3), np.int32)}))),
    "transforms": ("progressive", config("tiny-progressive-1", transforms={"channels": 6, "width": 10**5})),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_hostile_weights(case: str, tmp_path: Path) -> None:
    kind, arrays = WEIGHTS[case]
    save_file(arrays, tmp_path / "bad-1.safetensors", {"model": kind})
    encode = presage.encode if kind in ("photo", "pixelcnn", "flow") else presage.encode_lossy
    with little_memory(200), pytest.raises(presage.WeightsError, match="bad-1"):
        encode(noise(9, 9), model="bad", model_path=[tmp_path])


def test_weights_of_an_unreadable_kind(tmp_path: Path) -> None:
    for metadata in ({"model": "\x1b[31m"}, {"model": "photo", "side": "many"}, {"model": "photo", "side": "9" * 5000}):
        save_file(load_file(TINY / "tiny-1.safetensors"), tmp_path / "bad-1.safetensors", metadata)
        with pytest.raises(presage.WeightsError):
            presage.encode(noise(9, 9), model="bad", model_path=[tmp_path])


def test_what_is_no_weights_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe-1.safetensors")
    (tmp_path / "folder-1.safetensors").mkdir()
    (tmp_path / "link-1.safetensors").symlink_to(tmp_path / "nothing")
    nested, text = b"[" * 100_000, json.dumps({"a": {"dtype": "I8", "shape": [1], "data_offsets": [0, 1 << 50]}}).encode()
    for name, header in (("nested", nested), ("offsets", text), ("list", b"[]"), ("metadata", b'{"__metadata__": [1]}')):
        (tmp_path / f"{name}-1.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    with (tmp_path / "sparse-1.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 2) + b"{}")
        file.truncate(1 << 36)
    with little_memory():
        assert {weights.path.parent for weights in catalogue.available([tmp_path, tmp_path / "sparse-1.safetensors"])}.isdisjoint(
            {tmp_path}
        )
    assert same(presage.decode(RGB, model_path=[tmp_path]), PICTURE)
