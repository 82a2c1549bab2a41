"""Files of ordered codes cut anywhere, by `truncate` or by accident; and damage, which is found out in whole and in cut files."""

import struct
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from conftest import HERE, noise
from PIL import Image

import presage
from presage.codec.format import container
from presage.codec.format.container import ChunkStream, Tag

GOLDEN = (HERE / "golden" / "ordered.psg").read_bytes()


@pytest.fixture(scope="module")
def photo_file() -> bytes:
    """A photograph of 61 x 166 pixels in several chunks."""
    pixels = np.tile(np.asarray(Image.open(HERE / "golden" / "rgb.png")), (1, 2, 1))
    return presage.encode_lossy(pixels, model="tiny-ordered", model_path=[HERE / "data"])


def places_of(data: bytes) -> list[tuple[int, int]]:
    return ChunkStream(data, container.read_header(data)).places


def first_of(data: bytes) -> int:
    section = container.read_header(data).section(Tag.CODES)
    assert section is not None
    return section.offset


# ---------------------------------------------------------------------------------------------------------------- cuts


def test_every_cut_of_a_file_with_alpha_and_a_profile() -> None:
    """The picture is always there; what is kept beside it is there as soon as it is whole."""
    source = Image.open(HERE / "golden" / "rgba.png").crop((0, 0, 40, 24))
    source.info |= {"icc_profile": bytes(range(30)), "dpi": (72.0, 72.0)}
    data = presage.encode_lossy(source, model="tiny-ordered")
    header = container.read_header(data)
    alpha = source.getchannel("A").tobytes()
    ends = {s.tag: s.offset + s.size for s in header.sections}
    whole: dict[bytes, list[bool]] = {tag: [] for tag in (Tag.ICC, Tag.META, Tag.ALPHA)}
    start = header.sections[0].offset
    for size in (*range(start, len(data), 9), *ends.values(), *(end - 1 for end in ends.values())):
        image = presage.decode(data[:size])
        assert (image.mode, image.size) == ("RGBA", (40, 24))
        for tag, there in (
            (Tag.ICC, image.info.get("icc_profile") == bytes(range(30))),
            (Tag.META, image.info.get("dpi") == (72.0, 72.0)),
            (Tag.ALPHA, image.getchannel("A").tobytes() == alpha),
        ):
            assert there == (size >= ends[tag])
            whole[tag].append(there)
        assert image.getchannel("A").tobytes() in (alpha, b"\xff" * len(alpha))
        assert presage.info(data[:size])["cut"] == (size < len(data))
    assert all(set(seen) == {True, False} for seen in whole.values())
    for size in (0, 7, 60, start - 1):
        with pytest.raises(presage.DamagedFile):
            presage.decode(data[:size])


def test_cut_files_are_truncated_files(photo_file: bytes) -> None:
    """The picture of a cut is that of its whole chunks, and more bytes do not make it worse, give or take."""
    pixels = np.tile(np.asarray(Image.open(HERE / "golden" / "rgb.png")), (1, 2, 1)).astype(int)
    errors = []
    for size in (*range(first_of(photo_file), len(photo_file), 37), len(photo_file)):
        image = presage.decode(photo_file[:size])
        shorter = presage.truncate(photo_file, size)
        assert len(shorter) <= size
        assert presage.decode(shorter).tobytes() == image.tobytes()
        errors.append(np.square(np.asarray(image) - pixels).mean())
    assert len(set(errors)) > 3
    assert errors[-1] == min(errors) < 0.5 * errors[0]
    assert all(later < 1.05 * earlier for earlier, later in pairwise(errors))


@pytest.mark.parametrize("model", ["tiny-ordered", "tiny-codes"])
def test_truncate(model: str) -> None:
    data = presage.encode_lossy(noise(90, 200), model=model)
    first, ends = first_of(data), [sum(place) for place in places_of(data)]
    assert len(ends) >= 2
    for size in (first, first + 1, ends[0] - 1, ends[0], ends[0] + 5, ends[-1] - 1, ends[-1], ends[-1] + 100):
        cut = presage.truncate(data, size)
        assert cut == data[: max([first, *(end for end in ends if end <= size)])]
        assert presage.truncate(cut, size) == presage.truncate(data[:size], size) == cut
        assert presage.truncate(cut, 10**9) == cut
    assert presage.truncate(data, fraction=0.9) == presage.truncate(data, int(0.9 * len(data)))
    for end in (first, *ends):
        assert presage.truncate(data, fraction=end / len(data)) == presage.truncate(data, bpp=8 * end / (90 * 200)) == data[:end]
    cut = presage.truncate(data, ends[-1] - 1)
    assert presage.info(cut)["cut"]
    assert presage.info(cut)["bytes_of_whole_file"] == len(data)
    assert 0 < presage.info(cut)["codes"] < presage.info(data)["codes"]


def test_what_is_not_truncated() -> None:
    for size in (0, 50, first_of(GOLDEN) - 1):
        with pytest.raises(presage.ImageRefused, match="smallest cut"):
            presage.truncate(GOLDEN, size)
    for name in ("rgb", "lossy", "palette", "set-bits"):
        with pytest.raises(presage.ImageRefused, match="ordered codes"):
            presage.truncate((HERE / "golden" / f"{name}.psg").read_bytes(), 10**6)
    wrong: tuple[dict[str, Any], ...] = ({}, {"size": 100, "bpp": 1.0}, {"bpp": 1.0, "fraction": 0.5})
    for arguments in wrong:
        with pytest.raises(presage.ImageRefused, match="one of"):
            presage.truncate(GOLDEN, **arguments)
    with pytest.raises(presage.DamagedFile):
        presage.truncate(GOLDEN[:60], 50)


def test_other_files_may_not_be_cut() -> None:
    for name in ("rgb", "lossy"):
        with pytest.raises(presage.DamagedFile):
            presage.decode((HERE / "golden" / f"{name}.psg").read_bytes()[:-1])


# -------------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("missing", [0, 3])
def test_flipped_bytes_in_whole_chunks(missing: int) -> None:
    data = GOLDEN[: len(GOLDEN) - missing]
    places = places_of(data)
    random = np.random.default_rng(missing)
    assert places
    for number, (offset, size) in enumerate(places):
        before = presage.decode(data[:offset])
        for place in range(offset, offset + size, 6):
            wrong = bytearray(data)
            wrong[place] ^= 1 << int(random.integers(8))
            with pytest.raises(presage.DamagedFile, match=f"chunk {number}"):
                presage.decode(bytes(wrong))
        image, lost = presage.recover(bytes(wrong))
        assert lost == [(0, 0, 83, 61)]
        assert image.tobytes() == before.tobytes()
        assert presage.decode(bytes(wrong), codes=0).size == (83, 61)  # what is not read is not missed
    image, lost = presage.recover(data)
    assert not lost
    assert image.tobytes() == presage.decode(data).tobytes()


def test_flipped_bytes_before_the_chunks() -> None:
    for place in range(0, first_of(GOLDEN), 5):
        wrong = bytearray(GOLDEN)
        wrong[place] ^= 0x10
        with pytest.raises(presage.DamagedFile):
            presage.info(bytes(wrong))


def test_flipped_byte_in_a_chunk_that_is_cut_off() -> None:
    """Bytes of a chunk that is not whole are idle."""
    wrong = bytearray(GOLDEN[:-1])
    wrong[-1] ^= 1
    assert presage.decode(bytes(wrong)).tobytes() == presage.decode(GOLDEN[:-1]).tobytes()


def test_bytes_after_the_end() -> None:
    for more in (b"\0", b"\0\0\0\0", GOLDEN):
        with pytest.raises(presage.DamagedFile, match="after its end"):
            presage.decode(GOLDEN + more)


def rebuilt(change: Callable[[list[container.Chunk]], list[bytes]], data: bytes = GOLDEN) -> bytes:
    """The file with its chunks changed and all checks right."""
    header = container.read_header(data)
    sections = {s.tag: data[s.offset : s.offset + s.size] for s in header.sections}
    stream = ChunkStream(data, header)
    return container.write(header, sections | {Tag.CODES: b"".join(change([stream[i] for i in range(len(stream))]))})


def packed(chunks: list[container.Chunk], **codes: int) -> list[bytes]:
    """The chunks with other numbers of codes: c0=..., c1=..."""
    return [container.pack_chunk(i, codes.get(f"c{i}", chunk.codes), chunk.words) for i, chunk in enumerate(chunks)]


def test_building_files_is_sound() -> None:
    assert rebuilt(packed) == GOLDEN


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("change", [-1, 1, -1000, 1000, 1 << 24])
def test_wrong_counts_with_right_checks(number: int, change: int) -> None:
    def other(chunks: list[container.Chunk]) -> list[bytes]:
        return packed(chunks, **{f"c{number}": min(max(0, chunks[number].codes + change), container.MAX_CHUNK_CODES)})

    wrong = rebuilt(other)
    with pytest.raises(presage.DamagedFile):
        presage.decode(wrong)
    image, lost = presage.recover(wrong)
    assert (image.size, lost) == ((83, 61), [(0, 0, 83, 61)])


def test_too_many_codes_in_a_cut_file() -> None:
    wrong = rebuilt(lambda chunks: packed(chunks, c0=container.MAX_CHUNK_CODES))[:-1]
    with pytest.raises(presage.DamagedFile):
        presage.decode(wrong)


def test_random_words_with_right_checks() -> None:
    """A chunk that was altered on purpose gives other codes than the header's CRC says."""
    random = np.random.default_rng(2)

    def other(chunks: list[container.Chunk]) -> list[bytes]:
        at = int(random.integers(len(chunks)))
        words = bytearray(chunks[at].words)
        words[random.integers(len(words) // 2)] ^= int(random.integers(1, 256))
        return packed([c if i != at else container.Chunk(c.codes, bytes(words)) for i, c in enumerate(chunks)])

    for _ in range(10):
        with pytest.raises(presage.DamagedFile):
            presage.decode(rebuilt(other))


def shortened(missing: int, chunks: list[container.Chunk]) -> list[bytes]:
    return [b"".join(packed(chunks))[:-missing]]


def test_last_chunk_of_odd_sizes() -> None:
    _, size = places_of(GOLDEN)[-1]
    for missing in (1, 2, 3, size - 4, size):
        wrong = rebuilt(partial(shortened, missing))
        with pytest.raises(presage.DamagedFile):
            presage.decode(wrong)
        image, lost = presage.recover(wrong)
        assert lost
        assert image.tobytes() == presage.decode(presage.truncate(GOLDEN, len(GOLDEN) - 1)).tobytes()


def extended(more: bytes, chunks: list[container.Chunk]) -> list[bytes]:
    return [*packed(chunks)[:1], packed(chunks)[1].ljust(5 + 4 * 17, b"\0"), more]


def test_a_chunk_more() -> None:
    for more in (container.pack_chunk(2, 0, b""), container.pack_chunk(2, 5, bytes(8))):
        wrong = rebuilt(partial(extended, more))
        with pytest.raises(presage.DamagedFile):
            presage.decode(wrong)


def reordered(order: tuple[int, ...], chunks: list[container.Chunk]) -> list[bytes]:
    return [packed(chunks)[i] for i in order]


def test_swapped_and_missing_chunks(photo_file: bytes) -> None:
    for order in ((1, 0, 2), (0, 2, 1), (0, 0, 2), (1, 2), (0, 2)):
        wrong = rebuilt(partial(reordered, order), photo_file)
        with pytest.raises(presage.DamagedFile):
            presage.decode(wrong)


def test_no_codes_and_no_layers() -> None:
    header = container.read_header(GOLDEN)
    layers, codes = (GOLDEN[s.offset : s.offset + s.size] for s in header.sections)
    with pytest.raises(presage.DamagedFile, match="no ordered codes"):
        presage.decode(container.write(header, {Tag.LAYERS: layers}))
    with pytest.raises(presage.DamagedFile, match="no ordered codes"):
        presage.decode(container.write(header, {Tag.CODES: codes, Tag.LAYERS: layers}))
    with pytest.raises(presage.DamagedFile):
        presage.decode(container.write(header, {Tag.LAYERS: layers, Tag.CODES: b""}))
    for wrong in (b"", layers[:-1], struct.pack("<HB", 0, 8)):
        with pytest.raises(presage.DamagedFile, match="LAYR"):
            presage.info(container.write(header, {Tag.LAYERS: wrong, Tag.CODES: codes}))


def test_many_layers() -> None:
    sides = [32] * 600 + [16] * 3
    packed = container.pack_layers(sides)
    data = container.write(container.read_header(GOLDEN), packed | {Tag.CODES: b""})
    assert len(packed[Tag.LAYERS]) == 3 * 4
    assert container.read_layers(data, container.read_header(data)) == [6] * 600 + [24] * 3
