"""Whether pixels come from planes of luma and chroma, and which: a look at samples of a picture."""

from collections.abc import Sequence

import numpy as np

from ..parallel import each
from .inversion import find_cells, first_estimate
from .sampling import Rule, Sampling
from .table import ORIGINS, Bytes, Origin

SPOTS, SPOT = 64, 4  # squares of pixels that are looked at first, and their side
WINDOWS, WINDOW = 8, 24  # squares that show how chroma was brought to the size of luma
ENOUGH = 64  # pixels with no channel at its end that must be there to tell anything
LIKELY = 0.9  # share of those that must be reproduced; of others, some 20 to 30 % are by chance
LEFT = 0.1  # of what is reproduced by itself, the share that interpolated chroma may leave out
BRIEF = ((1, 2),)  # of changing cells, see `inversion.SWEEPS`
TRIED = 4  # samplings that are looked at more closely
_PHASES = ((0, 0), (0, 1), (1, 0), (1, 1))
SAMPLINGS = (
    *(Sampling(rule, rule, phase) for rule in (Rule.SAME, Rule.TRIANGLE, Rule.BETWEEN) for phase in _PHASES),
    *(Sampling(Rule.WHOLE, rule, phase) for rule in (Rule.SAME, Rule.TRIANGLE, Rule.BETWEEN) for phase in _PHASES[:2]),
    *(Sampling(rule, Rule.WHOLE, phase) for rule in (Rule.SAME, Rule.TRIANGLE) for phase in _PHASES[::2]),
    Sampling(Rule.WHOLE, Rule.WHOLE),
)


def detect(pixels: Bytes, workers: int = 1) -> tuple[Origin, Sampling] | None:
    """Where the pixels of a picture (H, W, 3) probably come from, if they come from any of `ORIGINS`; gray ones need no origin."""
    return sampled(pixels, likely(pixels), workers)


def sampled(pixels: Bytes, origins: Sequence[Origin], workers: int = 1) -> tuple[Origin, Sampling] | None:
    """The first of these origins whose chroma was brought to the size of luma in a way that is known, and that way."""
    for origin in origins:
        if sampling := _sampling(pixels, origin, workers):
            return origin, sampling
    return None


def likely(pixels: Bytes) -> list[Origin]:
    """The origins of which a sample of the pixels looks as if they came from them, the likeliest first; that takes a few milliseconds."""
    spots = np.concatenate(_squares(pixels, SPOTS, SPOT))
    if (spots == spots[..., :1]).all():
        return []
    shares = [(_share(spots, origin), origin) for origin in ORIGINS]
    return [origin for share, origin in sorted(shares, key=lambda pair: -pair[0]) if share >= LIKELY]


def _squares(pixels: Bytes, count: int, side: int) -> list[Bytes]:
    """About so many squares of pixels from all over the picture, at even places; smaller ones of small pictures."""
    height, width = pixels.shape[:2]
    across = max(1, round((count * width / height) ** 0.5))
    down = max(1, round(count / across))
    tops = {2 * int(v) for v in np.linspace(0, max(0, height - side), down) // 2}
    lefts = {2 * int(v) for v in np.linspace(0, max(0, width - side), across) // 2}
    return [np.array(pixels[y : y + side, x : x + side]) for y in sorted(tops) for x in sorted(lefts)]


def _share(spots: Bytes, origin: Origin) -> float:
    """Of pixels with no channel at its end, the share that some Y, C1, C2 give."""
    inside = (spots.min(2) > 0) & (spots.max(2) < 255)
    known = first_estimate(spots, origin)[2]
    return float((known[inside] == 2).mean()) if inside.sum() >= ENOUGH else 0.0


def _sampling(pixels: Bytes, origin: Origin, workers: int) -> Sampling | None:
    """The sampling with the fewest cells that leaves out little."""
    windows = [window for window in _squares(pixels, WINDOWS, WINDOW) if min(window.shape[:2]) > 4]
    estimates = [first_estimate(window, origin) for window in windows]

    def left_out(sampling: Sampling, sweeps: tuple[tuple[int, int], ...]) -> float:
        """Share of pixels inside the windows that are reproduced by themselves, and not with interpolated chroma."""
        left = total = 0
        for window, estimate in zip(windows, estimates, strict=True):
            sure = (estimate[2] == 2)[2:-2, 2:-2]
            missing = find_cells(window, origin, sampling, estimate, sweeps).missing[2:-2, 2:-2] > 0
            left, total = left + int((missing & sure).sum()), total + int(sure.sum())
        return left / total if total >= ENOUGH else 1.0

    shares = each(lambda sampling: left_out(sampling, ()), SAMPLINGS, workers)
    first = [SAMPLINGS[i] for i in np.argsort(shares, kind="stable")[:TRIED]]
    closer = list(zip(each(lambda sampling: left_out(sampling, BRIEF), first, workers), first, strict=True))
    good = [(sampling.cells(64, 64), share, i) for i, (share, sampling) in enumerate(closer) if share <= LEFT]
    return closer[min(good, key=lambda g: (g[0][0] * g[0][1], g[1]))[2]][1] if good else None
