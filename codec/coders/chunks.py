"""Ordered codes <-> chunks: range coders of a known size each, so that a file that is cut anywhere decodes to the whole ones."""

import numpy as np
from numpy.typing import NDArray

from ...models.model import Nibbles
from ..errors import DamagedFile
from ..format import container
from . import ans as entropy

STEP = 8  # bits by which a chunk's codes are cut down until they fit


class Writer:
    """Takes codes in their order and packs as many into each chunk as it holds."""

    def __init__(self) -> None:
        self._codes: list[NDArray[np.int32]] = []
        self._weights: list[NDArray[np.float32]] = []
        self._bits: list[NDArray[np.float64]] = []  # that they take, more or less
        self._waiting = 0.0  # the sum
        self._chunks: list[bytes] = []
        self.counts: list[int] = []  # codes of every chunk

    def add(self, codes: Nibbles, weights: NDArray[np.float32]) -> None:
        """Codes (n) with their weights (n, entries)."""
        self._codes.append(codes.astype(np.int32))
        self._weights.append(weights)
        self._bits.append(_bits(self._codes[-1], weights))
        self._waiting += float(self._bits[-1].sum())
        if self._waiting > 32 * container.CHUNK_WORDS.stop:
            self._pack(last=False)

    def finish(self) -> bytes:
        """All chunks."""
        self._pack(last=True)
        return b"".join(self._chunks)

    def _pack(self, last: bool) -> None:
        if not self._codes:
            return
        codes, weights = np.concatenate(self._codes), np.concatenate(self._weights)
        bits = np.concatenate(self._bits)
        ends = np.cumsum(bits)
        first, before = 0, 0.0
        while first < len(codes):
            words = container.chunk_words(len(self._chunks))
            room = 32.0 * words
            if not last and ends[-1] - before < room:
                break
            while True:
                end = min(int(np.searchsorted(ends, before + room, "right")), first + container.MAX_CHUNK_CODES)
                stream = entropy.encode_range(codes[first:end], weights[first:end])
                if len(stream) <= 4 * words:
                    break
                room -= STEP
            if end < len(codes) or not last:  # more chunks may follow
                stream = stream.ljust(4 * words, b"\0")
            self._chunks.append(container.pack_chunk(len(self._chunks), end - first, stream))
            self.counts.append(end - first)
            first, before = end, float(ends[end - 1])
        self._codes, self._weights, self._bits = [codes[first:]], [weights[first:]], [bits[first:]]
        self._waiting = float(ends[-1]) - before if len(ends) else 0.0


def _bits(codes: NDArray[np.int32], weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """About what the codes take."""
    own = np.take_along_axis(weights, codes[:, None], 1)[:, 0].astype(np.float64)
    bits: NDArray[np.float64] = np.log2(weights.sum(1).astype(np.float64) / own)  # integers whose sums float32 holds
    return bits


class Reader:
    """Gives the codes of a file's whole chunks.

    `read`: codes so far. With `recovering` a damaged chunk is the end, otherwise it raises DamagedFile.
    """

    def __init__(self, stream: container.ChunkStream, recovering: bool) -> None:
        self._stream, self._recovering = stream, recovering
        self._next, self._left = 0, 0
        self._decoder = entropy.RangeDecoder(b"")
        self.damaged = False
        self.counts: list[int] = []  # codes of every chunk that was read

    def read(self, weights: NDArray[np.float32]) -> NDArray[np.int64]:
        """The next codes, int64, given their weights (n, entries); fewer than n at the end of what is there."""
        parts: list[NDArray[np.int32]] = []
        at = 0
        while at < len(weights) and (self._left or self._open()):
            count = min(self._left, len(weights) - at)
            try:
                parts.append(self._decoder.decode(weights[at : at + count]))
            except DamagedFile:
                if not self._recovering:
                    raise
                self.damaged = True
                break
            at += count
            self._left -= count
        codes = np.concatenate(parts) if parts else np.empty(0, np.int32)
        return codes.astype(np.int64)

    def _open(self) -> bool:
        """Go on to the next chunk that has codes; whether there is one."""
        while not self.damaged and self._next < len(self._stream):
            try:
                chunk = self._stream[self._next]
            except DamagedFile:
                if not self._recovering:
                    raise
                self.damaged = True
                return False
            self._next += 1
            self._left = chunk.codes
            self._decoder = entropy.RangeDecoder(chunk.words)
            self.counts.append(chunk.codes)
            if self._left:
                return True
        return False

    @property
    def finished(self) -> bool:
        """Whether exactly all codes of all chunks that are there were read."""
        return not self._left and self._next == len(self._stream)
