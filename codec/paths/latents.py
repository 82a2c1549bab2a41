"""Pictures with loss: through the latents of an autoencoder, whose integers are coded without loss.

The file holds the latents exactly. The pixels that a decoder makes of them come from floating point: the same on one machine
whatever the threads, and at most one grey level apart between machines.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...models.latent.exact import ExactLatent, Features, Symbols
from ...models.windows import Window, windows
from .. import api
from .. import weights as networks
from ..errors import DamagedFile, ImageRefused
from ..format import container
from ..format.container import Box, Coding, Header, Mode, Tag
from ..image import stored
from ..image.files import Picture
from ..parallel import Progress, spread
from . import groups as chained
from . import tiles, wavefront
from .target import SCALE, Target

if TYPE_CHECKING:
    from mmap import mmap

    from ...models import catalogue as store

TILE = 128  # latents along the side of a tile
TOGETHER = 32  # small pictures that go through the transforms together
NEAR = 0.975  # a file of so much of the wanted size is near enough
NEAR_DB = 0.05
SLOPE, SLOPE_DB = 2.5, 9.0  # growth from the worst quality to the best: of the logarithm of the size, and in decibels; about


def latent_model(name: str, settings: networks.Settings) -> tuple[store.Weights, ExactLatent]:
    """A lossy model. Raises WeightsError and ImageRefused."""
    weights, network = networks.load_model(name, settings)
    if not isinstance(network, ExactLatent):
        raise ImageRefused(f"the model {weights.name} codes without loss; `presage models` lists those for --lossy")
    return weights, network


def check(picture: Picture, coding: Coding) -> None:
    """Raises ImageRefused for pictures that are not coded with loss."""
    if picture.mode not in container.CODED_MODES[coding] or picture.verbatim is not None:
        kinds = ", ".join(container.PIL_MODES[mode] for mode in container.CODED_MODES[coding])
        name = "colour with 16 bits a channel" if picture.verbatim is not None else f"mode {container.PIL_MODES[picture.mode]}"
        raise ImageRefused(f"images of {name} are not coded with loss (coded are {kinds}); convert the image, or leave out --lossy")
    if picture.meta.get("transparency") is not None:
        raise ImageRefused("an image with a transparent colour is not coded with loss; convert it to RGBA first")


# ---------------------------------------------------------------------------------------------------------- transforms


def in_windows(
    size: tuple[int, int], one: Callable[[Window], NDArray[Any]], result: NDArray[Any], scale: int, settings: networks.Settings
) -> None:
    """Fill (B, scale * h, scale * w, ...) window by window; every window is worked on by one thread."""
    every = windows(*size)
    workers = settings.worker_count
    for start in range(0, len(every), 4 * workers):  # so that few results wait
        some = every[start : start + 4 * workers]

        def work(part: slice, _: Progress, some: list[Window] = some) -> list[NDArray[Any]]:
            return [one(window) for window in some[part]]

        for (a, b, c, d), found in zip(some, spread(work, len(some), 1, workers, lambda _: None), strict=True):
            result[:, a * scale : b * scale, c * scale : d * scale] = found


def analyse(network: ExactLatent, pixels: NDArray[np.uint8], settings: networks.Settings) -> Features:
    """What is quantised of pictures (B, H, W, 3); float32 (B, h, w, channels)."""
    size = network.size(*pixels.shape[1:3])
    features = np.empty((len(pixels), *size, network.config.channels), np.float32)
    in_windows(size, lambda window: network.analyse(pixels, window), features, 1, settings)
    return features


def synthesise(
    network: ExactLatent, symbols: Symbols, quality: int, height: int, width: int, settings: networks.Settings
) -> NDArray[np.uint8]:
    """The pictures (B, height, width, 3) of latents (B, h, w, channels)."""
    side = network.config.side
    size = symbols.shape[1:3]
    pixels = np.empty((len(symbols), size[0] * side, size[1] * side, 3), np.uint8)
    in_windows((size[0], size[1]), lambda window: network.synthesise(symbols, window, quality), pixels, side, settings)
    return pixels[:, :height, :width]


# ------------------------------------------------------------------------------------------------------------ encoding


class _Encoding:
    """A picture on its way to a file, at any quality."""

    def __init__(self, picture: Picture, weights: store.Weights, network: ExactLatent, tile: int, settings: networks.Settings) -> None:
        self.picture, self.weights, self.network, self.tile, self.settings = picture, weights, network, tile, settings
        self.width, self.height = picture.image.size
        self.pixels = api.rgb_pixels(picture)[None]
        self.features = analyse(network, self.pixels, settings)
        self.extras = kept_beside(picture)
        self._files: dict[int, bytes] = {}

    def latents(self, quality: int) -> Symbols:
        return self.network.quantise(self.features, quality)

    def file(self, quality: int) -> bytes:
        """The file at a quality 0 ... qualities - 1."""
        if quality not in self._files:
            symbols = self.latents(quality)[0]
            boxes = container.tile_boxes(symbols.shape[1], symbols.shape[0], self.tile)
            cut = [symbols[top:bottom, left:right] for left, top, right, bottom in boxes]
            prior, threads = self.network.prior_at(quality), self.settings.thread_count
            if wavefront.fits(prior):
                spans = wavefront.spans_of(cut, prior.config.zero)
                streams = wavefront.encode_tiles(prior, cut, spans, threads, self.settings.progress)
                sections = container.pack_latents(quality, spans) | container.pack_tiles(streams)
            else:
                sections = container.pack_groups(*chained.encode_tiles(prior, cut, threads, self.settings.progress))
            crc, side = zlib.crc32(symbols.tobytes()), self.tile
            header = Header(self.width, self.height, self.picture.mode, Coding.LATENT, crc, side, self.weights.name, self.weights.hash)
            self._files[quality] = container.write(header, self.extras | sections)
        return self._files[quality]

    def psnr(self, quality: int) -> float:
        """Decibels of what a decoder makes of it."""
        decoded = synthesise(self.network, self.latents(quality), quality, self.height, self.width, self.settings)
        return decibels(decoded, self.pixels, self.picture.mode)


def kept_beside(picture: Picture) -> dict[bytes, bytes]:
    """The sections of what is kept without loss, alpha too."""
    has_alpha = picture.mode in (Mode.GRAY_ALPHA, Mode.RGBA)
    return picture.extras | ({Tag.ALPHA: stored.encode(picture.image.getchannel("A"))} if has_alpha else {})


def decibels(decoded: NDArray[np.uint8], pixels: NDArray[np.uint8], mode: Mode) -> float:
    """PSNR of what a decoder makes (..., H, W, 3) of a picture's pixels, over R, G and B; of gray pictures as they are shown."""
    shown = gray_of(decoded)[..., None] if mode in (Mode.GRAY, Mode.GRAY_ALPHA) else decoded
    difference = shown.astype(np.int16) - pixels
    return float(10 * np.log10(255**2 / max(1e-9, np.square(difference, dtype=np.int32).mean())))


def image_of(pixels: NDArray[np.uint8], data: bytes | mmap, header: Header, without_alpha: bool) -> Image.Image:
    """The image of a file, of what a decoder makes (H, W, 3); `without_alpha`: opaque if the alpha channel is lost."""
    image = Image.fromarray(gray_of(pixels) if header.mode in (Mode.GRAY, Mode.GRAY_ALPHA) else np.ascontiguousarray(pixels))
    if header.mode in (Mode.GRAY_ALPHA, Mode.RGBA):
        api.put_alpha(image, data, header, (0, 0, *image.size), without_alpha)
    return image


def gray_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """R = G = B of a decoded gray picture."""
    found: NDArray[np.uint8] = ((pixels.sum(-1, dtype=np.int32) * 2 + 3) // 6).astype(np.uint8)
    return found


def _last(count: int, value: Callable[[int], float], target: float, near: float, slope: float) -> int:
    """The last of range(count) whose increasing value is not above the target, or one that is nearer than `near`; 0 if all are above.

    slope: what the value grows by from one to the next, more or less.
    """
    low, high = -1, count  # value(low) <= target < value(high)
    known: dict[int, float] = {}
    place = count // 2
    aim = target - near / 3
    while high - low > 1:
        known[place] = value(place)
        if known[place] <= target:
            low = place
            if target - known[place] <= near:
                break
        else:
            high = place
        rise = (known[high] - known[low]) / (high - low) if low in known and high in known else slope
        guess = place + round((aim - known[place]) / max(rise, slope / 8))
        place = min(max(guess, low + 1), high - 1)
    return max(low, 0)


def encode_picture(picture: Picture, model: str, target: Target, tile: int, settings: networks.Settings) -> bytes:
    """The .psg file of a checked picture."""
    if tile and tile not in container.TILE_SIDES:
        raise ImageRefused(f"the side of a tile is {container.TILE_SIDES.start} to {container.TILE_SIDES.stop - 1} latents, not {tile}")
    check(picture, Coding.LATENT)
    api.check_size(picture.image)
    weights, network = latent_model(model, settings)
    encoding = _Encoding(picture, weights, network, tile or TILE, settings)
    last = network.qualities - 1
    if target.psnr is not None:
        wanted = target.psnr
        first = _last(last + 1, lambda q: -encoding.psnr(last - q), -wanted, NEAR_DB, SLOPE_DB / network.qualities)
        if encoding.psnr(last - first) < wanted:
            raise ImageRefused(f"{wanted} dB is beyond the best quality of {weights.name}, which is {encoding.psnr(last):.2f} dB here")
        return encoding.file(last - first)
    if target.size is None and target.bpp is None:
        quality = SCALE / 2 if target.quality is None else target.quality
        return encoding.file(round(quality * last / SCALE))
    limit = target.size if target.size is not None else int((target.bpp or 0) * encoding.width * encoding.height / 8)
    wanted, near = float(np.log(max(1, limit))), -float(np.log(NEAR))
    place = _last(last + 1, lambda q: float(np.log(len(encoding.file(q)))), wanted, near, SLOPE / network.qualities)
    if len(encoding.file(place)) > limit:
        raise ImageRefused(f"the smallest file of this picture has {len(encoding.file(0)):,} bytes, more than {limit:,}")
    return encoding.file(place)


# ------------------------------------------------------------------------------------------------------------ decoding


def decode_image(data: bytes | mmap, header: Header, recovering: bool, settings: networks.Settings) -> tuple[Image.Image, list[Box]]:
    """The image of a file, and the (x, y, width, height) of tiles that are lost and become gray. Raises DamagedFile."""
    network = networks.network_of(header, settings)
    if not isinstance(network, ExactLatent):
        raise DamagedFile(f"the model {header.model} does not go with the file's coding")
    quality = container.read_latents(data, header, network.config.channels)[0] if header.section(Tag.LATENTS) else 0
    prior = network.prior_at(quality)
    height, width = network.size(header.height, header.width)
    boxes = container.tile_boxes(width, height, header.tile)
    symbols = np.full((height, width, network.config.channels), prior.config.zero, np.uint8)
    lost: list[Box] = []
    side = network.config.side
    for i, tile in tiles.read(data, header, prior, boxes, range(len(boxes)), recovering, settings):
        left, top, right, bottom = boxes[i]
        if tile is None:
            x, y = left * side, top * side
            lost.append((x, y, min(right * side, header.width) - x, min(bottom * side, header.height) - y))
        else:
            symbols[top:bottom, left:right] = tile
    if not lost and zlib.crc32(symbols.tobytes()) != header.pixel_crc:
        if not recovering:
            raise DamagedFile("the decoded latents are not those that were encoded")
        lost = [(0, 0, header.width, header.height)]
    pixels = synthesise(network, symbols[None], quality, header.height, header.width, settings)[0]
    return image_of(pixels, data, header, recovering), lost


# ----------------------------------------------------------------------------------------------------------------- sets


def latents_of(network: ExactLatent, pictures: Sequence[Picture], settings: networks.Settings) -> list[Symbols]:
    """The latents (h, w, channels) of small pictures, for models with one quality; those of one size go together."""
    found: list[Symbols] = []
    for part in _same_size([picture.image.size for picture in pictures]):
        pixels = np.stack([api.rgb_pixels(picture) for picture in pictures[part]])
        found += list(network.quantise(analyse(network, pixels, settings), 0))
    return found


def images_of(
    network: ExactLatent, symbols: Sequence[Symbols], sizes: Sequence[tuple[int, int]], gray: bool, settings: networks.Settings
) -> list[Image.Image]:
    """The inverse: pictures of (width, height), of latents."""
    found: list[Image.Image] = []
    for part in _same_size(sizes):
        width, height = sizes[part.start]
        pixels = synthesise(network, np.stack(symbols[part]), 0, height, width, settings)
        found += [Image.fromarray(p) for p in (gray_of(pixels) if gray else np.ascontiguousarray(pixels))]
    return found


def _same_size(sizes: Sequence[tuple[int, int]]) -> list[slice]:
    """Runs of equal sizes, of at most TOGETHER."""
    bounds = [0]
    for i in range(1, len(sizes) + 1):
        if i == len(sizes) or sizes[i] != sizes[bounds[-1]] or i - bounds[-1] == TOGETHER:
            bounds.append(i)
    return [slice(a, b) for a, b in pairwise(bounds)]
