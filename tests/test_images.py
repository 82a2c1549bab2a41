"""Every kind of image comes back as it was, or is refused by name."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from conftest import HERE, noise, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import presage
from presage.codec import api, weights
from presage.codec.image import stored
from presage.codec.paths.tiles import TiledEncoding
from presage.codec.settings import Settings
from presage.models.model import Tiled


def same(a: Image.Image, b: Image.Image) -> bool:
    return (a.mode, a.size, a.tobytes()) == (b.mode, b.size, b.tobytes())


def by_model(image: Image.Image | np.ndarray, tile: int = 16) -> bytes:
    """A file in which the model coded the pixels, even where the stored form would be smaller."""
    used = Settings()
    return TiledEncoding(api.picture_of(image), cast(weights.Loaded[Tiled], weights.load("tiny", used)), tile, used).file(0)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    mode=st.sampled_from(["L", "LA", "RGB", "RGBA"]),
    tile=st.sampled_from([8, 13, 32]),
    kind=st.sampled_from(["noise", "random", "flat", "extreme"]),
    seed=st.integers(0, 99),
)
def test_any_size_through_the_model(height: int, width: int, mode: str, tile: int, kind: str, seed: int) -> None:
    random = np.random.default_rng(seed)
    makers: dict[str, Callable[[], np.ndarray]] = {
        "noise": lambda: np.dstack([noise(height, width, seed), noise(height, width, seed + 1)[..., :1]]),
        "random": lambda: random.integers(0, 256, (height, width, 4)).astype(np.uint8),
        "flat": lambda: np.full((height, width, 4), random.integers(256), np.uint8),
        "extreme": lambda: (random.integers(0, 2, (height, width, 4)) * 255).astype(np.uint8),
    }
    image = Image.fromarray(makers[kind]()).convert(mode)
    data = by_model(image, tile)
    assert presage.info(data)["coding"] == "model"
    assert same(presage.decode(data), image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK"])
@pytest.mark.parametrize("size", [(1, 1), (1, 33), (33, 1), (40, 30)])
def test_modes_and_sizes(mode: str, size: tuple[int, int]) -> None:
    rgb = Image.fromarray(noise(size[1], size[0]))
    image = Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257 + 3) if mode == "I;16" else rgb.convert(mode)
    data = presage.encode(image, model="tiny")
    assert presage.info(data)["mode"] == image.mode
    assert same(presage.decode(data), image)


def test_arrays_paths_and_bytes(tmp_path: Path) -> None:
    pixels = noise(20, 30)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    data = presage.encode(pixels, model="tiny")
    for source in (tmp_path / "a.png", str(tmp_path / "a.png"), (tmp_path / "a.png").read_bytes(), Image.open(tmp_path / "a.png")):
        assert presage.encode(source, model="tiny") == data
    assert presage.decode(presage.encode(pixels[..., 0], model="tiny")).mode == "L"
    with pytest.raises(presage.ImageRefused):
        presage.encode(pixels.astype(np.float32), model="tiny")


def test_drawings_and_noise_never_grow_absurdly() -> None:
    drawing = Image.new("RGB", (300, 200), "white")
    drawing.paste("navy", (40, 30, 220, 90))
    assert presage.info(presage.encode(drawing, model="tiny"))["coding"] == "stored"
    random = np.random.default_rng(0).integers(0, 256, (150, 200, 3)).astype(np.uint8)
    assert len(presage.encode(random, model="tiny")) < random.size * 1.01 + 400


def test_gray_photographs_saved_in_colour_cost_no_colour() -> None:
    gray = Image.fromarray(noise(50, 60)).convert("L")
    colour = gray.convert("RGB")
    data = by_model(colour)
    assert same(presage.decode(data), colour)
    assert len(data) == len(by_model(gray))


def test_icc_exif_dpi_and_transparency_are_kept(tmp_path: Path) -> None:
    image = Image.fromarray(noise(20, 20))
    exif = Image.Exif()
    exif[0x010E] = "a description"
    image.save(tmp_path / "a.png", icc_profile=b"not really a profile", exif=exif, dpi=(300, 300), transparency=(1, 2, 3))
    decoded = presage.decode(presage.encode(tmp_path / "a.png", model="tiny"))
    before = Image.open(tmp_path / "a.png")
    for key in ("icc_profile", "transparency"):
        assert decoded.info[key] == before.info[key]
    assert decoded.info["dpi"] == pytest.approx(before.info["dpi"])
    assert decoded.getexif()[0x010E] == "a description"


def refused(image: Image.Image | bytes, pattern: str) -> None:
    with pytest.raises(presage.ImageRefused, match=pattern):
        presage.encode(image, model="tiny")


def test_refusals_name_the_reason() -> None:
    rgb = Image.fromarray(noise(8, 8))
    refused(rgb.convert("F"), "mode F")
    frames = io.BytesIO()
    rgb.save(frames, "GIF", save_all=True, append_images=[rgb.rotate(90)])
    refused(frames.getvalue(), "2 frames")
    refused(b"hello", "not an image")
    with pytest.raises(presage.ImageRefused, match="side of a tile"):
        presage.encode(rgb, model="tiny", tile=4)


def test_sixteen_bits_in_colour_keep_every_bit() -> None:
    """Pillow would cut them to 8 bits; samples and all chunks come back, or the source PNG is kept."""
    for name in ("basn2c16", "basn6a16", "basi2c16"):
        source = (shared("pngsuite") / f"{name}.png").read_bytes()
        data = presage.encode(source, model="tiny", verify=True)
        assert stored.same_deep(api.source_file(data), source)
        assert "16 bits" in presage.info(data)["note"]


def test_pngsuite() -> None:
    """All that Pillow opens comes back equal, with its mode; the broken ones are refused clearly."""
    opened = 0
    for path in sorted(shared("pngsuite").glob("*.png")):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                image = Image.open(path)
                image.load()
        except (OSError, SyntaxError, ValueError):
            with pytest.raises(presage.ImageRefused):
                presage.encode(path, model="tiny")
            continue
        opened += 1
        data = presage.encode(path, model="tiny")
        decoded = presage.decode(data)
        assert same(decoded, image), path.name
        assert decoded.info.get("transparency") == image.info.get("transparency"), path.name
        if image.mode == "P":
            assert decoded.getpalette() == image.getpalette(), path.name
    assert opened > 150


def test_pillow_plugin(tmp_path: Path) -> None:
    presage.register_pillow()
    image = Image.open(HERE / "golden" / "rgba.png")
    image.save(tmp_path / "x.psg", model="tiny")
    loaded = Image.open(tmp_path / "x.psg")
    assert loaded.format == "PSG"
    assert same(loaded, image)
    assert loaded.resize((10, 10)).size == (10, 10)
    (tmp_path / "bad.psg").write_bytes((tmp_path / "x.psg").read_bytes()[:30])
    with pytest.raises(OSError, match="cannot identify"):
        Image.open(tmp_path / "bad.psg")


def test_crop_equals_a_crop(photo: np.ndarray) -> None:
    for data in (
        by_model(photo),
        presage.encode(Image.fromarray(photo).convert("RGBA"), model="tiny"),
        presage.encode(photo[:4, :4], model="tiny"),
    ):
        whole = presage.decode(data)
        for box in ((0, 0, 1, 1), (1, 2, 3, 2), (0, 0, *whole.size), (whole.width - 2, whole.height - 1, 2, 1)):
            x, y, w, h = box
            assert same(presage.decode(data, crop=box), whole.crop((x, y, x + w, y + h)))
        with pytest.raises(presage.ImageRefused, match="not inside"):
            presage.decode(data, crop=(0, 0, whole.width + 1, 1))
