"""The coder's part of a walk: what gives a model the symbols of a turn when it encodes, decodes or draws.

Encoding is walk(Record(answers)), decoding walk(Pull(streams)), sampling walk(Draw(bits)).
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...models.kernels.program import Program
from ...models.model import Code, Nibbles, Places, Symbols, Turn
from ...models.plans import Plan, plan_of
from ..errors import DamagedFile
from ..settings import Progress
from . import ans

ORDER = 1 << 16  # more than twice the channels of a symbol
Weights = NDArray[np.float32]


class Record:
    """Knows the symbols, and remembers them with their weights."""

    def __init__(self, answers: Code, streams: int) -> None:
        self._answers = answers
        self._encoder = ans.encoder(streams)

    def __call__(self, turn: Turn, weights: Weights) -> Nibbles:
        nibbles = self._answers(turn, weights)
        keys = None if turn.steps is None else turn.steps * ORDER + 2 * turn.channel + turn.half
        self._encoder.add(nibbles, weights, turn.bounds, keys)
        return nibbles

    def plan(self) -> Plan | None:
        known, encoder = getattr(self._answers, "padded", None), self._encoder
        return RecordPlan(known, encoder) if known is not None and isinstance(encoder, ans.CompiledEncoder) else None

    def streams(self) -> list[bytes]:
        """The ANS streams of what was recorded; empty where nothing was."""
        return self._encoder.streams()


class Pull:
    """Knows the ANS streams."""

    def __init__(self, streams: Iterable[bytes]) -> None:
        """Raises DamagedFile for bytes that cannot be a stream."""
        self._decoder = ans.decoder(streams)

    def __call__(self, turn: Turn, weights: Weights) -> Nibbles:
        return self._decoder.decode(weights, turn.bounds)

    def plan(self) -> Plan | None:
        return PullPlan(self._decoder) if isinstance(self._decoder, ans.CompiledDecoder) else None

    def check(self) -> None:
        """Raises DamagedFile if not exactly everything was pulled."""
        if not self._decoder.finished:
            raise DamagedFile("a tile's stream does not end where its symbols do")


class PullFirst(Pull):
    """Pulls the symbols of the first steps of a walk, which it ends then."""

    def __init__(self, streams: Iterable[bytes], steps: int) -> None:
        """Raises DamagedFile for bytes that cannot be a stream."""
        super().__init__(streams)
        self._steps, self._share = steps, -1.0
        self._seen: list[Turn] = []

    def __call__(self, turn: Turn, weights: Weights) -> Nibbles:
        if turn.share != self._share:  # a step has several turns
            self._share = turn.share
            if len(self._seen) == self._steps:
                return np.empty(0, np.int32)
            self._seen.append(turn)
        return super().__call__(turn, weights)

    def plan(self) -> None:
        """Nothing: a program does not end early."""

    def places(self, stream: int) -> Places:
        """Where the symbols of a stream are, see `Turn`."""
        return np.concatenate([turn.at[slice(*turn.bounds[stream])] for turn in self._seen])


@dataclass(frozen=True)
class RecordPlan:
    """`Record` as calls of kernels."""

    known: Symbols
    encoder: ans.CompiledEncoder

    def answer(self, program: Program, weights: Weights, bounds: Places, nibbles: NDArray[np.int32]) -> None:
        self.encoder.answer(program, weights, bounds, nibbles)

    def done(self, count: int, bounds: Places, share: float) -> None:
        self.encoder.done(count, bounds)


@dataclass(frozen=True)
class PullPlan:
    """`Pull` as calls of kernels."""

    decoder: ans.CompiledDecoder
    known: None = None

    def answer(self, program: Program, weights: Weights, bounds: Places, nibbles: NDArray[np.int32]) -> None:
        self.decoder.answer(program, weights, bounds, nibbles)

    def done(self, count: int, bounds: Places, share: float) -> None:
        pass


class Draw:
    """Random bits, the same ones for an image whatever it is drawn with. deadline: when drawing ends, by the monotonic clock."""

    def __init__(self, seed: int, images: Sequence[int], deadline: float | None = None) -> None:
        self._generators = [np.random.Generator(np.random.Philox(key=[seed, image])) for image in images]
        self._deadline = deadline

    def __call__(self, turn: Turn, weights: Weights) -> Nibbles:
        if self._deadline is not None and time.monotonic() > self._deadline:
            return np.empty(0, np.int64)
        bits = np.zeros(len(weights), np.int64)
        for generator, (first, last) in zip(self._generators, turn.bounds.tolist(), strict=True):
            if last > first:
                bits[first:last] = generator.integers(1 << 32, size=last - first, dtype=np.int64)
        below = weights.astype(np.int64).cumsum(1)
        symbols: Nibbles = (below <= (bits * below[:, -1] >> 32)[:, None]).sum(1)
        return symbols


def as_one(code: Code) -> Code:
    """The same code with one stream for all tiles of a walk."""

    def joined(turn: Turn, weights: Weights) -> Nibbles:
        return code(replace(turn, bounds=np.array([[0, len(weights)]])), weights)

    return joined


def watched(code: Code, progress: Progress) -> Code:
    """The same code, reporting how far the walk is."""
    return Watched(code, progress)


class Watched:
    def __init__(self, code: Code, progress: Progress) -> None:
        self._code, self._progress, self._told = code, progress, -1.0

    def __call__(self, turn: Turn, weights: Weights) -> Nibbles:
        symbols = self._code(turn, weights)
        if turn.share != self._told:  # turns are many
            self._told = turn.share
            self._progress(turn.share)
        return symbols

    def plan(self) -> Plan | None:
        plan = plan_of(self._code)
        return None if plan is None else WatchedPlan(plan, self._progress)


@dataclass(frozen=True)
class WatchedPlan:
    plan: Plan
    progress: Progress

    @property
    def known(self) -> Symbols | None:
        return self.plan.known

    def answer(self, program: Program, weights: Weights, bounds: Places, nibbles: NDArray[np.int32]) -> None:
        self.plan.answer(program, weights, bounds, nibbles)

    def done(self, count: int, bounds: Places, share: float) -> None:
        self.plan.done(count, bounds, share)
        self.progress(share)
