"""The bench of ordered codes, on tiny networks and made-up pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from presage.bench.papers import ablations, codes, features, priors
from presage.bench.papers.ablations import Channels, Components, Spatial, Vae
from presage.bench.reports import codes as codes_report
from presage.models.ordered.network import Ordered, OrderedConfig
from presage.models.ordered.prior import Transformer
from presage.models.training.data import Pixels

PRIOR = {"neighbours": False, "width": 16, "blocks": 2, "heads": 2, "head": 8, "hidden": 16, "embedding": 8}


def pictures(count: int) -> Pixels:
    """Smooth pictures, uint8 (count, 32, 32, 3)."""
    random = np.random.default_rng(0)
    small = random.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    return np.stack([np.asarray(Image.fromarray(p).resize((32, 32), Image.Resampling.BICUBIC)) for p in small])


@pytest.fixture(scope="module")
def ordered() -> Ordered:
    torch.manual_seed(0)
    network = Ordered(OrderedConfig("leaky", channels=6, width=8, entries=20, shared=True, last_price=0.0, first_price=0.0, prior=PRIOR))
    network.begin(lambda count: torch.from_numpy(pictures(count)), fresh=True)
    return network.eval().requires_grad_(False)


def test_channels_are_the_networks_codes(ordered: Ordered) -> None:
    coder, pixels = Channels(ordered), torch.from_numpy(pictures(5))
    for cut in (0, 2, 6):
        expected, _ = ordered.reconstruct(pixels, torch.full((5,), float(cut)))
        found = (coder.decode(codes.first(coder.encode(pixels), cut)) - pixels).square().mean((1, 2, 3))
        assert torch.allclose(found, expected, rtol=1e-3)


def test_importance_sums_to_the_error_difference(ordered: Ordered) -> None:
    curve = codes.curve(Channels(ordered), pictures(10))
    assert len(curve["error"]) == 7
    assert codes.importance(curve["error"]).sum() == pytest.approx(curve["error"][0] - curve["error"][-1])


def test_principal_components() -> None:
    error = codes.curve(Components(pictures(100), 20), pictures(40))["error"]
    assert np.all(np.diff(error) < 0)
    delta = codes.importance(error)
    assert delta[:5].min() > delta[-5:].max()


def test_feature_distance() -> None:
    random = np.random.default_rng(0)
    a, b = random.standard_normal((200, 5)), random.standard_normal((300, 5)) + 1
    assert features.frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert features.frechet(a, b) == pytest.approx(features.frechet(b, a))
    moved = np.concatenate([a, -a])  # a mean of zero
    assert features.frechet(moved, 2 * moved + 3) == pytest.approx(9 * 5 + np.trace(np.cov(moved, rowvar=False)))


def test_feature_network(tmp_path: Path) -> None:
    network, accuracy = features.train(pictures(30), steps=2, log=lambda _: None)
    features.save(network, accuracy, tmp_path / "features.safetensors")
    assert (tmp_path / "features.safetensors").stat().st_size < 300_000
    again, known = features.load(tmp_path / "features.safetensors")
    assert known == pytest.approx(accuracy, abs=1e-4)
    assert np.allclose(features.features(again, pictures(3)), features.features(network, pictures(3)), atol=0.05)
    pixels, angles = features.turned(torch.from_numpy(pictures(2)))
    assert torch.equal(torch.rot90(pixels[2:4], -1, (1, 2)), pixels[:2])
    assert angles.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    with pytest.raises(FileNotFoundError, match="make them"):
        features.load(tmp_path / "none.safetensors")


@pytest.mark.parametrize("kind", ["lstm", "pixelcnn", "transformer"])
def test_priors_are_causal(kind: str, ordered: Ordered) -> None:
    torch.manual_seed(1)
    length, entries = 6, 20
    prior: priors.Prior = priors.Cached(ordered.prior)
    if kind == "lstm":
        prior = priors.Lstm(length, entries, width=8, embedding=4)
    elif kind == "pixelcnn":
        prior = priors.PixelCnn(length, entries, width=8, blocks=2, embedding=4)
    row = torch.randint(entries, (3, length))
    before = prior.logits(row).detach()
    assert before.shape == (3, length, entries)
    for place in range(length):
        other = row.clone()
        other[:, place] = (other[:, place] + 1) % entries
        after = prior.logits(other).detach()
        assert torch.equal(after[:, : place + 1], before[:, : place + 1])
        assert place == length - 1 or not torch.equal(after[:, place + 1], before[:, place + 1])
    seen: list[int] = []
    drawn = prior.sample(4, 5, torch.Generator().manual_seed(0), seen.append)
    assert drawn.shape == (4, 5)
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("quantised", [False, True])
def test_cached_sampling_agrees_with_the_network(quantised: bool, ordered: Ordered, monkeypatch: pytest.MonkeyPatch) -> None:
    network = Transformer(ordered.config.prior_config()).requires_grad_(False)
    network.outs[0].weight.mul_(10)
    if quantised:
        sample = torch.from_numpy(pictures(8))
        network.quantise(ordered.symbols(sample), 4, 4)
    monkeypatch.setattr(priors, "draw", lambda logits, _: logits.argmax(-1))
    prior = priors.Cached(network)
    drawn = prior.sample(5, 6, torch.Generator().manual_seed(0))
    assert torch.equal(prior.logits(drawn).argmax(-1), drawn)


def test_training_a_prior_learns_a_pattern() -> None:
    torch.manual_seed(0)
    start = torch.randint(5, (200, 1))
    rows = (start + torch.arange(6)) % 5
    prior = priors.Lstm(6, 5, width=16, embedding=8)
    priors.train(prior, rows, steps=120, batch=32, rate=1e-2, log=lambda _: None)
    bits = priors.bits(prior, rows)
    assert bits[0] == pytest.approx(np.log2(5), abs=0.2)
    assert bits[1:].max() < 0.5
    assert priors.independent_bits(rows, rows, 5).mean() == pytest.approx(np.log2(5), abs=0.05)


@pytest.mark.parametrize("kind", ["spatial", "vae-ordered", "vae-unordered"])
def test_other_autoencoders_learn(kind: str) -> None:
    torch.manual_seed(0)
    network: Spatial | Vae = Spatial(8, 6, 20) if kind == "spatial" else Vae(8, 6, ordered=kind == "vae-ordered")
    pixels = torch.from_numpy(pictures(32))
    network.begin(pixels)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses = []
    for _ in range(30):
        loss = network(pixels).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    network.eval().requires_grad_(False)
    curve = codes.curve(network, pictures(8))
    assert curve["codes"] == network.count == (16 if kind == "spatial" else 6)
    assert np.all(np.isfinite(curve["error"]))


def test_uniform_and_whole_cuts() -> None:
    torch.manual_seed(0)
    kept = Spatial(8, 6, 20).kept(2000)
    assert kept[:, 0].all()
    assert kept.float().mean() == pytest.approx(17 / 32, abs=0.03)
    assert Vae(8, 6, ordered=False).kept(3).all()


def test_report(ordered: Ordered, tmp_path: Path) -> None:
    coder, prior = Channels(ordered), priors.Cached(ordered.prior)
    network, accuracy = features.train(pictures(30), steps=1, log=lambda _: None)
    yardstick = features.Yardstick(network, pictures(60))
    row, shown = codes.sampled(prior, coder, 20, coder.symbols(torch.from_numpy(pictures(20))), yardstick)
    assert all(np.array(row["distance"]) >= 0)
    assert row["enough"] in codes.SHARES
    curves = {name: codes.curve(coder, pictures(10)) for name in ("ordered", "unordered", "spatial")}
    curves["pca"] = codes.curve(Components(pictures(60), 6), pictures(10))
    lengths = {"parameters": 1000} | codes.code_lengths(prior, coder, pictures(30), pictures(10))
    assert len(lengths["places"]) == 6
    assert 1 <= lengths["used"] <= 20
    result = {
        "processor": "none",
        "training_pictures": 60,
        "test_pictures": 20,
        "ablation_steps": 1,
        "ablation_prior_steps": 1,
        "curve_pictures": 10,
        "curves": curves,
        "bits": {"ordered": lengths, "base": lengths},
        "features": {"accuracy": accuracy, "reference_pictures": 60, "floor": 0.1},
        "samples": {"count": 20, "batch": 100, "ordered": row, "unordered": row, "base": row, "lstm": row, "geometric-0.1": row},
    }
    text = codes_report.markdown(json.loads(json.dumps(result)))
    assert "not** the Inception" in text
    assert "C.3" in text
    result["exact"] = {"model": "tiny", "count": 10, "lengths": [0, 3, 6], "seconds": [0.1, 0.2, 0.3]}
    assert "tiny" in codes_report.markdown(result)
    codes_report.draw(result, tmp_path / "a.png")
    codes_report.draw_samples(result, tmp_path / "b.png")
    codes.draw_grid({"ordered": shown, "unordered": shown}, tmp_path / "c.png")
    assert Image.open(tmp_path / "c.png").height > 8 * 64


def test_enough_and_linearity() -> None:
    assert codes.enough([9, 5, 4, 3, 2.05, 2.2, 2.05, 2.08, 2, 2]) == 0.7
    assert codes.enough([9.0] * 9 + [1.0]) == 1.0
    assert codes.linearity([1.0, 2.0, 3.0, 4.0]) == pytest.approx((1.0, 0.0))


def test_missing_checkpoints(tmp_path: Path) -> None:
    Image.fromarray(pictures(1)[0]).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="parts"):
        codes.run([tmp_path / "a.png"], tmp_path, 2, 1, ["nothing"], tmp_path / "f", lambda _: None)
    with pytest.raises(FileNotFoundError):
        ablations.load_ordered("cifar10-ordered", tmp_path)
