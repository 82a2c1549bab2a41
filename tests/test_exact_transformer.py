"""The prior of ordered codes: the same weights whatever does the work, causal, and the network that was trained."""

import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from conftest import HERE, arrays
from safetensors.torch import load_file
from test_format_ordered import Prior
from torch import Tensor

from presage.codec.parallel import spread
from presage.models.model import Turn
from presage.models.ordered import compiled_prior, reference_prior
from presage.models.ordered import prior as transformer
from presage.models.ordered.exact_prior import ExactTransformer, walk
from presage.models.ordered.export import transformer_tensors
from presage.models.ordered.rows import order
from presage.models.tensors import part_of

MODELS = ("tiny-ordered", "tiny-codes")
SIZE = (8, 12)  # of the map, in places
GOLDEN = {
    "tiny-ordered": "06914819efb825ae",
    "tiny-codes": "b07f976bf73e5fb9",
}
Codes = list[np.ndarray]
"""int64 (pictures, patches) of every layer, patches row by row."""


def tensors_of(model: str) -> dict[str, Tensor]:
    return part_of(load_file(HERE / "data" / f"{model}-1.safetensors"), "prior.")


def exact_form(tensors: dict[str, Tensor], arithmetic: str | None = None, device: str = "cpu") -> ExactTransformer:
    return ExactTransformer(arrays(tensors), arithmetic, device)


@cache
def network_of(model: str, arithmetic: str | None = None, device: str = "cpu") -> ExactTransformer:
    return exact_form(tensors_of(model), arithmetic, device)


def counts_of(network: ExactTransformer | transformer.Transformer, size: tuple[int, int]) -> list[int]:
    return [(size[0] // side) * (size[1] // side) for side in network.config.sides]


def some_codes(network: ExactTransformer | transformer.Transformer, size: tuple[int, int], pictures: int) -> Codes:
    """Codes that look random and are the same with every version of every library."""
    found, number = [], 12345
    for count in counts_of(network, size):
        values = []
        for _ in range(pictures * count):
            number = (1103515245 * number + 12345) % (1 << 31)
            values.append((number >> 12) % network.config.entries)
        found.append(np.array(values).reshape(pictures, count))
    return found


def weights_of(network: ExactTransformer, codes: Codes, size: tuple[int, int], workers: int = 1) -> list[np.ndarray]:
    """The weights (pictures, patches, entries) of every layer, patches row by row, as float32."""
    pictures = len(codes[0])
    places = [order(side, network.config.sides[0], *size) for side in network.config.sides]
    parts: list[list[np.ndarray]] = [[] for _ in codes]

    def code(turn: Turn, weights: np.ndarray) -> np.ndarray:
        parts[turn.channel].append(weights.copy())
        return codes[turn.channel][:, places[turn.channel]].ravel()[turn.at]

    with torch.inference_mode():
        walk(network, pictures, *size, len(codes), code, workers)
    found = []
    for part, place in zip(parts, places, strict=True):
        weights = np.concatenate(part).reshape(pictures, len(place), -1)
        found.append(np.empty_like(weights))
        found[-1][:, place] = weights
    return found


def digest(weights: list[np.ndarray]) -> str:
    """Of the weights of all pictures, one after another."""
    found = hashlib.sha256()
    for picture in range(len(weights[0])):
        for layer in weights:
            found.update(layer[picture].astype("<u4").tobytes())
    return found.hexdigest()[:16]


def found_digest(model: str, arithmetic: str | None = None, device: str = "cpu") -> str:
    network = network_of(model, arithmetic, device)
    return digest(weights_of(network, some_codes(network, SIZE, 3), SIZE))


# ----------------------------------------------------------------------------------------------------------- the same


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("arithmetic", ["int8", "float32", "float64"])
def test_threads_and_arithmetic(model: str, arithmetic: str) -> None:
    found = spread(lambda part, report: [found_digest(model, arithmetic)], 2, 1, 2, lambda share: None)
    assert found == [GOLDEN[model]] * 2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("chunk", "small"), [(1, 1 << 26), (7, 0), (100, 0), (10**6, 1 << 26)])
def test_chunks_and_caches(model: str, chunk: int, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_prior, "CHUNK", chunk)
    monkeypatch.setattr(reference_prior, "SMALL", small)
    assert found_digest(model, "float32") == GOLDEN[model]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("part", "group", "workers"), [(6, 7, 1), (6, 1, 3), (12, 40, 2), (192, 1 << 14, 4)])
def test_parts_and_threads(model: str, part: int, group: int, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_prior, "PART", part)
    monkeypatch.setattr(compiled_prior, "GROUP", group)
    network = network_of(model)
    assert digest(weights_of(network, some_codes(network, SIZE, 3), SIZE, workers)) == GOLDEN[model]


@pytest.mark.parametrize("model", MODELS)
def test_pictures_alone_and_together(model: str) -> None:
    network = network_of(model)
    codes = some_codes(network, SIZE, 3)
    alone = [weights_of(network, [layer[i : i + 1] for layer in codes], SIZE) for i in range(3)]
    assert digest([np.concatenate(layer) for layer in zip(*alone, strict=True)]) == GOLDEN[model]


INSTRUCTIONS = [
    {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
]
FRESH = """
import test_exact_transformer as t
for model in t.MODELS:
    for arithmetic in (None, "int8", "float32"):
        try:
            print(t.found_digest(model, arithmetic))
        except ValueError as error:  # a product that is not exact with these instructions is refused
            print(error if arithmetic == "int8" else repr(error))
"""


@pytest.mark.parametrize("settings", INSTRUCTIONS)
def test_plain_instructions(settings: dict[str, str]) -> None:
    environment = os.environ | {"PYTHONPATH": f"{HERE}{os.pathsep}{HERE.parent}"} | settings
    done = subprocess.run([sys.executable, "-c", FRESH], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for model, line in zip(np.repeat(MODELS, 3), lines, strict=True):
        assert line == GOLDEN[model] or line.startswith("no exact matrix product")
    assert lines[::3] == lines[2::3] == [GOLDEN[m] for m in MODELS]


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="no CUDA device")
@pytest.mark.parametrize("model", MODELS)
def test_gpu_and_cpu_agree(model: str) -> None:
    for arithmetic in (None, "float64"):
        assert found_digest(model, arithmetic, "cuda") == GOLDEN[model]


# ------------------------------------------------------------------------------------------------------------- causal


@pytest.mark.parametrize("model", MODELS)
def test_changing_a_code_changes_only_later_layers(model: str) -> None:
    network = network_of(model)
    size, half = (8, 8), network.config.entries // 2
    places = [(layer, i) for layer, count in enumerate(counts_of(network, size)) for i in range(count)]
    codes = [layer.repeat(len(places) + 1, 0) for layer in some_codes(network, size, 1)]
    for variant, (layer, i) in enumerate(places, 1):
        codes[layer][variant, i] = (codes[layer][variant, i] + half) % network.config.entries
    weights = weights_of(network, codes, size)
    changed = np.stack([(layer != layer[:1]).any((1, 2)) for layer in weights])  # (layers, variants)
    later = 0
    for variant, (layer, _) in enumerate(places, 1):
        assert not changed[: layer + 1, variant].any(), f"a code of layer {layer} is seen too early"
        later += int(changed[layer + 1 :, variant].any())
    assert later > 0.9 * sum(layer < len(weights) - 1 for layer, _ in places)  # the test can fail: what comes later does change


@pytest.mark.parametrize("model", MODELS)
def test_reach(model: str) -> None:
    """A code is seen by the patches around it, and through each block by those around them; without neighbours by its own alone."""
    network = network_of(model)
    c = network.config
    coarse, columns = c.sides[0], 10
    size = (2 * coarse, columns * coarse)
    reach = 1 + c.blocks if c.neighbours else 0
    codes = [layer.repeat(len(c.sides) + 1, 0) for layer in some_codes(network, size, 1)]
    for layer in range(len(c.sides)):  # the code at the top left
        codes[layer][layer + 1, 0] = (codes[layer][layer + 1, 0] + c.entries // 2) % c.entries
    weights = weights_of(network, codes, size)
    farthest = 0
    for side, found in zip(c.sides, weights, strict=True):
        rows, here = size[0] // side, (found != found[:1]).any(2)
        seen = here.reshape(len(here), rows, -1)
        ratio = coarse // side
        if not c.neighbours:
            assert not seen[:, ratio:].any()
        column = np.flatnonzero(seen.any((0, 1)))
        farthest = max(farthest, *(column // ratio), 0) if len(column) else farthest
    assert farthest == reach if not reach else 1 <= farthest <= reach


@pytest.mark.parametrize("model", MODELS)
def test_first_layer_knows_nothing_but_the_edge(model: str) -> None:
    network = network_of(model)
    first = weights_of(network, some_codes(network, (8, 40), 3), (8, 40))[0]
    assert (first == first[:1]).all()
    inner = first.reshape(3, 2, 10, -1)[:, :, 3:7] if network.config.neighbours else first
    assert (inner == inner[:, :, :1]).all() if network.config.neighbours else (inner == inner[:, :1]).all()


# ----------------------------------------------------------------------------------- the network that was trained


DESIGNS: dict[str, dict[str, Any]] = {
    "layers of their own": {"sides": (4, 4, 2, 2, 1), "entries": 20, "width": 24, "heads": 3, "head": 8, "hidden": 24, "embedding": 4},
    "shared": {"sides": (4,) * 5, "entries": 300, "shared": True, "neighbours": False, "width": 32, "blocks": 3, "heads": 2, "head": 16},
    "fine first": {"sides": (2, 1, 1), "entries": 130, "width": 16, "blocks": 1, "heads": 1, "head": 4, "hidden": 8, "embedding": 3},
}


@cache
def made(design: str) -> tuple[transformer.Transformer, ExactTransformer]:
    """A random network on its grids, whose codes are not all alike, and its exact form."""
    torch.manual_seed(4)
    network = transformer.Transformer(transformer.TransformerConfig(**DESIGNS[design]))
    for layer in network.outs:
        layer.weight.data *= 4
    network.quantise([torch.from_numpy(layer) for layer in some_codes(network, SIZE, 4)], *SIZE)
    return network, exact_form(transformer_tensors(network))


@pytest.mark.parametrize("design", DESIGNS)
def test_float_network_is_the_integer_one(design: str) -> None:
    network, exact = made(design)
    codes = some_codes(network, SIZE, 6)
    with torch.no_grad():
        nats = network([torch.from_numpy(layer) for layer in codes], *SIZE)
    every, plain = 0.0, 0.0
    for layer, (weights, expected) in enumerate(zip(weights_of(exact, codes, SIZE), nats, strict=True)):
        own = np.take_along_axis(weights, codes[layer][..., None], 2)[..., 0]
        bits = float(np.log2(weights.sum(2, dtype=np.float64) / own).sum())
        wanted = float(expected.sum()) / np.log(2)
        assert abs(bits - wanted) < 0.02 * wanted
        every, plain = every + bits, plain + codes[layer].size * np.log2(network.config.entries)
    total = sum(float(n.sum()) for n in nats) / np.log(2)
    assert abs(every - total) < 0.005 * total
    assert abs(every - plain) > 0.02 * plain  # the network says something


@pytest.mark.parametrize("design", DESIGNS)
def test_the_page_s_network_is_the_integer_one(design: str) -> None:
    """Section 10 of FORMAT.md for other numbers of entries, heads, blocks and sides than the golden files have."""
    network, exact = made(design)
    codes = some_codes(network, SIZE, 1)
    tensors = {name: tensor.numpy().astype(np.int64) for name, tensor in transformer_tensors(network).items()}
    page = Prior(tensors, 8 * SIZE[0], 8 * SIZE[1])
    for layer, (weights, own) in enumerate(zip(weights_of(exact, codes, SIZE), codes, strict=True)):
        h, w = page.size(layer)
        assert np.array_equal(page.weights().reshape(h * w, -1), weights[0])
        assert weights.min() >= 1
        assert weights.sum(2, dtype=np.int64).max() < 1 << 24
        page.tell(own.reshape(h, w))


@pytest.mark.parametrize(("side", "coarsest"), [(4, 4), (2, 4), (1, 4), (1, 2)])
def test_order(side: int, coarsest: int) -> None:
    page = Prior({"config": np.frombuffer(json.dumps({"sides": [coarsest, side], "blocks": 1}).encode(), np.uint8)}, 64, 96)
    width = 12 // side
    assert order(side, coarsest, 8, 12).tolist() == [y * width + x for y, x in page.order(1)]


# ------------------------------------------------------------------------------------------------------------- refused


def changed(name: str, value: Tensor) -> dict[str, Tensor]:
    return tensors_of("tiny-codes") | {name: value}


def settings_of(**changes: object) -> Tensor:
    config = json.loads(bytes(tensors_of("tiny-codes")["config"].numpy())) | changes
    return torch.frombuffer(bytearray(json.dumps(config).encode()), dtype=torch.uint8)


def test_sums_that_could_leave_the_exact_range_are_refused() -> None:
    assert 518 * 255 * 127 < 1 << 24 <= 519 * 255 * 127
    with pytest.raises(ValueError, match="attention over 519 tokens"):
        exact_form(changed("config", settings_of(sides=[4] * 519)))
    exact_form(changed("config", settings_of(sides=[4] * 518)))
    with pytest.raises(ValueError, match="attention"):
        exact_form(changed("config", settings_of(head=1041)))


@pytest.mark.parametrize("layer", ["ins.1", "blocks.0.qkv", "blocks.1.out", "blocks.0.mix", "blocks.1.back", "outs.0"])
def test_layers_that_are_not_exact_are_refused(layer: str) -> None:
    bias, shift = (tensors_of("tiny-codes")[f"{layer}.{part}"] for part in ("bias", "shift"))
    for wrong in (
        changed(f"{layer}.bias", bias + (1 << 24)),
        changed(f"{layer}.shift", torch.full_like(shift, -1)),
        changed(f"{layer}.shift", torch.full_like(shift, 24)),
        changed(f"{layer}.bias", bias.float()),
    ):
        with pytest.raises(ValueError, match=f"layer {layer} is not exact"):
            exact_form(wrong)


def test_tables_and_shifts_that_are_not_known_are_refused() -> None:
    tensors = tensors_of("tiny-codes")
    table = tensors["tables.attention"]
    for wrong in (
        changed("block_bits", tensors["block_bits"] - 99),
        changed("last_bits", tensors["last_bits"] - 99),
        changed("tables.attention", table[:-1]),
        changed("tables.attention", table * 2),
        changed("tables.attention", table - 1),
        changed("tables.attention", table * 0),
        changed("tables.category", tensors["tables.category"][:-1]),
        changed("tables.category", tensors["tables.category"] * 2),
    ):
        with pytest.raises(ValueError, match="not what this program knows"):
            exact_form(wrong)
