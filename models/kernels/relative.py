"""Contexts of `pixelcnn` relative to predictions, at chosen pixels; the formulas are those of `context.py`.

Three maps come one after another: predictions and their errors; sums of past errors and the combined prediction; the network's own input.
Tables have a row for every pixel of every image, and a neighbour is a constant number of rows away, as in `kernels/pixelcnn.py`, which also
says what is stale. Past errors and residuals are those of a pixel's neighbours, so they change with its symbols, not with its turn.
"""

from typing import Any

import numpy as np

from ..units import CHANNELS, ERROR_LIMIT, FRACTION, GREY, HINT_LIMIT, OUTSIDE, PREDICTIONS, SIGNED_LIMIT
from .jit import Array, kernel

PAST = PREDICTIONS * CHANNELS
NEAR, ERRORS, PREDICTORS, FIRST_UP, FIRST_LEFT = 0, 1, 2, 3, 4  # kinds of taps; kind k is taps[bounds[k] : bounds[k + 1]]
PREDICTION, COMBINED, OWN = 0, 1, 2  # the maps
TABLES = (
    "int16[:,::1], int16[:,::1], int16[:,::1], int16[:,::1], int16[:,::1], int8[:,::1], int8[:,::1], int8[:,::1], uint8[:,::1], "
    "uint8[:,::1], uint8[::1], int64[::1], int64[::1], int8[::1]"
)


@kernel()
def _clamped(value: Any, low: int, high: int) -> Any:
    return min(max(value, low), high)


@kernel()
def _middle(combined: Any) -> Any:
    """A combined prediction in whole grey levels."""
    return (combined + FRACTION // 2) >> 3


@kernel()
def _companded(signed: Array, value: Any) -> Any:
    return signed[_clamped(value + SIGNED_LIMIT, 0, 2 * SIGNED_LIMIT)]


@kernel()
def _mark(stale: Array, row: int, taps: Array, bounds: Array, kind: int) -> None:
    """What sees a row through taps of a kind must be computed again."""
    for t in range(bounds[kind], bounds[kind + 1]):
        stale[row - taps[t]] = 1


@kernel()
def _after_prediction(
    row: int, watch: int, planes: Array, predictions: Array, wrong: Array, stale: Array, taps: Array, bounds: Array
) -> None:
    """The errors of a pixel's predictions, once its symbols or its predictions are others."""
    changed = False
    for p in range(PREDICTIONS):
        for c in range(CHANNELS):
            value = min(abs(np.int64(planes[row, c]) - np.int64(predictions[row, p * CHANNELS + c])), 255)
            changed |= value != wrong[row, p * CHANNELS + c]
            wrong[row, p * CHANNELS + c] = value
    if watch and changed:
        _mark(stale[COMBINED], row, taps, bounds, ERRORS)


@kernel()
def _after_combination(
    row: int,
    watch: int,
    planes: Array,
    combined: Array,
    residuals: Array,
    own: Array,
    seen: Array,
    stale: Array,
    first: Array,
    taps: Array,
    bounds: Array,
    signed: Array,
) -> None:
    """What later pixels see of a pixel, once its symbols or its combined prediction are others."""
    changed = False
    for c in range(CHANNELS):
        value = _companded(signed, np.int64(planes[row, c]) - _middle(np.int64(combined[row, c])))
        changed |= value != residuals[row, c]
        residuals[row, c] = value
    if watch and changed:
        _mark(stale[OWN], row, taps, bounds, ERRORS)
    _show(row, watch, residuals, own, seen, first, taps, bounds)


@kernel()
def _show(row: int, watch: int, residuals: Array, own: Array, seen: Array, first: Array, taps: Array, bounds: Array) -> None:
    """Put a pixel where the first layers see it."""
    size = own.shape[1]
    for j in range(size):
        seen[row, j] = own[row, j]
    for c in range(CHANNELS):
        seen[row, size + c] = residuals[row, c]
    if watch:
        _mark(first[0], row, taps, bounds, FIRST_UP)
        _mark(first[1], row, taps, bounds, FIRST_LEFT)


@kernel(f"void(int64[::1], uint8[:,::1], int64, int64, uint8[:,::1], {TABLES})")
def put(
    pixels: Array,
    values: Array,
    step: int,
    watch: int,
    symbols: Array,
    planes: Array,
    predictions: Array,
    wrong: Array,
    errors: Array,
    combined: Array,
    residuals: Array,
    own: Array,
    seen: Array,
    stale: Array,
    first: Array,
    heads: Array,
    taps: Array,
    bounds: Array,
    signed: Array,
) -> None:
    """Set the symbols (n, channels) of pixels, which are grey levels in `step`s.

    planes, combined: (rows, 3). predictions, their errors `wrong`, sums of past `errors`: (rows, 18). residuals: companded, (rows, 3). own:
    what the network is told of a pixel's surroundings; seen: the same and the residuals. stale: (3, rows); first: of the first layers,
    (at least 2, rows); heads: (rows), whose distributions may have changed.
    """
    for i in range(len(pixels)):
        row = pixels[i]
        for c in range(CHANNELS):
            symbols[row, c] = values[i, c]
            planes[row, c] = values[i, c] * step - (planes[row, 0] if c else 0)
        if watch:
            heads[row] = 1
            _mark(stale[PREDICTION], row, taps, bounds, PREDICTORS)
            _mark(stale[OWN], row, taps, bounds, NEAR)
    for i in range(len(pixels)):
        _after_prediction(pixels[i], watch, planes, predictions, wrong, stale, taps, bounds)
    for i in range(len(pixels)):
        _after_combination(pixels[i], watch, planes, combined, residuals, own, seen, stale, first, taps, bounds, signed)


@kernel()
def _predict(row: int, c: int, planes: Array, taps: Array, start: int, out: Array) -> bool:
    """The six predictions of a plane; returns whether they were others before."""
    w, n, nw = (
        np.int64(planes[row + taps[start], c]),
        np.int64(planes[row + taps[start + 1], c]),
        np.int64(planes[row + taps[start + 2], c]),
    )
    ne, nne = np.int64(planes[row + taps[start + 3], c]), np.int64(planes[row + taps[start + 4], c])
    w = n if w == OUTSIDE else w
    w = np.int64(0 if c else 128) if w == OUTSIDE else w
    n = w if n == OUTSIDE else n
    nw = n if nw == OUTSIDE else nw
    ne = n if ne == OUTSIDE else ne
    nne = ne if nne == OUTSIDE else nne
    changed = False
    for p, value in enumerate((w, n, w + n - nw, w + ne - n, n + ne - nne, (2 * (w + n) + ne - nw) >> 2)):
        changed |= value != out[row, p * CHANNELS + c]
        out[row, p * CHANNELS + c] = value
    return changed


@kernel()
def _take(stale: Array, pixels: Array, watch: int, due: Array) -> int:
    """Of some pixels those that are stale, or all if nobody watches; returns how many."""
    count = 0
    for i in range(len(pixels)):
        if not watch or stale[pixels[i]]:
            stale[pixels[i]] = 0
            due[count] = pixels[i]
            count += 1
    return count


@kernel(f"void(int64[::1], int64, int64[::1], int64[::1], int8[::1], {TABLES})")
def context(
    pixels: Array,
    watch: int,
    due: Array,
    trust: Array,
    error: Array,
    planes: Array,
    predictions: Array,
    wrong: Array,
    errors: Array,
    combined: Array,
    residuals: Array,
    own: Array,
    seen: Array,
    stale: Array,
    first: Array,
    heads: Array,
    taps: Array,
    bounds: Array,
    signed: Array,
) -> None:
    """Bring the three maps up to date at pixels. due: scratch. trust: (ERROR_LIMIT + 1). error: the table that compands errors."""
    count = _take(stale[PREDICTION], pixels, watch, due)
    for row in due[:count]:
        changed = False
        for c in range(CHANNELS):
            changed |= _predict(row, c, planes, taps, bounds[PREDICTORS], predictions)
        if watch and changed:
            stale[COMBINED, row] = 1
            _after_prediction(row, watch, planes, predictions, wrong, stale, taps, bounds)
    count = _take(stale[COMBINED], pixels, watch, due)
    for row in due[:count]:
        moved, changed = False, False
        for j in range(PAST):
            total = np.int64(0)
            for t in range(bounds[ERRORS], bounds[ERRORS + 1]):
                total += wrong[row + taps[t], j]
            moved |= total != errors[row, j]
            errors[row, j] = total
        for c in range(CHANNELS):
            whole, weight = np.int64(0), np.int64(0)
            for p in range(PREDICTIONS):
                part = trust[min(max(errors[row, p * CHANNELS + c], 0), ERROR_LIMIT)]
                whole += part * predictions[row, p * CHANNELS + c]
                weight += part
            value = whole * FRACTION // weight
            changed |= value != combined[row, c]
            combined[row, c] = value
        if watch and (moved or changed):
            stale[OWN, row] = 1
        if watch and changed:
            heads[row] = 1
            _after_combination(row, watch, planes, combined, residuals, own, seen, stale, first, taps, bounds, signed)
    count = _take(stale[OWN], pixels, watch, due)
    for row in due[:count]:
        changed, at = False, 0
        for t in range(bounds[NEAR], bounds[NEAR + 1]):
            for c in range(CHANNELS):
                value = _companded(signed, np.int64(planes[row + taps[t], c]) - _middle(np.int64(combined[row, c])))
                changed |= value != own[row, at]
                own[row, at] = value
                at += 1
        for j in range(PAST):
            value = error[errors[row, j]]
            changed |= value != own[row, at]
            own[row, at] = value
            at += 1
        for t in range(bounds[ERRORS], bounds[ERRORS + 1]):
            for c in range(CHANNELS):
                value = residuals[row + taps[t], c]
                changed |= value != own[row, at]
                own[row, at] = value
                at += 1
        if watch and changed:
            first[1, row] = 1
            _show(row, watch, residuals, own, seen, first, taps, bounds)


@kernel("void(int64[::1], uint8[:,::1], int64, int64, int64, int16[:,::1], int8[::1], int64, int16[:,::1])")
def tell(pixels: Array, symbols: Array, step: int, first: int, last: int, combined: Array, signed: Array, width: int, x: Array) -> None:
    """Add what the residuals of channels first ... last - 1 say to what heads see."""
    for i in range(len(pixels)):
        for c in range(first, last):
            value = np.int64(symbols[i, c]) * step - (np.int64(symbols[i, 0]) * step if c else 0)
            residual = _clamped(value - _middle(np.int64(combined[pixels[i], c])), -HINT_LIMIT, HINT_LIMIT)
            x[i, width + 2 * c] = _companded(signed, residual)
            x[i, width + 2 * c + 1] = _clamped(8 * residual, -127, 127)


@kernel("void(int64[::1], uint8[:,::1], int64, int64, int16[:,::1], int32[::1])")
def centres(pixels: Array, symbols: Array, step: int, channel: int, combined: Array, out: Array) -> None:
    """Where a channel's distributions are centred, in 1/GREY grey levels (n)."""
    for i in range(len(pixels)):
        place = np.int64(combined[pixels[i], channel]) + (FRACTION * step * np.int64(symbols[i, 0]) if channel else 0)
        out[i] = _clamped(place, 0, 255 * FRACTION) * (GREY // FRACTION)
