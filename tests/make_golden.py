"""Make the golden files anew. Only when the format version changes: python tests/make_golden.py KODIM07.png

The weights are made by `presage train tests/data/tiny.toml --out tests/data`.
"""

import io
import sys
from pathlib import Path
from typing import cast

import numpy as np
from conftest import in_stages
from numpy.typing import NDArray
from PIL import Image

import presage
from presage.codec import weights
from presage.codec.format import preview
from presage.codec.image import deep
from presage.codec.image import files as images
from presage.codec.paths import sets
from presage.codec.paths.tiles import TiledEncoding
from presage.codec.settings import Settings
from presage.codec.weights import Loaded
from presage.models.model import Tiled

HERE = Path(__file__).resolve().parent


def _stretched(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """With more contrast in R and B, so that these miss levels."""
    steep = np.clip(np.rint((pixels - 90.0) * [1.4, 1.0, 1.7] + 100), 0, 255)
    return steep.astype(np.uint8)


def main(source: str) -> None:
    pixels = np.asarray(Image.open(source).convert("RGB"))[200:261, 300:383]
    rgb = Image.fromarray(pixels)
    kinds = {
        "rgb": rgb,
        "rgba": Image.fromarray(np.dstack([pixels, np.tile(np.arange(83, dtype=np.uint8), (61, 1))])),
        "gray_alpha": Image.fromarray(np.dstack([pixels[..., 1], 255 - pixels[..., 1] // 128 * 9])),
        "gray": rgb.convert("L"),
        "one": rgb.crop((5, 5, 6, 6)),
        "palette": rgb.quantize(16),
        "bilevel": rgb.convert("1"),
    }
    for name, image in kinds.items():
        image.save(HERE / "golden" / f"{name}.png")
        data = presage.encode(image, model="tiny", tile=32, model_path=[HERE / "data"])
        (HERE / "golden" / f"{name}.psg").write_bytes(data)
        print(name, len(data), presage.info(data)["coding"])
    levels = _stretched(np.asarray(Image.open(source).convert("RGB"))[200:330, 300:430])
    Image.fromarray(levels).save(HERE / "golden" / "levels.png")
    data = presage.encode(levels, model="tiny", tile=64, model_path=[HERE / "data"])
    (HERE / "golden" / "levels.psg").write_bytes(data)
    rgb.save(HERE / "golden" / "jpeg.jpg", quality=90, progressive=True, restart_marker_blocks=4, comment=b"golden")
    data = presage.encode(HERE / "golden" / "jpeg.jpg", model="tiny-jpeg", tile=8, model_path=[HERE / "data"])
    (HERE / "golden" / "jpeg.psg").write_bytes(data)
    scan = pixels[:37, :44].copy()
    scan[20, 10:19], scan[30:32, 30], scan[5, 5] = (1, 255, 3), 0, scan[5, 5] + np.array([0, 1, 2], np.uint8)  # exceptions
    Image.fromarray(scan).save(HERE / "golden" / "planes.png")
    data = presage.encode(scan, model="tiny-planes", tile=24, model_path=[HERE / "data"])
    (HERE / "golden" / "planes.psg").write_bytes(data)
    once = _once_a_jpeg(np.asarray(Image.open(source).convert("RGB"))[200:320, 300:440])
    Image.fromarray(once).save(HERE / "golden" / "recognised.png")
    data = presage.encode(once, model="tiny-jpeg", tile=8, model_path=[HERE / "data"])
    (HERE / "golden" / "recognised.psg").write_bytes(data)
    settings = Settings(model_path=[HERE / "data"])
    small = rgb.crop((0, 0, 21, 13))
    small.save(HERE / "golden" / "chain.png")
    (HERE / "golden" / "chain.psg").write_bytes(presage.encode(small, model="tiny-chain", tile=12, model_path=[HERE / "data"]))
    parts = [rgb.crop((20 * i, 3, 20 * i + 9 + i, 14)) for i in range(3)]
    for name, model, mode in (("set-colour", "tiny-chain", "RGB"), ("set-bits", "tiny-bits", "1")):
        named = [(f"part-{8 + i:02}.png", images.from_pillow(part.convert(mode))) for i, part in enumerate(parts)]
        (HERE / "golden" / f"{name}.psg").write_bytes(sets.pack_pictures(named, model, 0, settings))
    flow = {"flow": rgb.crop((30, 20, 49, 33)), "flow-alpha": kinds["gray_alpha"].crop((3, 3, 12, 17))}
    for name, image in flow.items():
        image.save(HERE / "golden" / f"{name}.png")
        loaded = cast(Loaded[Tiled], weights.load("tiny-flow", settings))
        (HERE / "golden" / f"{name}.psg").write_bytes(TiledEncoding(images.from_pillow(image), loaded, 12, settings).file(0))
    named = [(f"part-{8 + i:02}.png", images.from_pillow(part)) for i, part in enumerate(parts)]
    (HERE / "golden" / "flow-set.psg").write_bytes(sets.pack_pictures(named, "tiny-flow", 0, settings))
    lossy = rgb.crop((0, 0, 57, 41))
    for name, image, model in (
        ("lossy", lossy, "tiny-latent"),
        ("lossy-alpha", kinds["gray_alpha"].crop((0, 0, 30, 22)), "tiny-categories"),
    ):
        data = presage.encode_lossy(image, model=model, quality=80, tile=8 if model == "tiny-categories" else 0, model_path=[HERE / "data"])
        (HERE / "golden" / f"{name}.psg").write_bytes(data)
        presage.decode(data, model_path=[HERE / "data"]).save(HERE / "golden" / f"{name}.png")
    wide = Image.fromarray(np.asarray(Image.open(source).convert("RGB"))[200:350, 300:500])
    for name, image, model, share in (
        ("ordered", rgb, "tiny-ordered", 1.0),
        ("ordered-alpha", kinds["gray_alpha"].crop((0, 0, 40, 33)), "tiny-ordered", 1.0),
        ("ordered-cut", wide.crop((0, 0, 120, 90)), "tiny-ordered", 0.9),
        ("ordered-patch", wide.crop((0, 0, 140, 100)), "tiny-codes", 1.0),
        ("digits", rgb, "tiny-progressive", 1.0),
        ("digits-alpha", kinds["gray_alpha"].crop((0, 0, 40, 33)), "tiny-progressive", 1.0),
        ("digits-cut", wide.crop((0, 0, 120, 90)), "tiny-progressive", 0.7),
    ):
        data = presage.encode_lossy(image, model=model, model_path=[HERE / "data"])
        data = data[: int(share * len(data))]
        (HERE / "golden" / f"{name}.psg").write_bytes(data)
        presage.decode(data, model_path=[HERE / "data"]).save(HERE / "golden" / f"{name}.png")
    rough = (pixels[:7, :9].astype(int) + np.random.default_rng(0).integers(-12, 13, (7, 9, 3))).clip(0, 255).astype(np.uint8)
    for name, share in (("stages", 1.0), ("stages-cut", 0.8)):
        data = in_stages(rough, "tiny-upscale", tile=8)
        data = data[: int(share * len(data))]
        (HERE / "golden" / f"{name}.psg").write_bytes(data)
        presage.decode(data, model_path=[HERE / "data"]).save(HERE / "golden" / f"{name}.png")
    kept(rgb)
    named = [(f"part-{8 + i:02}.png", images.from_pillow(part)) for i, part in enumerate(parts)]
    (HERE / "golden" / "lossy-set.psg").write_bytes(sets.pack_pictures(named, "tiny-categories", 0, settings))


def kept(rgb: Image.Image) -> None:
    """A preview and XMP; CMYK, and 16 bits in gray and in colour."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    rgb.info = {"exif": exif.tobytes(), "xmp": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'}
    small = rgb.resize((40, 29), Image.Resampling.LANCZOS)
    small.save(buffer, "WEBP", quality=50, method=6)
    data = presage.encode(rgb, model="tiny", tile=32, model_path=[HERE / "data"])
    (HERE / "golden" / "preview.psg").write_bytes(preview.put(data, preview.Preview(6, buffer.getvalue(), small.size)))
    presage.preview((HERE / "golden" / "preview.psg").read_bytes()).save(HERE / "golden" / "preview.png")
    rgb.info = {}
    rgb.convert("CMYK").save(HERE / "golden" / "cmyk.tif", compression="tiff_adobe_deflate")
    (HERE / "golden" / "cmyk.psg").write_bytes(presage.encode(HERE / "golden" / "cmyk.tif"))
    levels = np.asarray(rgb).astype(np.uint16) * 201 + np.arange(83, dtype=np.uint16)[:, None] * 3
    Image.fromarray(levels[..., 1] & 0xFFF0).save(HERE / "golden" / "gray16.png")
    (HERE / "golden" / "gray16.psg").write_bytes(presage.encode(HERE / "golden" / "gray16.png"))
    noise = np.random.default_rng(0).integers(0, 201, (*levels.shape[:2], 4))
    png = deep.png_of((levels[:, :, [0, 1, 2, 1]] + noise).astype(np.uint16))
    (HERE / "golden" / "deep.png").write_bytes(png)
    (HERE / "golden" / "deep.psg").write_bytes(presage.encode(png))


def _once_a_jpeg(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture that was cut out of a JPEG, with a few pixels changed."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=80)
    cut_out = np.array(Image.open(buffer))[3:, 11:]
    cut_out[40, 50:59], cut_out[70:72, 30] = (1, 255, 3), 0
    return cut_out


if __name__ == "__main__":
    main(sys.argv[1])
