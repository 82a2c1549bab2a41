"""Ordered codes to chunks and back: whatever the weights, in whatever pieces, and however much of the chunks is left."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import presage
from presage.codec.coders import chunks
from presage.codec.format import container
from presage.codec.format.container import ChunkStream, Coding, Header, Mode, Tag

Source = tuple[np.ndarray, np.ndarray]


def source(seed: int, count: int, entries: int, sharpness: int, agree: float) -> Source:
    """Codes (count) and weights (count, entries), integers with sums below 2^24.

    sharpness: bits by which weights differ; agree: the share of codes that have the largest weight, the others have any.
    """
    random = np.random.default_rng(seed)
    most = ((1 << 24) - 1) // entries
    weights = (most * 2.0 ** (-sharpness * random.random((count, entries)))).astype(np.int64).clip(1)
    codes = np.where(random.random(count) < agree, weights.argmax(1) if count else 0, random.integers(0, entries, count))
    return codes, weights.astype(np.float32)


def pieces(seed: int, count: int, calls: int) -> list[slice]:
    """Random cuts of range(count); some are empty."""
    ends = [0, *sorted(np.random.default_rng(seed).integers(0, count + 1, calls - 1).tolist()), count]
    return [slice(a, b) for a, b in pairwise(ends)]


def written(codes: np.ndarray, weights: np.ndarray, parts: list[slice]) -> tuple[bytes, list[int]]:
    """A file of these codes, and how many each chunk has."""
    writer = chunks.Writer()
    for part in parts:
        writer.add(codes[part], weights[part])
    stream = writer.finish()
    return container.write(Header(8, 8, Mode.RGB, Coding.ORDERED, 0), {Tag.CODES: stream}), writer.counts


def read(data: bytes, weights: np.ndarray, parts: list[slice]) -> tuple[np.ndarray, chunks.Reader]:
    reader = chunks.Reader(ChunkStream(data, container.read_header(data)), recovering=False)
    found = []
    for part in parts:
        found.append(reader.read(weights[part]))
        if len(found[-1]) < part.stop - part.start:
            break
    return np.concatenate(found), reader


@given(
    seed=st.integers(0, 1 << 32),
    count=st.integers(0, 3000),
    entries=st.sampled_from([2, 3, 16, 128, 1000]),
    sharpness=st.sampled_from([0, 3, 12, 23]),
    agree=st.sampled_from([0.0, 0.5, 0.97, 1.0]),
    calls=st.integers(1, 12),
    left=st.floats(0, 1),
)
@example(1, 1200, 16, 0, 0.0, 1, 1.0)  # four bits each, exactly
@example(1, 1016, 16, 0, 0.0, 2, 0.5)
@example(2, 1500, 2, 23, 1.0, 4, 0.5)  # next to nothing each
@example(3, 1500, 2, 23, 0.0, 4, 0.9)  # next to nothing or 23 bits each
@settings(max_examples=100, deadline=None)
def test_round_trip(seed: int, count: int, entries: int, sharpness: int, agree: float, calls: int, left: float) -> None:
    codes, weights = source(seed, count, entries, sharpness, agree)
    data, counts = written(codes, weights, pieces(seed, count, calls))
    assert sum(counts) == count
    back, reader = read(data, weights, pieces(seed + 1, count, 5))
    assert np.array_equal(back, codes)
    assert reader.finished
    assert reader.counts == counts
    stream = ChunkStream(data, container.read_header(data))
    assert stream.whole
    assert len(stream) == len(counts)
    for number, (_, size) in enumerate(stream.places):
        prescribed = 5 + 4 * min(15 + 2 * number, 126)
        assert size == prescribed or (number == len(counts) - 1 and size < prescribed)
    at = len(data) - round((1 - left) * sum(size for _, size in stream.places))
    whole = sum(offset + size <= at for offset, size in stream.places)
    back, _ = read(data[:at], weights, pieces(seed + 2, count, 5))
    assert np.array_equal(back, codes[: sum(counts[:whole])])


def test_chunks_are_filled() -> None:
    """Little is lost by packing: the file is hardly longer than the code lengths say."""
    codes, weights = source(0, 40000, 64, 12, 0.7)
    data, counts = written(codes, weights, pieces(0, 40000, 30))
    own = np.take_along_axis(weights, codes[:, None], 1)[:, 0]
    bits = float(np.log2(weights.sum(1, dtype=np.float64) / own).sum())
    size = sum(size for _, size in ChunkStream(data, container.read_header(data)).places)
    assert bits / 8 < size - 5 * len(counts) < 1.002 * bits / 8 + 4 * len(counts)


def test_chunks_know_their_number() -> None:
    """Later chunks are all of one size; two of them may still not change places."""
    codes, weights = source(5, 30000, 256, 0, 0.0)
    data, counts = written(codes, weights, pieces(0, 30000, 9))
    places = ChunkStream(data, container.read_header(data)).places
    (a, size), (b, other) = places[57:59]
    assert size == other == 5 + 4 * 126
    swapped = data[:a] + data[b : b + size] + data[a : a + size] + data[b + size :]
    with pytest.raises(presage.DamagedFile, match="chunk 57"):
        read(swapped, weights, [slice(0, 30000)])
    reader = chunks.Reader(ChunkStream(swapped, container.read_header(data)), recovering=True)
    assert np.array_equal(reader.read(weights), codes[: sum(counts[:57])])
    assert reader.damaged


def test_golden_chunk() -> None:
    """The coder's bits are part of the format."""
    weights = np.tile(np.array([[1.0, 2.0, 3.0], [1e6, 1.0, 5e6], [7.0, 7.0, 7.0], [16e6, 1.0, 1.0]], np.float32), (9, 1))
    codes = np.tile([2, 1, 0, 0, 1, 2, 2, 0, 0], 4)
    data, counts = written(codes, weights, [slice(0, 36)])
    stream = ChunkStream(data, container.read_header(data))
    assert counts == [36]
    assert stream[0].words.hex() == "1c565595b8fbdd0b0615638dcc4b4d7e3c719dbc683d4d3633b9e00e"
