"""The bench on a small picture, with the weights that ship."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import HERE
from PIL import Image

from presage.bench import calls, calls_report, lossless
from presage.codec import networks

CHECKPOINT = HERE.parent / "models" / "runs" / "photo.checkpoint"


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
    text = lossless.table(json.loads(json.dumps(result)))
    assert "presage" in text
    assert "integers on tiles" in text


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
    result = calls.run("tiny-bits", tmp_path / "mosaic.png", 2, 1, False, 1, (), networks.Settings(threads=1), lines.append)
    assert result["packed"]["images"] == 3
    assert result["packed"]["bits_over_the_model_a_group"] <= 24
    assert result["sampling"]["ancestral"]["share"] == result["decoding"]["ancestral"]["share"] == 1
    assert result["decoding"]["fixed point, at once"]["share"] <= result["decoding"]["zeros"]["share"]
    assert json.loads(json.dumps(result)) == result
    assert "fixed point" in calls_report.markdown(result)
    assert "tiny-bits-1" in calls_report.summary([result, result])
    calls_report.draw(result, tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").width > 800
