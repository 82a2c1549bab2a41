"""Exact layers: the proof, the known answers, and that a lying back end is not used."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from presage.models import back_ends
from presage.models.back_ends import ABSENT, BACK_ENDS, Float
from presage.models.integer import IntLinear

CPU = torch.device("cpu")
SHAPES = [(40, 24), (132, 64)]


def layer(weight: int, bias: int = 0, shift: int = 4, inputs: int = 10) -> IntLinear:
    return IntLinear(np.full((3, inputs), weight, np.int8), np.full(3, bias, np.int32), np.full(3, shift, np.int32))


def present(name: str) -> str:
    """A back end; skips the test where there is none of that name."""
    try:
        BACK_ENDS[name].product(torch.ones((1, 16), dtype=torch.int8), BACK_ENDS[name].prepare(torch.ones((16, 16), dtype=torch.int8)))
    except ABSENT as error:
        if name in ("float32", "float64"):
            raise
        pytest.skip(f"there is no {name} on this machine: {error}")
    return name


@pytest.mark.parametrize("name", BACK_ENDS)
def test_all_back_ends_pass(name: str) -> None:
    present(name)
    assert back_ends.passes_known_answers(BACK_ENDS[name], SHAPES, (1, 3, 64), CPU)


class Saturating(Float):
    """Wrong as int8 kernels without VNNI are: x + 128 is unsigned, and pairs of products are added in 16 bits."""

    def product(self, x: Tensor, prepared: Tensor) -> Tensor:
        pairs = (x.double() + 128).unflatten(1, (-1, 2)).unsqueeze(-1) * prepared.unflatten(0, (-1, 2))
        sums: Tensor = pairs.sum(2).clamp(-32768, 32767).sum(1) - 128 * prepared.sum(0)
        return sums.int()


class Lossy(Float):
    """Wrong as a reduced-precision float32 product is."""

    def product(self, x: Tensor, prepared: Tensor) -> Tensor:
        return torch.mm(x.bfloat16(), prepared.bfloat16()).int()


@pytest.mark.parametrize("kind", [Saturating, Lossy])
def test_wrong_back_ends_are_found_out_and_passed_over(kind: type[Float], monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = kind(torch.float64)
    assert not back_ends.passes_known_answers(wrong, SHAPES, (1, 3), CPU)
    monkeypatch.setitem(BACK_ENDS, "int8", wrong)
    assert back_ends.choose(None, SHAPES, CPU, (1, 3)) is not wrong
    with pytest.raises(ValueError, match="no exact matrix product"):
        back_ends.choose("int8", SHAPES, CPU, (1, 3))


class Slow(Float):
    """Right, and slow."""

    def product(self, x: Tensor, prepared: Tensor) -> Tensor:
        time.sleep(0.02)
        return super().product(x, prepared)


@pytest.mark.parametrize("chosen", [name for name in BACK_ENDS if name != back_ends.FALLBACK])
def test_the_fastest_of_the_right_back_ends_is_taken(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    present(chosen)
    if not back_ends.passes_known_answers(BACK_ENDS[chosen], SHAPES, (1, 3), CPU):
        pytest.skip(f"{chosen} is not exact on this machine")
    for slow in BACK_ENDS.keys() - {chosen, back_ends.FALLBACK}:
        monkeypatch.setitem(BACK_ENDS, slow, Slow(torch.float64))
    assert back_ends.choose(None, SHAPES, CPU, (1, 3)).name == chosen
    assert isinstance(back_ends.choose(slow, SHAPES, CPU, (1, 3)), Slow)


def test_wide_layers_are_tried_with_sums_that_they_can_reach() -> None:
    """2,000 inputs of 127 times 127 are more than float32 holds, and more than a layer of so many inputs may have."""
    wide = layer(127, inputs=2000)
    wide.weight[:, 1000:] = 0
    wide.check("fits")
    assert wide.shape == (2000, 3, 127_000)
    assert back_ends.choose("float32", [wide.shape], CPU, (1, 64)).name == "float32"
    with pytest.raises(ValueError, match="no exact matrix product"):
        back_ends.choose("float32", [(2000, 3, 127 * 2000)], CPU, (1, 64))


def test_reduced_precision_setting_is_refused() -> None:
    """bfloat16 behind float32's name must not pass (where the processor has it)."""
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        x = torch.full((64, 132), 127, dtype=torch.int8)
        back_end = BACK_ENDS["float32"]
        exact = bool((back_end.product(x, back_end.prepare(x)) == 127 * 127 * 132).all())
        assert back_ends.passes_known_answers(back_end, [(132, 64)], (64,), CPU) <= exact
    finally:
        torch.set_float32_matmul_precision(before)


def test_overflow_proof() -> None:
    layer(127).check("fits")
    layer(127, inputs=1040).check("largest that fits")
    with pytest.raises(ValueError, match="not exact"):
        layer(127, inputs=1041).check("weights too large")
    with pytest.raises(ValueError, match="not exact"):
        layer(1, bias=1 << 24).check("bias too large")
    with pytest.raises(ValueError, match="not exact"):
        layer(1, shift=24).check("shift too large")
    with pytest.raises(ValueError, match="not exact"):
        replace(layer(1), skip=np.array([18])).check("skip too large")


@pytest.mark.parametrize("name", BACK_ENDS)
def test_products_are_integers(name: str) -> None:
    random = np.random.default_rng(0)
    back_end = BACK_ENDS[present(name)]
    for n, inputs, outputs in ((1, 7, 3), (33, 130, 65)):
        x, w = random.integers(-127, 128, (n, inputs)), random.integers(-127, 128, (outputs, inputs))
        result = back_end.product(torch.from_numpy(x.astype(np.int8)), back_end.prepare(torch.from_numpy(w.astype(np.int8))))
        assert result.dtype == torch.int32
        assert np.array_equal(result.numpy(), x @ w.T)
