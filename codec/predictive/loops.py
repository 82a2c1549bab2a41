"""What the predictive decoder keeps count of in every call of the model, in compiled loops.

Arrays with a row for every pixel are by the rows of the evaluator; `rank` is a pixel's place in the coding order of its image, and the
position of a symbol there is rank * channels + channel. Pixels of an image belong to the same wavefront step up to the next `after`.
"""

from ...models.kernels.jit import Array, kernel

BEYOND = 1 << 40  # more symbols than there are
ANCESTRAL, WAVEFRONT, WINDOW = 0, 1, 2  # how far a window reaches


@kernel("int64(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64, int64, int64, int64[::1], int64[::1], int64[::1])")
def windows(
    first: Array,
    end: Array,
    order: Array,
    start: Array,
    after: Array,
    channels: int,
    reach: int,
    ahead: int,
    limit: Array,
    calls: Array,
    rows: Array,
) -> int:
    """What every image evaluates next: its symbols from `first` to before `limit`, which is at most `end`; returns how many pixels.

    order: the rows of all pixels, image by image from `start` on. ahead: pixels of a window, 0: to the end. calls: of every image, counted.
    rows: of the windows' pixels.
    """
    count = 0
    for i in range(len(first)):
        limit[i] = 0
        if first[i] >= end[i]:
            continue
        pixel = first[i] // channels
        last = end[i]
        if reach == ANCESTRAL:
            last = first[i] + 1
        elif reach == WAVEFRONT:
            last = min(last, after[order[start[i] + pixel]] * channels)
        elif ahead:
            last = min(last, (pixel + ahead) * channels)
        limit[i] = last
        calls[i] += 1
        for p in range(start[i] + pixel, start[i] - (-last // channels)):
            rows[count] = order[p]
            count += 1
    return count


@kernel("void(int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], uint8[:,::1], int64[::1])")
def opened(due: Array, rank: Array, image: Array, first: Array, limit: Array, heads: Array, inside: Array, wanted: Array) -> None:
    """Which symbols of pixels are in their windows, (n, channels), and how many of every channel; heads: pixels of every image, counted."""
    channels = len(wanted)
    for c in range(channels):
        wanted[c] = 0
    for i in range(len(due)):
        row = due[i]
        heads[image[row]] += 1
        for c in range(channels):
            position = rank[row] * channels + c
            inside[i, c] = first[image[row]] <= position < limit[image[row]]
            wanted[c] += inside[i, c]


@kernel(
    "void(int64[::1], int64, uint8[:,::1], int64[::1], int64[::1], int64[::1], uint8[:,::1], int64[:,::1], int64[:,::1])",
)
def keep(due: Array, channel: int, inside: Array, symbols: Array, lows: Array, sizes: Array, new: Array, low: Array, size: Array) -> None:
    """Note what was found for a channel of pixels where it is in their windows: new (n, channels), low and size by rows."""
    for i in range(len(due)):
        if inside[i, channel]:
            new[i, channel] = symbols[i]
            low[due[i], channel], size[due[i], channel] = lows[i], sizes[i]


@kernel(
    "void(int64[::1], uint8[:,::1], uint8[:,::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64, "
    "uint8[:,::1], int64[::1], int64[::1], int32[:,::1])"
)
def judge(
    rows: Array,
    given: Array,
    symbols: Array,
    rank: Array,
    image: Array,
    after: Array,
    start: Array,
    first: Array,
    limit: Array,
    in_turn: int,
    guess: Array,
    wrong: Array,
    known: Array,
    mistakes: Array,
) -> None:
    """What a call has shown: the guesses with what the model gave in the windows, (n, channels), and how many symbols of every image are
    final now.

    wrong: scratch for every image. mistakes: of every symbol of all images, counted where it is among the first that were wrong.
    """
    channels = given.shape[1]
    for i in range(len(known)):
        wrong[i], known[i] = BEYOND, BEYOND
    for i in range(len(rows)):
        row = rows[i]
        own = image[row]
        for c in range(channels):
            position = rank[row] * channels + c
            guess[i, c] = given[row, c] if first[own] <= position < limit[own] else symbols[row, c]
            if guess[i, c] != symbols[row, c]:
                wrong[own] = min(wrong[own], after[row])
                known[own] = min(known[own], position + 1)
    for i in range(len(rows)):
        row = rows[i]
        if after[row] == wrong[image[row]]:
            for c in range(channels):
                if guess[i, c] != symbols[row, c]:
                    mistakes[start[image[row]] + rank[row], c] += 1
                    break
    for i in range(len(known)):
        if in_turn and wrong[i] < BEYOND:  # all pixels of that step are right now
            known[i] = wrong[i] * channels
        known[i] = min(known[i], limit[i])


@kernel(
    "int64(int64[::1], uint8[:,::1], int64, int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], int64[::1], uint8[:,::1], "
    "int32[:,::1], int64[::1])"
)
def settle(
    rows: Array,
    guess: Array,
    every: int,
    rank: Array,
    image: Array,
    start: Array,
    first: Array,
    limit: Array,
    calls: Array,
    symbols: Array,
    converged: Array,
    changed: Array,
) -> int:
    """Take guesses (n, channels) where they are in their windows; changed: which of the rows have other symbols now, or all if `every`;
    returns how many. converged: of every symbol the call in which it changed last."""
    channels, count = guess.shape[1], 0
    for i in range(len(rows)):
        row = rows[i]
        own, other = image[row], every != 0
        for c in range(channels):
            position = rank[row] * channels + c
            if not first[own] <= position < limit[own]:
                guess[i, c] = symbols[row, c]
            elif guess[i, c] != symbols[row, c]:
                symbols[row, c] = guess[i, c]
                converged[start[own] + rank[row], c] = calls[own]
                other = True
        if other:
            changed[count] = i
            count += 1
    return count
