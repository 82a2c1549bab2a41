"""The conventional lossless coders inside the container, for what the models do not cover or would enlarge."""

from __future__ import annotations

import io
import zlib
from mmap import mmap
from typing import TYPE_CHECKING

from PIL import Image

from ..errors import DamagedFile
from ..format import container
from ..format.container import CRC, Header, Mode, Tag
from .opening import STORED, check_canonical, opened

if TYPE_CHECKING:
    from .files import Picture
    from .samples import Samples

WEBP_SIDE = 16383
MOST = 1 << 28  # bytes of the chunks of a PNG
SAMPLED = {Mode.GRAY16: 16, Mode.CMYK: 8}  # bits of a sample of the modes that our own coder takes

# our own coder has loops that are compiled when they are first needed, and so is imported only then


def sections(picture: Picture) -> dict[bytes, bytes]:
    """The sections of a picture, with what is kept beside it: by the coder that makes the fewest bytes."""
    from ...models.kernels import jit

    if picture.verbatim is not None:
        return (_of_deep(picture.verbatim) if jit.available() else None) or {Tag.SOURCE: picture.verbatim}
    if picture.mode == Mode.CMYK:
        return {Tag.SAMPLES: _samples(picture)} | picture.extras
    kept = {Tag.STORED: encode(picture.image)}
    if picture.mode in SAMPLED and jit.available() and len(own := _samples(picture)) < len(kept[Tag.STORED]):
        kept = {Tag.SAMPLES: own}
    return kept | picture.extras


def _samples(picture: Picture) -> bytes:
    import numpy as np

    from . import samples

    array = np.atleast_3d(np.asarray(picture.image)).astype(np.uint16)
    return samples.encode(array, SAMPLED[picture.mode])


def _of_deep(png: bytes) -> dict[bytes, bytes] | None:
    """The sections of a PNG with 16 bits a channel in colour, if it is one as the standard has them, and they are smaller."""
    from . import deep, samples

    if (found := deep.split(png)) is None:
        return None
    rest, pixels = found
    chunks = CRC.pack(zlib.crc32(pixels.tobytes())) + zlib.compress(rest, 9)
    made = {Tag.CHUNKS: chunks, Tag.SAMPLES: samples.encode(pixels, deep.DEPTH)}
    return made if sum(map(len, made.values())) < len(png) else None


def read(data: bytes | mmap, header: Header) -> Image.Image:
    """The picture of a stored file, without what is kept beside it. Raises DamagedFile."""
    kept = {tag: container.read_section(data, header, tag) for tag in (Tag.STORED, Tag.SOURCE, Tag.SAMPLES)}
    found = [(tag, content) for tag, content in kept.items() if content is not None]
    if len(found) != 1 or (header.section(Tag.CHUNKS) and found[0][0] != Tag.SAMPLES):
        raise DamagedFile("the file has no pixels, or has them twice")
    tag, content = found[0]
    mode, size = container.PIL_MODES[header.mode], (header.width, header.height)
    if header.section(Tag.CHUNKS):
        image = decode(_deep_file(data, header, 1) or b"", mode, size, True)
    elif tag == Tag.SAMPLES:
        image = _image_of(content, header)
    else:
        image = decode(content, mode, size, tag == Tag.SOURCE)
    return _checked(image, header)


def _checked(image: Image.Image, header: Header) -> Image.Image:
    """The same image. Raises DamagedFile if it is not the header's."""
    if zlib.crc32(image.tobytes()) != header.pixel_crc:
        raise DamagedFile("the decoded pixels are not those that were encoded")
    return image


def source_of(data: bytes | mmap, header: Header) -> bytes | None:
    """The PNG with 16 bits a channel in colour that a file was made of: its samples and chunks as they were; None for all other files.

    Raises DamagedFile, also if it is not the picture of the file.
    """
    made = _deep_file(data, header, 6)
    if made is not None:
        _checked(decode(made, container.PIL_MODES[header.mode], (header.width, header.height), True), header)
    return made


def _image_of(content: bytes, header: Header) -> Image.Image:
    """The picture that our own coder made of samples of the header's mode. Raises DamagedFile."""
    import numpy as np

    from . import samples

    array, bits = samples.decode(content, header.height, header.width)
    if SAMPLED.get(header.mode) != bits or array.shape[2] != (4 if header.mode == Mode.CMYK else 1):
        raise DamagedFile("the section SAMP is of another mode than the header says")
    if header.mode == Mode.GRAY16:
        return Image.fromarray(array[..., 0])
    return Image.frombytes("CMYK", (header.width, header.height), array.astype(np.uint8).tobytes())


def _deep_file(data: bytes | mmap, header: Header, level: int) -> bytes | None:
    """That file, not compared with the header. level: how well its pixels are packed, as zlib counts it. Raises DamagedFile."""
    chunks, content = container.read_section(data, header, Tag.CHUNKS), container.read_section(data, header, Tag.SAMPLES)
    if chunks is None:
        return container.read_section(data, header, Tag.SOURCE)
    from . import deep, samples

    inflater = zlib.decompressobj()
    try:
        rest = inflater.decompress(chunks[CRC.size :], MOST)
    except zlib.error:
        rest = b""
    if content is None or not rest or not inflater.eof or inflater.unused_data:
        raise DamagedFile("the section PNGC is not what this format allows")
    pixels, bits = samples.decode(content, header.height, header.width)
    if bits != deep.DEPTH or zlib.crc32(pixels.tobytes()) != CRC.unpack_from(chunks)[0]:
        raise DamagedFile("the decoded samples are not those that were encoded")
    return deep.join(rest, pixels, level)


def same_deep(a: bytes | None, b: bytes | None) -> bool:
    """Whether two such files, or none, have the same samples and chunks."""
    if a == b or a is None or b is None:
        return a == b
    from . import deep

    parts: list[tuple[bytes, Samples] | None] = [deep.split(a), deep.split(b)]
    first, second = parts
    return first is not None and second is not None and first[0] == second[0] and first[1].tobytes() == second[1].tobytes()


def deep_samples(png: bytes) -> bytes:
    """The samples of such a file, row by row, pixel by pixel, 2 bytes each, the lower first. Raises DamagedFile."""
    from . import deep

    if (parts := deep.split(png)) is None:
        raise DamagedFile("a PNG file that is not as the standard has it")
    return parts[1].astype("<u2").tobytes()


def encode(image: Image.Image) -> bytes:
    """The smaller of a PNG and, for 8-bit colour, a lossless WebP file."""
    files = [_save(_with_whole_palette(image), "PNG", compress_level=9)]
    if image.mode in ("RGB", "RGBA") and max(image.size) <= WEBP_SIDE:
        files.append(_save(image, "WEBP", lossless=True, exact=True, quality=80, method=4))
    return min(files, key=len)


def _with_whole_palette(image: Image.Image) -> Image.Image:
    """An image whose palette has all the colours that its pixels name: Pillow would take bits away of numbers beyond it."""
    if image.mode != "P":
        return image
    palette, largest = image.getpalette() or [], image.getextrema()[1]
    missing = 3 * (largest + 1) - len(palette) if isinstance(largest, int) else 0
    if missing > 0:
        image = image.copy()
        image.putpalette(palette + [0] * missing)
    return image


def _save(image: Image.Image, kind: str, **options: object) -> bytes:
    bare = image.copy()
    bare.info = {}
    buffer = io.BytesIO()
    bare.save(buffer, kind, **options)
    return buffer.getvalue()


def decode(data: bytes, mode: str, size: tuple[int, int], verbatim: bool = False) -> Image.Image:
    """The image of a stored file, which must have this mode and size. verbatim: a source file, which may have anything beside its pixels.

    Raises DamagedFile.
    """
    try:
        if not verbatim:
            check_canonical(data)
        with opened(data, STORED, size[0] * size[1]) as image:
            if image.size != size:
                raise DamagedFile("the stored image has another size than the header says")
            if getattr(image, "n_frames", 1) > 1:
                raise DamagedFile("the stored image has several frames")
            image.load()
            if (image.mode, mode) == ("RGB", "RGBA"):  # WebP drops an alpha channel that is opaque everywhere
                return image.convert("RGBA")
            if image.mode != mode:
                raise DamagedFile("the stored image is of another kind than the header says")
            return image.copy()
    except (DamagedFile, MemoryError):
        raise
    except Exception as error:  # of a damaged file Pillow raises anything
        raise DamagedFile(f"the stored image is damaged: {error}") from error
