"""The bound of absorbing diffusion, with the network of an order-agnostic model."""

from pathlib import Path

import numpy as np
import pytest
from conftest import HERE
from PIL import Image

from presage.bench.papers import absorbing
from presage.bench.reports.absorbing import markdown


def test_bound(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(90, 160, (16, 32, 3)).astype(np.uint8)).save(tmp_path / "two.png")
    result = absorbing.run(tmp_path / "two.png", "tiny-ardm", [1, 7], 0, lambda _: None)
    one, seven = result["steps"]
    assert result["pictures"] == 2
    assert one["alone_estimate"] == one["bound"]
    assert 0 < seven["bound"] < seven["set_estimate"] < seven["alone_estimate"]
    assert "absorbing diffusion, 7 steps" in markdown(result)
    assert [row["calls"] for row in result["calls"]] == sorted({1, 7, *(row["calls"] for row in result["calls"])})
    assert result["calls"][0]["bits"] == pytest.approx(one["bound"])  # all in one call, either way


def test_steps_are_calls_of_equally_many_values() -> None:
    assert absorbing.equal_calls(3, 8).tolist() == [2, 5, 8]


def test_other_models_are_refused() -> None:
    with pytest.raises(ValueError, match="order-agnostic"):
        absorbing.run(HERE / "golden" / "rgb.png", "tiny-upscale", [3], 0, lambda _: None)
