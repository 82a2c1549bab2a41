"""The bench on a small picture, with the weights that ship."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import HERE, noise
from PIL import Image

import presage
from presage.bench.compare import common, instructions, jpeg, lossless, lossy
from presage.bench.papers import calls, families
from presage.bench.reports import calls as calls_report
from presage.bench.reports import families as families_report
from presage.bench.reports import instructions as instructions_report
from presage.bench.reports import jpeg as jpeg_report
from presage.bench.reports import lossless as lossless_report
from presage.bench.reports import lossy as lossy_report

CHECKPOINT = HERE.parent / "models" / "checkpoints" / "photo.checkpoint"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.open(HERE / "golden" / "rgb.png").resize((160, 140), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    Image.open(HERE / "golden" / "gray.png").save(tmp_path / "ignored.png")
    return tmp_path


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the float weights are in the repository only")
def test_whole_bench(folder: Path) -> None:
    result = lossless.run(folder, ["presage", "png"], threads=2, repeats=1, limit=None, ladder=True, checkpoint=CHECKPOINT)
    assert [image["name"] for image in result["images"]] == ["a.png"]
    sizes = result["images"][0]["codecs"]
    assert sizes["presage"]["bytes"] < sizes["png"]["bytes"]
    rungs = [rung["bpsp"] for rung in result["ladder"]["rungs"]]
    assert len(rungs) == 5
    assert np.all(np.array(rungs) > 0.5)
    assert rungs[2] < rungs[1] * 1.02
    assert rungs[4] == pytest.approx(sizes["presage"]["bpsp"])
    text = lossless_report.markdown(json.loads(json.dumps(result)))
    assert "presage" in text
    assert "integers on tiles" in text
    assert f"Products: {result['products']['taken']}" in text


def test_instruction_sets_give_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESAGE_MODELS", str(HERE / "data"))
    result = instructions.run(folder / "a.png", "tiny", 1, 1)
    assert [row["set"] for row in result["sets"]] == list(instructions.sets())
    data = presage.encode(folder / "a.png", model="tiny")
    assert {row["bytes"] for row in result["sets"]} == {len(data)}
    assert len({row["processor"] for row in result["sets"]}) == len(result["sets"])  # they were held to what they were asked for
    table = instructions_report.markdown(json.loads(json.dumps(result)))
    assert all(f"| {name} |" in table for name in instructions.sets())


def test_instruction_sets_that_differ_are_found(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = iter("abc")
    monkeypatch.setattr(instructions, "_in_a_process", lambda *_: {"digest": next(digests)})
    with pytest.raises(RuntimeError, match="not the same"):
        instructions.run(folder / "a.png", "tiny", 1, 1)


def test_wrong_requests(folder: Path) -> None:
    with pytest.raises(ValueError, match="nothing"):
        lossless.run(folder, ["nothing"], threads=1, repeats=1, limit=None, ladder=False, checkpoint=None)
    (folder / "empty").mkdir()
    with pytest.raises(ValueError, match="image"):
        lossless.run(folder / "empty", ["png"], threads=1, repeats=1, limit=None, ladder=False, checkpoint=None)


def test_calls(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    mosaic = np.hstack([np.kron(random.integers(0, 256, (7, 7)), np.ones((4, 4))) for _ in range(3)]).astype(np.uint8)
    Image.fromarray(mosaic).save(tmp_path / "mosaic.png")
    lines: list[str] = []
    result = calls.run("tiny-bits", tmp_path / "mosaic.png", 2, 1, False, 1, (), 1, lines.append)
    assert result["packed"]["images"] == 3
    assert result["packed"]["bits_over_the_model_a_group"] <= 24
    assert result["sampling"]["ancestral"]["share"] == result["decoding"]["ancestral"]["share"] == 1
    assert result["decoding"]["fixed point, at once"]["share"] <= result["decoding"]["zeros"]["share"]
    assert json.loads(json.dumps(result)) == result
    assert "fixed point" in calls_report.markdown(result)
    assert "tiny-bits-1" in calls_report.summary([result, result])
    calls_report.draw(result, tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").width > 800


def test_families(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ways = [families.Way("tiny-chain", "fixed point", "fixed-point", slow=True), families.Way("tiny-chain", "wavefront", "wavefront")]
    stages = [families.Way("tiny-upscale", f"{calls} calls", calls=calls, few=calls > 20) for calls in (20, 50)]
    monkeypatch.setattr(families, "WAYS", (*ways, *stages, families.Way("tiny-flow", "one pass"), families.Way("none", "missing")))
    (tmp_path / "pictures").mkdir()
    for number, picture in enumerate(np.split(noise(16, 48), 3, 1)):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{number}.png")
    result = families.run(tmp_path / "pictures", [], 3, 1, None, lambda _: None)
    chain, wavefront, twenty, fifty, flow = result["rows"]
    assert (chain["set_bytes"], flow["model"]) == (wavefront["set_bytes"], "tiny-flow-1")
    assert "set_calls" not in chain
    assert flow["set_calls"] == flow["timed_calls"] == 12
    assert twenty["timed_calls"] < fifty["timed_calls"]
    assert "set_bits" not in fifty
    for row in (chain, wavefront, flow, twenty):
        assert row["set_model_bits"] < row["set_bits"] < row["alone_bits"]
        assert row["timed_model_bits"] == pytest.approx(row["set_model_bits"], rel=1e-6)  # the same pictures
        assert row["alone_model_bits"] == pytest.approx(row["set_model_bits"], rel=1e-6)
        ends = 32 * (4 if row is twenty else 1) / (16 * 16 * 3)  # bits a dimension in which streams end
        assert row["alone_model_bits"] < row["alone_streams"] < row["alone_model_bits"] * 1.01 + ends
    text = families_report.markdown(result)
    assert "tiny-flow-1, one pass" in text
    assert "published" in text
    families_report.draw(result, tmp_path / "plot.png")
    (tmp_path / "before.json").write_text(json.dumps(result))
    again = families.run(tmp_path / "pictures", ["tiny-flow"], 3, 1, tmp_path / "before.json", lambda _: None)
    assert [row["model"] for row in again["rows"]] == [row["model"] for row in result["rows"]]
    with pytest.raises(ValueError, match="other pictures"):
        families.run(tmp_path / "pictures", [], 2, 1, tmp_path / "before.json", lambda _: None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no pictures"):
        families.run(tmp_path / "empty", [], 3, 1, None, lambda _: None)


def test_lossy(tmp_path: Path) -> None:
    Image.open(HERE / "golden" / "rgb.png").resize((200, 180), Image.Resampling.BICUBIC).save(tmp_path / "a.png")
    lines: list[str] = []
    result = lossy.run(tmp_path, ["webp"], threads=1, log=lines.append)
    assert len(lines) == 1
    (tmp_path / "webp.json").write_text(json.dumps(result))
    result = lossy.run(tmp_path, ["jpeg", "presage"], threads=1, jobs=1, beside=tmp_path / "webp.json")
    assert set(result["curves"]) == {"jpeg", "presage", "webp"}
    for curve in result["curves"].values():
        assert np.all(np.diff([point["bpp"] for point in curve]) > 0)
        assert curve[-1]["psnr"] > curve[0]["psnr"]
    assert json.loads(json.dumps(result))["at_rates"]["psnr"].keys() == result["curves"].keys()
    text = lossy_report.markdown(result)
    assert "BD-rate" in text
    lossy_report.draw(result, tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").width > 800


def test_bd_rate() -> None:
    """A codec that takes twice the bytes at every quality is 100 % larger, and half as large the other way round."""
    curve = [{"bpp": rate, "psnr": 30 + 6 * np.log2(rate)} for rate in (0.1, 0.2, 0.5, 1.0)]
    twice = [{"bpp": 2 * point["bpp"], "psnr": point["psnr"]} for point in curve]
    assert common.bd_rate(twice, curve, "psnr") == pytest.approx(1.0)
    assert common.bd_rate(curve, twice, "psnr") == pytest.approx(-0.5)
    assert np.isnan(common.at_rate(curve, 2.0, "psnr"))
    assert common.at_rate(curve, 0.2, "psnr") == pytest.approx(curve[1]["psnr"])


def test_calls_of_latents(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    mosaic = np.kron(random.integers(0, 256, (8, 24, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    Image.fromarray(mosaic).save(tmp_path / "mosaic.png")
    parts = ("sampling", "decoding", "packed")
    result = calls.run("tiny-categories", tmp_path / "mosaic.png", 2, 1, False, 1, parts, 1, lambda _: None)
    assert result["symbols"] == 8 * 8 * 2
    assert result["packed"]["images"] == 3
    assert result["packed"]["squared_error"] > 0
    assert "squared error" in calls_report.markdown(result)


def test_jpeg_files(tmp_path: Path) -> None:
    Image.open(HERE / "golden" / "rgb.png").resize((300, 200), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=90)
    (tmp_path / "b.txt").write_bytes(b"text")
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(100))
    lines: list[str] = []
    result = jpeg.run(tmp_path, ["presage", "jxl"], model="tiny-jpeg", model_path=[], threads=1, limit=None, log=lines.append)
    assert [row["name"] for row in result["files"]] == ["a.jpg", "broken.jpg"]
    assert (result["sums"]["presage"]["taken"], result["sums"]["presage"]["kept"]) == (1, {"a broken or unusual file": 1})
    assert 0 < result["sums"]["presage"]["most_growth"] <= 100
    sizes = result["files"][0]["codecs"]
    total = sum(row["bytes"] for row in result["files"])
    assert result["sums"]["jxl"]["share"] == sum(row["codecs"]["jxl"]["bytes"] for row in result["files"]) / total
    assert sizes["jxl"]["bytes"] < (tmp_path / "a.jpg").stat().st_size
    assert len(lines) == 2
    assert "| Presage |" in jpeg_report.markdown(result)
    assert "keeps as they are, 1: a broken" in jpeg_report.markdown(result)
    with pytest.raises(ValueError, match="no JPEG files"):
        jpeg.run(HERE / "golden" / "..", ["presage"], model="tiny-jpeg", model_path=[], threads=1, limit=None)
