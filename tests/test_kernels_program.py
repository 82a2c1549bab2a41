"""Programs of kernels: what they do is what the same kernels do one by one, and what a code does turn by turn."""

from pathlib import Path

import numpy as np
import pytest
from conftest import HERE, noise
from hypothesis import given, settings
from hypothesis import strategies as st

import presage
from presage.codec import weights
from presage.codec.coders.turns import Pull, Record, watched
from presage.codec.settings import quiet
from presage.models.integer import IntLinear
from presage.models.kernels import jit, photo, products
from presage.models.kernels.program import Program, Variable
from presage.models.model import Code, Nibbles, Span, Turn
from presage.models.photo.exact import ExactPhoto
from presage.models.planes.exact import ExactPlanes

pytestmark = pytest.mark.skipif(not jit.available(), reason="numba is not installed, or switched off")
SIZES = st.lists(st.tuples(st.integers(1, 20), st.integers(1, 20)), min_size=1, max_size=4)


def turn_by_turn(code: Code) -> Code:
    """The same code, which cannot be had as calls of kernels."""

    def answer(turn: Turn, weights: np.ndarray) -> Nibbles:
        return code(turn, weights)

    return answer


def model_of(name: str, folder: Path = HERE / "data") -> object:
    return weights.load(name, presage.Settings(model_path=[folder])).model


@settings(deadline=None, max_examples=15)
@given(SIZES, st.booleans())
def test_photographs(sizes: list[tuple[int, int]], gray: bool) -> None:
    model = model_of("tiny")
    assert isinstance(model, ExactPhoto)
    tiles = [noise(h, w, i) for i, (h, w) in enumerate(sizes)]
    tiles = [tile[..., :1].repeat(3, 2) for tile in tiles] if gray else tiles
    spans, streams = model.spans(tiles), []
    assert (Span.SAME in spans) >= gray
    for change in (lambda code: watched(code, quiet), turn_by_turn):
        record = Record(model.answers(tiles), len(tiles))
        walked = model.walk(sizes, spans, 0, change(record), None)
        assert all(np.array_equal(a, b) for a, b in zip(walked, tiles, strict=True))
        streams.append(record.streams())
    assert streams[0] == streams[1]
    for change in (lambda code: watched(code, quiet), turn_by_turn):
        pull = Pull(streams[0])
        decoded = model.walk(sizes, spans, 0, change(pull), None)
        pull.check()
        assert all(np.array_equal(a, b) for a, b in zip(decoded, tiles, strict=True))


@settings(deadline=None, max_examples=10)
@given(SIZES)
def test_planes(sizes: list[tuple[int, int]]) -> None:
    model = model_of("tiny-planes")
    assert isinstance(model, ExactPlanes)
    tiles = [noise(h, w, i) for i, (h, w) in enumerate(sizes)]
    sides, known, streams = [tile[..., 1:] for tile in tiles], [tile[..., :1] for tile in tiles], []
    for change in (lambda code: code, turn_by_turn):
        record = Record(model.answers(known), len(tiles))
        walked = model.walk(sides, change(record))
        assert all(np.array_equal(a, b) for a, b in zip(walked, known, strict=True))
        streams.append(record.streams())
    assert streams[0] == streams[1]
    for change in (lambda code: code, turn_by_turn):
        pull = Pull(streams[0])
        decoded = model.walk(sides, change(pull))
        pull.check()
        assert all(np.array_equal(a, b) for a, b in zip(decoded, known, strict=True))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=4), st.integers(1, 70), st.integers(1, 40))
def test_runs_use_as_many_rows_as_they_say(counts: list[int], inputs: int, outputs: int) -> None:
    random = np.random.default_rng(inputs)
    numbers = np.zeros(outputs, np.int32)
    layer = products.Packed.of(IntLinear(random.integers(-127, 128, (outputs, inputs)).astype(np.int8), numbers, numbers))
    x, out = products.widened(random.integers(-127, 128, (50, inputs)).astype(np.int8)), np.zeros((50, layer.width), np.int32)
    program = Program()
    program.cut(x)
    program.cut(out)
    layer.sums(x, out, program.add)
    expected = layer.sums(x, np.empty_like(out))
    for count in counts:
        out[:] = -1
        program.run(count, [])
        assert np.array_equal(out[:count], expected[:count])
        assert (out[count:] == -1).all()


def test_values_differ_from_run_to_run() -> None:
    rings = (np.ones((photo.RING, 1, 3, 3), np.int16), *(np.ones((photo.RING, 1, 3, 3), kind) for kind in (np.uint8, np.int8, np.int16)))
    step, program = Variable(), Program()
    program.add(photo.advance, step, *rings)
    for value in (3, photo.RING + 5):
        program.run(1, [(step, value)])
    assert set(np.flatnonzero((rings[1] == 0).all((1, 2, 3)))) == {3, 5}


def test_other_arguments_than_a_kernel_has_are_refused() -> None:
    right = (np.zeros((2, 4), np.int16), np.zeros((2, 1, 16), np.int16), *np.zeros((2, 16), np.int32), np.zeros((2, 16), np.int32))
    Program().add(products.sums, *right)
    for wrong in (right[:-1], (*right, 1), (np.zeros((2, 4), np.int32), *right[1:]), (np.zeros((4, 2), np.int16).T, *right[1:])):
        with pytest.raises(TypeError):
            Program().add(products.sums, *wrong)
