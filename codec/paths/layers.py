"""Pictures in files that may be cut anywhere: ordered codes, all patches' first codes, then the second ones, and so on.

The file holds the codes exactly; the pixels that a decoder makes of them come from floating point: the same on one machine
whatever the threads, and at most one grey level apart between machines.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.model import Layered, Nibbles, Pixels, Places, Turn
from ..coders.chunks import Reader, Writer
from ..coders.turns import watched
from ..errors import DamagedFile
from ..format import container
from ..format.container import Box, ChunkStream, Coding, Tag
from ..image.files import Picture
from ..parallel import working
from ..settings import Settings
from ..weights import Loaded
from . import transforms
from .encoding import Encoding
from .reading import Reading

Codes = list[Places]
"""int64 (n) of every layer in coding order; the last one may have fewer than there are patches."""


class LayeredEncoding(Encoding):
    """A picture in ordered codes. Qualities are the numbers of chunks that are left after a cut; by default all."""

    approximate = False

    def __init__(self, picture: Picture, loaded: Loaded[Layered], settings: Settings) -> None:
        super().__init__(picture, loaded, settings)
        self.model = model = loaded.model
        self.map_size = model.size(*self.size)
        answers, writer = model.answers(self.features), Writer()

        def record(turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
            codes = answers(turn, weights)
            writer.add(codes, weights)
            return codes

        with working():
            self.codes = model.walk(1, *self.map_size, len(model.sides), watched(record, settings.progress), settings.workers)
        coding = loaded.codings[0]
        sections = container.pack_layers(model.sides) if coding == Coding.ORDERED else {}
        sections |= {Tag.CODES: writer.finish()}
        self._file = self.write(coding, _crc(self.codes), 0, sections)
        self._stream = ChunkStream(self._file, container.read_header(self._file))
        self._counts = writer.counts
        self.qualities = len(self._counts) + 1
        self.default = len(self._counts)

    def file(self, quality: int) -> bytes:
        return self._file[: self._stream.end(quality)]

    def received(self, quality: int) -> Any:
        with working():
            return self.model.dequantise(_first(self.codes, sum(self._counts[:quality])), *self.map_size)


def _crc(codes: Codes) -> int:
    """Of all codes in their order, two bytes each."""
    return zlib.crc32(np.concatenate(codes).astype("<u2").tobytes())


def _first(codes: Codes, count: int) -> Codes:
    """The first codes of all."""
    known: Codes = []
    for layer in codes:
        if count <= 0:
            break
        known.append(layer[:count])
        count -= len(layer)
    return known


def decode(reading: Reading, model: Layered, area: Box, layers: int | None) -> tuple[Pixels, list[Box]]:
    """The pixels of an area of what is there of the picture, of at most so many layers; the whole picture is lost if codes are damaged."""
    codes, reader = read_codes(reading, model, layers)
    pixels = pixels_of(reading, model, codes)
    return pixels[area[1] : area[3], area[0] : area[2]], [reading.whole] if reader.damaged else []


def decode_cuts(reading: Reading, model: Layered, sizes: Sequence[int]) -> list[Pixels]:
    """The pictures of the cuts of a file at sizes in bytes, with one walk over the codes for all. Raises DamagedFile."""
    codes, reader = read_codes(reading, model, None)
    stream = ChunkStream(reading.data, reading.header)
    counts = [sum(reader.counts[: stream.within(size)]) for size in sizes]
    return [pixels_of(reading, model, _first(codes, count)) for count in counts]


def read_codes(reading: Reading, model: Layered, layers: int | None) -> tuple[Codes, Reader]:
    """The codes that a file still has, of at most so many layers. Raises DamagedFile."""
    settings, map_size = reading.settings, model.size(*reading.size)
    reader = Reader(stream := ChunkStream(reading.data, reading.header), reading.recovering)
    count = len(model.sides)
    wanted = count if layers is None else min(layers, count)

    def pull(turn: Turn, weights: NDArray[np.float32]) -> Nibbles:
        return reader.read(weights)

    with working():
        codes = model.walk(1, *map_size, wanted, watched(pull, settings.progress), settings.workers)
    settings.progress(1.0)
    if wanted == count:
        complete = stream.whole and not reader.damaged
        done = sum(len(layer) for layer in codes)
        right = done == sum(model.counts(*map_size)) and reader.finished and _crc(codes) == reading.header.pixel_crc
        if complete and not right:
            if not reading.recovering:
                raise DamagedFile("the decoded codes are not those that were encoded")
            reader.damaged = True
        elif not reader.damaged and not reader.finished:
            raise DamagedFile("the file has more codes than its picture")
    return codes, reader


def pixels_of(reading: Reading, model: Layered, codes: Codes) -> Pixels:
    """The picture (height, width, 3) of the first layers' codes, and perhaps a part of the last one's."""
    map_size = model.size(*reading.size)
    with working():
        received = model.dequantise(codes, *map_size)
    pixels: Pixels = transforms.synthesise(model, received, map_size, reading.size, reading.settings)[0]
    return pixels
