"""Packed sets: many images in one file, sharing groups. Small images are cheap in a set: one alone would pay for a header, a checksum
and the end of a stream."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import cast

import numpy as np
from PIL import Image

from ...models.model import Features, Pixels, Symbols, Tiled
from .. import estimate
from ..errors import DamagedFile, ImageRefused, PresageError
from ..format import container
from ..format.container import Box, Coding, Header
from ..format.listing import MAX_IMAGES, check_name, pack_list, read_list
from ..image.files import Picture
from ..image.pixels import image_of, pixels_for
from ..isolation import isolated
from ..settings import Settings
from ..weights import Loaded, load, load_for
from . import tiles, transforms
from .encoding import checked
from .reading import Reading

TILE = 32  # the usual side
TOGETHER = 32  # small pictures of one size that go through a model's transforms together


@isolated()
def pack_pictures(pictures: Sequence[tuple[str, Picture]], model: str, tile: int, settings: Settings, calls: int = 0) -> bytes:
    """A set of named pictures of one mode. calls: see `stages.encode_tiles`. Raises ImageRefused and WeightsError."""
    settings, limits = settings.started(), settings.limits
    if not 0 < len(pictures) <= MAX_IMAGES:
        raise ImageRefused(f"a set has 1 to {MAX_IMAGES:,} pictures, not {len(pictures)}")
    limits.check("images", len(pictures), "the set")
    limits.check("name", max(len(name) for name, _ in pictures), "a name in the set")
    total = sum(picture.image.width * picture.image.height for _, picture in pictures)
    if total > container.MAX_PIXELS:
        raise ImageRefused(f"{total:,} pixels are more than the format allows in a set, which is {container.MAX_PIXELS:,}")
    limits.check("pixels", total, "the set")
    tiles.check_tile(tile)
    loaded = cast(Loaded[Tiled], load(model, settings))
    coding = loaded.codings[-1]
    if coding not in container.SETS or loaded.model.qualities > 1:
        raise ImageRefused(f"the model {loaded.name} does not pack sets; `presage models` lists those that do")
    estimate.encoding(total, pictures[0][1].mode, coding).check(limits, "encoding the set")
    pixels = _checked(pictures, loaded, coding)
    maps = maps_of(loaded.model, pixels, settings)
    images = [picture.image for _, picture in pictures]
    crc, cut, side = 0, [], tiles.side(tile, loaded.model, (TILE, TILE)) if loaded.model.coding == "stages" else tile or TILE
    for image, symbols in zip(images, maps, strict=True):
        crc = zlib.crc32(symbols.tobytes() if loaded.model.lossy else image.tobytes(), crc)
        cut += tiles.cut(symbols, side)
    header = Header(0, 0, pictures[0][1].mode, coding, crc, side, loaded.name, loaded.hash)
    listed = pack_list([name for name, _ in pictures], [image.size for image in images])
    data = container.write(header, listed | tiles.coded(loaded.model, cut, 0, calls, settings))
    if settings.verify:
        _verify(data, pictures, loaded.model.lossy, settings)
    return data


def _verify(data: bytes, pictures: Sequence[tuple[str, Picture]], lossy: bool, settings: Settings) -> None:
    """Raises PresageError if a set does not decode to the pictures that it was made of; with loss to their latents."""
    try:
        images, _ = unpack_pictures(Reading(data, container.read_header(data), False, settings), None)
    except DamagedFile as error:
        raise PresageError(f"what was encoded does not decode: {error}") from None
    for (name, image), (wanted, picture) in zip(images, pictures, strict=True):
        original = picture.image
        if (name, image.mode, image.size) != (wanted, original.mode, original.size) or not (lossy or image.tobytes() == original.tobytes()):
            raise PresageError(f"what was encoded does not decode to the picture {wanted}")


def _checked(pictures: Sequence[tuple[str, Picture]], loaded: Loaded[Tiled], coding: Coding) -> list[Pixels]:
    """The pixels of pictures that go together in a set. Raises ImageRefused."""
    if len({name for name, _ in pictures}) < len(pictures):
        raise ImageRefused("two pictures have the same name")
    mode, pixels = pictures[0][1].mode, []
    for name, picture in pictures:
        if picture.mode != mode or mode not in container.CODED_MODES[coding]:
            kinds, own = ", ".join(container.PIL_MODES[m] for m in container.CODED_MODES[coding]), container.PIL_MODES[picture.mode]
            raise ImageRefused(f"{name}: the pictures of a set have one mode of {kinds}, and this one is {own}")
        try:
            check_name(name)
            pixels.append(pixels_for(picture, loaded.name, loaded.model))
        except (ValueError, ImageRefused) as error:
            raise ImageRefused(f"{name}: {error}") from None
    return pixels


def maps_of(model: Tiled, pictures: Sequence[Pixels], settings: Settings) -> list[Symbols]:
    """The maps of small pictures; those of one size go through the transforms together."""
    if not model.lossy:
        return list(pictures)
    maps: list[Symbols] = []
    for part in _same_size([picture.shape[:2] for picture in pictures]):
        features: Features = transforms.analyse(model, np.stack(pictures[part]), settings)
        maps += list(model.quantise(checked(features, "the model"), 0))
    return maps


def _pixels(model: Tiled, maps: Sequence[Symbols], sizes: Sequence[tuple[int, int]], settings: Settings) -> list[Pixels]:
    """The inverse, given (height, width) of each picture."""
    if not model.lossy:
        return list(maps)
    pictures: list[Pixels] = []
    for part in _same_size(sizes):
        symbols = np.stack(maps[part])
        pictures += list(transforms.synthesise(model, model.dequantise(symbols, 0), symbols.shape[1:3], sizes[part.start], settings))
    return pictures


def _same_size(sizes: Sequence[tuple[int, int]]) -> list[slice]:
    """Runs of equal sizes, of at most TOGETHER."""
    bounds = [0]
    for i in range(1, len(sizes) + 1):
        if i == len(sizes) or sizes[i] != sizes[bounds[-1]] or i - bounds[-1] == TOGETHER:
            bounds.append(i)
    return [slice(a, b) for a, b in pairwise(bounds)]


@isolated()
def unpack_pictures(reading: Reading, wanted: Sequence[str] | None) -> tuple[list[tuple[str, Image.Image]], list[str]]:
    """The wanted images of a set (None: all), and the names of those that are lost. Raises DamagedFile and ImageRefused.

    Images that are there in part, because a file in stages is cut, are among the images; because it is damaged, also among the lost.

    Only the groups of wanted images are decoded.
    """
    header = reading.header
    if header.coding not in container.SETS:
        raise ImageRefused("the file is a single image; use `presage decode`")
    reading = replace(reading, settings=reading.settings.started())
    limits = reading.settings.limits
    listed = read_list(reading.data, header, limits)
    pixels = sum(width * height for _, (width, height) in listed)
    if not reading.recovering:
        container.check_unknown(reading.data, header)
    estimate.decoding(reading.data, header, pixels).check(limits, "decoding the set")
    missing = set(wanted or ()) - {name for name, _ in listed}
    if missing:
        raise ImageRefused(f"the set has no image called {sorted(missing)[0]!r}; `presage info` lists what there is")
    model = cast(Tiled, load_for(header, reading.settings).model)
    sizes = [model.size(height, width) for _, (width, height) in listed]
    tiles.check_index(reading, model, sum(container.tile_count(width, height, header.tile) for height, width in sizes))
    boxes: list[Box] = []
    owners: list[int] = []
    asked: list[int] = []
    for image, ((name, _), (height, width)) in enumerate(zip(listed, sizes, strict=True)):
        own = container.tile_boxes(width, height, header.tile)
        if wanted is None or name in wanted:
            asked += range(len(boxes), len(boxes) + len(own))
        owners += [image] * len(own)
        boxes += own
    maps: dict[int, Symbols] = {}
    lost, coarse = set[int](), set[int]()
    for number, tile, whole in tiles.read(reading, model, boxes, asked):
        image = owners[number]
        if not whole and tile is not None:
            coarse.add(image)
        if tile is None:
            lost.add(image)
            continue
        canvas = maps.setdefault(image, np.empty((*sizes[image], tile.shape[2]), np.uint8))
        left, top, right, bottom = boxes[number]
        canvas[top:bottom, left:right] = tile
    there = sorted(maps.keys() - lost)
    symbols = [maps[image] for image in there]
    shapes = [(height, width) for width, height in (listed[image][1] for image in there)]
    images = [image_of(pixels, header.mode) for pixels in _pixels(model, symbols, shapes, reading.settings)]
    if wanted is None and not reading.recovering and not coarse:
        crc = 0
        for content in symbols if model.lossy else images:
            crc = zlib.crc32(content.tobytes(), crc)
        if crc != header.pixel_crc:
            raise DamagedFile("what was decoded is not what was encoded")
    missed = lost | coarse if reading.recovering else lost
    return [(listed[i][0], image) for i, image in zip(there, images, strict=True)], [listed[i][0] for i in sorted(missed)]
