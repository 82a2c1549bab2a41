"""Files of stages: round trips, the same bytes whatever the threads and arithmetic, cuts, damage, filling in, sampling."""

from itertools import pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import HERE, in_stages, noise, unpack
from PIL import Image

import presage
from presage.codec import weights
from presage.codec.cli.main import main
from presage.codec.format.container import Tag, read_header
from presage.codec.format.stages import StageStreams
from presage.codec.image import files as images
from presage.codec.paths import fill, sets, stages
from presage.codec.predictive import sampling
from presage.codec.settings import Settings
from presage.models.model import Turn
from presage.models.staged import Staged

NAMES = ["tiny-ardm", "tiny-upscale"]
SETTINGS = Settings(threads=1)


def rough(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth noise, and a little of another kind."""
    random = np.random.default_rng(seed)
    return (noise(height, width, seed).astype(int) + random.integers(-12, 13, (height, width, 3))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def cuttable() -> bytes:
    return in_stages(rough(20, 37), "tiny-upscale", threads=1)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (13, 37)])
def test_sizes(name: str, size: tuple[int, int]) -> None:
    picture = images.from_pillow(Image.fromarray(rough(*size)))
    data = sets.pack_pictures([("a.png", picture)], name, 0, SETTINGS, 20)
    ((_, image),), lost = unpack(data, None, False, SETTINGS)
    assert image.tobytes() == picture.image.tobytes()
    assert not lost


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_modes(mode: str) -> None:
    alpha = np.random.default_rng(1).integers(0, 256, (18, 17, 1), np.uint8)
    image = Image.fromarray(np.dstack([rough(18, 17), alpha])).convert(mode)
    data = in_stages(image, "tiny-upscale")
    assert presage.decode(data).tobytes() == image.tobytes()


def test_same_bytes_whatever_the_threads_and_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {f"{i}.png": rough(6, 7 + i % 2, i) for i in range(4)}
    data = presage.pack(named, model="tiny-upscale", calls=20, threads=1)
    assert presage.pack(named, model="tiny-upscale", calls=20, threads=2, arithmetic="float32") == data
    assert all(np.array_equal(np.asarray(i), named[n]) for n, i in presage.unpack(data, arithmetic="int8").items())
    assert presage.pack(named, model="tiny-upscale", calls=50) != data
    statistics: list[object] = []
    presage.unpack(data, ["3.png"], statistics=statistics)  # type: ignore[arg-type]
    assert 4 * 10 < statistics[0].calls <= 4 * 20  # type: ignore[attr-defined]


def test_files_are_near_what_the_model_says() -> None:
    """One picture within 3 %, a set within 1 %, of the bits of the weights that the model gives."""
    model = cast(Staged, weights.load("tiny-ardm", SETTINGS).model)
    tiles = [rough(16, 16, i) for i in range(8)]
    total = 0.0
    answers = model.answers(tiles)

    def code(turn: Turn, wanted: np.ndarray) -> np.ndarray:
        nonlocal total
        digits: np.ndarray = answers(turn, wanted)
        total -= np.log2(wanted[np.arange(len(digits)), digits] / wanted.sum(1, dtype=np.float64)).sum()
        return digits

    model.walk([np.zeros_like(tile) for tile in tiles], 0, 20, code)
    sections = stages.encode_tiles(model, tiles, 20, 1, lambda _: None)
    assert total / 8 <= len(sections[Tag.STAGES]) <= 1.01 * total / 8
    alone = sum(len(stages.encode_tiles(model, [tile], 20, 1, lambda _: None)[Tag.STAGES]) for tile in tiles)
    assert alone <= 1.03 * total / 8


def test_cuts_show_coarser_pictures(cuttable: bytes) -> None:
    pixels = rough(20, 37).astype(int)
    header = read_header(cuttable)
    streams = StageStreams(cuttable, header)
    assert (streams.stages, streams.calls, streams.whole) == (4, 20, True)
    errors = []
    for size in (streams.least, *(streams._ends[2:])):
        cut = presage.truncate(cuttable, size)
        assert len(cut) == size
        errors.append(np.abs(np.asarray(presage.decode(cut)).astype(int) - pixels).max())
        assert presage.info(cut)["stages_there"] == len(errors)
    assert errors == [32, 8, 2, 0]
    between = cuttable[: streams._ends[2] + 3]
    assert presage.decode(between).tobytes() == presage.decode(presage.truncate(between, len(between))).tobytes()
    with pytest.raises(presage.ImageRefused, match="smallest cut"):
        presage.truncate(cuttable, streams.least - 1)
    with pytest.raises(presage.DamagedFile, match="cut short"):
        presage.decode(cuttable[: streams.least - 1])


def test_every_byte_is_checked() -> None:
    whole = (HERE / "golden" / "stages.psg").read_bytes()
    for at in range(0, len(whole), 9):
        broken = bytearray(whole)
        broken[at] ^= 1 << at % 8
        with pytest.raises(presage.PresageError):
            presage.decode(bytes(broken))


def test_damage_loses_later_stages_alone(cuttable: bytes) -> None:
    streams = StageStreams(cuttable, read_header(cuttable))
    broken = bytearray(cuttable)
    broken[streams._ends[2] + 1] ^= 4
    image, lost = presage.recover(bytes(broken))
    pixels = rough(20, 37).astype(int)
    assert len(lost) == 6
    assert np.abs(np.asarray(image).astype(int) - pixels).max() <= 8
    drawn, lost = presage.recover(bytes(broken), fill=True)
    assert len(lost) == 6
    assert (np.asarray(drawn) >> 4 == pixels >> 4).all()
    assert presage.recover(bytes(broken), fill=True)[0].tobytes() == drawn.tobytes()
    broken[streams._ends[0] + 1] ^= 4
    with pytest.raises(presage.DamagedFile):
        presage.decode(bytes(broken))
    assert (np.asarray(presage.recover(bytes(broken))[0]) == 128).all()


def test_sets_lose_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    model = weights.load("tiny-upscale", SETTINGS).model
    monkeypatch.setattr(type(model), "batch", 2)
    named = [(f"{i}.png", images.from_pillow(Image.fromarray(rough(8, 8, i)))) for i in range(5)]
    data = sets.pack_pictures(named, "tiny-upscale", 0, SETTINGS, 20)
    streams = StageStreams(data, read_header(data))
    assert streams.groups == 3
    broken = bytearray(data)
    broken[streams._ends[1]] ^= 1  # group 1 of the first stage
    broken[streams._ends[5]] ^= 1  # group 2 of the second
    found, lost = unpack(bytes(broken), None, True, SETTINGS)
    assert [name for name, _ in found] == ["0.png", "1.png", "4.png"]
    assert lost == ["2.png", "3.png", "4.png"]
    assert found[0][1].tobytes() == named[0][1].image.tobytes()
    cut = presage.truncate(data, fraction=0.6)
    assert len(presage.unpack(cut)) == 5


@pytest.mark.parametrize("name", NAMES)
def test_fill_leaves_what_is_known(name: str) -> None:
    pixels, lost = rough(12, 18), np.zeros((12, 18), bool)
    lost[5:9, 6:11] = True
    picture = images.from_pillow(Image.fromarray(pixels))
    made = np.asarray(fill.fill_picture(picture, lost, name, 20, 3, SETTINGS).image)
    assert np.array_equal(made[~lost], pixels[~lost])
    assert not np.array_equal(made[lost], pixels[lost])
    again = fill.fill_picture(picture, lost, name, 20, 3, Settings(threads=1, arithmetic="float32")).image
    assert np.array_equal(np.asarray(again), made)
    assert not np.array_equal(np.asarray(fill.fill_picture(picture, lost, name, 20, 4, SETTINGS).image), made)
    mask = Image.fromarray(lost)
    assert np.array_equal(np.asarray(presage.fill(pixels, mask, model=name, calls=20, seed=3, threads=1)), made)
    with pytest.raises(presage.ImageRefused, match="mask"):
        fill.fill_picture(picture, lost[1:], name, 20, 3, SETTINGS)
    with pytest.raises(presage.ImageRefused, match="does not fill in"):
        fill.fill_picture(picture, lost, "tiny-chain", 20, 3, SETTINGS)


def test_samples_do_not_depend_on_others() -> None:
    model = weights.load("tiny-upscale", SETTINGS).model
    two = sampling.draw_pictures(model, 2, (9, 11), 5, SETTINGS, calls=20).pictures
    three = sampling.draw_pictures(model, 3, (9, 11), 5, Settings(threads=2), calls=20).pictures
    assert all(np.array_equal(a, b) for a, b in zip(two, three, strict=False))
    with pytest.raises(presage.ImageRefused, match="sides"):
        sampling.draw_pictures(model, 1, (40, 8), 5, SETTINGS)


def test_what_is_refused() -> None:
    for options in ({"calls": 51}, {"tile": 32}):
        with pytest.raises(presage.ImageRefused):
            presage.encode(rough(20, 20), model="tiny-ardm", **options)  # type: ignore[arg-type]
    with pytest.raises(presage.ImageRefused, match="calls"):
        presage.encode(rough(20, 20), model="tiny-chain", calls=20)
    with pytest.raises(presage.ImageRefused, match="smallest cut"):
        presage.truncate(in_stages(rough(9, 9), "tiny-ardm"), fraction=0.9)


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(rough(20, 20)).save("a.png")
    mask = Image.new("L", (20, 20))
    mask.paste(255, (4, 4, 9, 12))
    mask.save("m.png")

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(main, list(arguments))
        assert done.exit_code == 0, done.output
        return done.output

    assert "bits/sample" in run("encode", "a.png", "-m", "tiny-upscale", "--calls", "20", "--verify", "-o", "stored.psg")
    Path("a.psg").write_bytes(in_stages(rough(20, 20), "tiny-upscale"))
    assert "calls" in run("decode", "a.psg", "-o", "b.png", "--stats")
    assert Image.open("b.png").tobytes() == Image.open("a.png").tobytes()
    run("truncate", "a.psg", "--fraction", "0.7", "-o", "cut.psg")
    assert "stages are there" in run("decode", "cut.psg", "-o", "cut.png")
    assert "stages are there" in run("verify", "cut.psg")
    assert "stages there" in run("info", "cut.psg")
    run("fill", "a.png", "--mask", "m.png", "-m", "tiny-upscale", "--calls", "20", "-o", "f.png")
    run("pack", "a.png", "b.png", "-m", "tiny-ardm", "--calls", "20", "-o", "s.psg")
    run("unpack", "s.psg", "--out-dir", "out")
    run("sample", "-m", "tiny-ardm", "-n", "2", "--calls", "20", "-o", "g.png")
    assert CliRunner().invoke(main, ["decode", "a.psg", "--fill", "-f"]).exit_code == 2


@pytest.mark.parametrize("name", ["stages", "stages-cut"])
def test_golden(name: str) -> None:
    decoded = presage.decode((HERE / "golden" / f"{name}.psg").read_bytes())
    assert decoded.tobytes() == Image.open(HERE / "golden" / f"{name}.png").tobytes()


def test_ends_are_ascending(cuttable: bytes) -> None:
    ends = StageStreams(cuttable, read_header(cuttable))._ends
    assert all(a < b for a, b in pairwise(ends))
