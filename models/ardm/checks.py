"""What the settings of an `ardm` weights file may say, and the order and the calls that it has; for `models/schema.py`."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..integer import Tensors
from .stages import BITS, COLOURS

SIDES, WIDTHS, MOST_STEP, MOST_BLOCKS, MOST_MIXTURES = range(8, 257), range(1, 1025), 16, 64, 7


def check_settings(c: Mapping[str, Any]) -> None:
    """Raises ValueError for settings that no model has."""
    lists = [c.get("stages"), c.get("steps")]
    if not all(isinstance(part, list) and all(type(number) is int and number > 0 for number in part) for part in lists):
        raise ValueError("config says what no stages or steps are")
    sound = sum(c["stages"]) == BITS and len(c["steps"]) <= MOST_BLOCKS and max(c["steps"], default=1) <= MOST_STEP
    small = c["side"] in SIDES and 1 <= c["patch"] <= 8 and c["width"] in WIDTHS and c["head"] in WIDTHS
    if not (sound and small and 1 <= c["mixtures"] <= MOST_MIXTURES):
        raise ValueError("config says what no model of stages is")


def check_order(tensors: Tensors, c: Mapping[str, Any]) -> None:
    """Raises ValueError if `order` is not one of all values, or calls do not code all of them one after another."""
    count = COLOURS * c["side"] ** 2
    order = tensors.get("order")
    if order is None or order.dtype.name != "int32" or order.shape != (count,) or not np.array_equal(np.sort(order), np.arange(count)):
        raise ValueError("order is not one of all values")
    names = [name for name in tensors if name.startswith("calls.")]
    if not names:
        raise ValueError("there are no calls")
    for name in names:
        ends, budget = tensors[name], name.removeprefix("calls.")
        right = ends.dtype.name == "int32" and ends.ndim == 2 and ends.shape[0] == len(c["stages"]) and 1 <= ends.shape[1] <= count
        if not (budget.isascii() and budget.isdecimal() and 1 <= int(budget[:9]) < 1 << 16 and right):
            raise ValueError(f"{name} is no schedule")
        if (ends[:, 0] < 1).any() or (np.diff(ends, axis=1) < 1).any() or (ends[:, -1] != count).any():
            raise ValueError(f"{name} is no schedule of all values")
