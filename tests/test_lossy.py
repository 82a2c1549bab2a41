"""Lossy files: what is asked for is met, latents are exact, pictures are the same each time, other kinds are refused."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import pytest
import torch
from conftest import HERE, noise, shared
from PIL import Image
from safetensors.numpy import load_file

import presage
from presage.codec import weights
from presage.codec.format import container
from presage.codec.format.container import Tag
from presage.codec.paths import tiles, transforms, wavefront
from presage.codec.paths.reading import Reading
from presage.codec.predictive import sampling
from presage.codec.settings import Options, Settings
from presage.models import catalogue, windows
from presage.models.latent.exact import ExactLatent
from presage.models.latent.network import Latent
from presage.models.model import Span
from presage.models.training import loop as train

MODELS = ("tiny-latent", "tiny-categories")
SETTINGS = Settings(model_path=[HERE / "data"])


def load(name: str, arithmetic: str | None = None) -> ExactLatent:
    return ExactLatent(load_file(HERE / "data" / f"{name}-1.safetensors"), arithmetic)


def symbols_of(data: bytes, **settings: Unpack[Options]) -> np.ndarray:
    """The latents that a file holds, through the tiles' decoder."""
    header = container.read_header(data)
    network = weights.load_for(header, SETTINGS).model
    assert isinstance(network, ExactLatent)
    height, width = network.size(header.height, header.width)
    found = np.zeros((height, width, network.config.channels), np.uint8)
    boxes = container.tile_boxes(width, height, header.tile)
    used = replace(SETTINGS, **settings)
    for i, tile, _ in tiles.read(Reading(data, header, False, used), network, boxes, range(len(boxes))):
        left, top, right, bottom = boxes[i]
        assert tile is not None
        found[top:bottom, left:right] = tile
    return found


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (8, 8), (37, 1000), (61, 83)])
def test_sizes(model: str, size: tuple[int, int]) -> None:
    pixels = noise(*size)
    data = presage.encode_lossy(pixels, model=model, tile=8)
    image = presage.decode(data)
    assert (image.mode, image.size) == ("RGB", size[::-1])
    assert presage.decode(data, threads=1).tobytes() == image.tobytes()
    facts = presage.info(data)
    assert facts["coding"] == "lossy"
    assert facts["bits_per_pixel"] == round(8 * len(data) / pixels[..., 0].size, 4)


def test_pictures_are_alike() -> None:
    pixels = noise(64, 96, 3) // 2 + 64
    decoded = np.asarray(presage.decode(presage.encode_lossy(pixels, model="tiny-latent", quality=100))).astype(int)
    assert np.square(decoded - pixels).mean() < 0.5 * np.square(pixels - pixels.mean((0, 1))).mean()


@pytest.mark.parametrize("model", MODELS)
def test_latents_do_not_depend_on_how_they_are_decoded(model: str) -> None:
    pixels = noise(90, 130, 5)
    data = presage.encode_lossy(pixels, model=model, quality=70, tile=8)
    for threads in (1, 2):
        for arithmetic in ("int8", "float32", "float64"):
            assert presage.encode_lossy(pixels, model=model, quality=70, tile=8, threads=threads, arithmetic=arithmetic) == data
            assert np.array_equal(symbols_of(data), symbols_of(data, threads=threads, arithmetic=arithmetic))


def test_latents_of_groups_do_not_depend_on_the_schedule() -> None:
    data = presage.encode_lossy(noise(40, 56, 5), model="tiny-categories")
    first = symbols_of(data)
    for name in ("ancestral", "wavefront", "fixed-point", "last", "argmax"):
        assert np.array_equal(symbols_of(data, schedule=presage.Schedule(name)), first)


def test_batches_of_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    network = load("tiny-latent")
    random = np.random.default_rng(0)
    parts = [(120 + random.integers(-9, 10, (h, w, 6))).astype(np.uint8) for h, w in ((8, 8), (3, 8), (8, 1), (1, 1))]
    parts[0][..., 2] = parts[1][..., 2] = parts[2][..., 2] = parts[3][..., 2] = 120
    spans = network.spans(parts)
    assert spans[2] == Span.ZERO
    streams = wavefront.encode_tiles(network, parts, spans, 200, 1, lambda _: None)
    for batch in (1, 3, 24):
        monkeypatch.setattr(network, "batch", batch)
        assert wavefront.encode_tiles(network, parts, spans, 200, 1, lambda _: None) == streams
        back = wavefront.decode_tiles(network, streams, [t.shape[:2] for t in parts], spans, 200, 1, lambda _: None)
        assert all(np.array_equal(a, b) for a, b in zip(parts, back, strict=True))


@pytest.mark.parametrize("spread", [0, 1, 100])
def test_spans(spread: int) -> None:
    """Channels that hold nothing, little and everything come back."""
    network = load("tiny-latent")
    random = np.random.default_rng(spread)
    tile = (120 + random.integers(-spread, spread + 1, (5, 9, 6))).astype(np.uint8)
    spans = network.spans([tile])
    assert set(spans) == {{0: Span.ZERO, 1: Span.NEAR, 100: Span.FULL}[spread]}
    (stream,) = wavefront.encode_tiles(network, [tile], spans, 0, 1, lambda _: None)
    assert (len(stream) == 0) == (spread == 0)
    assert np.array_equal(wavefront.decode_tiles(network, [stream], [(5, 9)], spans, 0, 1, lambda _: None)[0], tile)
    assert container.pack_latents(7, spans)[Tag.LATENTS][0] == 7


RUN = """
[run]
model = "latent"
name = "mine-1"
steps = 20
batch = 2
warm_up = 4
compile = false
save_every = 20
[model]
channels = 4
width = 8
fine_width = 8
fine_blocks = 1
blocks = 1
prior = {{ width = 8, blocks = 1, head = 8, mixtures = 2, embedding = 4 }}
[data]
folder = "{folder}"
crop = 32
hold_out = 4
"""


def test_train_export_encode(tmp_path: Path) -> None:
    """A run of one's own; the exact prior's code lengths are those of the trained one."""
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        Image.fromarray(noise(40, 48, i)).save(tmp_path / "pictures" / f"{i}.png")
    run = tmp_path / "run.toml"
    run.write_text(RUN.format(folder=tmp_path / "pictures"))
    lines: list[str] = []
    checkpoint = train.run(run, [], tmp_path / "out", False, "cpu", lines.append)
    assert any("bpp" in line and "dB" in line for line in lines)
    weights = train.export(run, [], tmp_path / "out")
    assert weights is not None
    exact = ExactLatent(load_file(weights))
    state = torch.load(checkpoint, weights_only=True)
    network = train.averaged_network(train.read_run(run, []), state)
    assert isinstance(network, Latent)
    tile = (120 + np.rint(np.random.default_rng(1).standard_normal((20, 24, 4)) * 3)).astype(np.uint8)
    for quality in (0, 100, 255):
        with torch.no_grad():
            nats = network.prior(torch.from_numpy(tile)[None], torch.tensor([quality / 255]))
        (stream,) = wavefront.encode_tiles(exact, [tile], [Span.FULL] * 4, quality, 1, lambda _: None)
        bits = float(nats.sum()) / math.log(2)
        assert abs(8 * len(stream) - bits) < 0.01 * bits + 64
    data = presage.encode_lossy(noise(33, 40, 99), model="mine", model_path=[tmp_path / "out"])
    assert presage.decode(data, model_path=[tmp_path / "out"]).size == (40, 33)


def test_the_paper_s_stages(tmp_path: Path) -> None:
    """Autoencoder first; then its weights stay as they are and the prior is trained."""
    (tmp_path / "pictures").mkdir()
    for i in range(4):
        Image.fromarray(noise(32, 32, i)).save(tmp_path / "pictures" / f"{i}.png")
    text = RUN.format(folder=tmp_path / "pictures").replace("channels = 4", 'quantiser = "categories"\nchannels = 2\nlevels = 16')
    run = tmp_path / "run.toml"
    run.write_text(text.replace(", mixtures = 2", ""))
    first = train.run(run, ["model.stage=autoencoder", "run.revive_every=5"], tmp_path / "first", False, "cpu", lambda _: None)
    second = train.run(run, ["model.stage=prior", f"run.start={first}"], tmp_path / "second", False, "cpu", lambda _: None)
    a, b = (torch.load(path, weights_only=True)["average"] for path in (first, second))
    moved = {key.split(".")[0] for key in a if not torch.equal(a[key], b[key])}
    assert moved == {"prior"}


# ------------------------------------------------------------------------------------------------------------- targets


def test_targets_are_met(photo: np.ndarray) -> None:
    picture = np.tile(photo, (3, 3, 1))
    pixels = picture.shape[0] * picture.shape[1]
    low, high = (len(presage.encode_lossy(picture, model="tiny-latent", quality=q)) for q in (0, 100))
    for share in (0.2, 0.5, 0.8):
        size = round(low + share * (high - low))
        data = presage.encode_lossy(picture, model="tiny-latent", size=size)
        assert 0.95 * size <= len(data) <= size
        data = presage.encode_lossy(picture, model="tiny-latent", bpp=8 * size / pixels)
        assert 0.95 * size <= len(data) <= size
    decibels = []
    for quality in (20, 80):
        decoded = np.asarray(presage.decode(presage.encode_lossy(picture, model="tiny-latent", quality=quality))).astype(int)
        decibels.append(10 * math.log10(255**2 / np.square(decoded - picture).mean()))
    wanted = sum(decibels) / 2
    decoded = np.asarray(presage.decode(presage.encode_lossy(picture, model="tiny-latent", psnr=wanted))).astype(int)
    found = 10 * math.log10(255**2 / np.square(decoded - picture).mean())
    assert wanted <= found < wanted + 0.25


def test_targets_out_of_reach(photo: np.ndarray) -> None:
    with pytest.raises(presage.ImageRefused, match="smallest file"):
        presage.encode_lossy(photo, model="tiny-latent", size=100)
    with pytest.raises(presage.ImageRefused, match="best quality"):
        presage.encode_lossy(photo, model="tiny-latent", psnr=80)
    best = presage.encode_lossy(photo, model="tiny-latent", quality=100, effort=1)
    assert presage.encode_lossy(photo, model="tiny-latent", size=10**6, effort=1) == best
    wrongs: tuple[dict[str, Any], ...] = ({"quality": 101}, {"quality": 10, "bpp": 1}, {"bpp": -1})
    for wrong in wrongs:
        with pytest.raises(presage.ImageRefused):
            presage.encode_lossy(photo, model="tiny-latent", **wrong)


# -------------------------------------------------------------------------------------------------------------- kinds


@pytest.mark.parametrize("model", MODELS)
def test_gray_and_alpha(model: str, photo: np.ndarray) -> None:
    alpha = np.arange(photo[..., 0].size, dtype=np.uint8).reshape(photo.shape[:2])
    for mode, planes in (("RGBA", photo), ("LA", photo[..., 1]), ("L", photo[..., 1])):
        source = Image.fromarray(planes).convert(mode)
        if mode != "L":
            source.putalpha(Image.fromarray(alpha))
        source.info |= {"icc_profile": b"profile", "dpi": (72.0, 72.0)}
        image = presage.decode(presage.encode_lossy(source, model=model))
        assert image.mode == mode
        assert image.info["icc_profile"] == b"profile"
        if mode != "L":
            assert np.array_equal(np.asarray(image)[..., -1], alpha)


@pytest.mark.parametrize("model", ["tiny-latent", "tiny-ordered"])
@pytest.mark.parametrize("mode", ["1", "P", "I;16", "CMYK"])
def test_other_kinds_are_refused_by_name(mode: str, model: str, photo: np.ndarray) -> None:
    source = Image.fromarray(photo).convert("L").convert("I;16") if mode == "I;16" else Image.fromarray(photo).convert(mode)
    with pytest.raises(presage.ImageRefused, match=mode):
        presage.encode_lossy(source, model=model)


def test_loss_is_asked_for_by_name(photo: np.ndarray) -> None:
    with pytest.raises(presage.ImageRefused, match="--lossy"):
        presage.encode(photo, model="tiny-latent")
    with pytest.raises(presage.ImageRefused, match="without loss"):
        presage.encode_lossy(photo, model="tiny-chain")


# ------------------------------------------------------------------------------------------------------------- windows


@pytest.mark.parametrize("model", MODELS)
def test_windows_leave_no_seams(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = load(model)
    pixels = noise(150, 170, 4)[None]
    whole = transforms.analyse(network, pixels, SETTINGS)
    symbols = network.quantise(whole, 128 if model == "tiny-latent" else 0)
    received, size = network.dequantise(symbols, 128), symbols.shape[1:3]
    decoded = transforms.synthesise(network, received, size, (150, 170), SETTINGS)
    monkeypatch.setattr(windows, "SIDE", 5)
    assert len(windows.windows(*symbols.shape[1:3])) > 9
    assert np.abs(transforms.analyse(network, pixels, SETTINGS) - whole).max() < 1e-3
    again = transforms.synthesise(network, received, size, (150, 170), SETTINGS)
    assert np.abs(again.astype(int) - decoded).max() <= 1


# ------------------------------------------------------------------------------------------------------ sets, samples


def test_lossy_sets(photo: np.ndarray) -> None:
    named = {f"part-{i}.png": Image.fromarray(photo).crop((i, 0, i + 16 + 4 * (i > 2), 24)) for i in range(6)}
    data = presage.pack(named, model="tiny-categories")
    found = presage.unpack(data)
    assert [(k, v.size) for k, v in found.items()] == [(k, v.size) for k, v in named.items()]
    single = presage.decode(presage.encode_lossy(named["part-5.png"], model="tiny-categories"))
    assert np.abs(np.asarray(single).astype(int) - np.asarray(found["part-5.png"])).max() <= 1
    assert list(presage.unpack(data, ["part-2.png"])) == ["part-2.png"]
    assert presage.info(data)["coding"] == "lossy set"
    with pytest.raises(presage.ImageRefused, match="does not pack sets"):
        presage.pack(named, model="tiny-latent")
    with pytest.raises(presage.ImageRefused, match="unpack"):
        presage.decode(data)


@pytest.mark.parametrize("model", MODELS)
def test_samples(model: str) -> None:
    network = load(model)
    drawn = [
        sampling.draw_pictures(network, 2, (40, 32), 3, Settings(schedule=presage.Schedule(name)), quality=35)
        for name in ("auto", "fixed-point", "ancestral")
    ]
    for others in drawn[1:]:
        for a, b in zip(drawn[0].pictures, others.pictures, strict=True):
            assert np.array_equal(a, b)
    assert drawn[0].pictures[0].shape == (40, 32, 3)
    assert drawn[0].mistakes[0].shape == drawn[0].converged[0].shape == (40, 32)


# -------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("model", MODELS)
def test_damage_is_reported(model: str) -> None:
    pixels = noise(48, 64, 8)
    data = presage.encode_lossy(pixels, model=model, tile=8)
    random = np.random.default_rng(0)
    for length in {0, 7, 50, len(data) // 2, len(data) - 1}:
        with pytest.raises(presage.DamagedFile):
            presage.decode(data[:length])
    for place in random.integers(0, len(data), 40):
        wrong = bytearray(data)
        wrong[place] ^= 1 << int(random.integers(8))
        with pytest.raises((presage.DamagedFile, presage.WeightsError)):
            presage.decode(bytes(wrong))


def test_damage_that_checksums_do_not_see() -> None:
    """Sections that are whole but say what cannot be."""
    data = presage.encode_lossy(noise(48, 64, 8), model="tiny-latent", tile=8)
    header = container.read_header(data)
    sections = {s.tag: data[s.offset : s.offset + s.size] for s in header.sections}
    quality, spans = sections[Tag.LATENTS][0], sections[Tag.LATENTS][1:]
    first = bytes([quality])
    for changed in (bytes([quality + 1]) + spans, first + b"\xff" * len(spans), first, first + bytes(len(spans))):
        with pytest.raises(presage.DamagedFile):
            presage.decode(container.write(header, sections | {Tag.LATENTS: changed}))
    for tag in (Tag.LATENTS, Tag.TILE_INDEX, Tag.TILES):
        with pytest.raises(presage.DamagedFile):
            presage.decode(container.write(header, {k: v for k, v in sections.items() if k != tag}))


def test_recovery() -> None:
    pixels = noise(128, 128, 8)
    data = presage.encode_lossy(pixels, model="tiny-latent", tile=8)
    section = container.read_header(data).section(Tag.TILES)
    assert section is not None
    wrong = bytearray(data)
    wrong[section.offset + section.size - 1] ^= 1
    image, lost = presage.recover(bytes(wrong))
    assert lost == [(64, 64, 64, 64)]
    whole = np.asarray(presage.decode(data))
    assert np.array_equal(np.asarray(image)[:32, :32], whole[:32, :32])


def test_shipped_models() -> None:
    """A photograph through each lossy model that is shipped."""
    pixels = np.asarray(Image.open(shared("kodak") / "kodim23.png"))[:192, :256]
    found = [w for w in catalogue.available() if w.metadata.get("model") == "latent" and not w.name.startswith("tiny")]
    assert found
    for shipped in found:
        assert shipped.size < 8 << 20
        data = presage.encode_lossy(pixels, model=shipped.name)
        decoded = np.asarray(presage.decode(data)).astype(int)
        assert 8 * len(data) < 2 * pixels[..., 0].size
        assert 10 * math.log10(255**2 / np.square(decoded - pixels).mean()) > 25
