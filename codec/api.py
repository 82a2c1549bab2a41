"""Presage as a library: images to bytes and back.

encode:  picture -> model's pixels -> symbols -> streams -> file
decode:  file -> streams -> symbols -> model's pixels -> picture
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from mmap import mmap
from pathlib import Path
from typing import Any, TypeAlias, Unpack, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..models.kernels import jit
from ..models.model import Layered, Model, Planar, Tiled, Transformed
from . import estimate
from .errors import DamagedFile, ImageRefused, PresageError
from .format import container
from .format.container import Box, Coding, Header, Tag
from .format.jpeg import is_jpeg
from .format.preview import SHARE
from .image import beside, files, pixels, previews, stored
from .image.files import Picture
from .image.opening import cropped
from .isolation import isolated
from .limits import Limits
from .paths import derived, layers, sets, tiles
from .paths.encoding import Encoding
from .paths.layers import LayeredEncoding
from .paths.reading import Reading
from .paths.target import Target
from .paths.tiles import TiledEncoding
from .settings import Options, Settings
from .weights import Loaded, load, load_for

Source: TypeAlias = Image.Image | NDArray[Any] | Path | str | bytes | bytearray | memoryview
File: TypeAlias = bytes | bytearray | memoryview | mmap
DEFAULT_MODEL, DEFAULT_LOSSY, DEFAULT_PLANES, DEFAULT_JPEG = "photo", "latent", "planes", "jpeg"
DEFAULT_PROGRESSIVE = "progressive"
MANY = 0.1  # share of a file of planes that is spent on pixels that do not come from them


# ---------------------------------------------------------------------------------------------------------- encoding


def encode(
    image: Source,
    *,
    model: str = DEFAULT_MODEL,
    tile: int = 0,
    pixels: bool = False,
    preview: bool = False,
    calls: int = 0,
    **options: Unpack[Options],
) -> bytes:
    """Compress an image without loss; returns the .psg file.

    image: a Pillow image, an array (uint8 (H, W), (H, W, 1..4) or uint16 (H, W)), a path, or the bytes of an image file.
    tile: the side of the independent tiles; 0: what suits the model. Of a JPEG file, its path or bytes, the bytes are kept, which
    `decode_file` gives back; pixels: only its pixels. preview: with a small picture, see `preview`. calls: of each stage, for models that
    are decoded in as many as one likes; 0: what is usual. options: see `Settings`. Raises ImageRefused and WeightsError.
    """
    settings = Settings(**options)
    if not pixels and isinstance(image, str | Path | bytes | bytearray | memoryview):
        data = _bytes_of(image)
        if takes_jpeg(data, model, settings):
            return encode_jpeg(data, model, tile, settings, preview)
        return encode_picture(_picture_in(image, data, settings.limits), model, tile, settings, preview=preview, calls=calls)
    return encode_picture(picture_of(image, settings.limits), model, tile, settings, preview=preview, calls=calls)


def takes_jpeg(data: bytes, model: str, settings: Settings) -> bool:
    """Whether a file is a JPEG file whose bytes the model is to keep. Raises WeightsError."""
    return is_jpeg(data) and (model == DEFAULT_MODEL or load(model, settings).model.coding == "jpeg")


@isolated()
def encode_jpeg(data: bytes, model: str, tile: int, settings: Settings, preview: bool = False) -> bytes:
    """The .psg file of a JPEG file. Verified, if settings say so. Raises WeightsError, and LimitExceeded."""
    from .paths import jpeg  # whose loops are compiled when they are first needed

    settings = settings.started()
    tiles.check_tile(tile)
    loaded = cast(Loaded[Transformed], load(DEFAULT_JPEG if model == DEFAULT_MODEL else model, settings))
    made = jpeg.encode(data, loaded, tile, settings)
    if settings.verify:
        jpeg.verify(made, data, settings)
    return previews.of_jpeg(made, data) if preview else made


def encode_lossy(
    image: Source,
    *,
    quality: float | None = None,
    bpp: float | None = None,
    size: int | None = None,
    psnr: float | None = None,
    effort: int | None = None,
    progressive: bool = False,
    model: str = "",
    tile: int = 0,
    preview: bool = False,
    **options: Unpack[Options],
) -> bytes:
    """Compress an image with loss; returns the .psg file. `decode` reads it.

    image: as `encode` takes it; gray or colour with 8 bits, alpha is kept without loss. One of: quality, 0..100 (50 if nothing
    is given, and of files that may be cut all); bpp or size, the largest number of bits a pixel or bytes of the whole file; psnr, the
    least number of decibels. effort: 1..9, how long to work on a better file, 5 where the model can; 1 is fastest. progressive: a file
    that may be cut anywhere. model: if it is not the default of these. tile: the side of the independent tiles in latents. preview: with
    a small picture in front, see `preview`. options: see `Settings`. Raises ImageRefused and WeightsError.
    """
    settings, target = Settings(**options), Target(quality, bpp, size, psnr, effort)
    model = model or (DEFAULT_PROGRESSIVE if progressive else DEFAULT_LOSSY)
    return encode_picture(picture_of(image, settings.limits), model, tile, settings, target, preview)


@isolated()
def encode_picture(
    picture: Picture, model: str, tile: int, settings: Settings, target: Target | None = None, preview: bool = False, calls: int = 0
) -> bytes:
    """The .psg file of a checked picture: with a target what comes nearest to it, otherwise without loss. Verified, if settings say so."""
    settings = settings.started()
    data = _file_of(picture, model, tile, settings, target.leaving(SHARE) if target and preview else target, calls)
    if settings.verify:
        _verify(data, picture, target is None, settings)
    return previews.of_picture(data, picture) if preview else data


def _verify(data: bytes, picture: Picture, lossless: bool, settings: Settings) -> None:
    """Decode what was encoded and compare it with the picture; with loss the latents or codes, by their checksum, and alpha.

    Raises PresageError if they differ.
    """
    try:
        image = decode_picture(Reading(data, container.read_header(data), False, settings), None, None)[0]
    except DamagedFile as error:
        raise PresageError(f"what was encoded does not decode: {error}") from None
    same = (image.mode, image.size) == (picture.image.mode, picture.image.size)
    if lossless:
        same = same and image.tobytes() == picture.image.tobytes()
        same = same and stored.same_deep(source_file(data, settings.limits), picture.verbatim)
        same = same and (image.mode != "P" or image.convert("RGB").tobytes() == picture.image.convert("RGB").tobytes())
    elif same and picture.mode in container.ALPHA_MODES:
        same = image.getchannel("A").tobytes() == picture.image.getchannel("A").tobytes()
    if not same:
        raise PresageError("what was encoded does not decode to the picture")


def _file_of(picture: Picture, model: str, tile: int, settings: Settings, target: Target | None, calls: int) -> bytes:
    tiles.check_tile(tile)
    if target is not None:
        loaded = load(model, settings, lossy=True)
        target.check(loaded)
        return target.file(_encoding(picture, loaded, tile, settings, calls))
    pixels.check(picture, Coding.STORED, lossy=False)
    if picture.verbatim is not None:
        return _stored(picture)
    coded: list[bytes] = []
    if picture.mode in container.CODED_MODES[Coding.CHAIN]:  # what models without loss may take
        coded = _coded(picture, model, tile, settings, calls)
    raw = picture.image.width * picture.image.height * len(picture.image.getbands())
    if not coded or pixels.may_be_drawn(picture.image) or len(coded[0]) > raw:
        coded.append(_stored(picture))
    return min(coded, key=len)


def _coded(picture: Picture, model: str, tile: int, settings: Settings, calls: int) -> list[bytes]:
    """The files of a picture by a model without loss, if it takes such pictures.

    The default one gives way to the coefficients of a JPEG file that the pixels come from, or to planes; of the latter it stands beside
    them if many pixels do not come from them. Raises ImageRefused.
    """
    files, made_of = [], model == DEFAULT_MODEL and jit.available()
    if made_of and (data := derived.of_coefficients(picture, DEFAULT_JPEG, tile, settings)):
        return [data]
    if made_of and (data := derived.of_planes(picture, DEFAULT_PLANES, tile, settings)):
        files.append(data)
        origin = container.read_header(data).section(Tag.ORIGIN)
        if origin and origin.size < MANY * len(data):
            return files
    loaded = load(model, settings, lossy=False)
    if loaded.model.coding == "jpeg":
        if data := derived.of_coefficients(picture, model, tile, settings):
            return [data]
        raise ImageRefused(f"the model {loaded.name} is for JPEG files, and for pictures that once were one")
    if loaded.model.coding == "planes":
        if data := derived.of_planes(picture, model, tile, settings):
            return [data]
        raise ImageRefused(f"the model {loaded.name} is for colour pictures whose pixels come from luma and chroma planes")
    return [*files, _encoding(picture, loaded, tile, settings, calls).file(0)] if loaded.takes(picture.mode) else files


def _encoding(picture: Picture, loaded: Loaded[Model], tile: int, settings: Settings, calls: int) -> Encoding:
    """The picture on its way through a model to a file. Raises ImageRefused."""
    coding = Coding.GRAY if loaded.model.coding == "tiles" and picture.mode in pixels.GRAY else loaded.codings[0]
    pixels.check(picture, loaded.codings[0], loaded.model.lossy)
    size = picture.image.width * picture.image.height
    estimate.encoding(size, picture.mode, coding).check(settings.limits, "encoding the picture")
    if loaded.model.coding not in ("layers", "digits"):
        return TiledEncoding(picture, cast(Loaded[Tiled], loaded), tile, settings, calls)
    if tile:
        raise ImageRefused("files that may be cut have no tiles; leave out --tile")
    return LayeredEncoding(picture, cast(Loaded[Layered], loaded), settings)


def _stored(picture: Picture) -> bytes:
    """A file with a conventional coder's."""
    header = Header(*picture.image.size, picture.mode, Coding.STORED, zlib.crc32(picture.image.tobytes()))
    return container.write(header, stored.sections(picture))


# ---------------------------------------------------------------------------------------------------------- decoding


def decode(data: File, *, crop: Box | None = None, codes: int | None = None, **options: Unpack[Options]) -> Image.Image:
    """The image of a .psg file, every pixel as it was. `crop` (x, y, width, height) decodes only the tiles it needs.

    codes: of a file of ordered codes only the first so many of every patch. options: see `Settings`. Raises DamagedFile,
    WeightsError, and ImageRefused for a crop outside the image, or codes of a file that has none.
    """
    settings, data = Settings(**options), container.octets(data)
    return decode_picture(Reading(data, container.read_header(data), False, settings), crop, codes)[0]


def recover(
    data: File, *, crop: Box | None = None, codes: int | None = None, fill: bool = False, **options: Unpack[Options]
) -> tuple[Image.Image, list[Box]]:
    """What can be saved of a damaged file: the image, and the (x, y, width, height) of tiles that are lost and filled with gray.

    Of ordered codes, what comes before the damage shows the whole picture, and all of it is listed. fill: instead of gray, what is lost is
    drawn by the file's model, if it can (`fill` does so for any picture).
    """
    settings, data = Settings(**options), container.octets(data)
    return decode_picture(Reading(data, container.read_header(data, partial=True), True, settings, fill), crop, codes)


@isolated()
def decode_file(data: File, **options: Unpack[Options]) -> bytes:
    """The JPEG file that a .psg file was made of, every byte as it was. options: see `Settings`.

    Raises DamagedFile, WeightsError, and ImageRefused for files that were not made of one.
    """
    settings, data = Settings(**options), container.octets(data)
    return _jpeg_file(Reading(data, container.read_header(data), False, settings))[0]


@isolated()
def recover_file(data: File, **options: Unpack[Options]) -> tuple[bytes, list[Box]]:
    """What can be saved of the JPEG file of a damaged file: a JPEG file, and the (x, y, width, height) of what is lost of it and gray."""
    settings, data = Settings(**options), container.octets(data)
    return _jpeg_file(Reading(data, container.read_header(data, partial=True), True, settings))


def _jpeg_file(reading: Reading) -> tuple[bytes, list[Box]]:
    from .paths import jpeg

    header = reading.header
    if header.coding != Coding.JPEG:
        raise ImageRefused("the file was not made of a JPEG file; `presage.decode` gives its pixels")
    reading = replace(reading, settings=reading.settings.started())
    limits, size = reading.settings.limits, header.width * header.height
    limits.check("pixels", size, "the picture")
    estimate.decoding(reading.data, header, size).check(limits, "decoding the JPEG file")
    return jpeg.decode(reading)


@isolated()
def decode_picture(reading: Reading, crop: Box | None, codes: int | None) -> tuple[Image.Image, list[Box]]:
    """The image of a file, or what can be recovered, and what of it is lost."""
    header, coding = reading.header, reading.header.coding
    if codes is not None and (type(codes) is not int or codes < 0):
        raise ImageRefused(f"codes are a number from 0 on, not {codes!r}")
    if codes is not None and coding not in container.CUT:
        raise ImageRefused("the file is not one that may be cut; leave out --codes")
    if coding in container.SETS:
        raise ImageRefused("the file is a set of many images; use `presage unpack`")
    area = reading.area(crop)
    reading = replace(reading, settings=reading.settings.started())
    limits, size = reading.settings.limits, header.width * header.height
    limits.check("pixels", size, "the picture")
    estimate.decoding(reading.data, header, size).check(limits, "decoding the picture")
    if not reading.recovering:
        container.check_unknown(reading.data, header)
    lost: list[Box] = []
    if coding == Coding.JPEG:
        from .paths import jpeg

        return jpeg.decode_pixels(reading, area)
    if coding == Coding.STORED:
        image = cropped(stored.read(reading.data, header), area)
    else:
        image, lost = _coded_image(reading, load_for(header, reading.settings).model, area, codes)
    return beside.restore(image, reading.data, header, reading.recovering), lost


def _coded_image(reading: Reading, model: Model, area: Box, codes: int | None) -> tuple[Image.Image, list[Box]]:
    """The image that a model's file has in an area, with its alpha channel, and what of it is lost. Raises DamagedFile."""
    header = reading.header
    if model.coding == "planes":
        from .paths import planes

        decoded, lost = planes.decode(reading, cast(Planar, model), area)
    elif model.coding == "jpeg":
        from .paths import recognised

        decoded, lost = recognised.decode(reading, cast(Transformed, model), area)
    elif model.coding in ("layers", "digits"):
        decoded, lost = layers.decode(reading, cast(Layered, model), area, codes)
    else:
        decoded, lost = tiles.decode(reading, cast(Tiled, model), area)
    image = pixels.image_of(decoded, header.mode)
    beside.put_alpha(image, reading.data, header, area, reading.recovering)
    if not (model.lossy or lost or reading.cut) and area == reading.whole and zlib.crc32(image.tobytes()) != header.pixel_crc:
        if not reading.recovering:
            raise DamagedFile("the decoded pixels are not those that were encoded")
        lost = [reading.whole]
    return image, lost


@isolated()
def decode_cuts(data: bytes | mmap, sizes: Sequence[int], settings: Settings) -> list[Image.Image]:
    """The images of the cuts of a file of ordered codes at sizes in bytes, with one walk for all. Raises DamagedFile."""
    reading = Reading(data, container.read_header(data), False, settings.started())
    size = reading.header.width * reading.header.height
    settings.limits.check("pixels", size, "the picture")
    estimate.decoding(data, reading.header, size).check(settings.limits, "decoding the picture")
    pictures = layers.decode_cuts(reading, cast(Layered, load_for(reading.header, settings).model), sizes)
    images = []
    for size, decoded in zip(sizes, pictures, strict=True):
        image, part = pixels.image_of(decoded, reading.header.mode), data[:size]
        beside.put_alpha(image, part, reading.header, reading.whole, False)
        images.append(beside.restore(image, part, reading.header, False))
    return images


def source_file(data: bytes | mmap, limits: Limits | None = None) -> bytes | None:
    """The PNG in colour with more bits than Pillow reads that a file was made of, its chunks and samples as they were; None for all others.

    Raises DamagedFile, and LimitExceeded.
    """
    header = container.read_header(data)
    if header.coding != Coding.STORED:
        return None
    limits, size = limits or Limits(), header.width * header.height
    limits.check("pixels", size, "the picture")
    estimate.decoding(data, header, size).check(limits, "decoding the picture")
    container.check_unknown(data, header)
    return stored.source_of(data, header)


# -------------------------------------------------------------------------------------------------------------- sets


def pack(pictures: Mapping[str, Source], *, model: str, tile: int = 0, calls: int = 0, **options: Unpack[Options]) -> bytes:
    """Compress many images to one file, without loss unless the model is a lossy one; returns the .psg file.

    pictures: the images by their names, of one mode; as `encode` takes them. tile: the side of the independent tiles; 0: what
    suits the model. calls: see `encode`. options: see `Settings`. Raises ImageRefused and WeightsError.
    """
    settings = Settings(**options)
    if not all(isinstance(name, str) for name in pictures):
        raise ImageRefused("the names of pictures are texts")
    named = [(name, picture_of(image, settings.limits)) for name, image in pictures.items()]
    return sets.pack_pictures(named, model, tile, settings, calls)


def unpack(data: File, names: Sequence[str] | None = None, **options: Unpack[Options]) -> dict[str, Image.Image]:
    """The images of a set by their names, or only the named ones. Raises DamagedFile, ImageRefused and WeightsError."""
    settings, data = Settings(**options), container.octets(data)
    if isinstance(names, str):
        raise ImageRefused("names are a list of texts")
    return dict(sets.unpack_pictures(Reading(data, container.read_header(data), False, settings), names)[0])


# ------------------------------------------------------------------------------------------------------------ pictures


def _bytes_of(image: Path | str | bytes | bytearray | memoryview) -> bytes:
    """The bytes of an image file, given them or its path. Raises ImageRefused."""
    if not isinstance(image, str | Path):
        return bytes(image)
    try:
        return Path(image).read_bytes()
    except (OSError, ValueError) as error:
        raise ImageRefused(f"{image}: {getattr(error, 'strerror', None) or error}") from None


def _picture_in(image: Path | str | bytes | bytearray | memoryview, data: bytes, limits: Limits | None) -> Picture:
    """The picture in the bytes of an image file, which is named if there is a path. Raises ImageRefused."""
    return files.read(data, str(image), limits) if isinstance(image, str | Path) else files.read(data, limits=limits)


def picture_of(image: Source, limits: Limits | None = None) -> Picture:
    """An image as `encode` takes it, checked. Raises ImageRefused."""
    if isinstance(image, Image.Image):
        return files.from_pillow(image, limits=limits)
    if isinstance(image, str | Path | bytes | bytearray | memoryview):
        return _picture_in(image, _bytes_of(image), limits)
    if not isinstance(image, np.ndarray):
        raise ImageRefused(f"an image is a Pillow image, an array, a path or the bytes of a file, not {type(image).__name__}")
    array = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if array.dtype.name not in ("uint8", "uint16") or array.ndim not in (2, 3):
        raise ImageRefused(f"arrays of {array.dtype} with shape {array.shape} are not taken")
    files.check_size(array.shape[1], array.shape[0], "the array", limits)
    try:
        return files.from_pillow(Image.fromarray(array), limits=limits)
    except (TypeError, ValueError) as error:
        raise ImageRefused(f"arrays of {array.dtype} with shape {array.shape} are not taken: {error}") from None
