"""The compiled prior of ordered codes against its torch form and against plain numpy: the same integers for random and extreme inputs."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_exact_transformer import DESIGNS, counts_of, made, weights_of

from presage.models.frequencies import category_table, category_weights, spare_bits
from presage.models.kernels import attention, jit
from presage.models.kernels import transformer as kernels
from presage.models.ordered import rows
from presage.models.ordered.exact_prior import ExactTransformer
from presage.models.ordered.export import transformer_tensors

pytestmark = pytest.mark.skipif(not jit.available(), reason="numba is not installed, or switched off")
SEEDS = st.integers(0, 1 << 32)


@cache
def forms(design: str) -> tuple[ExactTransformer, ExactTransformer]:
    tensors = {name: tensor.numpy() for name, tensor in transformer_tensors(made(design)[0]).items()}
    found = ExactTransformer(tensors, "int16"), ExactTransformer(tensors, "float64")
    assert [type(form.network).__name__ for form in found] == ["CompiledTransformer", "ReferenceTransformer"]
    return found


@settings(deadline=None, max_examples=12)
@given(st.sampled_from(sorted(DESIGNS)), SEEDS, st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_both_forms_give_the_same_weights(design: str, seed: int, pictures: int, high: int, wide: int, workers: int) -> None:
    compiled, reference = forms(design)
    size = (high * compiled.config.sides[0], wide * compiled.config.sides[0])
    random = np.random.default_rng(seed)
    codes = [random.integers(0, compiled.config.entries, (pictures, count)) for count in counts_of(compiled, size)]
    ours, theirs = weights_of(compiled, codes, size, workers), weights_of(reference, codes, size)
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def attended(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, bits: int, table: np.ndarray) -> np.ndarray:
    """queries (heads, d), keys and values (tokens, heads, d) -> (heads, d), as `attention.py` says."""
    depth = (np.einsum("hd,thd->ht", queries, keys) + (1 << bits >> 1)) >> bits
    weights = table[np.minimum(depth.max(1, keepdims=True) - depth, len(table) - 1)].astype(np.int64)
    totals = weights.sum(1, keepdims=True)
    mixed: np.ndarray = (2 * np.einsum("ht,thd->hd", weights, values) + totals) // (2 * totals)
    return mixed


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 3), st.integers(1, 40), st.lists(st.integers(1, 20), min_size=1, max_size=3), st.booleans())
def test_attention(seed: int, heads: int, size: int, tokens: list[int], extreme: bool) -> None:
    """Token after token, as a walk does it; every grid has four rows for one of the grid before."""
    random = np.random.default_rng(seed)
    bits = int(random.integers(0, 12))
    table = np.sort(random.integers(0, 256, 257))[::-1].astype(np.int32)
    table[0] = 255
    wide = attention.width(size)
    ends = np.cumsum([4**grid * heads * wide * attention.width(count) for grid, count in enumerate(tokens)])
    keys, values = random.integers(-128, 128, (2, int(ends[-1]))).astype(np.int8)
    scores, factors = np.empty(80, np.int32), np.empty(max(size, 80) + 1, np.int16)
    mixed = np.empty(wide, np.int32)
    grids = np.empty((0, 4), np.int64)
    shown: list[np.ndarray] = []  # (rows, 2, heads, size) of every token
    for grid, count in enumerate(tokens):
        grids[:, 1] *= 4
        grids = np.append(grids, [[ends[grid - 1] if grid else 0, 1, attention.width(count), 0]], 0)
        shown = [token.repeat(4, 0) for token in shown] if grid else []
        for _ in range(count):
            grids[-1, 3] += 1
            sums = random.integers(-300, 301, (4**grid, 3, heads, size), dtype=np.int32)
            if extreme:
                sums = np.where(sums < 0, np.int32(-(1 << 23)), np.int32(1 << 23))
            small = sums.clip(-127, 127).astype(np.int64)
            shown.append(small[:, 1:])
            out = np.empty((4**grid, heads * size + 3), np.int16)
            given_sums = np.pad(sums.reshape(4**grid, -1), ((0, 0), (0, 5)))
            for first in range(0, 4**grid, 3):  # in pieces
                part = slice(first, min(first + 3, 4**grid))
                state = (keys, values, table, scores, factors, mixed)
                attention.attend(first, heads, size, bits, grids, given_sums[part], *state, out[part])
            for row in range(4**grid):
                seen = np.stack([token[row] for token in shown])
                expected = attended(small[row, 0], seen[:, 0], seen[:, 1], bits, table)
                assert np.array_equal(out[row, : heads * size], expected.ravel())


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 30), st.integers(2, 300), st.sampled_from([3, 2000, 1 << 23]))
def test_weights_of_codes(seed: int, count: int, entries: int, reach: int) -> None:
    logits = np.random.default_rng(seed).integers(-reach, reach + 1, (count, entries), dtype=np.int32)
    expected = category_weights(torch.from_numpy(logits), category_table()).numpy()
    weights = np.empty((count, entries), np.float32)
    kernels.categories(np.pad(logits, ((0, 0), (0, 3)), constant_values=1 << 24), spare_bits(entries), category_table().numpy(), weights)
    assert np.array_equal(weights, expected)


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.integers(1, 30), st.integers(1, 50), st.integers(0, 12), st.sampled_from([100, 70000, 1 << 23]))
def test_stream(seed: int, count: int, width: int, bits: int, reach: int) -> None:
    random = np.random.default_rng(seed)
    stream = random.integers(-32767, 32768, (count, width), dtype=np.int32)
    values = random.integers(-reach, reach + 1, (count, width + 4), dtype=np.int32)
    expected = (stream + values[:, :width]).clip(-32767, 32767)
    seen = np.empty((count, width + 2), np.int16)
    kernels.add(values, bits, stream, seen)
    assert np.array_equal(stream, expected)
    assert np.array_equal(seen[:, :width], ((expected + (1 << bits >> 1)) >> bits).clip(-127, 127))


@settings(deadline=None, max_examples=40)
@given(SEEDS, st.sampled_from([1, 9]), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_what_lies_around(seed: int, taps: int, size: int, high: int, wide: int, pictures: int) -> None:
    """Embeddings and vectors around rows, and the quarter, against a plain loop over the map."""
    random = np.random.default_rng(seed)
    around = rows.around(2, 2, taps, pictures, 2 * high, 2 * wide)  # the coarsest grid: rows in raster order
    count = pictures * high * wide
    table = np.concatenate([random.integers(-127, 128, (5, size)), np.zeros((1, size))]).astype(np.int8)
    codes = np.append(random.integers(0, 5, count), 5)
    vectors = np.concatenate([random.integers(-127, 128, (count, size + 2)), np.zeros((1, size + 2))]).astype(np.int16)
    reach = 1 if taps == 9 else 0
    margin = ((0, 0), (reach, reach), (reach, reach), (0, 0))
    maps = [np.pad(x[:-1].reshape(pictures, high, wide, -1), margin) for x in (table[codes], vectors)]
    expected = [
        np.concatenate([m[:, dy : dy + high, dx : dx + wide] for dy in range(1 + 2 * reach) for dx in range(1 + 2 * reach)], -1)
        for m in (maps[0], maps[1][..., :size])
    ]
    near = np.empty((count, taps * size), np.int16)
    kernels.gather(around, vectors, size, near)
    assert np.array_equal(near, expected[1].reshape(count, -1))
    out = np.empty((4 * count, taps * size + 4), np.int16)
    kernels.tokens(0, 4, 32, codes, around, table, out)
    assert np.array_equal(out[:, : taps * size], expected[0].reshape(count, -1).repeat(4, 0))
    assert np.array_equal(out[:, taps * size :], np.tile(32 * np.eye(4, dtype=np.int16), (count, 1)))
