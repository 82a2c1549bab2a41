"""The only file that knows constriction: one ANS stream for each tile, or one range coder for each chunk of ordered codes.

The integer weights of nibbles or codes go to constriction as float32, which holds them exactly; constriction rounds them to
24-bit probabilities of its own (`perfect=False`). Both belong to the file format.
"""

import constriction
import numpy as np
from numpy.typing import NDArray

from ..errors import DamagedFile

Weights = NDArray[np.float32]
Nibbles = NDArray[np.int32]
_MODEL = constriction.stream.model.Categorical(perfect=False)


def encode(nibbles: Nibbles, weights: Weights) -> bytes:
    """The stream that decodes to nibbles (n) in their order, given weights (n, 16)."""
    coder = constriction.stream.stack.AnsCoder()
    coder.encode_reverse(nibbles, _MODEL, weights)
    stream: bytes = coder.get_compressed().astype("<u4").tobytes()
    return stream


class AnsDecoder:
    """Decodes a tile's stream, piece by piece."""

    def __init__(self, stream: bytes) -> None:
        """Raises DamagedFile for bytes that cannot be a stream."""
        if len(stream) % 4 or stream[-4:] == bytes(4):
            raise DamagedFile("a tile's stream is damaged")
        self._coder = constriction.stream.stack.AnsCoder(np.frombuffer(stream, "<u4").astype(np.uint32))

    def decode(self, weights: Weights) -> Nibbles:
        """The next nibbles (n), given their weights (n, 16)."""
        nibbles: Nibbles = self._coder.decode(_MODEL, weights)
        return nibbles

    @property
    def finished(self) -> bool:
        """Whether exactly everything has been decoded."""
        return bool(self._coder.is_empty())


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
