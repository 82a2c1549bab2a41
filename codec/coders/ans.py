"""The only file that knows constriction: one ANS stream for each tile, or one range coder for each chunk of ordered codes.

The integer weights of nibbles or codes go to constriction as float32, which holds them exactly; constriction rounds them to
24-bit probabilities of its own (`perfect=False`). Both belong to the file format. Many streams at once are coded by compiled loops
(`ans_loops.py`), which do what constriction does.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import constriction
import numpy as np
from numpy.typing import NDArray

from ...models.kernels import jit
from ...models.kernels.program import Program
from ..errors import DamagedFile
from . import ans_loops as loops

Weights = NDArray[np.float32]
Nibbles = NDArray[np.int32]
Bounds = NDArray[np.int64]
"""(streams, 2): of symbols that are given together the first and past-the-last that belong to each stream."""
_MODEL = constriction.stream.model.Categorical(perfect=False)


def encode(nibbles: Nibbles, weights: Weights) -> bytes:
    """The stream that decodes to nibbles (n) in their order, given weights (n, 16)."""
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(nibbles, _MODEL, weights)
    stream: bytes = coder.get_compressed().astype("<u4").tobytes()
    return stream


class Encoder(ABC):
    """Remembers symbols with their weights, because a stack is written from its end."""

    def __init__(self, streams: int) -> None:
        self._count = streams
        self._bounds: Bounds | None = None  # for which `which`, `at` and `whole` are
        self._streams: list[NDArray[np.uint16]] = []  # of every symbol
        self._keys: list[NDArray[np.int64]] = []

    def add(self, nibbles: Nibbles, weights: Weights, bounds: Bounds, keys: NDArray[np.int64] | None = None) -> None:
        """The next nibbles (n) of streams, with their weights (n, 16). keys: by which they are to be sorted, if not by their order here."""
        if bounds is not self._bounds:  # turns of one step share them
            lengths = bounds[:, 1] - bounds[:, 0]
            self._bounds, self._which = bounds, np.repeat(np.arange(self._count, dtype=np.uint16), lengths)
            self._at = np.arange(len(self._which)) + np.repeat(bounds[:, 0] - np.cumsum(lengths) + lengths, lengths)
            self._whole = len(self._at) == len(nibbles) and bool((np.diff(self._at) == 1).all())
        self._streams.append(self._which)
        if keys is not None:
            self._keys.append(keys[self._at])
        self._keep(nibbles if self._whole else nibbles[self._at], weights if self._whole else weights[self._at])

    def streams(self) -> list[bytes]:
        """The streams of what was added; empty where nothing was."""
        if not self._streams:
            return [b""] * self._count
        which = np.concatenate(self._streams)
        order = np.argsort(np.concatenate(self._keys), kind="stable") if self._keys else np.arange(len(which))
        order = order[np.argsort(which[order], kind="stable")]
        return self._write(order, np.searchsorted(which[order], np.arange(self._count + 1)))

    @abstractmethod
    def _keep(self, nibbles: Nibbles, weights: Weights) -> None: ...

    @abstractmethod
    def _write(self, order: NDArray[np.int64], ends: NDArray[np.int64]) -> list[bytes]:
        """The streams, given the symbols of all of them in their order, and where each begins and ends."""


class CompiledEncoder(Encoder):
    def __init__(self, streams: int) -> None:
        super().__init__(streams)
        self._intervals: list[NDArray[np.uint32]] = []
        self._planned: list[NDArray[np.uint32]] = []

    def _keep(self, nibbles: Nibbles, weights: Weights) -> None:
        self._intervals.append(np.empty((len(nibbles), 2), np.uint32))
        loops.intervals(np.ascontiguousarray(nibbles, np.int32), np.ascontiguousarray(weights), self._intervals[-1])

    def answer(self, program: Program, weights: Weights, bounds: Bounds, nibbles: Nibbles) -> None:
        """Remember, whenever the program has run, known nibbles (n) with their weights (n, 16)."""
        self._planned.append(program.cut(np.empty((len(nibbles), 2), np.uint32)))
        program.add(loops.intervals, nibbles, weights, self._planned[-1])

    def done(self, count: int, bounds: Bounds) -> None:
        """The program has run for so many places."""
        which = np.full(count, self._count, np.uint16)  # those of no stream come after those of all
        for stream, (first, last) in enumerate(bounds.tolist()):
            which[first:last] = stream
        self._streams += [which] * len(self._planned)
        self._intervals += [intervals[:count].copy() for intervals in self._planned]

    def _write(self, order: NDArray[np.int64], ends: NDArray[np.int64]) -> list[bytes]:
        intervals = np.concatenate(self._intervals)
        words = np.empty(len(order) + 2, np.uint32)
        streams = []
        for i in range(self._count):
            count = loops.encode(intervals, order[ends[i] : ends[i + 1]], words)
            streams.append(words[:count].astype("<u4").tobytes())
        return streams


class PlainEncoder(Encoder):
    def __init__(self, streams: int) -> None:
        super().__init__(streams)
        self._nibbles: list[Nibbles] = []
        self._weights: list[Weights] = []

    def _keep(self, nibbles: Nibbles, weights: Weights) -> None:
        self._nibbles.append(nibbles)
        self._weights.append(weights.copy())  # a model may use the array again

    def _write(self, order: NDArray[np.int64], ends: NDArray[np.int64]) -> list[bytes]:
        nibbles, weights = np.concatenate(self._nibbles), np.concatenate(self._weights)
        parts = [order[ends[i] : ends[i + 1]] for i in range(self._count)]
        return [encode(nibbles[part], weights[part]) if len(part) else b"" for part in parts]


def encoder(streams: int) -> Encoder:
    """For so many streams."""
    return CompiledEncoder(streams) if jit.available() else PlainEncoder(streams)


class Decoder(ABC):
    """Decodes streams, piece by piece."""

    def __init__(self, streams: Iterable[bytes]) -> None:
        """Raises DamagedFile for bytes that cannot be a stream."""
        self.streams = list(streams)
        if any(len(stream) % 4 or stream[-4:] == bytes(4) for stream in self.streams):
            raise DamagedFile("a tile's stream is damaged")

    @abstractmethod
    def decode(self, weights: Weights, bounds: Bounds) -> Nibbles:
        """The next nibbles (n) of the streams, given their weights (n, 16); 0 for those that belong to none."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether exactly everything has been decoded."""


class CompiledDecoder(Decoder):
    def __init__(self, streams: Iterable[bytes]) -> None:
        super().__init__(streams)
        self._words = np.frombuffer(b"".join(self.streams), "<u4").astype(np.uint32)
        ends = np.cumsum([0, *(len(stream) // 4 for stream in self.streams)])
        self._starts, self._tops = ends[:-1].copy(), ends[1:].copy()
        self._states = np.zeros(len(self.streams), np.uint64)
        loops.start(self._words, self._starts, self._tops, self._states)

        self._stacks = (self._words, self._starts, self._tops, self._states)

    def decode(self, weights: Weights, bounds: Bounds) -> Nibbles:
        nibbles = np.zeros(len(weights), np.int32)
        loops.decode(np.ascontiguousarray(weights), np.ascontiguousarray(bounds), *self._stacks, nibbles)
        return nibbles

    def answer(self, program: Program, weights: Weights, bounds: Bounds, nibbles: Nibbles) -> None:
        """Decode, whenever the program runs, the next nibbles (n) of the streams."""
        program.add(loops.decode, weights, bounds, *self._stacks, nibbles)

    @property
    def finished(self) -> bool:
        return bool((self._states == 0).all() and (self._tops == self._starts).all())


class PlainDecoder(Decoder):
    def __init__(self, streams: Iterable[bytes]) -> None:
        super().__init__(streams)
        self._coders = [constriction.stream.stack.AnsCoder(np.frombuffer(s, "<u4").astype(np.uint32)) for s in self.streams]

    def decode(self, weights: Weights, bounds: Bounds) -> Nibbles:
        nibbles = np.zeros(len(weights), np.int32)
        for coder, (first, last) in zip(self._coders, bounds.tolist(), strict=True):
            if last > first:
                nibbles[first:last] = coder.decode(_MODEL, np.ascontiguousarray(weights[first:last]))
        return nibbles

    @property
    def finished(self) -> bool:
        return all(coder.is_empty() for coder in self._coders)


def decoder(streams: Iterable[bytes]) -> Decoder:
    """For these streams. Raises DamagedFile for bytes that cannot be one."""
    return CompiledDecoder(streams) if jit.available() else PlainDecoder(streams)


def encode_range(codes: Nibbles, weights: Weights) -> bytes:
    """The words of a range coder that decodes to codes (n) in their order, given weights (n, entries)."""
    coder = constriction.stream.queue.RangeEncoder()
    coder.encode(np.ascontiguousarray(codes), _MODEL, np.ascontiguousarray(weights))
    words: bytes = coder.get_compressed().astype("<u4").tobytes()
    return words


class RangeDecoder:
    """Decodes the codes of a chunk, piece by piece."""

    def __init__(self, words: bytes) -> None:
        self._coder = constriction.stream.queue.RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))

    def decode(self, weights: Weights) -> Nibbles:
        """The next codes (n), given their weights (n, entries). Raises DamagedFile for words that cannot be a stream."""
        try:
            codes: Nibbles = self._coder.decode(_MODEL, np.ascontiguousarray(weights))
        except (AssertionError, ValueError):
            raise DamagedFile("a chunk of the codes is damaged") from None
        return codes
