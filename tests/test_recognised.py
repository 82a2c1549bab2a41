"""Files of pictures that once were a JPEG: the same pixels back, damage told, and a decoder written from FORMAT.md alone."""

import io

import numpy as np
import pytest
from conftest import HERE
from numpy.typing import NDArray
from PIL import Image

import presage
from presage.codec import api
from presage.codec.errors import DamagedFile, ImageRefused
from presage.codec.format import container, info
from presage.codec.format.container import Coding, Tag
from presage.codec.jpeg import steps
from presage.codec.jpeg.bounds import Recognised
from presage.codec.jpeg.recognition import recognise
from presage.codec.paths import coefficients, recognised
from presage.codec.paths.reading import Reading
from presage.codec.settings import Settings
from presage.codec.weights import load_for

Bytes = NDArray[np.uint8]


@pytest.fixture(scope="module")
def photo() -> Bytes:
    """A piece of a photograph that has no trace of a JPEG file, uint8 (120, 136, 3)."""
    whole = Image.open(HERE.parent / "samples" / "kodim23.png")
    return np.array(whole.crop((200, 60, 200 + 136, 60 + 120)))


def once(image: Bytes, quality: int = 85, sampling: int = 2) -> Bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=sampling)
    return np.array(Image.open(buffer))


def encoded(image: Bytes | Image.Image) -> bytes:
    return presage.encode(image, model="tiny-jpeg")


def decoded(file: bytes) -> Bytes:
    return np.array(presage.decode(file))


@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_colour(photo: Bytes, sampling: int) -> None:
    image = once(photo, 85, sampling)
    file = encoded(image)
    assert container.read_header(file).coding == Coding.RECOGNISED
    assert np.array_equal(decoded(file), image)
    facts = info.info(file)
    assert (facts["coding"], facts["sampling"], facts["jpeg_quality"]) == ("recognised", ["4:4:4", "4:2:2", "4:2:0"][sampling], 85)
    part = presage.decode(file, crop=(17, 30, 50, 41))
    assert np.array_equal(np.array(part), image[30:71, 17:67])


def test_gray_and_alpha(photo: Bytes) -> None:
    gray = once(photo[..., 1], 80)
    alpha = photo[..., :1]
    colour = once(photo, 75)
    for image in (gray, np.stack([gray] * 3, -1), np.dstack([colour, alpha]), np.dstack([gray, alpha])):
        file = encoded(Image.fromarray(image))
        assert container.read_header(file).coding == Coding.RECOGNISED
        assert np.array_equal(decoded(file), image)


def test_edited(photo: Bytes) -> None:
    image = once(photo)
    image[20:30, 30:42] = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    file = encoded(image)
    assert info.info(file)["corrections"] > 200
    assert np.array_equal(decoded(file), image)


def test_golden() -> None:
    """A file that never changes: cut out of a JPEG, with corrections."""
    file = (HERE / "golden" / "recognised.psg").read_bytes()
    assert info.info(file)["corrections"] > 500
    assert np.array_equal(decoded(file), np.array(Image.open(HERE / "golden" / "recognised.png")))


def test_cut_out(photo: Bytes) -> None:
    """Pixels that were cut out of a JPEG's come from one that is a little larger."""
    image = np.ascontiguousarray(once(photo, 75)[5:, 11:])
    file = encoded(image)
    content = container.read_section(file, container.read_header(file), Tag.DECODER)
    assert content
    assert content[2] == 16 * 5 + 11
    assert np.array_equal(decoded(file), image)
    part = presage.decode(file, crop=(7, 3, 60, 41))
    assert np.array_equal(np.array(part), image[3:44, 7:67])


def test_others_are_refused(photo: Bytes) -> None:
    with pytest.raises(ImageRefused, match="once were one"):
        encoded(photo)


def test_default_takes_it(photo: Bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a model that is asked for, coefficients come before planes and pixels."""
    monkeypatch.setattr(api, "DEFAULT_JPEG", "tiny-jpeg")
    image = once(photo)
    file = presage.encode(image, verify=True)
    assert container.read_header(file).coding == Coding.RECOGNISED


@pytest.mark.parametrize("threads", [1, 3])
def test_same_bytes(photo: Bytes, threads: int) -> None:
    image = once(photo, 92)
    assert presage.encode(image, model="tiny-jpeg", threads=threads) == encoded(image)


def test_damage_is_told(photo: Bytes) -> None:
    """Every cut, and a thousand flips."""
    file = encoded(once(photo, 60)[:, :])
    for end in range(len(file)):
        with pytest.raises(DamagedFile):
            presage.decode(file[:end])
    generator = np.random.default_rng(0)
    for place in generator.integers(0, len(file), 1000):
        flipped = bytearray(file)
        flipped[place] ^= 1 << int(generator.integers(8))
        with pytest.raises((DamagedFile, presage.WeightsError)):
            presage.decode(bytes(flipped))


def test_recovering(photo: Bytes) -> None:
    """A tile that is lost is gray, and what depends on it; the rest of the picture is there."""
    image = once(photo, 75)
    file = bytearray(presage.encode(image, model="tiny-jpeg", tile=8))
    header = container.read_header(bytes(file))
    section = header.section(Tag.TILES)
    assert section
    file[section.offset + 20] ^= 255
    with pytest.raises(DamagedFile):
        presage.decode(bytes(file))
    saved, lost = presage.recover(bytes(file))
    assert lost
    whole = np.array(saved)
    kept = np.ones(image.shape[:2], bool)
    for x, y, width, height in lost:
        kept[max(y - 2, 0) : y + height + 2, max(x - 2, 0) : x + width + 2] = False
    assert np.array_equal(whole[kept], image[kept])


def test_section(photo: Bytes) -> None:
    """Tables with and without numbers come back; what does not belong there is refused."""
    found = recognise(once(photo, 85))
    assert found
    back = recognised.unpack(recognised.pack(found), *photo.shape[:2])
    assert back.corrections == found.corrections
    for ours, theirs in zip(back.picture.components, found.picture.components, strict=True):
        assert np.array_equal(ours.steps, theirs.steps)
        assert ours.coefficients.shape == theirs.coefficients.shape
    odd = found.picture.components[0].steps + 300
    component = type(found.picture.components[0])((1, 1), odd, np.zeros((2, 2, 8, 8), np.int16))
    other = Recognised(type(found.picture)(16, 16, (component,)), False, (0, 0), b"")
    assert np.array_equal(recognised.unpack(recognised.pack(other), 16, 16).picture.components[0].steps, odd)
    heads = (b"", b"\1", b"\2\0\0", b"\1\2\0\x11\1", b"\1\0\0\x21\1", b"\1\0\0\x11\xff", b"\1\0\0\x11\xc9")
    for wrong in (*heads, b"\1\0\0\x11\0" + bytes(128), b"\3\0\0\x22\1\x22\1\x11\1"):
        with pytest.raises(DamagedFile):
            recognised.unpack(wrong, 16, 16)
    numbers = [steps.numbered(n) for n in range(1, 201)]
    assert all(table is not None and steps.number_of(table) for table in numbers)


# ------------------------------------------------------------------------------------- a decoder from FORMAT.md alone


def plain_pixels(content: bytes, components: list[NDArray[np.int16]], height: int, width: int) -> list[list[tuple[int, int, int]]]:
    """The pixels that section 14 gives for coefficients, in plain Python; without the corrections."""
    tables = [
        [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
    ]  # fmt: skip
    chroma = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
    matrix = [
        [8192, 11363, 10703, 9633, 8192, 6437, 4433, 2260], [8192, 9633, 4433, -2259, -8192, -11362, -10704, -6436],
        [8192, 6437, -4433, -11362, -8192, 2261, 10704, 9633], [8192, 2260, -10703, -6436, 8192, 9633, -4433, -11363],
    ]  # fmt: skip
    matrix += [[value * (-1) ** u for u, value in enumerate(row)] for row in reversed(matrix)]
    planes, factors, before, place = [], [], [[0] * 8] * 8, 3
    for blocks in components:
        factor, kind = content[place], content[place + 1]
        place += 2
        if kind != 255:
            quality = (kind - 1) % 100 + 1
            scale = 5000 // quality if quality < 50 else 200 - 2 * quality
            base = [[tables[v][u] if kind <= 100 else chroma[v][u] if v < 4 and u < 4 else 99 for u in range(8)] for v in range(8)]
            before = [[min(max((value * scale + 50) // 100, 1), 255) for value in row] for row in base]
        factors.append((factor >> 4, factor & 15))
        plane = [[0] * (8 * blocks.shape[1]) for _ in range(8 * blocks.shape[0])]
        for row in range(blocks.shape[0]):
            for column in range(blocks.shape[1]):
                block = [[int(blocks[row, column, v, u]) * before[v][u] for u in range(8)] for v in range(8)]
                between = [[(sum(matrix[y][v] * block[v][u] for v in range(8)) + 1024) >> 11 for u in range(8)] for y in range(8)]
                for y in range(8):
                    for x in range(8):
                        sample = ((sum(matrix[x][u] * between[y][u] for u in range(8)) + 131072) >> 18) + 128
                        plane[8 * row + y][8 * column + x] = min(max(sample, 0), 255)
        planes.append(plane)

    def at(i: int, y: int, x: int) -> int:
        down, across = factors[0][0] // factors[i][0], factors[0][1] // factors[i][1]
        cells = planes[i]
        if not content[1] or (down, across) == (1, 1) or (across == 2 and (width + 1) // 2 < 3):
            return cells[y // down][x // across]
        rows, columns = (height - 1) // down + 1, (width - 1) // across + 1
        j = y // down
        k = x // across
        j2 = min(max(j + (2 * (y % 2) - 1), 0), rows - 1) if down == 2 else j
        k2 = min(max(k + (2 * (x % 2) - 1), 0), columns - 1) if across == 2 else k
        a, b = (3, 1) if down == 2 else (1, 0)
        c, d = (3, 1) if across == 2 else (1, 0)
        total = a * (c * cells[j][k] + d * cells[j][k2]) + b * (c * cells[j2][k] + d * cells[j2][k2])
        if (down, across) == (2, 2):
            return (total + 8 - x % 2) >> 4
        return (total + 1 + (x if across == 2 else y) % 2) >> 2

    result: list[list[tuple[int, int, int]]] = []
    for y in range(height):
        result.append([])
        for x in range(width):
            luma, first, second = (at(i, y, x) for i in range(3))
            a, b = first - 128, second - 128
            colour = luma + ((91881 * b + 32768) >> 16), luma + ((32768 - 22554 * a - 46802 * b) >> 16), luma + ((116130 * a + 32768) >> 16)
            red, green, blue = (min(max(value, 0), 255) for value in colour)
            result[-1].append((red, green, blue))
    return result


@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_format(photo: Bytes, sampling: int) -> None:
    """Coefficients as the file's model says them, pixels as the page says."""
    image = once(photo[:61, :75], 85, sampling)
    file = encoded(image)
    header = container.read_header(file)
    content = container.read_section(file, header, Tag.DECODER)
    assert content
    reading = Reading(file, header, False, Settings().started())
    blank = recognised.unpack(content, 61, 75)
    coefficients.decode(reading, blank.picture, load_for(header, reading.settings).model)  # type: ignore[arg-type]
    shown = plain_pixels(content, [c.coefficients for c in blank.picture.components], 61, 75)
    different = (np.array(shown, np.uint8) != image).any(-1)
    assert different.mean() < 0.03
    assert blank.corrections or not different.any()
