"""In how few calls values are coded: which of them together, by dynamic programming over loss components.

Values that are coded in one call do not know of one another, so each costs what the first of them does. With L_i the mean cost of a value
when i are known, a call that codes the values i ... j - 1 costs (j - i) L_i; the calls that cost least together are found by dynamic
programming (Watson et al. 2021; Hoogeboom et al. 2022, section 3.2 and figure 3).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
BUDGETS = (20, 50, 100, 500)  # calls


def falling(components: Float64, weights: Float64) -> Float64:
    """The nearest components that never rise, by pooling neighbours that do; weights: how sure each is."""
    pools: list[list[float]] = []  # mean, weight, count
    for value, weight in zip(components.tolist(), weights.tolist(), strict=True):
        pools.append([value, weight, 1])
        while len(pools) > 1 and pools[-2][0] < pools[-1][0]:
            value, weight, count = pools.pop()
            total = pools[-1][1] + weight
            pools[-1] = [(pools[-1][0] * pools[-1][1] + value * weight) / total, total, pools[-1][2] + count]
    return np.concatenate([np.full(int(count), value) for value, _, count in pools])


def interpolated(components: Float64, values: int) -> Float64:
    """The cost of a value when 0, 1, ... values - 1 are known, given means over bins by the square root of the share that is known."""
    bins = len(components)
    middles = ((np.arange(bins) + 0.5) / bins) ** 2
    costs: Float64 = np.interp(np.arange(values) / values, middles, components)
    first = components[0] + (components[0] - costs[min(values - 1, int(2 * middles[0] * values))])  # where nothing is known
    below = np.arange(values) / values < middles[0]
    costs[below] = np.interp(np.arange(values)[below] / values, [0, middles[0]], [max(first, components[0]), components[0]])
    return costs


def best_calls(costs: Float64, budgets: Sequence[int] = BUDGETS) -> dict[int, NDArray[np.int32]]:
    """For each budget where its calls end: numbers of values that are known after each, ascending, the last one all.

    costs: (values) of a value when 0, 1, ... are known.
    """
    count = len(costs)
    starts = np.arange(count)
    least = np.full((count + 1,), np.inf)  # of the values before a place, in the calls so far
    least[0] = 0
    came = np.zeros((max(budgets) + 1, count + 1), np.int32)
    for call in range(1, max(budgets) + 1):
        least, came[call] = _one_more(least, costs, starts)
    found = {}
    for budget in budgets:
        ends = [count]
        for call in range(min(budget, count), 1, -1):
            ends.append(int(came[call, ends[-1]]))
        found[budget] = np.array(ends[::-1], np.int32)
    return found


def _one_more(least: Float64, costs: Float64, starts: NDArray[np.int64]) -> tuple[Float64, NDArray[np.int32]]:
    """What the values before every place cost at least with one more call, and where that call begins.

    As costs never rise, it begins the later the later it ends: halves are found given the one in the middle.
    """
    count = len(costs)
    total, came = np.full(count + 1, np.inf), np.zeros(count + 1, np.int32)
    base = least[:-1] - starts * costs  # a call from i to j costs least[i] + (j - i) costs[i]
    work = [(1, count, 0, count - 1)]
    while work:
        low, high, first, last = work.pop()
        if low > high:
            continue
        end = (low + high) >> 1
        options = slice(first, min(last, end - 1) + 1)
        found = base[options] + end * costs[options]
        best = first + int(found.argmin())
        total[end], came[end] = found[best - first], best
        work += [(low, end - 1, first, best), (end + 1, high, best, last)]
    return total, came
