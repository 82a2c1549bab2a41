"""The layers of an integer flow, one after another: which channels each sees, and which it changes or gives to the coder.

After Hoogeboom et al. (2019, "Integer discrete flows and lossless compression", section 3) and van den Berg et al. (2021, "IDF++"). A scale
begins with a squeeze: the pixels of a 2 x 2 patch become channels, row by row, 12 of them. It has two levels, of all channels and of
those that the first one leaves. A level is some couplings, which change a quarter of its channels given the others, and a split, which
codes half of the channels given the other half. What the last scale leaves is coded given nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

COLOURS = 3
PATCH = 4  # pixels of a 2 x 2 patch
CHANNELS = COLOURS * PATCH
MIDDLE = 128  # where a symbol stands that is its centre
EXTRA = 3  # inputs of a network beside those of neighbours: how centres differ, and how bright it is
AROUND = [(0, 0), *((dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0))]
"""3 x 3 places, the one in the middle first."""
RANDOM, ORDERED = "random", "ordered"


@dataclass(frozen=True)
class FlowConfig:
    """permutation: of channels, a `random` one before each coupling, as in IDF; or `ordered`: a split sees pixels as they lie, as in IDF++.

    rezero: couplings change nothing to begin with. widths, blocks: of the networks of splits in every scale, the finest first;
    coupling_widths, coupling_blocks: of those of couplings; head: of the last hidden layer of all.
    """

    flows: int = 4  # couplings of a level
    permutation: str = RANDOM
    rezero: bool = False
    widths: Sequence[int] = (64, 64, 48, 48)
    blocks: Sequence[int] = (2, 1, 1, 1)
    coupling_widths: Sequence[int] = (48, 32, 32, 32)
    coupling_blocks: Sequence[int] = (0, 0, 0, 0)
    head: int = 64
    mixtures: int = 5
    seed: int = 0  # of random permutations

    @property
    def scales(self) -> int:
        return len(self.widths)

    @property
    def side(self) -> int:
        """Heights and widths of pictures are multiples of it."""
        return 1 << self.scales


@dataclass(frozen=True)
class Step:
    """A layer. given, changed: channels of its scale, 0 ... 11. codes: whether what is changed goes to the coder, and not on.

    colours: 0, 1, 2 for red, green, blue of every channel of the scale. first: whether the scale begins here.
    """

    scale: int
    given: tuple[int, ...]
    changed: tuple[int, ...]
    codes: bool
    colours: tuple[int, ...]
    first: bool

    @property
    def given_colours(self) -> list[int]:
        return [self.colours[channel] for channel in self.given]

    @property
    def changed_colours(self) -> list[int]:
        return [self.colours[channel] for channel in self.changed]

    @property
    def of_colours(self) -> list[list[int]]:
        """Of every colour, which of what is given has it; all of it where nothing has."""
        own = self.given_colours
        return [[i for i, colour in enumerate(own) if colour == wanted] or list(range(len(own))) for wanted in range(COLOURS)]


WHOLE = (0, 3, 1, 2)
"""The places of a patch, row by row, in the order in which the halves are cut: those on the diagonal stay longer."""
CYCLE = (2, 0, None, 1)
"""Which colour of what is to be coded a coupling of IDF++ changes; None: all of what is left, given what is to be coded."""


def steps(c: FlowConfig) -> tuple[list[Step], tuple[int, ...]]:
    """All layers but the last base, in the order of encoding, and the colours of the channels that it codes."""
    random = np.random.default_rng(c.seed)
    found: list[Step] = []
    kept = tuple(range(COLOURS))  # colours of the channels that are squeezed
    for scale in range(c.scales):
        colours = kept * PATCH
        first = len(found)
        there = [COLOURS * phase + i for phase in WHOLE for i in range(COLOURS)]
        while len(there) > COLOURS:
            half = len(there) // 2
            for k in range(c.flows):
                if c.permutation == RANDOM:
                    there = [there[i] for i in random.permutation(len(there))]
                    part = there[-(-3 * len(there) // 4) :]
                else:
                    one = CYCLE[k % len(CYCLE)]
                    part = there[half - COLOURS : half] if one is None else [x for x in there[half:] if colours[x] == one]
                found.append(Step(scale, tuple(x for x in there if x not in part), tuple(part), False, colours, len(found) == first))
            found.append(Step(scale, tuple(there[:half]), tuple(there[half:]), True, colours, len(found) == first))
            there = there[:half]
        kept = tuple(colours[x] for x in there)
    return found, kept


def packed(plan: Sequence[Step]) -> NDArray[np.int8]:
    """Layers for a weights file (layers, 14): whether they code, how many channels are given, these, those that are changed; then -1."""
    table = np.full((len(plan), 2 + CHANNELS), -1, np.int8)
    for row, step in zip(table, plan, strict=True):
        numbers = [int(step.codes), len(step.given), *step.given, *step.changed]
        row[: len(numbers)] = numbers
    return table


def unpacked(table: NDArray[np.int8]) -> list[Step]:
    """The inverse. Raises ValueError for what is no plan."""
    plan: list[Step] = []
    scale, first, kept = 0, 0, tuple(range(COLOURS))
    there = set(range(CHANNELS))
    for codes, count, *channels in table.tolist():
        given, changed = tuple(channels[:count]), tuple(channels[count : len(there)])
        sound = codes in (0, 1) and 0 < count < len(there) and set(given + changed) == there and set(channels[len(there) :]) <= {-1}
        if not sound or (codes and count < COLOURS):
            raise ValueError("the layers are not those of a flow")
        plan.append(Step(scale, given, changed, bool(codes), kept * PATCH, len(plan) == first))
        if codes:
            there = set(given)
            if count == COLOURS:
                kept = tuple(kept[channel % COLOURS] for channel in given)
                scale, first, there = scale + 1, len(plan), set(range(CHANNELS))
    if not plan or first != len(plan):
        raise ValueError("the layers are not those of a flow")
    return plan
