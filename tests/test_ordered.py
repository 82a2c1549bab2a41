"""Files of ordered codes: sizes and kinds of pictures, what is asked for is met, every number of codes, samples."""

import math
from functools import partial
from itertools import count as counter
from typing import Any, Unpack

import numpy as np
import pytest
from conftest import HERE, noise
from PIL import Image

import presage
from presage.codec import api, weights
from presage.codec.format import container
from presage.codec.image import pixels as pixel_room
from presage.codec.paths import layers, transforms
from presage.codec.paths.reading import Reading
from presage.codec.predictive import sampling
from presage.codec.settings import Options, Settings
from presage.models import catalogue, windows
from presage.models.ordered.exact import ExactOrdered

MODELS = ("tiny-ordered", "tiny-codes")
SETTINGS = Settings()


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def network_of(name: str, **settings: Unpack[Options]) -> ExactOrdered:
    network = weights.load(name, Settings(**settings)).model
    assert isinstance(network, ExactOrdered)
    return network


def codes_of(data: bytes, **settings: Unpack[Options]) -> list[np.ndarray]:
    header = container.read_header(data)
    used = Settings(**settings)
    network = weights.load_for(header, used).model
    assert isinstance(network, ExactOrdered)
    return layers.read_codes(Reading(data, header, False, used), network, None)[0]


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def error(data: bytes, pixels: np.ndarray) -> float:
    return float(np.square(np.asarray(presage.decode(data)).astype(int) - pixels).mean())


# ------------------------------------------------------------------------------------------------------ sizes and kinds


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 300), (37, 1000), (61, 83)])
def test_sizes(model: str, size: tuple[int, int]) -> None:
    pixels = noise(*size)
    data = presage.encode_lossy(pixels, model=model)
    image = presage.decode(data)
    assert (image.mode, image.size) == ("RGB", size[::-1])
    facts = presage.info(data)
    assert (facts["coding"], facts["cut"], facts["layers_there"]) == ("ordered", False, facts["layers"])
    assert facts["codes"] == facts["codes_of_whole_file"] == sum(network_of(model).counts(*network_of(model).size(*size)))
    assert facts["bytes"] == facts["bytes_of_whole_file"] == len(data)


def test_pictures_are_alike(photo: np.ndarray) -> None:
    data = presage.encode_lossy(photo, model="tiny-ordered")
    assert error(data, photo) < 0.5 * np.square(photo - photo.mean((0, 1))).mean()


def test_codes_do_not_depend_on_how_they_are_decoded(model: str, photo: np.ndarray) -> None:
    data = presage.encode_lossy(photo, model=model, threads=1)
    first = codes_of(data)
    for threads, arithmetic in ((1, "float64"), (2, "float32")):
        assert presage.encode_lossy(photo, model=model, threads=threads, arithmetic=arithmetic) == data
        assert same(codes_of(data, threads=threads, arithmetic=arithmetic), first)
        assert presage.decode(data, threads=threads).tobytes() == presage.decode(data).tobytes()


def test_gray_and_alpha(model: str, photo: np.ndarray) -> None:
    photo = photo[:33, :41]
    alpha = np.arange(photo[..., 0].size, dtype=np.uint8).reshape(photo.shape[:2])
    for mode, planes in (("RGBA", photo), ("LA", photo[..., 1]), ("L", photo[..., 1])):
        source = Image.fromarray(planes).convert(mode)
        if mode != "L":
            source.putalpha(Image.fromarray(alpha))
        source.info |= {"icc_profile": b"profile", "dpi": (72.0, 72.0)}
        data = presage.encode_lossy(source, model=model)
        image = presage.decode(data)
        assert image.mode == mode
        assert (image.info["icc_profile"], image.info["dpi"]) == (b"profile", (72.0, 72.0))
        if mode != "L":
            assert np.array_equal(np.asarray(image)[..., -1], alpha)
            assert np.array_equal(np.asarray(presage.decode(data, codes=1))[..., -1], alpha)
    gray = presage.decode(presage.encode_lossy(photo[..., 1], model=model))
    colour = presage.decode(presage.encode_lossy(photo[..., [1, 1, 1]], model=model))
    assert np.array_equal(np.asarray(gray), np.asarray(pixel_room.image_of(np.asarray(colour), container.Mode.GRAY)))


def test_other_requests_are_refused(photo: np.ndarray) -> None:
    source = Image.fromarray(photo)
    source.info["transparency"] = (1, 2, 3)
    with pytest.raises(presage.ImageRefused, match="transparent colour"):
        presage.encode_lossy(source, model="tiny-ordered")
    with pytest.raises(presage.ImageRefused, match="tile"):
        presage.encode_lossy(photo, model="tiny-ordered", tile=64)
    with pytest.raises(presage.ImageRefused, match="--lossy"):
        presage.encode(photo, model="tiny-ordered")
    with pytest.raises(presage.ImageRefused):
        presage.pack({"a.png": Image.fromarray(photo)}, model="tiny-ordered")
    with pytest.raises(presage.ImageRefused, match="--codes"):
        presage.decode(presage.encode_lossy(photo, model="tiny-latent"), codes=1)


def test_crops(photo: np.ndarray) -> None:
    data = presage.encode_lossy(photo, model="tiny-ordered")
    whole = presage.decode(data)
    assert presage.decode(data, crop=(10, 20, 30, 15)).tobytes() == whole.crop((10, 20, 40, 35)).tobytes()


# ------------------------------------------------------------------------------------------------------------- targets


def test_targets_are_met(photo: np.ndarray) -> None:
    picture = np.tile(photo, (1, 2, 1))
    pixels = picture.shape[0] * picture.shape[1]
    encode = partial(presage.encode_lossy, picture, model="tiny-ordered")
    whole = encode(quality=100)
    places = container.ChunkStream(whole, container.read_header(whole)).places
    first = places[0][0]
    assert len(places) >= 3
    assert encode(size=10**6) == whole
    assert encode(quality=0) == encode(psnr=1) == whole[:first]
    assert encode(quality=60) == whole[: sum(places[round(0.6 * len(places)) - 1])]
    assert encode(size=first) == whole[:first]
    size = places[1][0] + 3
    assert encode(size=size) == encode(bpp=8 * (size + 0.5) / pixels) == presage.truncate(whole, size) == whole[: places[1][0]]
    wanted = 10 * math.log10(255**2 / error(whole[: sum(places[1])], picture)) - 1e-6
    data = encode(psnr=wanted)
    assert 10 * math.log10(255**2 / error(data, picture)) >= wanted
    assert len(data) <= sum(places[1])


def test_targets_out_of_reach(photo: np.ndarray) -> None:
    with pytest.raises(presage.ImageRefused, match="smallest cut"):
        presage.encode_lossy(photo, model="tiny-ordered", size=50)
    with pytest.raises(presage.ImageRefused, match="best quality"):
        presage.encode_lossy(photo, model="tiny-ordered", psnr=80)
    wrongs: tuple[dict[str, Any], ...] = ({"quality": 101}, {"quality": 10, "bpp": 1}, {"bpp": -1})
    for wrong in wrongs:
        with pytest.raises(presage.ImageRefused):
            presage.encode_lossy(photo, model="tiny-ordered", **wrong)


def test_gray_pictures_of_so_many_decibels(photo: np.ndarray) -> None:
    gray = photo[..., 1]
    data = presage.encode_lossy(gray, model="tiny-ordered", psnr=20)
    assert 10 * math.log10(255**2 / error(data, gray)) >= 20


# ------------------------------------------------------------------------------------------------ some of the codes


def test_every_number_of_codes(model: str, photo: np.ndarray) -> None:
    data = presage.encode_lossy(photo, model=model)
    network, codes = network_of(model), codes_of(data)
    images = []
    for number in range(network.config.count + 2):
        image = np.asarray(presage.decode(data, codes=number))
        assert np.array_equal(image, layers.pixels_of(Reading(data, container.read_header(data), False, SETTINGS), network, codes[:number]))
        images.append(image)
    assert np.array_equal(images[-1], np.asarray(presage.decode(data)))
    assert np.array_equal(images[-2], images[-1])
    assert len({image.tobytes() for image in images}) > network.config.count // 2
    errors = [np.square(image.astype(int) - photo).mean() for image in images]
    assert errors[-1] < errors[1] < errors[0]


def test_cuts_in_one_walk(photo: np.ndarray) -> None:
    source = Image.fromarray(np.dstack([np.tile(photo, (1, 2, 1)), np.tile(photo[..., :1], (1, 2, 1))]))
    data = presage.encode_lossy(source, model="tiny-ordered")
    alpha = container.read_header(data).section(container.Tag.ALPHA)
    assert alpha is not None
    sizes = [alpha.offset + 5, *(round(share * len(data)) for share in (0.9, 0.97, 1.0))]
    for size, image in zip(sizes, api.decode_cuts(data, sizes, SETTINGS), strict=True):
        expected = presage.decode(data[:size])
        assert (image.mode, image.tobytes()) == (expected.mode, expected.tobytes())


def test_windows_leave_no_seams(model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network, pixels = network_of(model), noise(192, 256, 4)[None]
    size = network.size(192, 256)

    def decoded() -> np.ndarray:
        return transforms.synthesise(network, network.dequantise(codes, *size), size, (192, 256), SETTINGS)

    whole = transforms.analyse(network, pixels, SETTINGS)
    codes = [np.arange(count) * 7 % network.config.entries for count in network.counts(*size)]
    first = decoded()
    monkeypatch.setattr(windows, "SIDE", 5)
    assert len(windows.windows(*size)) > 9
    assert np.abs(transforms.analyse(network, pixels, SETTINGS) - whole).max() < 1e-3
    assert np.abs(decoded().astype(int) - first).max() <= 1


# ------------------------------------------------------------------------------------------------------------- samples


@pytest.fixture
def drawn_codes(monkeypatch: pytest.MonkeyPatch) -> list[list[np.ndarray]]:
    """The codes behind the samples that are drawn from now on."""
    kept: list[list[np.ndarray]] = []
    real = ExactOrdered.dequantise

    def keep(network: ExactOrdered, codes: list[np.ndarray], *more: Any) -> Any:
        kept.append(codes)
        return real(network, codes, *more)

    monkeypatch.setattr(ExactOrdered, "dequantise", keep)
    return kept


def draw(
    model: str,
    count: int,
    size: tuple[int, int],
    seed: int,
    layers: int | None = None,
    seconds: float | None = None,
    **settings: Unpack[Options],
) -> tuple[np.ndarray, int]:
    drawn = sampling.draw_pictures(network_of(model, **settings), count, size, seed, Settings(**settings), layers=layers, seconds=seconds)
    return np.stack(drawn.pictures), drawn.layers


def test_samples(model: str, drawn_codes: list[list[np.ndarray]]) -> None:
    every = [
        draw(model, 3, (40, 70), 5, threads=threads, arithmetic=arithmetic)
        for threads, arithmetic in ((1, "float64"), (2, "int8"), (2, None))
    ]
    pictures, layers = every[0]
    assert pictures.shape == (3, 40, 70, 3)
    assert layers == network_of(model).config.count
    for codes, (other, _) in zip(drawn_codes, every, strict=True):
        assert same(codes, drawn_codes[0])
        assert np.array_equal(other, pictures)
    assert not np.array_equal(pictures[0], pictures[1])
    other, _ = draw(model, 3, (40, 70), 6)
    assert not np.array_equal(other, pictures)
    alone, _ = draw(model, 1, (40, 70), 5)
    assert all(np.array_equal(a, b[: len(a)]) for a, b in zip(drawn_codes[-1], drawn_codes[0], strict=True))
    assert np.abs(alone[0].astype(int) - pictures[0]).max() <= 1


def test_samples_of_some_codes(model: str, drawn_codes: list[list[np.ndarray]], monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_of(model)
    draw(model, 2, (32, 64), 1)
    for number in (0, 1, 5, 1000):
        pictures, layers = draw(model, 2, (32, 64), 1, layers=number)
        assert layers == min(number, network.config.count)
        assert same(drawn_codes[-1], drawn_codes[0][:number])
        assert pictures.shape == (2, 32, 64, 3)
    _, layers = draw(model, 2, (32, 64), 1, seconds=0)
    assert (layers, drawn_codes[-1]) == (0, [])
    clock = counter()
    monkeypatch.setattr("presage.codec.predictive.sampling.time.monotonic", lambda: float(next(clock)))
    _, layers = draw(model, 2, (32, 64), 1, seconds=3.5)
    assert layers == 3
    assert same(drawn_codes[-1], drawn_codes[0][:3])


def test_shipped_models() -> None:
    """A photograph through each model of ordered codes that is shipped, and cut."""
    pixels = np.asarray(Image.open(HERE.parent / "samples" / "kodim23.png"))[:192, :256]
    found = [w for w in catalogue.available() if w.metadata.get("model") == "ordered" and w.path.is_relative_to(catalogue.PACKAGED)]
    assert {shipped.name for shipped in found} >= {"ordered-1", "cifar10-ordered-1"}
    assert sum(shipped.size for shipped in found) <= 8_000_000
    for shipped in found:
        data = presage.encode_lossy(pixels, model=shipped.name)
        assert error(data, pixels) < error(data[: len(data) // 3], pixels)
