"""Ordered codes from pictures to weights that encode; codebooks, cuts and what a layer sees of the map."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import HERE, noise
from PIL import Image
from safetensors.torch import load_file

import presage
from presage.codec import weights
from presage.codec.format import container
from presage.codec.paths import layers
from presage.codec.paths.reading import Reading
from presage.codec.predictive import sampling
from presage.codec.settings import Settings
from presage.models import catalogue
from presage.models.ordered import codebooks as codes
from presage.models.ordered.exact import ExactOrdered
from presage.models.ordered.network import Ordered, OrderedConfig
from presage.models.training import loop as train

RUN = """
[run]
model = "ordered"
name = "mine-1"
steps = 10
batch = 4
rate = 2e-3
warm_up = 2
clip = 1.0
report_every = 5
save_every = 10
revive_every = 2
[model]
design = "{design}"
entries = 8
width = 8
{settings}
[data]
folder = "{folder}"
crop = 32
hold_out = 4
augment = 0.0
"""
RESIDUAL = """
channels = 12
fine_width = 8
fine_blocks = 1
blocks = 1
strides = {strides}
prior = {{ width = 8, blocks = 1, heads = 2, head = 4, hidden = 8, embedding = 4 }}
"""
LEAKY = """
channels = 5
patch = 2
shared = {shared}
first_price = 0.0
last_price = 0.0
logarithm = false
cuts = "{cuts}"
geometric = 0.2
prior = {{ neighbours = false, width = 8, blocks = 1, heads = 2, head = 4, hidden = 8, embedding = 4 }}
"""
DESIGNS = {
    "residual": ("residual", RESIDUAL.format(strides="[[16, 2], [8, 3], [4, 1]]")),
    "residual without the coarsest": ("residual", RESIDUAL.format(strides="[[8, 3], [4, 2]]")),
    "leaky": ("leaky", LEAKY.format(shared="true", cuts="geometric")),
    "leaky, unordered": ("leaky", LEAKY.format(shared="false", cuts="none")),
}


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    for i in range(8):
        Image.fromarray(noise(32, 40, i)).save(tmp_path / "pictures" / f"{i}.png")
    return tmp_path / "pictures"


@pytest.mark.parametrize("name", DESIGNS)
def test_train_in_stages_export_encode(name: str, pictures: Path, tmp_path: Path) -> None:
    design, settings = DESIGNS[name]
    run = tmp_path / "run.toml"
    run.write_text(RUN.format(design=design, settings=settings, folder=pictures))
    lines: list[str] = []
    first = train.run(run, ["run.final=false", "run.quantise_from=1.0"], tmp_path / "first", False, "cpu", lines.append)
    assert any("dB at a share of the layers" in line for line in lines)
    assert train.export(run, ["run.final=false"], tmp_path / "first") is None
    prior = ["model.stage=prior", f"run.start={first}"]
    second = train.run(run, prior, tmp_path / "second", False, "cpu", lines.append)
    assert any("bpp, by the codes' own frequencies" in line for line in lines)
    before, after = (state["network"] | state["average"] for state in (torch.load(p, weights_only=True) for p in (first, second)))
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}
    assert moved == {"prior"}  # the transforms, the codebooks and the order of the layers stay as they were
    with pytest.raises(ValueError, match="not on integer grids"):
        train.export(run, [], tmp_path / "first")
    written = train.export(run, prior, tmp_path / "second")
    assert written is not None
    assert catalogue.read(written).metadata["model"] == "ordered"
    pixels, used = noise(50, 70, 99), Settings(model_path=[tmp_path / "second"])
    file = presage.encode_lossy(pixels, model="mine", model_path=used.model_path)
    assert presage.decode(file, model_path=used.model_path).size == (70, 50)
    network = weights.load("mine", used).model
    assert isinstance(network, ExactOrdered)
    side = 8 * network.config.sides()[0]
    assert network.size(50, 70) == (-(-50 // side) * side // 8, -(-70 // side) * side // 8)
    assert presage.info(file)["codes"] == sum(network.counts(*network.size(50, 70)))
    drawn = sampling.draw_pictures(network, 2, (32, 32), 0, used)
    assert (len(drawn.pictures), drawn.pictures[0].shape, drawn.layers) == (2, (32, 32, 3), network.config.count)


@pytest.mark.parametrize("name", DESIGNS)
def test_files_hold_the_codes_of_the_trained_network(name: str, pictures: Path, tmp_path: Path) -> None:
    """Quantising in training and in the encoder choose the same codes, where prices do not ask the prior."""
    design, settings = DESIGNS[name]
    run = tmp_path / "run.toml"
    run.write_text(RUN.format(design=design, settings=settings, folder=pictures))
    free = ["model.first_price=0.6", "model.last_price=0.0", "run.steps=4"]
    first = train.run(run, [*free, "run.final=false", "run.quantise_from=1.0"], tmp_path / "first", False, "cpu", lambda _: None)
    stage = [*free, "model.stage=prior", f"run.start={first}"]
    second = train.run(run, stage, tmp_path / "second", False, "cpu", lambda _: None)
    train.export(run, stage, tmp_path / "second")
    state = torch.load(second, weights_only=True)
    network = train.averaged_network(train.read_run(run, stage), state)
    pixels = noise(64, 96, 3)
    assert isinstance(network, Ordered)
    with torch.no_grad():
        expected = network.symbols(torch.from_numpy(pixels)[None])
    used = Settings(model_path=[tmp_path / "second"])
    data = presage.encode_lossy(pixels, model="mine", model_path=used.model_path)
    header = container.read_header(data)
    exact = weights.load_for(header, used).model
    assert isinstance(exact, ExactOrdered)
    found, _ = layers.read_codes(Reading(data, header, False, used), exact, None)
    same = total = 0
    for layer, (own, wanted) in enumerate(zip(found, expected, strict=True)):
        same += int((own == wanted[0, exact.order(layer, 8, 12)]).sum())
        total += len(own)
    assert same > 0.85 * total  # training calculates in bfloat16


def test_start_from_latent_weights(pictures: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.toml"
    latent = load_file(HERE / "data" / "tiny-latent-1.safetensors")
    settings = RESIDUAL.format(strides="[[16, 2], [8, 3], [4, 1]]").replace("channels = 12", "channels = 6")
    run.write_text(RUN.format(design="residual", settings=settings, folder=pictures))
    start = [
        f"run.start={HERE / 'data' / 'tiny-latent-1.safetensors'}",
        "model.width=16",
        "model.fine_width=16",
        "run.steps=1",
        "run.rate=0.0",
    ]
    path = train.run(run, start, tmp_path / "out", False, "cpu", lambda _: None)
    found = torch.load(path, weights_only=True)["network"]
    assert torch.equal(found["encoder.network.1.weight"], latent["transforms.encoder.network.1.weight"].float())


def test_wrong_settings_are_refused() -> None:
    for wrong in ("design", "cuts", "stage"):
        settings: dict[str, Any] = {wrong: "other"}
        with pytest.raises(ValueError, match="is one of"):
            OrderedConfig(**settings)


# -------------------------------------------------------------------------------------------------- the codes of a map


def views_at(stride: int, channels: int = 48) -> torch.Tensor:
    return torch.cat([codes.photo_view(stride, c, channels).matrix for c in range(codes.channels_at(stride, channels))])


@pytest.mark.parametrize("stride", codes.SIDES)
def test_what_layers_see_is_orthonormal(stride: int) -> None:
    """All layers at a stride together: what one of them takes leaves the others as they were."""
    rows = views_at(stride)
    assert rows.shape[0] == 4 * codes.channels_at(stride, 48)
    assert torch.allclose(rows @ rows.t(), torch.eye(len(rows)), atol=1e-5)


def test_what_patches_see_is_the_map() -> None:
    rows = torch.cat([codes.patch_view(4, c, 7).matrix for c in range(7)])
    assert torch.equal(rows @ rows.t(), torch.eye(4 * 4 * 7))
    features = torch.randn(2, 8, 12, 7)
    views = [codes.patch_view(4, c, 7) for c in range(7)]
    assert torch.equal(torch.stack([view.synthesise(view.analyse(features), 8, 12) for view in views]).sum(0), features)
    assert torch.equal(views[3].analyse(features)[1, 5].view(4, 4), features[1, 4:8, 8:12, 3])


@pytest.mark.parametrize(("stride", "channel"), [(16, 5), (8, 20), (4, 3)])
def test_views_are_projections(stride: int, channel: int) -> None:
    features, view = torch.randn(2, 8, 12, 48), codes.photo_view(stride, channel, 48)
    values = view.analyse(features)
    assert values.shape == (2, 96 // codes.SIDES[stride] ** 2, 4)
    back = view.analyse(features - view.synthesise(values, 8, 12))
    assert float(back.abs().max()) < 1e-5


def test_dead_codes_are_restarted() -> None:
    torch.manual_seed(0)
    books = codes.Codebooks(3, 16, 4, False)
    books.counts.fill_(10.0)
    before = books.vectors.clone()
    books.restart_dead_codes()
    assert torch.equal(books.vectors, before)  # none is dead
    books.counts[1, [2, 7]] = 0.01
    books.counts[1, 5] = 1000.0
    books.restart_dead_codes()
    moved = (books.vectors != before).any(-1)
    assert moved.nonzero().tolist() == [[1, 2], [1, 7]]
    nearest = torch.cdist(books.vectors[1, [2, 7]], before[1]).min(1)
    assert 5 in nearest.indices.tolist()
    assert float(nearest.values.max()) < 0.5
    assert torch.allclose(books.sums[1, [2, 7]], books.vectors[1, [2, 7]] * books.counts[1, [2, 7]].unsqueeze(1))
    assert float(books.counts[1].min()) > codes.DEAD * float(books.counts[1].mean())


def test_codebooks_stay_as_they_are_while_the_prior_is_trained() -> None:
    for stage, moves in (("autoencoder", True), ("prior", False)):
        network = leaky(stage=stage)
        network.codebooks.counts[0, 3] = 0.0
        before = network.codebooks.vectors.clone()
        network.restart_dead_codes(torch.zeros(1, 32, 32, 3))
        assert torch.equal(network.codebooks.vectors, before) != moves


@pytest.mark.parametrize("shared", [False, True])
def test_codebooks_follow_what_chooses_them(shared: bool) -> None:
    torch.manual_seed(1)
    books = codes.Codebooks(2, 4, 2, shared)
    centres = torch.tensor([[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, -3.0]])
    books.vectors.copy_(centres + 0.5)
    books.sums.copy_(books.vectors)
    for _ in range(1500):
        values = centres[torch.randint(4, (32, 2))] + 0.1 * torch.randn(32, 2, 2)
        for several in [range(2)] if shared else [range(1), range(1, 2)]:
            books.ema_update(several, values, books.choose(several.start, values), torch.ones(32, 2, dtype=torch.bool))
    assert float((books.vectors - centres).abs().max()) < 0.1


def test_dear_codes_are_chosen_less() -> None:
    books = codes.Codebooks(1, 2, 1, False)
    books.vectors.copy_(torch.tensor([[[0.0], [1.0]]]))
    values = torch.tensor([[0.4], [0.6], [0.9]])
    lengths = torch.tensor([1.0, 2.0])
    assert books.choose(0, values, lengths).tolist() == [0, 1, 1]
    books.prices.fill_(0.5)  # the second costs half a square more: the border moves to 0.75
    assert books.choose(0, values, lengths).tolist() == [0, 0, 1]


# ---------------------------------------------------------------------------------------------------------------- cuts


def leaky(**changes: Any) -> Ordered:
    torch.manual_seed(2)
    prior = {"neighbours": False, "width": 8, "blocks": 1, "heads": 1, "head": 4, "hidden": 8, "embedding": 4}
    settings: dict[str, Any] = {"channels": 6, "width": 8, "entries": 8, "shared": True, "last_price": 0.0, "logarithm": False}
    return Ordered(OrderedConfig("leaky", prior=prior, **(settings | changes))).eval()


def test_where_training_cuts() -> None:
    assert leaky(cuts="none").draw_cuts(50).tolist() == [6.0] * 50
    uniform = leaky(cuts="uniform").draw_cuts(6000)
    assert uniform.unique().tolist() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]  # whole layers
    assert abs(float(uniform.mean()) - 3.5) < 0.1
    geometric = leaky(cuts="geometric", geometric=0.5).draw_cuts(6000)
    shares = torch.bincount(geometric.long(), minlength=7)[1:] / 6000
    assert torch.allclose(shares, 0.5 ** torch.arange(1, 7) / (1 - 0.5**6), atol=0.03)
    part = Ordered(OrderedConfig(channels=12, width=8, fine_width=8, fine_blocks=1, blocks=1, strides=((8, 6),))).draw_cuts(500)
    assert 0 <= float(part.min()) < float(part.max()) < 6
    assert bool((part != part.round()).any())  # a part of the last layer


def test_what_a_cut_keeps() -> None:
    kept = leaky().kept(2, torch.tensor([2.0, 2.25, 2.5, 3.0, 6.0]), 8)
    assert kept.sum(1).tolist() == [0, 2, 4, 8, 8]
    assert bool((kept[:, :-1] >= kept[:, 1:]).all())  # the first of them


def test_layers_at_once_are_layers_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    network = leaky()
    pixels, cuts = torch.from_numpy(np.stack([noise(32, 32, i) for i in range(6)])), torch.arange(1.0, 7.0)
    with torch.no_grad():
        symbols, (errors, commitment) = network.symbols(pixels), network.reconstruct(pixels, cuts)
        monkeypatch.setattr(network, "_at_once", lambda _: False)
        assert all(torch.equal(a, b) for a, b in zip(network.symbols(pixels), symbols, strict=True))
        again = network.reconstruct(pixels, cuts)
    assert torch.allclose(again[0], errors, rtol=1e-3)
    assert torch.allclose(again[1], commitment, rtol=1e-3)
    assert bool((commitment[1:] > 0).all())
