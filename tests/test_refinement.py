"""Refined latents: the prior in floating point is the exact one, files are better and what was asked for, effort 1 changes nothing."""

import math
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from conftest import HERE, noise
from PIL import Image
from safetensors.numpy import load_file

import presage
from presage.codec import weights
from presage.codec.image import files
from presage.codec.paths.target import EFFORTS
from presage.codec.paths.tiles import TiledEncoding
from presage.codec.settings import Settings
from presage.models import catalogue, windows
from presage.models.latent.exact import ExactLatent
from presage.models.latent.refinement import PLANS, UNIT, Refiner, soft_rounding
from presage.models.model import Nibbles, Symbols, Turn
from presage.models.pixelcnn.dequantised import conditions, float_pixelcnn
from presage.models.refinable import Refined, chosen

PHOTO = HERE.parent / "samples" / "kodim23.png"
QUIET = Settings(model_path=[HERE / "data"])


def piece() -> np.ndarray:
    """A piece of a photograph, uint8 (92, 125, 3)."""
    return np.asarray(Image.open(PHOTO))[200:292, 300:425]


@lru_cache
def shipped() -> ExactLatent:
    return ExactLatent(load_file(catalogue.find("latent-1", ()).path))


def whole(pixels: np.ndarray) -> tuple[int, int, int, int]:
    """The window that is the map of a picture."""
    height, width = shipped().size(*pixels.shape[:2])
    return 0, height, 0, width


def exact_bits(model: ExactLatent, symbols: Symbols, quality: int) -> float:
    """Code length of latents (h, w, channels) by the weights that a coder gets."""
    answers, bits = model.answers([symbols]), 0.0

    def code(turn: Turn, chances: np.ndarray) -> Nibbles:
        nonlocal bits
        nibbles = answers(turn, chances)
        own = chances[np.arange(len(nibbles)), nibbles].astype(np.float64)
        bits -= float(np.log2(own / chances.sum(1, dtype=np.float64)).sum())
        return nibbles

    model.walk([(symbols.shape[0], symbols.shape[1])], model.spans([symbols]), quality, code)
    return bits


def refiner(pixels: np.ndarray, quality: int) -> Refiner:
    model = shipped()
    prior, condition = float_pixelcnn(model.prior.tensors), conditions(model.prior.tensors)[quality]
    padded = np.pad(pixels, [(0, -pixels.shape[0] % 8), (0, -pixels.shape[1] % 8), (0, 0)], mode="edge")
    return Refiner(model.transforms, prior, condition, torch.from_numpy(padded[None]), (pixels.shape[0], pixels.shape[1]), quality / 255)


def squared_error(pixels: np.ndarray, symbols: Symbols, quality: int) -> float:
    """Mean over R, G and B, summed over the picture."""
    decoded = shipped().synthesise((symbols[None], quality), whole(pixels))[0, : pixels.shape[0], : pixels.shape[1]]
    return float(np.square(decoded.astype(np.int64) - pixels).sum() / 3)


@pytest.mark.parametrize("quality", [40, 220])
def test_the_prior_in_floating_point_is_the_exact_one(quality: int) -> None:
    """Latents of a photograph, and code lengths that lie apart by less than a hundredth."""
    model, pixels = shipped(), piece()
    symbols = model.quantise(model.analyse(pixels[None], whole(pixels)), quality)
    costs = refiner(pixels, quality).costs(torch.from_numpy(symbols.astype(np.float32)) - 120)
    coded = (symbols[0] != model.blank).any((0, 1))  # the others take nothing in a file
    bits = exact_bits(model, symbols[0], quality)
    assert abs(float(costs.bits[1, 0][..., coded].sum()) - bits) < 0.01 * bits
    assert bits > 500


def test_soft_rounding() -> None:
    y = torch.linspace(-2.99, 2.99, 599, dtype=torch.float64)
    for temperature in (0.7, 0.1):
        low, share, slope = soft_rounding(y, temperature)
        ahead = torch.stack(soft_rounding(y + 1e-6, temperature)[:2]).sum(0) - torch.stack(soft_rounding(y - 1e-6, temperature)[:2]).sum(0)
        inside = (y - low > 0.02) & (y - low < 0.98)
        assert torch.allclose(slope[inside], (ahead / 2e-6)[inside], rtol=1e-3, atol=1e-6)
    certain = (y - y.round()).abs() < 0.4
    assert ((low + share)[certain] - y.round()[certain]).abs().max() < 0.1


def test_costs_are_those_of_moves() -> None:
    """Error and bits after moving one latent in every fortieth, against what was foretold."""
    model, pixels, quality = shipped(), piece(), 160
    symbols = model.quantise(model.analyse(pixels[None], whole(pixels)), quality)
    integers = torch.from_numpy(symbols.astype(np.float32)) - 120
    costs = refiner(pixels, quality).costs(integers)
    moved = np.random.default_rng(2).random(symbols.shape) < 1 / 40
    foretold_bits = float((costs.bits[2] - costs.bits[1])[moved].sum())
    weight = model.config.low * (model.config.high / model.config.low) ** (quality / 255)
    foretold_error = float((costs.slope + costs.curvature / 2)[moved].sum()) / weight
    after = symbols + moved
    bits = exact_bits(model, after[0], quality) - exact_bits(model, symbols[0], quality)
    error = squared_error(pixels, after[0], quality) - squared_error(pixels, symbols[0], quality)
    assert abs(foretold_bits / bits - 1) < 0.3
    assert abs(foretold_error / error - 1) < 0.3


@pytest.mark.parametrize("quality", [60, 160])
def test_refined_latents_are_worth_more(quality: int) -> None:
    """Bits + weight * error, of exact bits and decoded pixels, falls; by more with more effort."""
    model, pixels = shipped(), piece()
    features, values = model.analyse(pixels[None], whole(pixels)), []
    weight = model.config.low * (model.config.high / model.config.low) ** (quality / 255)
    refined = [model.refine(pixels[None], features, quality, whole(pixels), effort, lambda _: None) for effort in (2, 5)]
    for symbols in (model.quantise(features, quality)[0], *(chosen(each, 1.0, model.blank)[0] for each in refined)):
        values.append(exact_bits(model, symbols, quality) + weight * squared_error(pixels, symbols, quality))
    assert values[2] < values[1] < values[0]
    assert values[2] < 0.98 * values[0]


def test_effort_1_is_the_encoder_network_alone() -> None:
    pixels = piece()
    data = presage.encode_lossy(pixels, quality=40, effort=1)
    loaded: Any = weights.load("latent", QUIET)
    assert data == TiledEncoding(files.from_pillow(Image.fromarray(pixels)), loaded, 0, QUIET).file(102)
    assert presage.encode_lossy(pixels, quality=40) != data


@pytest.mark.parametrize("effort", [None, 2])
def test_targets_hold(effort: int | None) -> None:
    pixels = piece()
    size = pixels.shape[0] * pixels.shape[1]
    for bpp in (0.2, 0.35):
        data = presage.encode_lossy(pixels, bpp=bpp, effort=effort)
        assert 0.93 * bpp < 8 * len(data) / size <= bpp
    for wanted in (30.0, 35.0):
        decoded = np.asarray(presage.decode(presage.encode_lossy(pixels, psnr=wanted, effort=effort))).astype(int)
        assert wanted <= 10 * math.log10(255**2 / np.square(decoded - pixels).mean()) < wanted + 0.25
    plain = presage.encode_lossy(pixels, size=700, effort=1)
    assert len(plain) <= 700
    assert len(presage.encode_lossy(pixels, size=700, effort=effort)) <= 700


def test_smallest_and_best_are_reached_or_refused() -> None:
    pixels = piece()
    smallest = len(presage.encode_lossy(pixels, quality=0, effort=1))
    assert len(presage.encode_lossy(pixels, size=smallest)) <= smallest
    with pytest.raises(presage.ImageRefused, match="smallest"):
        presage.encode_lossy(pixels, size=60)
    with pytest.raises(presage.ImageRefused, match="best quality"):
        presage.encode_lossy(pixels, psnr=60)


def test_threads_and_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files do not depend on the threads; many windows make nearly as good ones as one."""
    pixels = piece()
    one = presage.encode_lossy(pixels, quality=50)
    monkeypatch.setattr(windows, "SIDE", 8)
    many = [presage.encode_lossy(pixels, quality=50, threads=threads) for threads in (1, 2)]
    assert many[0] == many[1]
    errors = [np.square(np.asarray(presage.decode(data)).astype(int) - pixels).mean() for data in (one, many[0])]
    assert errors[1] < 1.05 * errors[0]
    assert len(many[0]) < 1.05 * len(one)


def test_progress_and_limits() -> None:
    seen: list[float] = []
    presage.encode_lossy(piece(), quality=50, effort=2, progress=seen.append)
    assert len([share for share in seen if 0 < share < 1]) >= PLANS[2].steps
    with pytest.raises(presage.LimitExceeded):
        presage.encode_lossy(piece(), quality=50, effort=9, limits=presage.Limits(seconds=0.01))


def test_gray_alpha_and_small_pictures() -> None:
    for mode, size in (("L", (21, 13)), ("RGBA", (40, 9)), ("RGB", (1, 1))):
        image = Image.fromarray(noise(size[1], size[0])).convert(mode)
        again = presage.decode(presage.encode_lossy(image, effort=3, verify=True))
        assert (again.mode, again.size) == (mode, size)


def test_the_last_choice() -> None:
    """Moves that pay, at a weight at which they do; channels that are not worth their bits; symbols at the end of their range."""
    symbols = np.full((1, 1, 1, 3), 120, np.uint8)
    symbols[..., 1], symbols[..., 2] = 121, 255
    bits = np.array([[2.5, 9, 2], [1, 0.9, 9], [9, 9, 1]], np.float32)[:, None, None, None]  # one less, as it is, one more
    refined = Refined(symbols, bits, np.array([4.0, 0, 0], np.float32).reshape(1, 1, 1, 3), np.array([1.0, 1, 1e-3], np.float32))
    assert chosen(refined, 1.0, 120).ravel().tolist() == [119, 121, 254]
    assert chosen(refined, 0.1, 120).ravel().tolist() == [120, 120, 120]


def test_efforts_are_checked() -> None:
    assert set(PLANS) == set(EFFORTS) - {1}
    assert UNIT == 127.5**2 / 3
    for effort in (0, 10, 2.0, True):
        with pytest.raises(presage.ImageRefused, match="efforts"):
            presage.encode_lossy(noise(8, 8), effort=effort)  # type: ignore[arg-type]
    for model in ("tiny-categories", "tiny-codes"):
        with pytest.raises(presage.ImageRefused, match="effort"):
            presage.encode_lossy(noise(32, 32), model=model, effort=4)
    assert presage.encode_lossy(noise(32, 32), model="tiny-categories", effort=1)


def test_the_host_keeps_its_random_numbers() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    presage.encode_lossy(noise(16, 16), model="tiny-latent", effort=2)
    assert torch.equal(torch.rand(3), wanted)
