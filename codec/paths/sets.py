"""Packed sets: many images in one file, sharing groups, for a model of symbols.

The images' names, sizes and order are kept in a compressed list. Small images are cheap in a set: one image alone would pay
for a header, a checksum and the end of a stream.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from mmap import mmap
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from .. import api
from .. import weights as networks
from ..errors import DamagedFile, ImageRefused
from ..format import container
from ..format.container import Box, Coding, Header, Mode, Tag
from ..isolation import isolated

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from ..image.files import Picture

MAX_LIST = 1 << 26  # bytes of a list
MAX_IMAGES = 1 << 20
LAST_NUMBER = re.compile(r"(?s)(.*?)([0-9]{1,15})([^0-9]*)")


def number_runs(names: Sequence[str]) -> list[Any]:
    """Names as a JSON list: a text for one name, or [prefix, first number, digits, suffix, count] for names that count up."""
    runs: list[Any] = []
    for name in names:
        match = LAST_NUMBER.fullmatch(name)
        last = runs[-1] if runs else None
        if match and isinstance(last, list):
            prefix, first, digits, suffix, count = last
            if match[1] == prefix and match[3] == suffix and match[2] == f"{first + count:0{digits}}":
                last[4] += 1
                continue
        runs.append([match[1], int(match[2]), len(match[2]), match[3], 1] if match else name)
    return [f"{r[0]}{r[1]:0{r[2]}}{r[3]}" if isinstance(r, list) and r[4] == 1 else r for r in runs]


def names_of(runs: Sequence[Any]) -> Iterator[str]:
    """The inverse of `number_runs`."""
    for run in runs:
        if isinstance(run, str):
            yield run
        else:
            prefix, first, digits, suffix, count = run
            yield from (f"{prefix}{first + i:0{digits}}{suffix}" for i in range(count))


def check_name(name: str) -> None:
    """Names are relative paths that stay where they are put. Raises ValueError."""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name or ":" in name:
        raise ValueError(f"{name!r} is not the name of a file in a folder")


def pack(pictures: Mapping[str, api.Source], *, model: str, tile: int = 0, **settings: Any) -> bytes:
    """Compress many images to one file, without loss unless the model is a lossy one; returns the .psg file.

    pictures: the images by their names, of one mode; as `presage.encode` takes them. tile: the side of the independent
    tiles; 0: what suits the model. settings: see `networks.Settings`. Raises ImageRefused and WeightsError.
    """
    return pack_pictures([(name, api.picture_of(image)) for name, image in pictures.items()], model, tile, networks.Settings(**settings))


def unpack(data: bytes | mmap, names: Sequence[str] | None = None, **settings: Any) -> dict[str, Image.Image]:
    """The images of a set by their names, or only the named ones. Raises DamagedFile, ImageRefused and WeightsError."""
    return dict(unpack_images(data, names, False, networks.Settings(**settings))[0])


@isolated()
def pack_pictures(pictures: Sequence[tuple[str, Picture]], model: str, tile: int, settings: networks.Settings) -> bytes:
    """A set of named pictures of one mode. Raises ImageRefused and WeightsError."""
    from ...models.latent.exact import ExactLatent
    from ...models.pixelcnn.exact import ExactPixelCNN
    from . import groups as chained

    if not 0 < len(pictures) <= MAX_IMAGES:
        raise ImageRefused(f"a set has 1 to {MAX_IMAGES:,} pictures, not {len(pictures)}")
    weights, network = networks.load_model(model, settings)
    if not isinstance(network, ExactPixelCNN | ExactLatent) or (isinstance(network, ExactLatent) and network.qualities > 1):
        raise ImageRefused(f"the model {weights.name} does not pack sets; `presage models` lists those that do")
    side = tile or api.DEFAULT_TILES["pixelcnn"]
    mode = pictures[0][1].mode
    coding = Coding.LATENT_SET if isinstance(network, ExactLatent) else Coding.SET
    values: list[NDArray[np.uint8]] = []
    if len({name for name, _ in pictures}) < len(pictures):
        raise ImageRefused("two pictures have the same name")
    for name, picture in pictures:
        if picture.mode != mode or mode not in container.CODED_MODES[coding]:
            kinds = ", ".join(container.PIL_MODES[m] for m in container.CODED_MODES[coding])
            raise ImageRefused(
                f"{name}: the pictures of a set have one mode of {kinds}, and this one is {container.PIL_MODES[picture.mode]}"
            )
        try:
            check_name(name)
            if isinstance(network, ExactPixelCNN):
                values.append(api.pixels_for(picture, weights.name, network))
        except (ValueError, ImageRefused) as error:
            raise ImageRefused(f"{name}: {error}") from None
    if isinstance(network, ExactLatent):
        from . import latents

        values, prior = latents.latents_of(network, [picture for _, picture in pictures], settings), network.prior
        parts = [symbols.tobytes() for symbols in values]
    else:
        prior = network
        parts = [picture.image.tobytes() for _, picture in pictures]
    crc, cut = 0, []
    for content, array in zip(parts, values, strict=True):
        crc = zlib.crc32(content, crc)
        boxes = container.tile_boxes(array.shape[1], array.shape[0], side)
        cut += [array[top:bottom, left:right] for left, top, right, bottom in boxes]
    groups = chained.encode_tiles(prior, cut, settings.thread_count, settings.progress)
    sizes = [[*size, len(list(same))] for size, same in groupby(picture.image.size for _, picture in pictures)]
    listed = {"names": number_runs([name for name, _ in pictures]), "sizes": sizes}
    names = zlib.compress(json.dumps(listed, separators=(",", ":"), ensure_ascii=False).encode(), 9)
    header = Header(0, 0, mode, coding, crc, side, weights.name, weights.hash)
    return container.write(header, {Tag.LIST: names} | container.pack_groups(*groups))


def contents(data: bytes | mmap, header: Header) -> list[tuple[str, tuple[int, int]]]:
    """Name and (width, height) of every image of a set. Raises DamagedFile."""
    packed = container.read_section(data, header, Tag.LIST)
    try:
        inflater = zlib.decompressobj()
        text = inflater.decompress(packed or b"", MAX_LIST)
        if not inflater.eof:
            raise ValueError("too long")
        listed = json.loads(text)
        runs = listed["names"]
        counts = [count for _, _, count in listed["sizes"]]
        if min(counts) < 1 or sum(counts) != sum(1 if isinstance(run, str) else run[4] for run in runs) or sum(counts) > MAX_IMAGES:
            raise ValueError("names and sizes do not match")
        sizes = [(width, height) for width, height, count in listed["sizes"] for _ in range(count)]
        if (
            any(not 0 < side <= container.MAX_SIDE for size in sizes for side in size)
            or sum(w * h for w, h in sizes) > container.MAX_PIXELS
        ):
            raise ValueError("sizes that this format does not allow")
        found = list(zip(names_of(runs), sizes, strict=True))
        for name, _ in found:
            check_name(name)
    except (zlib.error, ValueError, KeyError, TypeError, IndexError) as error:
        raise DamagedFile(f"the list of images is damaged: {error}") from None
    return found


@isolated()
def unpack_images(
    data: bytes | mmap, wanted: Sequence[str] | None, recovering: bool, settings: networks.Settings
) -> tuple[list[tuple[str, Image.Image]], list[str]]:
    """The wanted images of a set (None: all), and the names of those that are lost. Raises DamagedFile and ImageRefused.

    Only the groups of wanted images are decoded.
    """
    import numpy as np

    from ...models.latent.exact import ExactLatent
    from ...models.ordered.exact import ExactOrdered
    from . import tiles

    header = container.read_header(data, partial=recovering)
    if header.coding not in container.SETS:
        raise ImageRefused("the file is a single image; use `presage decode`")
    listed = contents(data, header)
    missing = set(wanted or ()) - {name for name, _ in listed}
    if missing:
        raise ImageRefused(f"the set has no image called {sorted(missing)[0]!r}; `presage info` lists what there is")
    network = networks.network_of(header, settings)
    if isinstance(network, ExactOrdered) or isinstance(network, ExactLatent) != (header.coding == Coding.LATENT_SET):
        raise DamagedFile(f"the model {header.model} does not go with the file's coding")
    model = network.prior if isinstance(network, ExactLatent) else network
    shapes = [(h, w) for _, (w, h) in listed]
    if isinstance(network, ExactLatent):
        shapes = [network.size(*shape) for shape in shapes]
    boxes: list[Box] = []
    owners: list[int] = []
    places: list[int] = []
    for image, ((name, _), (height, width)) in enumerate(zip(listed, shapes, strict=True)):
        cut = container.tile_boxes(width, height, header.tile)
        if wanted is None or name in wanted:
            places += range(len(boxes), len(boxes) + len(cut))
        owners += [image] * len(cut)
        boxes += cut
    values: dict[int, Any] = {}
    lost: set[int] = set()
    for number, tile in tiles.read(data, header, model, boxes, places, recovering, settings):
        image = owners[number]
        if tile is None:
            lost.add(image)
            continue
        canvas = values.setdefault(image, np.empty((*shapes[image], tile.shape[2]), np.uint8))
        left, top, right, bottom = boxes[number]
        canvas[top:bottom, left:right] = tile
    whole = sorted(values.keys() - lost)
    if isinstance(network, ExactLatent):
        from . import latents

        parts = [values[image].tobytes() for image in whole]
        sizes = [listed[image][1] for image in whole]
        made = latents.images_of(network, [values[image] for image in whole], sizes, header.mode == Mode.GRAY, settings)
    else:
        made = [_picture(values[image], header.mode) for image in whole]
        parts = [picture.tobytes() for picture in made]
    if wanted is None and not recovering:
        crc = 0
        for content in parts:
            crc = zlib.crc32(content, crc)
        if crc != header.pixel_crc:
            raise DamagedFile("what was decoded is not what was encoded")
    found = [(listed[image][0], picture) for image, picture in zip(whole, made, strict=True)]
    return found, [listed[image][0] for image in sorted(lost)]


def _picture(pixels: NDArray[np.uint8], mode: Mode) -> Image.Image:
    from PIL import Image

    picture = Image.fromarray(pixels[..., 0] if mode != Mode.RGB else pixels)
    return picture.convert("1", dither=Image.Dither.NONE) if mode == Mode.BILEVEL else picture


def info(data: bytes | mmap, header: Header) -> dict[str, Any]:
    """What a set says of itself."""
    listed = contents(data, header)
    channels = 3 if header.mode == Mode.RGB else 1
    samples = sum(w * h for _, (w, h) in listed) * channels
    return {
        "images": len(listed),
        "mode": container.PIL_MODES[header.mode],
        "coding": "lossy set" if header.coding == Coding.LATENT_SET else "set",
        "bytes": header.size,
        "bits_per_sample": round(header.size * 8 / samples, 4),
        "version": container.VERSION,
        "model": header.model,
        "weights": header.weights.hex(),
        "tile": header.tile,
        "sections": {s.tag.decode("ascii", "replace"): s.size for s in header.sections},
        "names": [name for name, _ in listed],
    }
