"""Absorbing diffusion (D3PM, Austin et al. 2021) with the network of an order-agnostic model: the bound on its bits for a number of steps.

In a step of T each value that is still absorbed comes back with an equal chance, given those that came before it and not those that come
with it: in expectation that is a file of T calls of equally many values in a random order, so the bound L_vb is what the exact model's
own bits of such calls are (Hoogeboom et al. 2022, section 4 and appendix; the slides' Table 2). An order-agnostic model chooses its
calls by what they cost, and needs no bits back. As a latent variable model, diffusion would spend log2 T more on every value of one image
alone, for the step at which it comes back, and would get these only from images after it: that row is an estimate, not a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ...codec.settings import Settings
from ...codec.weights import load
from ...models.ardm.exact import ExactArdm
from ...models.ardm.export import MILLIBITS
from ...models.ardm.schedule import best_calls, interpolated
from ...models.staged import Calls
from ..compare.common import Log, processor
from .families import load_pictures, own_bits

SET = 2025  # images of a set that bits back are estimated for


def run(data: Path, model: str, steps: Sequence[int], count: int, log: Log) -> dict[str, Any]:
    """Bits a dimension by equal steps and by the model's own calls. count: of the first pictures; 0: all.

    Raises ValueError for a model with several stages, or of another kind.
    """
    loaded = load(model, Settings())
    network = cast(ExactArdm, loaded.model)
    if loaded.model.coding != "stages" or len(network.stages) != 1:
        raise ValueError(f"{loaded.name} is no order-agnostic model")
    pictures = load_pictures(data, count, network.tile)
    result: dict[str, Any] = {"model": loaded.name, "pictures": len(pictures), "processor": processor(), "steps": [], "calls": []}
    values = pictures[0].size
    for one in steps:
        bits = own_bits(network, pictures, equal_calls(one, values), 1)
        rows = {"steps": one, "bound": bits, "alone_estimate": bits + math.log2(one), "set_estimate": bits + math.log2(one) / SET}
        result["steps"].append(rows)
        log(f"diffusion in {one:5} steps  {bits:.4f} bits/dim")
    for number, calls in chosen_calls(network, sorted({*steps, *network.budgets}), values).items():
        bits = own_bits(network, pictures, calls, 1)
        result["calls"].append({"calls": number, "bits": bits})
        log(f"{loaded.name} in {number:5} calls  {bits:.4f} bits/dim")
    return result


def equal_calls(steps: int, values: int) -> NDArray[np.int64]:
    """How many of so many values are known after each step."""
    return np.arange(1, steps + 1) * values // steps


def chosen_calls(model: ExactArdm, numbers: Sequence[int], values: int) -> dict[int, Calls]:
    """The model's own calls, and for other numbers of them those that its losses in training choose in the same way."""
    others = [number for number in numbers if number not in model.budgets]
    found = best_calls(interpolated(model.components[0] / MILLIBITS, values), others) if others else {}
    return {number: number if number in model.budgets else found[number].astype(np.int64) for number in numbers}
