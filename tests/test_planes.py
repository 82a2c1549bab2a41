"""The network of planes: what it may know, and that its integers give what was trained; and files of planes."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import HERE, arrays
from PIL import Image

import presage
from presage.codec.coders.turns import Pull, Record
from presage.codec.format import container
from presage.codec.format.container import Tag
from presage.models.photo.network import PhotoConfig
from presage.models.planes import network
from presage.models.planes.exact import ExactPlanes
from presage.models.planes.export import planes_tensors


def smooth(random: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Three planes (height, width, 3) that have something to do with one another."""
    y, x = np.mgrid[:height, :width]
    base = 100 + 60 * np.sin(x / 9) * np.cos(y / 7)
    planes = np.stack([base, 128 + base / 8, 140 - base / 9], -1) + random.normal(0, 3, (height, width, 3))
    return planes.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def quantised() -> network.Planes:
    torch.manual_seed(0)
    net = network.Planes(PhotoConfig(hidden=16, width=32, blocks=2, head=16, mixtures=3))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    net.quantise(torch.from_numpy(smooth(np.random.default_rng(0), 40, 40))[None])
    return net.eval()


def test_only_side_planes_are_seen_ahead(quantised: network.Planes) -> None:
    """No sample's probability depends on itself or on later ones of its plane; on side planes ahead it does."""
    planes = torch.from_numpy(smooth(np.random.default_rng(1), 12, 14))[None]
    changed = planes.clone()
    changed[0, 6, 5, 0] ^= 64
    with torch.no_grad():
        before, after = quantised(planes)[0], quantised(changed)[0]
    y, x = np.mgrid[:12, :14]
    earlier = torch.from_numpy((x + 2 * y < 5 + 12) | ((x + 2 * y == 17) & (y != 6)))
    assert torch.equal(before[earlier], after[earlier])
    changed = planes.clone()
    changed[0, 6, 5, 1] ^= 64
    with torch.no_grad():
        assert not torch.equal(before[6, 4], quantised(changed)[0, 6, 4])


def test_integers_give_what_the_network_gives_and_decode(quantised: network.Planes) -> None:
    exact = ExactPlanes(arrays(planes_tensors(quantised)))
    random = np.random.default_rng(2)
    tiles = [smooth(random, h, w) for h, w in ((33, 29), (40, 40), (1, 1), (3, 17))]
    sides = [np.ascontiguousarray(tile[..., 1:]) for tile in tiles]
    record = Record(exact.answers([tile[..., :1] for tile in tiles]), len(tiles))
    exact.walk(sides, record)
    streams = record.streams()
    with torch.no_grad():
        ideal = sum(float(quantised(torch.from_numpy(tile)[None]).sum()) for tile in tiles) / math.log(2)
    assert 8 * sum(map(len, streams)) < 1.005 * ideal + 128 * len(tiles)
    pull = Pull(streams)
    decoded = exact.walk(sides, pull)
    pull.check()
    assert all(np.array_equal(a, b[..., :1]) for a, b in zip(decoded, tiles, strict=True))
    alone = Record(exact.answers([tiles[0][..., :1]]), 1)
    exact.walk(sides[:1], alone)
    assert alone.streams() == streams[:1]


@pytest.mark.parametrize("arithmetic", ["float32", "float64"])
def test_streams_do_not_depend_on_the_arithmetic(quantised: network.Planes, arithmetic: str) -> None:
    """Compiled loops and torch: tiles of several sizes at once, and places of several steps."""
    tensors, random = arrays(planes_tensors(quantised)), np.random.default_rng(3)
    tiles = [smooth(random, h, w) for h, w in ((20, 31), (31, 20), (1, 9), (40, 90))]
    streams = []
    for exact in (ExactPlanes(tensors), ExactPlanes(tensors, arithmetic)):
        record = Record(exact.answers([tile[..., :1] for tile in tiles]), len(tiles))
        exact.walk([np.ascontiguousarray(tile[..., 1:]) for tile in tiles], record)
        streams.append(record.streams())
    assert streams[0] == streams[1]


@pytest.fixture(scope="module")
def scan() -> Image.Image:
    """A piece of a Photo CD scan, some pixels of which were changed: (66, 70)."""
    pixels = np.array(Image.open(HERE / "golden" / "rgb.png"))[:, 3:73]
    pixels = np.concatenate([pixels, pixels[-5:]])
    pixels[30, 20:33] = (1, 255, 3)
    pixels[50:52, 60] = 0
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def file(scan: Image.Image) -> bytes:
    os.environ["PRESAGE_MODELS"] = str(HERE / "data")
    return presage.encode(scan, model="tiny-planes", tile=16)


def test_files_of_planes_come_back(scan: Image.Image, file: bytes) -> None:
    facts = presage.info(file)
    assert (facts["coding"], facts["origin"], facts["model"]) == ("planes", "Photo CD 4:2:0", "tiny-planes-1")
    assert presage.decode(file).tobytes() == scan.tobytes()
    assert len(file) < len(presage.encode(scan, model="tiny", tile=16))
    for x, y, w, h in ((0, 0, 1, 1), (17, 30, 20, 9), (60, 50, 10, 16), (16, 16, 16, 16)):
        assert presage.decode(file, crop=(x, y, w, h)).tobytes() == scan.crop((x, y, x + w, y + h)).tobytes()


def test_alpha_is_kept(scan: Image.Image) -> None:
    scan = scan.copy()
    scan.putalpha(Image.linear_gradient("L").resize(scan.size))
    data = presage.encode(scan, model="tiny-planes")
    assert presage.info(data)["coding"] == "planes"
    assert presage.decode(data).tobytes() == scan.tobytes()


def test_pictures_without_origin_are_refused() -> None:
    noisy = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    with pytest.raises(presage.ImageRefused, match="planes"):
        presage.encode(noisy, model="tiny-planes")
    with pytest.raises(presage.ImageRefused, match="planes"):
        presage.encode(noisy.convert("L"), model="tiny-planes")


def test_without_compiled_loops_the_same_pixels_come_back(scan: Image.Image, file: bytes) -> None:
    code = "import sys, presage; sys.stdout.buffer.write(presage.decode(sys.stdin.buffer.read()).tobytes())"
    environment = os.environ | {"PRESAGE_KERNELS": "torch", "PRESAGE_MODELS": str(HERE / "data")}
    done = subprocess.run([sys.executable, "-c", code], input=file, capture_output=True, env=environment, check=True)
    assert done.stdout == scan.tobytes()


def test_damage_is_found_and_the_rest_recovered(scan: Image.Image, file: bytes) -> None:
    header = container.read_header(file)
    streams, kept = header.section(Tag.TILES), header.section(Tag.ORIGIN)
    assert streams is not None
    assert kept is not None
    random = np.random.default_rng(0)
    for _ in range(60):
        damaged = bytearray(file)
        damaged[random.integers(len(file))] ^= random.integers(1, 256)
        with pytest.raises(presage.DamagedFile):
            presage.decode(bytes(damaged))
    pixels = np.asarray(scan)
    for place in (streams.offset + 3, streams.offset + streams.size - 3):  # a tile of chroma, the last of luma
        damaged = bytearray(file)
        damaged[place] ^= 1
        image, lost = presage.recover(bytes(damaged))
        assert lost
        whole = np.ones(pixels.shape[:2], bool)
        for x, y, w, h in lost:
            whole[y : y + h, x : x + w] = False
        assert whole.any()
        assert np.array_equal(np.asarray(image)[whole], pixels[whole])
        assert (np.asarray(image)[~whole] == 128).all()
    sections = {s.tag: file[s.offset : s.offset + s.size] for s in header.sections}
    for content in (b"", sections[Tag.ORIGIN][:-1], sections[Tag.ORIGIN][:3] + b"\0" * 25, b"\2" + sections[Tag.ORIGIN][1:]):
        with pytest.raises(presage.DamagedFile):
            presage.decode(container.write(header, sections | {Tag.ORIGIN: content}))
    del sections[Tag.ORIGIN]
    with pytest.raises(presage.DamagedFile):
        presage.decode(container.write(header, sections))


def test_the_default_model_gives_way_to_an_origin(scan: Image.Image) -> None:
    """And stands where there is none, or where its release is named."""
    by_origin, without = presage.encode(scan), presage.encode(scan, model="photo-1")
    assert presage.info(by_origin)["coding"] == "planes"
    assert presage.info(without)["coding"] == "model"
    assert len(by_origin) < len(without)
    assert presage.decode(by_origin).tobytes() == presage.decode(without).tobytes() == scan.tobytes()
    turned = Image.fromarray(np.asarray(scan)[..., ::-1])
    assert presage.info(presage.encode(turned))["coding"] == "model"
