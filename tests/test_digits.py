"""Latents digit by digit: rounds, the network in integers beside the one in training, cuts, damage, commands."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from conftest import HERE, arrays
from PIL import Image
from safetensors.torch import load_file, save_file
from test_command_line import run as start

import presage
from presage.codec.cli.main import main
from presage.codec.format import container
from presage.codec.format.container import ChunkStream, Tag
from presage.models import schema
from presage.models.latent.network import LatentConfig, Transforms
from presage.models.model import Nibbles, Turn
from presage.models.progressive.exact import ExactProgressive
from presage.models.progressive.export import progressive_tensors
from presage.models.progressive.network import Progressive
from presage.models.progressive.rounds import Latents, ProgressiveConfig, clamped, digits_of, places_of
from presage.models.tensors import half_tensors, settings_tensor
from presage.models.training import loop
from presage.models.training.latents import LatentCrops, LatentData

FILE = HERE / "golden" / "digits.psg"
DATA = FILE.read_bytes()
PHOTO = np.asarray(Image.open(HERE / "golden" / "rgb.png"))
TRANSFORMS = {"channels": 4, "width": 8, "fine_width": 8, "fine_blocks": 1, "blocks": 1}


def small(**more: Any) -> ProgressiveConfig:
    settings: dict[str, Any] = {
        "tops": [5, 3, 2, 1],
        "order": [1, 0, 2, 3],
        "sizes": [2, 1, 1],
        "smooth": 2,
        "width": 8,
        "narrow": 6,
        "head": 6,
    }
    return ProgressiveConfig(transforms=TRANSFORMS, **(settings | more))


def latents(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth ones, int16 (count, height, width, 4)."""
    random = np.random.default_rng(seed)
    rough = random.laplace(0, [8, 2, 1, 0.4], (count, height, width, 4))
    return torch.from_numpy(clamped(np.rint(rough + 0.7 * np.roll(rough, 1, 2)), small().tops))


@pytest.fixture(scope="module")
def trained() -> Progressive:
    """A network that was trained for a moment, on its grids."""
    torch.manual_seed(0)
    network, known = Progressive(small()), latents(8, 6, 6)
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-2)
    for step in range(60):
        if step == 40:
            network.quantise(known)
        optimiser.zero_grad()
        network(known).mean().backward()
        optimiser.step()
    return network.eval()


def test_digits_are_the_latents() -> None:
    """All digits of all rounds give the latents back; after some of them each is in an interval that holds it."""
    config, values = small(), latents(1, 5, 7, seed=3)[0].numpy()
    known = Latents(config, 5, 7)
    for one in config.rounds():
        at = np.add.outer(places_of(one.places, 5, 7) * 4, one.channels).ravel()
        known.take(one, at, digits_of(values.ravel(), one, at))
        magnitudes = np.abs(values).reshape(-1, 4)
        assert np.array_equal(known.magnitudes, magnitudes >> known.depth)
        assert (
            np.sign(known.middles()) * (known.magnitudes > 0).reshape(5, 7, 4) == np.where(known.middles() != 0, np.sign(values), 0)
        ).all()
    assert not known.depth.any()
    assert np.array_equal(np.where(known.negative, -known.magnitudes, known.magnitudes).reshape(5, 7, 4), values)


def test_rounds_hold_every_plane_once() -> None:
    config = small()
    seen: dict[tuple[int, int], list[int]] = {}
    for one in config.rounds():
        for channel in one.channels:
            for place in places_of(one.places, 4, 4).tolist():
                seen.setdefault((channel, place), []).append(one.plane)
    assert seen == {(c, place): list(range(top - 1, -1, -1)) for c, top in enumerate(config.tops) for place in range(16)}
    depths = config.depths()
    assert (depths[0] == config.tops).all()
    assert not depths[-1].any()
    for wrong in ({"tops": [9, 3, 2, 1]}, {"order": [0, 0, 1, 2]}, {"sizes": [4, 1]}):
        with pytest.raises(ValueError, match=r"planes|order"):
            small(**wrong)


@pytest.mark.parametrize("arithmetic", ["float32", "float64", "int8"])
def test_integers_are_the_network_that_was_trained(trained: Progressive, arithmetic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code lengths of the integer network are those of the one in training; strips and products change nothing."""
    tensors = arrays(progressive_tensors(trained))
    schema.check("progressive", tensors)
    values = latents(1, 9, 11, seed=1)

    def length(network: ExactProgressive) -> tuple[float, list[np.ndarray[Any, Any]]]:
        bits, seen = 0.0, []

        def say(turn: Turn, weights: np.ndarray[Any, np.dtype[np.float32]]) -> Nibbles:
            nonlocal bits
            digits = digits_of(values.numpy().ravel(), network.rounds[turn.channel], turn.at)
            chances = weights / weights.sum(1, keepdims=True)
            bits -= float(np.log2(chances[np.arange(len(digits)), digits]).sum())
            seen.append(weights)
            return digits

        walked = network.walk(1, 9, 11, len(network.rounds), say)
        assert [len(codes) for codes in walked] == network.counts(9, 11)
        return bits, seen

    bits, seen = length(ExactProgressive(tensors, "float64"))
    with torch.no_grad():
        expected = float(trained(values)) * 9 * 11 * 64
    assert abs(bits / expected - 1) < 0.01
    monkeypatch.setattr("presage.models.progressive.digits.STRIP", 23)
    _, others = length(ExactProgressive(tensors, arithmetic))
    assert all(np.array_equal(a, b) for a, b in zip(seen, others, strict=True))


def test_cuts() -> None:
    """Every cut shows the whole picture, more bytes more of it, and no cut is larger than was asked for."""
    section = container.read_header(DATA).section(Tag.CODES)
    assert section is not None
    errors = []
    for size in (*range(section.offset, len(DATA), 41), len(DATA)):
        shown = presage.decode(DATA[:size])
        shorter = presage.truncate(DATA, size)
        assert len(shorter) <= size
        assert presage.decode(shorter).tobytes() == shown.tobytes()
        assert presage.info(DATA[:size])["cut"] == (size < len(DATA))
        errors.append(np.square(np.asarray(shown).astype(int) - PHOTO).mean())
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(errors))
    assert errors[-1] < 0.3 * errors[0]
    with pytest.raises(presage.ImageRefused, match="smallest cut"):
        presage.truncate(DATA, section.offset - 1)


def test_damage() -> None:
    """A flipped bit is found out in whole and in cut files, and what comes before it can be saved."""
    stream = ChunkStream(DATA, container.read_header(DATA))
    for number, (offset, size) in enumerate(stream.places):
        bad = DATA[: offset + size - 1] + bytes([DATA[offset + size - 1] ^ 4]) + DATA[offset + size :]
        for file in (bad, bad[: offset + size]):
            with pytest.raises(presage.DamagedFile):
                presage.decode(file)
        image, lost = presage.recover(bad)
        assert image.tobytes() == presage.decode(DATA[: stream.end(number)]).tobytes()
        assert lost
    with pytest.raises(presage.DamagedFile):
        presage.decode(DATA + b"\0")


def forged(codes: list[int]) -> bytes:
    """A file of the tiny model whose chunks say that they have so many codes."""
    header = container.read_header(DATA)
    words = [bytes(4 * container.chunk_words(number)) for number in range(len(codes))]
    chunks = [container.pack_chunk(number, count, part) for number, (count, part) in enumerate(zip(codes, words, strict=True))]
    return container.write(header, {Tag.CODES: b"".join(chunks)})


def test_hostile_chunks() -> None:
    """Too many digits, too few, and digits that no encoder writes."""
    for codes in ([10], [1 << 23], [0, 0, 3168], [3168, 1], [0]):
        with pytest.raises(presage.DamagedFile):
            presage.decode(forged(codes))
    for codes in ([10, 20], [3000, 9]):
        cut = forged(codes)[:-1]
        assert presage.decode(cut).size == (83, 61)


def test_options_change_no_byte() -> None:
    made = presage.encode_lossy(PHOTO, model="tiny-progressive")
    assert made == DATA
    for options in ({"arithmetic": "float32"}, {"arithmetic": "float64", "threads": 1}, {"threads": 3, "verify": True}):
        assert presage.encode_lossy(PHOTO, model="tiny-progressive", **options) == made
    shown = presage.decode(made)
    assert presage.decode(made, arithmetic="float64", threads=1).tobytes() == shown.tobytes()
    assert presage.decode(made, crop=(3, 4, 50, 20)).tobytes() == shown.crop((3, 4, 53, 24)).tobytes()
    part = presage.decode(made, codes=9)
    assert presage.decode(made, codes=99).tobytes() == shown.tobytes() != part.tobytes()


def test_targets() -> None:
    small_file = presage.encode_lossy(PHOTO, model="tiny-progressive", size=300)
    assert small_file == presage.truncate(DATA, 300)
    good = presage.encode_lossy(PHOTO, model="tiny-progressive", psnr=21)
    error = np.square(np.asarray(presage.decode(good)).astype(int) - PHOTO).mean()
    assert 10 * np.log10(255**2 / error) >= 21
    assert len(good) < len(DATA)
    with pytest.raises(presage.ImageRefused, match="best quality"):
        presage.encode_lossy(PHOTO, model="tiny-progressive", psnr=60)
    with pytest.raises(presage.ImageRefused, match="no tiles"):
        presage.encode_lossy(PHOTO, model="tiny-progressive", tile=16)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def test_pipes(tmp_path: Path) -> None:
    """Encode, cut, decode: real processes, one after the other."""
    encoded = start("encode", "-m", "tiny-progressive", "--lossy", "-", input=(HERE / "golden" / "rgb.png").read_bytes())
    assert encoded.returncode == 0, encoded.stderr
    assert encoded.stdout == DATA
    cut = start("truncate", "-", "--bpp", "0.5", "-o", "-", input=encoded.stdout)
    assert cut.stdout == presage.truncate(DATA, bpp=0.5)
    decoded = start("decode", "-", "-o", "-", input=cut.stdout)
    assert decoded.returncode == 0
    assert b"the file is cut" in decoded.stderr
    (tmp_path / "x.png").write_bytes(decoded.stdout)
    assert Image.open(tmp_path / "x.png").tobytes() == presage.decode(cut.stdout).tobytes()


def test_commands(tmp_path: Path) -> None:
    facts = json.loads(run("info", "--json", FILE).stdout)
    assert (facts["coding"], facts["codes"], facts["cut"]) == ("digits", 3168, False)
    assert run("verify", FILE).exit_code == 0
    assert run("decode", FILE, "--progressive", tmp_path / "cuts").exit_code == 0
    assert len(list((tmp_path / "cuts").iterdir())) == 8
    (tmp_path / "bad.psg").write_bytes(DATA[:200] + bytes(20) + DATA[220:])
    assert run("verify", tmp_path / "bad.psg").exit_code == 3
    source = HERE / "golden" / "rgb.png"
    for wrong in (["--progressive"], ["--progressive", "--lossy", "-m", "tiny-progressive"]):
        assert run("encode", *wrong, source, "-o", tmp_path / "x.psg").exit_code == 2
    assert run("sample", "-m", "tiny-progressive", "-n", "1", "--size", "16x16", "-o", tmp_path / "x.png").exit_code == 1
    assert run("encode", "--lossy", "-m", "tiny-progressive", HERE / "golden" / "palette.png", "-o", tmp_path / "x.psg").exit_code == 1
    assert not (tmp_path / "x.psg").exists()


def test_train_export_encode(tmp_path: Path) -> None:
    """From a run file to a file of a picture. Latents that are kept are those that would be made."""
    settings = LatentConfig(**TRANSFORMS)  # type: ignore[arg-type]
    torch.manual_seed(0)
    tensors = {f"transforms.{name}": part for name, part in half_tensors(Transforms(settings).state_dict()).items()}
    save_file(tensors | {"config": settings_tensor(settings)}, tmp_path / "latent.safetensors")
    for i in range(4):
        Image.fromarray(np.roll(PHOTO, 9 * i, 1)).save(tmp_path / f"{i}.png")
    path = tmp_path / "run.toml"
    path.write_text(f"""
[run]
model = "progressive"
name = "mine-1"
start = "{tmp_path}/latent.safetensors"
steps = 6
batch = 2
report_every = 6
save_every = 6
[model]
width = 8
narrow = 6
head = 6
tops = [7, 7, 7, 7]
order = [0, 1, 2, 3]
sizes = [1, 3]
transforms = {{ channels = 4, width = 8, fine_width = 8, fine_blocks = 1, blocks = 1 }}
[data]
weights = "{tmp_path}/latent.safetensors"
kept = "{tmp_path}/kept.npz"
pictures = {{ folder = "{tmp_path}", pattern = "*.png", crop = 48, hold_out = 4 }}
""")
    said: list[str] = []
    loop.run(path, [], tmp_path / "a", False, "cpu", said.append)
    assert "bits/pixel" in said[-1]
    assert loop.export(path, [], tmp_path / "a")
    kept = LatentData(**loop.read_run(path, []).data)
    assert np.array_equal(LatentCrops(kept).training, LatentCrops(replace(kept, kept="")).training)
    data = presage.encode_lossy(PHOTO, model="mine", model_path=[tmp_path / "a"], verify=True)
    assert presage.info(data)["coding"] == "digits"
    assert presage.decode(data, model_path=[tmp_path / "a"]).size == (83, 61)

    pixels = (
        path.read_text()
        .replace(f'start = "{tmp_path}/latent.safetensors"', f'start = "{tmp_path}/a/mine-1.checkpoint"')
        .partition("[data]")[0]
    )
    other = tmp_path / "decoder.toml"
    other.write_text(
        pixels.replace("[model]", 'quantise_from = 1.0\n[model]\nstage = "decoder"')
        + f'''
[data]
folder = "{tmp_path}"
pattern = "*.png"
crop = 48
hold_out = 4
'''
    )
    loop.run(other, [], tmp_path / "b", False, "cpu", said.append)
    assert "dB" in said[-1]
    written = loop.export(other, [], tmp_path / "b")
    assert written
    before, after = load_file(tmp_path / "a" / "mine-1.safetensors"), load_file(written)
    changed = {name for name in before if not torch.equal(before[name], after[name])} - {"config"}
    assert changed
    assert all(name.startswith(("transforms.decoder.", "transforms.inverse_gain")) for name in changed)
