"""JPEG files through a model: the very bytes back, whatever happens to threads, kernels and files."""

import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import HERE, noise
from PIL import Image

import presage
from presage.codec.cli.main import main
from presage.codec.format import container
from presage.codec.format.container import Coding, Header, Mode, Tag
from presage.models.kernels import jit

MODEL = "tiny-jpeg"


def saved(size: tuple[int, int] = (200, 150), mode: str = "RGB", **options: Any) -> bytes:
    """A JPEG file of a smooth picture with some noise."""
    height, width = size[1], size[0]
    y, x = np.mgrid[:height, :width]
    smooth = 128 + 60 * np.sin(x / 30)[..., None] + 50 * np.cos(y[..., None] / np.array([20, 25, 31]))
    pixels = (smooth + np.random.default_rng(0).normal(0, 3, (height, width, 3))).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, "JPEG", **({"quality": 75} | options))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def source() -> bytes:
    return saved(quality=90, comment=b"a comment")


@pytest.fixture(scope="module")
def coded(source: bytes) -> bytes:
    return presage.encode(source, model=MODEL, tile=8, model_path=[HERE / "data"])


def pixels(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True, "restart_marker_blocks": 1},
        {"subsampling": 0},
        {"restart_marker_blocks": 5},
        {"mode": "L"},
        {"mode": "CMYK"},
    ],
)
def test_the_very_bytes_come_back(options: dict[str, Any]) -> None:
    source = saved(**options)
    data = presage.encode(source, model=MODEL, verify=True)
    assert presage.decode_file(data) == source
    facts = presage.info(data)
    assert facts["coding"] == "JPEG"
    assert facts["jpeg_bytes"] == len(source)
    assert facts["model"] == "tiny-jpeg-1"
    assert facts["jpeg_quality"] == 75
    assert facts["jpeg"] == ("progressive" if "progressive" in options else "baseline")
    assert facts["sampling"] == {"L": "gray", "CMYK": "1x1 1x1 1x1 1x1"}.get(
        options.get("mode", ""), "4:4:4" if "subsampling" in options else "4:2:0"
    )
    assert facts["saving"] == round(1 - len(data) / len(source), 4) > 0
    image = presage.decode(data)
    assert image.tobytes() == pixels(source).tobytes()
    assert image.mode == facts["mode"] == options.get("mode", "RGB")
    assert presage.decode(data, crop=(30, 20, 50, 40)).tobytes() == pixels(source).crop((30, 20, 80, 60)).tobytes()


def test_paths_and_bytes_and_pixels(tmp_path: Path, source: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(source)
    data = presage.encode(path, model=MODEL)
    assert data == presage.encode(str(path), model=MODEL) == presage.encode(bytearray(source), model=MODEL)
    small = saved((20, 15))
    assert presage.info(presage.encode(small, model="tiny", pixels=True))["coding"] != "JPEG"
    assert presage.decode(presage.encode(small, model="tiny", pixels=True)).tobytes() == pixels(small).tobytes()
    with pytest.raises(presage.ImageRefused, match="for JPEG files"):
        presage.encode(noise(9, 9), model=MODEL)
    with pytest.raises(presage.ImageRefused, match="not made of a JPEG file"):
        presage.decode_file(presage.encode(noise(9, 9), model="tiny"))


@pytest.mark.parametrize("way", ["small", "arithmetic", "lossless", "broken", "no picture"])
def test_what_is_not_modelled_is_kept_and_never_grows_much(way: str) -> None:
    whole, noisy = saved((16, 16), quality=20), io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(noisy, "JPEG", quality=100, optimize=True)
    place = whole.index(b"\xff\xc0")
    made = {
        "small": noisy.getvalue(),
        "arithmetic": whole[: place + 1] + b"\xc9" + whole[place + 2 :],
        "lossless": whole[: place + 1] + b"\xc3" + whole[place + 2 :],
        "broken": whole[:place] + b"\xff\xd9",
        "no picture": b"\xff\xd8" + bytes(1000),
    }[way]
    data = presage.encode(made, model=MODEL, verify=True)
    assert presage.decode_file(data) == made
    assert len(data) <= len(made) + 100
    reasons = {"small": "no smaller", "arithmetic": "arithmetic", "lossless": "lossless"}
    assert reasons.get(way, "broken or unusual") in presage.info(data)["note"]
    if way == "small":
        assert presage.decode(data).tobytes() == pixels(made).tobytes()
    elif way != "arithmetic":
        with pytest.raises(presage.ImageRefused):
            presage.decode(data)


def test_several_pictures_in_one_file(source: bytes) -> None:
    """What follows the first picture is kept as it is."""
    buffer = io.BytesIO()
    pixels(source).save(buffer, "MPO", save_all=True, append_images=[pixels(saved((40, 30)))], quality=90)
    data = presage.encode(buffer.getvalue(), model=MODEL)
    assert presage.decode_file(data) == buffer.getvalue()
    assert presage.info(data)["model"] == "tiny-jpeg-1"


def test_the_same_bytes_for_threads_and_forms(source: bytes, coded: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(presage.encode(source, model=MODEL, tile=8, threads=threads) == coded for threads in (1, 3))
    assert presage.encode(source, model=MODEL, tile=8, arithmetic="float32") == coded
    assert all(presage.decode_file(coded, threads=threads) == source for threads in (1, 4))
    assert presage.decode_file(coded, arithmetic="float32") == source
    assert presage.decode_file(presage.encode(source, model=MODEL)) == source


def test_flips_are_reported(coded: bytes) -> None:
    random = np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(coded)
        damaged[random.integers(len(damaged))] ^= 1 << random.integers(8)
        with pytest.raises((presage.DamagedFile, presage.WeightsError)):
            presage.decode_file(bytes(damaged))


def test_cuts_are_reported(coded: bytes) -> None:
    for size in range(len(coded)):
        with pytest.raises(presage.DamagedFile):
            presage.decode_file(coded[:size])
    with pytest.raises(presage.DamagedFile):
        presage.decode_file(coded + b"\0")


def _forged(data: bytes, sections: dict[bytes, bytes] | None = None, **changes: Any) -> bytes:
    header = container.read_header(data)
    kept = {s.tag: data[s.offset : s.offset + s.size] for s in header.sections} | (sections or {})
    fields = {name: getattr(header, name) for name in ("width", "height", "mode", "coding", "pixel_crc", "tile", "model", "weights")}
    return container.write(Header(**(fields | changes)), {tag: content for tag, content in kept.items() if content is not None})


def test_forged_files_are_damaged(coded: bytes) -> None:
    whole = {s.tag: coded[s.offset : s.offset + s.size] for s in container.read_header(coded).sections}
    other = presage.encode(saved((64, 64), quality=95), model=MODEL, tile=8)
    record = next(s for s in container.read_header(other).sections if s.tag == Tag.RECORD)
    forgeries = [
        _forged(coded, width=199),
        _forged(coded, mode=Mode.CMYK),
        _forged(coded, pixel_crc=1),
        _forged(coded, tile=16),
        _forged(coded, {Tag.PROFILES: whole[Tag.PROFILES][:-1]}),
        _forged(coded, {Tag.PROFILES: bytes(192)}),
        _forged(coded, {Tag.RECORD: whole[Tag.RECORD][:-9]}),
        _forged(coded, {Tag.RECORD: b"\x05" + whole[Tag.RECORD][1:]}),
        _forged(coded, {Tag.RECORD: other[record.offset : record.offset + record.size]}),
        _forged(coded, {Tag.SOURCE: b"\xff\xd8"}),
        _forged(coded, {Tag.RECORD: b""}),
    ]
    for forged in forgeries:
        with pytest.raises(presage.DamagedFile):
            presage.decode_file(forged)
    odd = saved((8, 8)).replace(b"\xff\xc0", b"\xff\xc9")
    kept = presage.encode(odd, model=MODEL)
    for forged in (_forged(kept, {Tag.REASON: b"ab"}), _forged(kept, {Tag.SOURCE: b"\xff\xd8"}), _forged(kept, weights=b"a" * 16)):
        with pytest.raises(presage.DamagedFile):
            presage.decode_file(forged)
    assert container.read_header(kept).coding == Coding.JPEG
    assert container.read_header(kept).pixel_crc == zlib.crc32(odd)


def test_what_is_whole_of_a_damaged_file_is_a_jpeg_file(coded: bytes, source: bytes) -> None:
    section = next(s for s in container.read_header(coded).sections if s.tag == Tag.TILES)
    index = next(s for s in container.read_header(coded).sections if s.tag == Tag.TILE_INDEX)
    sizes = [int.from_bytes(coded[i : i + 4], "little") for i in range(index.offset, index.offset + index.size, 8)]
    rows, columns = -(-(-(-150 // 16) * 2) // 8), -(-(-(-200 // 16) * 2) // 8)
    lost_tile = columns + 1  # of luma, in the second row and column
    damaged = bytearray(coded)
    damaged[section.offset + sum(sizes[:lost_tile]) + 2] ^= 1
    with pytest.raises(presage.DamagedFile):
        presage.decode_file(bytes(damaged))
    saved_file, lost = presage.recover_file(bytes(damaged))
    assert (64, 64, 64, 64) in lost
    before, after = np.asarray(pixels(source)).astype(int), np.asarray(pixels(saved_file)).astype(int)
    assert before.shape == after.shape
    assert pixels(saved_file).info["comment"] == b"a comment"
    same = (before == after).all(-1)
    assert same[:, 140:].all()
    assert abs(after[70:120, 70:120].mean() - 128) < 3
    image, also_lost = presage.recover(bytes(damaged))
    assert also_lost == lost
    assert np.array_equal(np.asarray(image), after)
    assert presage.recover_file(coded) == (source, [])
    chroma = bytearray(coded)
    chroma[section.offset + sum(sizes[: rows * columns]) + 2] ^= 1
    assert (0, 0, 128, 128) in presage.recover_file(bytes(chroma))[1]


def test_commands(tmp_path: Path, source: bytes) -> None:
    a, small = tmp_path / "in" / "a.jpg", tmp_path / "in" / "b.jpeg"
    a.parent.mkdir()
    a.write_bytes(source)
    small.write_bytes(saved((9, 9)))
    out, back = tmp_path / "out", tmp_path / "back"

    def run(*arguments: object) -> list[dict[str, Any]]:
        result = CliRunner().invoke(main, [*map(str, arguments), "--json"])
        assert result.exit_code == 0, result.output
        return [json.loads(line) for line in result.stdout.splitlines()]

    facts = run("encode", "-m", MODEL, a.parent, "--out-dir", out, "--verify")
    assert [fact["coding"] for fact in facts] == ["JPEG", "JPEG"]
    run("decode", out, "--out-dir", back)
    assert (back / "a.jpg").read_bytes() == source
    assert (back / "b.jpg").read_bytes() == small.read_bytes()
    assert [fact["ok"] for fact in run("verify", out)] == [True, True]
    assert run("info", out / "a.psg", "--estimate")[0]["memory_to_decode"] > 0
    run("decode", out / "a.psg", "-o", tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").tobytes() == pixels(source).tobytes()
    run("decode", out / "a.psg", "--crop", "8,8,16,16", "-o", tmp_path / "part.png")
    assert Image.open(tmp_path / "part.png").size == (16, 16)
    run("decode", out / "a.psg", "--recover", "-o", tmp_path / "again.jpg")
    assert (tmp_path / "again.jpg").read_bytes() == source
    result = CliRunner().invoke(main, ["decode", str(out / "a.psg"), "-o", "-"])
    assert result.stdout_bytes == source
    assert run("encode", "-m", "tiny", "--pixels", small, "-o", tmp_path / "pixels.psg")[0]["coding"] != "JPEG"


def test_pillow_reads_it(coded: bytes, source: bytes) -> None:
    presage.register_pillow()
    with Image.open(io.BytesIO(coded)) as image:
        assert image.format == "PSG"
        assert image.tobytes() == pixels(source).tobytes()


def test_the_golden_file() -> None:
    source, data = ((HERE / "golden" / f"jpeg.{suffix}").read_bytes() for suffix in ("jpg", "psg"))
    assert presage.info(data)["model"] == "tiny-jpeg-1"
    assert presage.decode_file(data) == source
    assert presage.encode(source, model=MODEL, tile=8) == data


@pytest.mark.skipif(not jit.available(), reason="takes its time without kernels")
def test_limits_of_a_jpeg_file(coded: bytes, source: bytes) -> None:
    with pytest.raises(presage.LimitExceeded):
        presage.encode(source, model=MODEL, limits=presage.Limits(pixels=1000))
    with pytest.raises(presage.LimitExceeded):
        presage.decode_file(coded, limits=presage.Limits(pixels=1000))
    with pytest.raises(presage.LimitExceeded):
        presage.decode_file(coded, limits=presage.Limits(memory=1000))
