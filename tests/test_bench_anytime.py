"""The bench of files that are cut, on a small picture."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import HERE
from PIL import Image

import presage
from presage.bench.compare import anytime, anytime_codecs
from presage.bench.compare.anytime_codecs import CURVE, PEERS, RATES, Anytime, budget
from presage.bench.compare.codecs import Pixels, pillow_decode, pillow_encode, recorded_flif
from presage.bench.reports import anytime as anytime_report

PEER = {codec.name: codec for codec in PEERS}


@pytest.fixture
def pixels() -> Pixels:
    """uint8 (180, 200, 3)."""
    return np.asarray(Image.open(HERE / "golden" / "rgb.png").resize((200, 180), Image.Resampling.BICUBIC))


@pytest.fixture
def folder(tmp_path: Path, pixels: Pixels) -> Path:
    (tmp_path / "pictures").mkdir()
    Image.fromarray(pixels).save(tmp_path / "pictures" / "a.png")
    Image.fromarray(np.ascontiguousarray(pixels[::-1])).save(tmp_path / "pictures" / "b.png")
    return tmp_path / "pictures"


def test_cuts_of_jpeg_2000(pixels: Pixels) -> None:
    """Every cut is a codestream within its budget and nearly fills it; without a cut the picture is what the encoder wrote."""
    codec = PEER["j2k"]
    stream = codec.encode(pixels, 1)
    whole = codec.cut(stream, len(stream))
    assert whole is not None
    assert len(whole) == len(stream)
    errors = []
    for rate in CURVE[10:]:
        data = codec.cut(stream, budget(pixels, rate))
        assert data is not None
        assert budget(pixels, rate) * 0.9 < len(data) <= budget(pixels, rate)
        errors.append(np.square(codec.decode(data, 1).astype(float) - pixels).mean())
    assert np.all(np.diff(errors) < 0)
    assert codec.cut(stream, 20) is None
    written = pillow_encode("JPEG2000", {"no_jp2": True, "plt": True, "irreversible": True, "num_resolutions": 6}, pixels)
    again = anytime_codecs.read_codestream(written)
    assert np.array_equal(pillow_decode(again.file(len(again.ends))), pillow_decode(written))
    with pytest.raises(ValueError, match="lengths"):
        anytime_codecs.read_codestream(whole)


def test_cuts_of_jpeg_and_files_of_webp(pixels: Pixels) -> None:
    data = PEER["jpeg"].encode(pixels, 1)
    assert len(data) >= budget(pixels, anytime_codecs.JPEG_WHOLE)
    assert PEER["jpeg"].cut(data, 100) is None
    for size in range(400, len(data) + 1, 7):  # within scans, within tables, within markers
        assert PEER["jpeg"].decode(PEER["jpeg"].cut(data, size) or b"", 1).shape == pixels.shape
    assert np.array_equal(PEER["jpeg"].decode(data, 1), pillow_decode(data))
    files = PEER["webp"].encode(pixels, 1)
    sizes = [len(PEER["webp"].cut(files, budget(pixels, rate)) or b"") for rate in (0.3, 0.5, 1)]
    assert 0 < sizes[0] < sizes[1] < sizes[2] <= budget(pixels, 1)
    assert PEER["webp"].cut(files, 50) is None


def _stand_in(name: str, folders: Sequence[Path]) -> Anytime:
    """A model of Presage that is JPEG; `late` has 2,000 bytes in front that show nothing."""
    idle = b"\xff\xfe" + (1998).to_bytes(2) + bytes(1996) if name == "late" else b""

    def encode(pixels: Pixels, threads: int) -> bytes:
        data: bytes = PEER["jpeg"].encode(pixels, threads)
        return data[:2] + idle + data[2:]

    return Anytime(name, name, encode, PEER["jpeg"].decode, cut=PEER["jpeg"].cut, model=True, option="presage")


def test_models_beside_each_other(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anytime, "of_model", _stand_in)
    monkeypatch.setattr(anytime, "CURVE", RATES)
    lines: list[str] = []
    peers = anytime.run(folder, ["j2k", "jpeg", "webp", "flif"], threads=1, log=lines.append)
    assert len(lines) == 2
    assert not peers["models"]
    assert not peers["recorded"]
    assert "j2k" in anytime_report.markdown(peers)
    (tmp_path / "peers.json").write_text(json.dumps(peers))
    result = anytime.run(folder, ["presage"], models=("early", "late"), threads=1, beside=tmp_path / "peers.json")
    result = json.loads(json.dumps(result, allow_nan=False))
    assert list(result["models"]) == ["early", "late"]
    assert set(result["curves"]) == {"early", "late", "j2k", "jpeg", "webp"}
    for curve in result["curves"].values():
        assert np.all(np.diff([point["bpp"] for point in curve]) >= 0)
    early, late = result["models"]["early"], result["models"]["late"]
    assert early["fine_cuts"] == anytime.FINE
    assert early["smallest_bytes"] < early["whole"]["bytes"] / 4
    assert late["smallest_bytes"] == early["smallest_bytes"] + 2000
    assert early["whole"]["psnr"] == late["whole"]["psnr"] == result["at_rates"]["psnr"]["jpeg"][-1]
    assert early["largest_fall_db"] <= early["largest_fall_of_an_image_db"]
    assert early["share_within_near"] <= late["share_within_near"] <= 1
    compared = result["models_compared"]
    assert compared["above_at_shares"]
    assert compared["above_at_bpp"]
    assert compared["percents_not_above"] == []
    for rate, value in zip(RATES, result["at_rates"]["bpp"]["j2k"], strict=False):
        assert value is None or value <= rate
    text = anytime_report.markdown(result)
    assert "early is above at every tenth" in text
    assert "bpp really spent" in text
    anytime_report.draw(result, tmp_path / "figure.png")
    assert Image.open(tmp_path / "figure.png").width > 800


def test_recorded_figures_are_of_the_kodak_set_only() -> None:
    shapes: dict[str, tuple[int, ...]] = {f"kodim{number:02}.png": (512, 768, 3) for number in range(1, 25)}
    assert all(point["psnr"] > 20 for point in recorded_flif("kodak-flif-cut.json", shapes)["points"])
    assert recorded_flif("kodak-flif.json", {"kodim01.png": (512, 768, 3)})["images"]["kodim01.png"] > 0
    assert recorded_flif("kodak-flif.json", {"other.png": (512, 768, 3)}) == {}
    assert recorded_flif("kodak-flif.json", shapes | {"kodim03.png": (100, 100, 3)}) == {}


def test_wrong_requests(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing"):
        anytime.run(folder, ["nothing"])
    with pytest.raises(presage.ImageRefused, match="cut"):
        anytime.run(folder, ["presage"], models=("tiny-latent",), threads=1)
    earlier = {"images": [], "codecs": {"webp": ""}, "models": {}, "recorded": {}}
    (tmp_path / "earlier.json").write_text(json.dumps(earlier))
    with pytest.raises(ValueError, match=r"a\.png"):
        anytime.run(folder, ["jpeg"], beside=tmp_path / "earlier.json")


@pytest.mark.parametrize("model", ["tiny-ordered", "tiny-progressive"])
def test_models_of_files_that_are_cut(model: str, folder: Path) -> None:
    result = anytime.run(folder, ["presage"], models=(model,), threads=1, limit=1)
    facts = result["models"][model]
    assert facts["smallest_bytes"] < facts["whole"]["bytes"]
    assert facts["tenths"][-1] == facts["whole"]
    assert len(result["savings"]) == (model == "tiny-ordered")  # what a prior saves is asked of ordered codes alone
    assert model in anytime_report.markdown(json.loads(json.dumps(result, allow_nan=False)))
