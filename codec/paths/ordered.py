"""Pictures with loss in files that may be cut anywhere: ordered codes, all patches' first codes, then the second ones, and so on.

Encoder, decoder and sampler are one walk over the layers of codes (`exact_transformer.walk`), with another coder at its side. The
file holds the codes exactly; the pixels come from floating point, as in `latents.py`.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ...models.ordered.exact import ExactOrdered, Map
from ...models.ordered.exact_prior import walk
from ...models.ordered.network import PLACE
from .. import api
from .. import weights as networks
from ..coders.chunks import Reader, Writer
from ..errors import DamagedFile, ImageRefused
from ..format import container
from ..format.container import Box, ChunkStream, Coding, Header, Tag
from ..image.files import Picture
from ..isolation import isolated
from ..parallel import Progress, threads
from . import latents
from .target import SCALE, Target, truncate

if TYPE_CHECKING:
    from mmap import mmap

    from ...models import catalogue as store

Codes = list[Tensor]
"""int64 (n) of every layer in coding order; the last one may have fewer than there are patches."""


# ------------------------------------------------------------------------------------------------------------ encoding


class _Chooser:
    """Chooses the codes of a map layer after layer, by error and by their true code lengths, and writes them."""

    def __init__(self, network: ExactOrdered, features: Map, progress: Progress) -> None:
        self.network, self.progress = network, progress
        self.rest = torch.from_numpy(features).to(network.device)
        self.writer = Writer()
        self._values = torch.empty(0)
        self._chosen: list[Tensor] = []

    def __call__(self, layer: int, rows: slice, weights: Tensor) -> Tensor:
        height, width = self.rest.shape[1:3]
        view, at = self.network.transforms.views[layer], self.network.order(layer, height, width)
        if rows.start == 0:
            self._values = view.analyse(self.rest)[0, at]
            self._chosen = []
        books = self.network.transforms.codebooks
        lengths = weights.sum(1, keepdim=True).log2() - weights.log2()
        codes = books.choose(layer, self._values[rows], lengths)
        self.writer.add(codes, weights)
        self._chosen.append(codes)
        if rows.stop == len(at):
            vectors = torch.empty((len(at), self.network.config.size), device=self.rest.device)
            vectors[at] = books.look_up(layer, torch.cat(self._chosen))
            self.rest = self.rest - view.synthesise(vectors.unsqueeze(0), height, width)
            self.progress((layer + 1) / self.network.config.count)
        return codes


def encode_picture(picture: Picture, model: str, target: Target, settings: networks.Settings) -> bytes:
    """The .psg file of a checked picture: all of it, or as much as is asked for."""
    latents.check(picture, Coding.ORDERED)
    api.check_size(picture.image)
    weights, network = networks.load_model(model, settings)
    assert isinstance(network, ExactOrdered)
    pixels = api.rgb_pixels(picture)
    height, width = network.size(*pixels.shape[:2])
    beyond = [(0, height * PLACE - pixels.shape[0]), (0, width * PLACE - pixels.shape[1]), (0, 0)]
    padded = np.pad(pixels, beyond, mode="edge")[None]
    features = np.empty((1, height, width, network.config.channels), np.float32)
    latents.in_windows((height, width), lambda window: network.analyse(padded, window), features, 1, settings)
    chooser = _Chooser(network, features, settings.progress)
    with threads(settings.worker_count), torch.inference_mode():
        codes = walk(network.prior, 1, height, width, network.config.count, chooser)
    data = _file(picture, weights, network, codes, chooser.writer.finish())
    if target.psnr is not None:
        return _at_psnr(data, picture, network, codes, chooser.writer.counts, target.psnr, settings)
    if target.size is not None or target.bpp is not None:
        return truncate(data, target.size, bpp=target.bpp)
    if target.quality is not None:
        return _with_chunks(data, round(target.quality / SCALE * len(chooser.writer.counts)))
    return data


def _with_chunks(data: bytes, count: int) -> bytes:
    """The first chunks of a file, and what is before them."""
    return data[: ChunkStream(data, container.read_header(data)).end(count)]


def _file(picture: Picture, weights: store.Weights, network: ExactOrdered, codes: Codes, stream: bytes) -> bytes:
    layers = container.pack_layers([side * PLACE for side in network.config.sides()])
    sections = latents.kept_beside(picture) | layers | {Tag.CODES: stream}
    header = Header(*picture.image.size, picture.mode, Coding.ORDERED, _crc(codes), 0, weights.name, weights.hash)
    return container.write(header, sections)


def _crc(codes: Codes) -> int:
    """Of all codes in their order, two bytes each."""
    return zlib.crc32(torch.cat(codes).cpu().numpy().astype("<u2").tobytes())


def _at_psnr(
    data: bytes, picture: Picture, network: ExactOrdered, codes: Codes, counts: Sequence[int], wanted: float, settings: networks.Settings
) -> bytes:
    """The smallest cut of a file that has so many decibels. Raises ImageRefused if the whole file has not."""
    pixels = api.rgb_pixels(picture)

    def decibels(chunks: int) -> float:
        decoded = pixels_of(network, _first(codes, sum(counts[:chunks])), picture.image.height, picture.image.width, settings)[0]
        return latents.decibels(decoded, pixels, picture.mode)

    low, high = -1, len(counts)  # too few chunks, enough
    if (best := decibels(high)) < wanted:
        raise ImageRefused(f"{wanted} dB is beyond the best quality of this model, which is {best:.2f} dB here")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decibels(middle) >= wanted else (middle, high)
    return _with_chunks(data, high)


def _first(codes: Codes, count: int) -> Codes:
    """The first codes of all."""
    found: Codes = []
    for layer in codes:
        if count <= 0:
            break
        found.append(layer[:count])
        count -= len(layer)
    return found


# ------------------------------------------------------------------------------------------------------------ decoding


def read_codes(
    data: bytes | mmap, header: Header, network: ExactOrdered, layers: int | None, recovering: bool, settings: networks.Settings
) -> tuple[Codes, Reader]:
    """The codes that a file still has, of at most so many layers. Raises DamagedFile."""
    height, width = network.size(header.height, header.width)
    reader = Reader(stream := ChunkStream(data, header), recovering)
    count = network.config.count
    wanted = count if layers is None else min(layers, count)
    total = sum(network.counts(height, width))
    done = 0

    def code(layer: int, rows: slice, weights: Tensor) -> Tensor:
        nonlocal done
        found = reader.read(weights)
        done += len(found)
        settings.progress(done / total)
        return found

    with threads(settings.worker_count), torch.inference_mode():
        codes = walk(network.prior, 1, height, width, wanted, code)
    settings.progress(1.0)
    if wanted == count:
        complete = stream.whole and not reader.damaged
        right = done == total and reader.finished and _crc(codes) == header.pixel_crc
        if complete and not right:
            if not recovering:
                raise DamagedFile("the decoded codes are not those that were encoded")
            reader.damaged = True
        elif not reader.damaged and not reader.finished:
            raise DamagedFile("the file has more codes than its picture")
    return codes, reader


def pixels_of(
    network: ExactOrdered, codes: Codes, height: int, width: int, settings: networks.Settings, pictures: int = 1
) -> NDArray[np.uint8]:
    """The pictures (B, height, width, 3) of codes, the first layers' and perhaps a part of the last one's."""
    size = network.size(height, width)
    with torch.inference_mode():
        features, share = network.dequantise(codes, *size, pictures)
    pixels = np.empty((pictures, size[0] * PLACE, size[1] * PLACE, 3), np.uint8)
    latents.in_windows(size, lambda window: network.synthesise(features, share, window), pixels, PLACE, settings)
    return pixels[:, :height, :width]


def _image(data: bytes | mmap, header: Header, network: ExactOrdered, codes: Codes, settings: networks.Settings) -> Image.Image:
    pixels = pixels_of(network, codes, header.height, header.width, settings)[0]
    return latents.image_of(pixels, data, header, header.cut_before(data, Tag.ALPHA))


def _network(header: Header, settings: networks.Settings) -> ExactOrdered:
    network = networks.network_of(header, settings)
    if not isinstance(network, ExactOrdered):
        raise DamagedFile(f"the model {header.model} does not go with the file's coding")
    return network


def decode_image(
    data: bytes | mmap, header: Header, layers: int | None, recovering: bool, settings: networks.Settings
) -> tuple[Image.Image, list[Box]]:
    """The image of what is there of a file, of at most so many layers of codes; and the whole image as lost if codes are damaged."""
    network = _network(header, settings)
    codes, reader = read_codes(data, header, network, layers, recovering, settings)
    image = _image(data, header, network, codes, settings)
    return image, [(0, 0, *image.size)] if reader.damaged else []


@isolated()
def decode_cuts(data: bytes | mmap, sizes: Sequence[int], settings: networks.Settings) -> list[Image.Image]:
    """The images of the cuts of a file at sizes in bytes, with one walk over the codes for all. Raises DamagedFile."""
    header = container.read_header(data)
    network = _network(header, settings)
    codes, reader = read_codes(data, header, network, None, False, settings)
    stream = ChunkStream(data, header)
    found = []
    for size in sizes:
        chunks = stream.within(size)
        part = data[:size]
        image = _image(part, header, network, _first(codes, sum(reader.counts[:chunks])), settings)
        found.append(api.restore(image, part, header, False))
    return found


# ------------------------------------------------------------------------------------------------------------ sampling


@isolated()
def draw(
    network: ExactOrdered,
    count: int,
    size: tuple[int, int],
    seed: int,
    settings: networks.Settings,
    layers: int | None = None,
    seconds: float | None = None,
) -> tuple[NDArray[np.uint8], int]:
    """Draw pictures (count, height, width, 3) by decoding random bits; and how many layers of codes they have.

    layers: of codes at most. seconds: stop when they are over, and show what is there. The same seed gives the same codes.
    """
    height, width = network.size(*size)
    counts = network.counts(height, width)
    generators = [np.random.Generator(np.random.Philox(key=[seed, i])) for i in range(count)]
    wanted = network.config.count if layers is None else min(layers, network.config.count)
    started = time.monotonic()
    bits = torch.empty(0)

    def code(layer: int, rows: slice, weights: Tensor) -> Tensor:
        nonlocal bits
        if seconds is not None and time.monotonic() - started > seconds:
            return torch.empty(0, dtype=torch.int64, device=network.device)
        if rows.start == 0:
            every = [generator.integers(1 << 32, size=counts[layer], dtype=np.int64) for generator in generators]
            bits = torch.from_numpy(np.concatenate(every)).to(network.device)
            settings.progress(layer / wanted)
        below = weights.long().cumsum(1)
        return (below <= (bits[rows] * below[:, -1] >> 32).unsqueeze(1)).sum(1)

    with threads(settings.worker_count), torch.inference_mode():
        codes = walk(network.prior, count, height, width, wanted, code)
    settings.progress(1.0)
    whole = [c for c, n in zip(codes, counts, strict=False) if len(c) == count * n]
    return pixels_of(network, whole, *size, settings, count), len(whole)
