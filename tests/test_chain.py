"""The chain coder: what was encoded comes back, at almost no cost, and nothing else passes for it."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from presage.codec.coders import chain
from presage.codec.errors import DamagedFile


def intervals(count: int, precision: int, seed: int, sharp: float) -> tuple[np.ndarray, np.ndarray]:
    """Random intervals; the sharper, the fewer bits a symbol."""
    generator = np.random.default_rng(seed)
    whole = 1 << precision
    size = np.clip((whole * generator.random(count) ** (1 / sharp)).astype(np.int64), 1, whole - 1)
    return (generator.random(count) * (whole - size)).astype(np.int64), size


def decode(state: int, first: int, low: np.ndarray, size: np.ndarray, precision: int) -> int:
    """Decode all blocks with known intervals; returns the number of blocks."""
    decoder = chain.ChainDecoder(state, first, len(low), precision)
    at = blocks = 0
    while len(quantiles := decoder.next_block()):
        part = slice(at, at + len(quantiles))
        assert ((low[part] <= quantiles) & (quantiles < low[part] + size[part])).all()
        decoder.give_back(low[part], size[part])
        at, blocks = part.stop, blocks + 1
    assert at == len(low)
    return blocks


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(1, 600), precision=st.sampled_from([9, 12, 16, 20, 24]), seed=st.integers(0, 99), sharp=st.sampled_from([0.1, 1, 30])
)
def test_round_trip_and_overhead(count: int, precision: int, seed: int, sharp: float) -> None:
    low, size = intervals(count, precision, seed, sharp)
    state, first = chain.encode(low, size, precision)
    decode(state, first, low, size, precision)
    ideal = (precision - np.log2(size)).sum()
    assert state.bit_length() <= ideal + 24 or count < 3
    assert state.bit_length() <= ideal + precision + 8


def test_a_long_stream() -> None:
    low, size = intervals(60_000, 16, 1, 0.4)
    state, first = chain.encode(low, size, 16)
    assert 10 < decode(state, first, low, size, 16) < 300
    assert state.bit_length() <= (16 - np.log2(size)).sum() + 24


def test_trees_are_the_plain_rule() -> None:
    """The same integer as going through the symbols one by one, as FORMAT.md says it."""
    low, size = intervals(500, 16, 5, 1.0)
    state, end = 1, len(low)
    while end:
        start, quantiles = end, []
        while start and (start == end or state >= 1 << 16):
            start -= 1
            state, rest = divmod(state, int(size[start]))
            quantiles.append(int(low[start]) + rest)
        first = end - start
        for u in quantiles:  # the last one first: the first symbol ends up lowest
            state = (state << 16) | u
        end = start
    assert chain.encode(low, size, 16) == (state, first)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([1, 90, 70_000, 130_001, 300_000]), st.sampled_from([10, 60_001, 260_000, 700_000]), st.integers(0, 1 << 30))
def test_division(divisor_bits: int, bits: int, seed: int) -> None:
    generator = random.Random(seed)
    a, b = generator.getrandbits(bits), generator.getrandbits(divisor_bits) | 1 << (divisor_bits - 1)
    assert chain.divmod_fast(a, b) == divmod(a, b)
    assert chain.divmod_fast(b * b - 1, b) == divmod(b * b - 1, b)


def test_wrong_streams_are_reported() -> None:
    low, size = intervals(300, 16, 2, 1.0)
    state, first = chain.encode(low, size, 16)
    with pytest.raises(DamagedFile, match="first block"):
        chain.ChainDecoder(state, 400, 300, 16)
    decoder = chain.ChainDecoder(state << 3, first, 300, 16)
    with pytest.raises(DamagedFile, match="does not end"):
        _run_with_wide_intervals(decoder)


def _run_with_wide_intervals(decoder: chain.ChainDecoder) -> None:
    while len(quantiles := decoder.next_block()):
        decoder.give_back(np.zeros(len(quantiles), np.int64), np.full(len(quantiles), 40000))


@given(st.lists(st.integers(0, (1 << 13) - 1), min_size=1, max_size=50))
def test_quantiles_in_an_integer(values: list[int]) -> None:
    whole = chain.joined(np.array(values), 13)
    assert whole & 8191 == values[0]
    assert chain.split(whole, len(values), 13).tolist() == values
