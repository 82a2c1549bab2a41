"""The coder's part of a walk: what gives a model the symbols of a turn when it encodes, decodes or draws.

Encoding is walk(Record(answers)), decoding walk(Pull(streams)), sampling walk(Draw(bits)).
"""

import time
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models.model import Code, Turn
from ..errors import DamagedFile
from ..settings import Progress
from . import ans

ORDER = 1 << 16  # more than twice the channels of a symbol


class Record:
    """Knows the symbols, and remembers them with their weights, because a stack is written from its end."""

    def __init__(self, answers: Code, streams: int) -> None:
        self._answers = answers
        self._nibbles: list[list[ans.Nibbles]] = [[] for _ in range(streams)]
        self._weights: list[list[ans.Weights]] = [[] for _ in range(streams)]
        self._keys: list[list[NDArray[np.int64]]] = [[] for _ in range(streams)]

    def __call__(self, turn: Turn, weights: Tensor) -> Tensor:
        symbols = self._answers(turn, weights)
        nibbles, table = symbols.cpu().numpy(), weights.cpu().numpy()
        for i, part in enumerate(turn.parts):
            if part.stop > part.start:
                self._nibbles[i].append(nibbles[part])
                self._weights[i].append(table[part])
                if turn.steps is not None:
                    self._keys[i].append(turn.steps[part] * ORDER + 2 * turn.channel + turn.half)
        return symbols

    def streams(self) -> list[bytes]:
        """The ANS streams of what was recorded; empty where nothing was."""
        return [self._stream(i) if nibbles else b"" for i, nibbles in enumerate(self._nibbles)]

    def _stream(self, i: int) -> bytes:
        nibbles, weights = np.concatenate(self._nibbles[i]), np.concatenate(self._weights[i])
        if self._keys[i]:
            order = np.argsort(np.concatenate(self._keys[i]), kind="stable")
            nibbles, weights = nibbles[order], weights[order]
        return ans.encode(nibbles, weights)


class Pull:
    """Knows the ANS streams."""

    def __init__(self, streams: Iterable[bytes]) -> None:
        """Raises DamagedFile for bytes that cannot be a stream."""
        self._coders = [ans.AnsDecoder(stream) for stream in streams]

    def __call__(self, turn: Turn, weights: Tensor) -> Tensor:
        table = weights.cpu().numpy()
        nibbles = np.zeros(len(table), np.int32)
        for coder, part in zip(self._coders, turn.parts, strict=True):
            if part.stop > part.start:
                nibbles[part] = coder.decode(table[part])
        return torch.from_numpy(nibbles).to(weights.device)

    def check(self) -> None:
        """Raises DamagedFile if not exactly everything was pulled."""
        if not all(coder.finished for coder in self._coders):
            raise DamagedFile("a tile's stream does not end where its symbols do")


class Draw:
    """Random bits, the same ones for an image whatever it is drawn with. deadline: when drawing ends, by the monotonic clock."""

    def __init__(self, seed: int, images: Sequence[int], deadline: float | None = None) -> None:
        self._generators = [np.random.Generator(np.random.Philox(key=[seed, image])) for image in images]
        self._deadline = deadline

    def __call__(self, turn: Turn, weights: Tensor) -> Tensor:
        if self._deadline is not None and time.monotonic() > self._deadline:
            return torch.empty(0, dtype=torch.int64, device=weights.device)
        bits = np.zeros(len(weights), np.int64)
        for generator, part in zip(self._generators, turn.parts, strict=True):
            if part.stop > part.start:
                bits[part] = generator.integers(1 << 32, size=part.stop - part.start, dtype=np.int64)
        below = weights.long().cumsum(1)
        return (below <= (torch.from_numpy(bits).to(weights.device) * below[:, -1] >> 32).unsqueeze(1)).sum(1)


def watched(code: Code, progress: Progress) -> Code:
    """The same code, reporting how far the walk is."""

    def report(turn: Turn, weights: Tensor) -> Tensor:
        symbols = code(turn, weights)
        progress(turn.share)
        return symbols

    return report
