"""Compiled loops against their torch forms, and against constriction: the same integers for random and for extreme inputs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import HERE, noise
from hypothesis import given, settings
from hypothesis import strategies as st

import presage
from presage.codec.coders import ans
from presage.models import frequencies, units
from presage.models.frequencies import Distribution, DistributionTables
from presage.models.integer import IntLinear, linear_layers
from presage.models.kernels import jit, mixtures, products
from presage.models.model import Known, Span, Turn
from presage.models.photo.compiled import CompiledPhoto
from presage.models.photo.exact import ExactPhoto
from presage.models.photo.reference import ReferencePhoto
from presage.models.tensors import mixture_tables

pytestmark = pytest.mark.skipif(not jit.available(), reason="numba is not installed, or switched off")
SEEDS = st.integers(0, 1 << 32)
TABLES = DistributionTables(**{name.removeprefix("tables."): table for name, table in mixture_tables().items()})
NONE = np.empty(0, np.int32)


def matrices(seed: int, rows: int, inputs: int, outputs: int, extreme: bool) -> tuple[np.ndarray, IntLinear]:
    random = np.random.default_rng(seed)
    x = random.choice([-127, 127], (rows, inputs)) if extreme else random.integers(-127, 128, (rows, inputs))
    weight = random.choice([-127, 127], (outputs, inputs)) if extreme else random.integers(-127, 128, (outputs, inputs))
    bias, shift, skip = random.integers(-(1 << 20), 1 << 20, outputs), random.integers(0, 24, outputs), random.integers(0, 16, outputs)
    kinds = (np.int8, np.int32, np.int32, np.int32)
    return x.astype(np.int8), IntLinear(*(part.astype(kind) for part, kind in zip((weight, bias, shift, skip), kinds, strict=True)))


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.integers(1, 120), st.integers(1, 70), st.integers(1, 40), st.booleans())
def test_products(seed: int, rows: int, inputs: int, outputs: int, extreme: bool) -> None:
    x, layer = matrices(seed, rows, inputs, outputs, extreme)
    packed = products.Packed.of(IntLinear(layer.weight, layer.bias, layer.shift))
    expected = x.astype(np.int64) @ layer.weight.astype(np.int64).T + layer.bias
    sums = packed.sums(products.widened(x), np.empty((rows, packed.width), np.int32))
    assert np.array_equal(sums[:, :outputs], expected >> layer.shift)
    scratch = np.empty((products.BLOCK, packed.width), np.int32)
    activations = packed.activations(products.widened(x), np.empty((rows, packed.width), np.int16), scratch)
    assert np.array_equal(activations[:, :outputs], (expected >> layer.shift).clip(0, 127))


@settings(deadline=None, max_examples=20)
@given(SEEDS, st.integers(1, 120), st.integers(1, 40))
def test_products_with_a_skip_connection(seed: int, rows: int, size: int) -> None:
    x, layer = matrices(seed, rows, size, size, False)
    x = np.abs(x)
    packed = products.Packed.of(layer)
    assert layer.skip is not None
    expected = x.astype(np.int64) @ layer.weight.astype(np.int64).T + layer.bias + (x.astype(np.int64) << layer.skip)
    wide = np.zeros((rows, packed.width), np.int16)
    wide[:, :size] = x
    scratch = np.empty((products.BLOCK, packed.width), np.int32)
    square = np.zeros((size, packed.width), np.int8)
    square[:, :size] = layer.weight
    packed = products.Packed.of(IntLinear(square, layer.bias, layer.shift, layer.skip))
    activations = packed.activations(wide, np.empty((rows, packed.width), np.int16), scratch)
    assert np.array_equal(activations[:, :size], (expected >> layer.shift).clip(0, 127))


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.integers(1, 50), st.integers(1, 7), st.sampled_from([30, 1000, 1 << 22]))
def test_weights_of_nibbles(seed: int, count: int, components: int, reach: int) -> None:
    random = np.random.default_rng(seed)
    outputs = random.integers(-reach, reach + 1, (count, 3 * components), dtype=np.int32)
    centres = random.integers(0, 255 * units.GREY + 1, count, dtype=np.int32)
    above = random.integers(0, 16, count, dtype=np.int32)
    distribution = Distribution(torch.from_numpy(outputs), torch.from_numpy(centres), TABLES)
    inverse, sigmoid, share = (table.numpy() for table in (TABLES.inverse, TABLES.sigmoid, TABLES.share))
    weights, scratch = np.empty((count, 16), np.float32), np.empty(mixtures.EDGES, np.int32)
    mixtures.nibbles(outputs, components, centres, NONE, inverse, sigmoid, share, scratch, weights)
    assert np.array_equal(weights, distribution.nibble().numpy())
    mixtures.nibbles(outputs, components, centres, above, inverse, sigmoid, share, scratch, weights)
    assert np.array_equal(weights, distribution.nibble(torch.from_numpy(above)).numpy())


def pieces(seed: int, entries: int, streams: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Symbols, weights and bounds of some turns; the weights are as uneven as they may be."""
    random = np.random.default_rng(seed)
    turns = []
    for _ in range(random.integers(1, 8)):
        lengths = random.integers(0, 9, streams)
        n = int(lengths.sum()) + 2
        logits = random.normal(0, random.uniform(0.1, 9), (n, entries))
        shares = np.exp(logits - logits.max(1, keepdims=True))
        weights = np.floor(shares / shares.sum(1, keepdims=True) * ((1 << 24) - 2 * entries)) + 1
        ends = 1 + np.cumsum([0, *lengths])
        turns.append((random.integers(0, entries, n, dtype=np.int32), weights.astype(np.float32), np.stack([ends[:-1], ends[1:]], 1)))
    return turns


@settings(deadline=None, max_examples=60)
@given(SEEDS, st.sampled_from([2, 16, 64]), st.integers(1, 5))
def test_the_coder_is_constriction_s(seed: int, entries: int, streams: int) -> None:
    turns = pieces(seed, entries, streams)
    ours, theirs = ans.CompiledEncoder(streams), ans.PlainEncoder(streams)
    for coder in (ours, theirs):
        for turn in turns:
            coder.add(*turn)
    written = ours.streams()
    assert written == theirs.streams()
    for kind in (ans.CompiledDecoder, ans.PlainDecoder):
        decoder = kind(written)
        for nibbles, weights, bounds in turns:
            inside = np.zeros(len(nibbles), bool)
            for first, last in bounds:
                inside[first:last] = True
            assert np.array_equal(decoder.decode(weights, bounds), np.where(inside, nibbles, 0))
        assert decoder.finished


@settings(deadline=None, max_examples=40)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), SEEDS)
def test_damaged_streams_decode_to_what_constriction_makes_of_them(streams: list[bytes], seed: int) -> None:
    streams = [stream[: len(stream) // 4 * 4] for stream in streams]
    if any(stream[-4:] == bytes(4) for stream in streams):
        return
    ours, theirs = ans.CompiledDecoder(streams), ans.PlainDecoder(streams)
    for _, weights, bounds in pieces(seed, 16, len(streams)):
        assert np.array_equal(ours.decode(weights, bounds), theirs.decode(weights, bounds))
    assert ours.finished == theirs.finished


def forms() -> tuple[CompiledPhoto, ReferencePhoto]:
    from safetensors.numpy import load_file

    tensors = load_file(HERE / "data" / "tiny-1.safetensors")
    layers = linear_layers(tensors)
    return CompiledPhoto(tensors, layers), ReferencePhoto(tensors, layers, "float64", "cpu")


@pytest.mark.parametrize("sizes", [[(1, 1)], [(9, 1), (1, 9)], [(7, 12), (12, 7), (3, 3)], [(40, 70), (40, 5)]])
@pytest.mark.parametrize("gray", [False, True])
def test_photo_is_the_same_in_both_forms(sizes: list[tuple[int, int]], gray: bool) -> None:
    model = presage.codec.weights.load("tiny", presage.Settings()).model
    assert isinstance(model, ExactPhoto)
    random = np.random.default_rng(1)
    tiles = [noise(h, w, i) if i else random.integers(0, 256, (h, w, 3), dtype=np.uint8) for i, (h, w) in enumerate(sizes)]
    answers: Known = model.answers(tiles)
    seen: list[list[np.ndarray]] = []
    kept = model.network
    for network in forms():
        record: list[np.ndarray] = []
        model.network = network

        def code(turn: Turn, weights: np.ndarray, record: list[np.ndarray] = record) -> np.ndarray:
            for first, last in turn.bounds.tolist():
                record.append(weights[first:last].copy())
            return answers(turn, weights)

        spans = [Span.FULL, *[Span.SAME if gray else Span.FULL] * 2]
        back = model.walk(sizes, spans, 0, code)
        assert all(np.array_equal(a[..., 1:2] if gray else a, b[..., 1:2] if gray else b) for a, b in zip(back, tiles, strict=True))
        seen.append(record)
    model.network = kept
    assert all(np.array_equal(a, b) for a, b in zip(*seen, strict=True))


def test_probabilities_are_those_of_the_format() -> None:
    """A sum at the limit of float32, and entries that differ as much as they can."""
    weights = np.ones((2, 16), np.float32)
    weights[0, 3] = (1 << 24) - 16
    nibbles = np.array([3, 15], np.int32)
    encoder = ans.CompiledEncoder(1)
    encoder.add(nibbles, weights, np.array([[0, 2]]))
    assert encoder.streams() == [ans.encode(nibbles, weights)]


FRESH = "import hashlib, numpy as np, presage; x = np.load('{0}'); d = presage.encode(x, model='tiny', tile=24); "
FRESH += "assert np.array_equal(np.asarray(presage.decode(d)), x); print(hashlib.sha256(d).hexdigest())"


@pytest.mark.parametrize("environment", [{"PRESAGE_KERNELS": "torch"}, {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}])
def test_files_are_the_same_without_kernels_and_with_plain_ones(environment: dict[str, str], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", noise(50, 61))
    command = [sys.executable, "-c", FRESH.format(tmp_path / "x.npy")]
    hashes = [
        subprocess.run(command, env=os.environ | extra, capture_output=True, text=True, cwd=HERE.parent, check=True).stdout
        for extra in ({}, environment)
    ]
    assert hashes[0] == hashes[1]


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    """Where nothing can be cached kernels are compiled anew."""
    code = "from presage.models.kernels import mixtures; print(type(mixtures.nibbles).__name__)"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "no" / "such"), "HOME": str(tmp_path)}
    (tmp_path / "no").write_text("a file where the folder should be")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=HERE.parent, check=False)
    assert done.returncode == 0, done.stderr
    assert frequencies is not None
