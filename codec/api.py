"""Presage as a library: images to bytes and back. Heavy modules are imported where they are used, so that `info` stays light."""

from __future__ import annotations

import zlib
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import DamagedFile, ImageRefused
from .format import container
from .format.container import Box, Coding, Header, Mode, Tag
from .isolation import isolated
from .weights import Settings, find_weights, load_model, network_of

if TYPE_CHECKING:
    from mmap import mmap

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

    from ..models.pixelcnn.exact import ExactPixelCNN
    from .image.files import Picture

    Source = Image.Image | NDArray[Any] | Path | str | bytes

DEFAULT_MODEL = "photo"
DEFAULT_TILES = {"photo": 128, "pixelcnn": 32}
SMALL = 1 << 14  # pixels below which both codings are tried
DAMAGED_FILL = 128


# ---------------------------------------------------------------------------------------------------------- encoding


def encode(image: Image.Image | NDArray[Any] | Path | str | bytes, *, model: str = DEFAULT_MODEL, tile: int = 0, **settings: Any) -> bytes:
    """Compress an image without loss; returns the .psg file.

    image: a Pillow image, an array (uint8 (H, W), (H, W, 1..4) or uint16 (H, W)), a path, or the bytes of an image file.
    tile: the side of the independent tiles; 0: what suits the model. settings: see `Settings`. Raises ImageRefused and
    WeightsError.
    """
    return encode_picture(picture_of(image), model, tile, Settings(**settings))


def picture_of(image: Source) -> Picture:
    """An image as `encode` takes it, checked. Raises ImageRefused."""
    from PIL import Image

    from .image import files as images

    if isinstance(image, Image.Image):
        return images.from_pillow(image)
    if isinstance(image, bytes):
        return images.read(image)
    if isinstance(image, str | Path):
        try:
            return images.read(Path(image).read_bytes(), str(image))
        except OSError as error:
            raise ImageRefused(f"{image}: {error.strerror or error}") from None
    array = image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image
    if array.dtype.name not in ("uint8", "uint16") or array.ndim not in (2, 3):
        raise ImageRefused(f"arrays of {array.dtype} with shape {array.shape} are not taken")
    try:
        return images.from_pillow(Image.fromarray(array))
    except (TypeError, ValueError) as error:
        raise ImageRefused(f"arrays of {array.dtype} with shape {array.shape} are not taken: {error}") from None


@isolated()
def encode_picture(picture: Picture, model: str, tile: int, settings: Settings) -> bytes:
    """The .psg file of a checked picture."""
    if tile and tile not in container.TILE_SIDES:
        raise ImageRefused(f"the side of a tile is {container.TILE_SIDES.start} to {container.TILE_SIDES.stop - 1}, not {tile}")
    image = picture.image
    check_size(image)
    extras = picture.extras
    plain = Header(image.width, image.height, picture.mode, Coding.STORED, zlib.crc32(image.tobytes()))
    if picture.verbatim is not None:
        return container.write(plain, {Tag.SOURCE: picture.verbatim})
    candidates = []
    by_model = picture.mode in container.CODED_MODES[Coding.GRAY]
    if picture.mode == Mode.BILEVEL:  # for models of symbols only
        by_model = find_weights(model, settings).metadata.get("model") == "pixelcnn"
    if by_model:
        candidates.append(_with_model(picture, plain, extras, model, tile, settings))
    if not by_model or _may_be_drawn(image) or len(candidates[0]) > image.width * image.height * len(image.getbands()):
        from .image import stored

        candidates.append(container.write(plain, {Tag.STORED: stored.encode(image)} | extras))
    return min(candidates, key=len)


def check_size(image: Image.Image) -> None:
    """Raises ImageRefused."""
    if image.width * image.height > container.MAX_PIXELS or max(image.size) > container.MAX_SIDE:
        raise ImageRefused(f"{image.width} x {image.height} pixels are more than the format allows")


def _with_model(picture: Picture, plain: Header, extras: dict[bytes, bytes], model: str, tile: int, settings: Settings) -> bytes:
    from ..models.latent.exact import ExactLatent
    from ..models.ordered.exact import ExactOrdered
    from ..models.pixelcnn.exact import ExactPixelCNN
    from .image import stored
    from .paths import groups as chained
    from .paths import lossless, tiles

    weights, network = load_model(model, settings)
    if isinstance(network, ExactLatent | ExactOrdered):
        raise ImageRefused(f"the model {weights.name} codes with loss; use --lossy, or `presage.encode_lossy`")
    image = picture.image
    side = tile or DEFAULT_TILES[weights.metadata.get("model", "photo")]
    boxes = container.tile_boxes(image.width, image.height, side)
    coding = Coding.CHAIN
    if isinstance(network, ExactPixelCNN):
        pixels = pixels_for(picture, weights.name, network)
        cut = [pixels[top:bottom, left:right] for left, top, right, bottom in boxes]
        groups = chained.encode_tiles(network, cut, settings.thread_count, settings.progress)
        sections = extras | container.pack_groups(*groups)
    else:
        pixels = rgb_pixels(picture)
        gray = bool((pixels == pixels[..., :1]).all())
        coding = Coding.GRAY if gray else Coding.COLOUR
        streams: list[bytes] = []
        for start in range(0, len(boxes), tiles.CHUNK_TILES):
            chunk = [pixels[top:bottom, left:right] for left, top, right, bottom in boxes[start : start + tiles.CHUNK_TILES]]

            def report(share: float, start: int = start, count: int = len(chunk)) -> None:
                settings.progress((start + share * count) / len(boxes))

            streams += lossless.encode_tiles(network, chunk, gray, settings.thread_count, report)
        sections = extras | container.pack_tiles(streams)
    if picture.mode in (Mode.GRAY_ALPHA, Mode.RGBA):
        sections = {Tag.ALPHA: stored.encode(image.getchannel("A"))} | sections
    header = Header(plain.width, plain.height, plain.mode, coding, plain.pixel_crc, side, weights.name, weights.hash)
    return container.write(header, sections)


def rgb_pixels(picture: Picture) -> NDArray[np.uint8]:
    """The pixels of a picture as uint8 (H, W, 3), without alpha; gray is repeated."""
    import numpy as np

    image = picture.image
    if picture.mode in (Mode.RGB, Mode.RGBA):
        return np.asarray(image)[..., :3]
    return np.asarray(image.getchannel(0))[..., None].repeat(3, 2)


def quantised(picture: Picture, model: str, settings: Settings) -> Picture:
    """The picture with the grey levels that a model has; alpha stays. Raises WeightsError."""
    import numpy as np
    from PIL import Image

    from ..models import symbols
    from ..models.pixelcnn.exact import ExactPixelCNN

    _, network = load_model(model, settings)
    if not isinstance(network, ExactPixelCNN) or picture.mode not in container.CODED_MODES[Coding.GRAY]:
        return picture
    bands = picture.image.split()
    colours = bands[:-1] if picture.mode in (Mode.GRAY_ALPHA, Mode.RGBA) else bands
    new = [Image.fromarray(symbols.quantised(np.asarray(band), network.config)) for band in colours]
    return replace(picture, image=Image.merge(picture.image.mode, [*new, *bands[len(new) :]]))


def pixels_for(picture: Picture, name: str, network: ExactPixelCNN) -> NDArray[np.uint8]:
    """The pixels of a picture as a model of symbols takes them, uint8 (H, W, 1 or 3). Raises ImageRefused."""
    import numpy as np

    from ..models import symbols

    if symbols.image_channels(network.config) == 3:
        if picture.mode == Mode.BILEVEL:
            raise ImageRefused(f"the model {name} is for gray and colour, not for black and white")
        pixels = rgb_pixels(picture)
    elif picture.mode in (Mode.BILEVEL, Mode.GRAY, Mode.GRAY_ALPHA):
        pixels = np.asarray(picture.image.getchannel(0).convert("L"))[..., None]
    else:
        raise ImageRefused(f"the model {name} is for gray pictures, not for {container.PIL_MODES[picture.mode]}")
    if not symbols.fits(pixels, network.config):
        levels = "0 and 255" if network.config.levels == 2 else f"multiples of {network.config.step}"
        raise ImageRefused(f"the model {name} has only the grey levels {levels}; --quantise brings the picture there, with loss")
    return pixels


def _may_be_drawn(image: Image.Image) -> bool:
    """Whether a conventional coder could win: small images, and those with much exact repetition (screenshots, drawings)."""
    import numpy as np

    if image.width * image.height <= SMALL:
        return True
    pixels = np.asarray(image).reshape(image.height, image.width, -1)
    same = (pixels[1:, 1:] == pixels[:-1, 1:]).all(2) & (pixels[1:, 1:] == pixels[1:, :-1]).all(2)
    return bool(same.mean() > 0.2)


# ---------------------------------------------------------------------------------------------------------- decoding


def decode(data: bytes | mmap, *, crop: Box | None = None, codes: int | None = None, **settings: Any) -> Image.Image:
    """The image of a .psg file, every pixel as it was. `crop` (x, y, width, height) decodes only the tiles it needs.

    codes: of a file of ordered codes only the first so many of every patch. settings: see `Settings`. Raises DamagedFile,
    WeightsError, and ImageRefused for a crop outside the image, or codes of a file that has none.
    """
    image, _ = _decode(data, crop, codes, False, Settings(**settings))
    return image


def recover(data: bytes | mmap, *, crop: Box | None = None, codes: int | None = None, **settings: Any) -> tuple[Image.Image, list[Box]]:
    """What can be saved of a damaged file: the image, and the (x, y, width, height) of tiles that are lost and filled with gray.

    Of ordered codes, what comes before the damage shows the whole picture, and all of it is listed.
    """
    return _decode(data, crop, codes, True, Settings(**settings))


@isolated()
def _decode(data: bytes | mmap, crop: Box | None, codes: int | None, recovering: bool, settings: Settings) -> tuple[Image.Image, list[Box]]:
    header = container.read_header(data, partial=recovering)
    if codes is not None and header.coding != Coding.ORDERED:
        raise ImageRefused("the file has no ordered codes; leave out --codes")
    if header.coding in container.SETS:
        raise ImageRefused("the file is a set of many images; use `presage unpack`")
    size = (header.width, header.height)
    area = _area(crop, size)
    lost: list[Box] = []
    if header.coding == Coding.STORED:
        image = _stored_image(data, header)
        if zlib.crc32(image.tobytes()) != header.pixel_crc:
            raise DamagedFile("the decoded pixels are not those that were encoded")
        image = image.crop(area) if crop else image
    elif header.coding == Coding.LATENT:
        from .paths import latents

        image, lost = latents.decode_image(data, header, recovering, settings)
        image = image.crop(area) if crop else image
    elif header.coding == Coding.ORDERED:
        from .paths import ordered

        image, lost = ordered.decode_image(data, header, codes, recovering, settings)
        image = image.crop(area) if crop else image
    else:
        image, lost = _tiled_image(data, header, area, recovering, settings)
        if not crop and not lost and zlib.crc32(image.tobytes()) != header.pixel_crc:
            if not recovering:
                raise DamagedFile("the decoded pixels are not those that were encoded")
            lost = [(0, 0, *size)]
    return restore(image, data, header, recovering), lost


def restore(image: Image.Image, data: bytes | mmap, header: Header, recovering: bool) -> Image.Image:
    """The image with what was kept beside its pixels; without what is cut off, or lost if `recovering`. Raises DamagedFile."""
    from .image import files as images

    extras = (_extra(data, header, tag, recovering or header.cut_before(data, tag)) for tag in (Tag.META, Tag.ICC, Tag.EXIF))
    return images.restore(image, *extras)


def _area(crop: Box | None, size: tuple[int, int]) -> Box:
    """(left, top, right, bottom) of a crop (x, y, width, height)."""
    if crop is None:
        return (0, 0, *size)
    x, y, width, height = crop
    if x < 0 or y < 0 or width < 1 or height < 1 or x + width > size[0] or y + height > size[1]:
        raise ImageRefused(f"the crop {x},{y},{width},{height} is not inside the image of {size[0]} x {size[1]} pixels")
    return x, y, x + width, y + height


def _extra(data: bytes | mmap, header: Header, tag: bytes, recovering: bool) -> bytes | None:
    try:
        return container.read_section(data, header, tag)
    except DamagedFile:
        if recovering:
            return None
        raise


def _stored_image(data: bytes | mmap, header: Header) -> Image.Image:
    from .image import stored

    content = container.read_section(data, header, Tag.STORED) or container.read_section(data, header, Tag.SOURCE)
    if content is None:
        raise DamagedFile("the file has no pixels")
    return stored.decode(content, container.PIL_MODES[header.mode], (header.width, header.height))


def source_file(data: bytes | mmap) -> bytes | None:
    """The PNG that a file keeps whole because it has more bits than Pillow reads; None for all other files."""
    return container.read_section(data, container.read_header(data), Tag.SOURCE)


def _tiled_image(data: bytes | mmap, header: Header, area: Box, recovering: bool, settings: Settings) -> tuple[Image.Image, list[Box]]:
    import numpy as np
    from PIL import Image

    from ..models.latent.exact import ExactLatent
    from ..models.ordered.exact import ExactOrdered
    from .paths import tiles

    network = network_of(header, settings)
    if isinstance(network, ExactLatent | ExactOrdered):
        raise DamagedFile(f"the model {header.model} does not go with the file's coding")
    boxes = container.tile_boxes(header.width, header.height, header.tile)
    left, top, right, bottom = area
    wanted = [i for i, (x0, y0, x1, y1) in enumerate(boxes) if x0 < right and x1 > left and y0 < bottom and y1 > top]
    pixels = np.full((bottom - top, right - left, 3), DAMAGED_FILL, np.uint8)
    lost: list[Box] = []
    for i, tile in tiles.read(data, header, network, boxes, wanted, recovering, settings):
        if tile is None:
            lost.append(_span(boxes[i]))
            continue
        x0, y0, x1, y1 = boxes[i]
        rows, columns = slice(max(y0, top), min(y1, bottom)), slice(max(x0, left), min(x1, right))
        inside = tile[rows.start - y0 : rows.stop - y0, columns.start - x0 : columns.stop - x0]
        pixels[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left] = inside
    image = Image.fromarray(pixels)
    if header.mode in (Mode.BILEVEL, Mode.GRAY, Mode.GRAY_ALPHA):
        image = image.getchannel("G")
    if header.mode == Mode.BILEVEL:
        image = image.convert("1", dither=Image.Dither.NONE)
    if header.mode in (Mode.GRAY_ALPHA, Mode.RGBA):
        put_alpha(image, data, header, area, recovering)
    return image, lost


def put_alpha(image: Image.Image, data: bytes | mmap, header: Header, area: Box, recovering: bool) -> None:
    """Give an area of an image its alpha channel; with `recovering` an opaque one if it is lost. Raises DamagedFile."""
    from .image import stored

    alpha = _extra(data, header, Tag.ALPHA, recovering)
    if alpha is None and not recovering:
        raise DamagedFile("the alpha channel is missing")
    size = (header.width, header.height)
    image.putalpha(stored.decode(alpha, "L", size).crop(area) if alpha else 255)


def _span(box: Box) -> Box:
    return box[0], box[1], box[2] - box[0], box[3] - box[1]


# ------------------------------------------------------------------------------------------------------- information


def info(data: bytes | mmap) -> dict[str, Any]:
    """What a file says of itself; needs neither torch nor weights. Raises DamagedFile."""
    header = container.read_header(data)
    mode = container.PIL_MODES[header.mode]
    if header.coding in container.SETS:
        from .paths import sets

        return sets.info(data, header)
    samples = header.width * header.height * {"LA": 2, "RGB": 3, "RGBA": 4}.get(mode, 1)
    facts: dict[str, Any] = {
        "width": header.width,
        "height": header.height,
        "mode": mode,
        "coding": {Coding.STORED: "stored", Coding.CHAIN: "chain", Coding.LATENT: "lossy", Coding.ORDERED: "ordered"}.get(
            header.coding, "model"
        ),
        "bytes": len(data),
        "bits_per_sample": round(len(data) * 8 / samples, 4),
        "bits_per_pixel": round(len(data) * 8 / (header.width * header.height), 4),
        "version": container.VERSION,
    }
    if latents := header.section(Tag.LATENTS):
        facts["quality"] = round(data[latents.offset] / 2.55, 1)
    if header.coding == Coding.ORDERED:
        facts |= {"model": header.model, "weights": header.weights.hex()} | codes_of(data, header)
    elif header.coding != Coding.STORED:
        facts |= {"model": header.model, "weights": header.weights.hex(), "tile": header.tile}  # with loss in latents
    elif header.section(Tag.SOURCE):
        facts["note"] = "16 bits a channel, kept as the source PNG file"
    else:
        facts["note"] = "stored by a conventional lossless coder"
    facts["sections"] = {s.tag.decode("ascii", "replace"): s.size for s in header.sections}
    return facts


def codes_of(data: bytes | mmap, header: Header) -> dict[str, Any]:
    """How many ordered codes a file has and still holds, and how many each patch has. Raises DamagedFile."""
    stream = container.ChunkStream(data, header)
    there = sum(stream[i].codes for i in range(len(stream)))
    facts: dict[str, Any] = {"codes": there, "chunks": len(stream), "cut": not stream.whole}
    if layers := container.read_layers(data, header):
        ends = list(accumulate(layers))
        whole = sum(end <= there for end in ends)
        part = (there - ends[whole - 1] if whole else there) / layers[whole] if whole < len(layers) else 0.0
        facts |= {"codes_of_whole_file": ends[-1], "layers": len(layers), "layers_there": round(whole + part, 3)}
    return facts | {"bytes_of_whole_file": header.size}
