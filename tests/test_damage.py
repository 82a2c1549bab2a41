"""Hostile bytes: every cut, random flips, absurd headers. Always DamagedFile, never other pixels, never much memory."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import HERE
from PIL import Image

import presage
from presage.codec.coders import ans
from presage.codec.format import container
from presage.codec.format.container import FIXED, Coding, Header, Mode, Tag

FILES = [HERE / "golden" / f"{name}.psg" for name in ("gray", "palette", "one")]
RGB = (HERE / "golden" / "rgb.psg").read_bytes()


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_every_cut(path: Path) -> None:
    data = path.read_bytes()
    for size in range(len(data)):
        with pytest.raises(presage.DamagedFile):
            presage.decode(data[:size])
    with pytest.raises(presage.DamagedFile):
        presage.decode(data + b"\0")


def test_thousand_random_flips() -> None:
    random = np.random.default_rng(0)
    for _ in range(1000):
        damaged = bytearray(RGB)
        damaged[random.integers(len(damaged))] ^= random.integers(1, 256)
        with pytest.raises(presage.DamagedFile):
            presage.decode(bytes(damaged))


def test_flipped_streams_with_right_checksums_are_still_found_out() -> None:
    """A stream that was altered on purpose ends elsewhere or gives other pixels than the header's CRC."""
    header = container.read_header(RGB)
    streams = container.TileStreams(RGB, header, len(container.tile_boxes(header.width, header.height, header.tile)))
    random = np.random.default_rng(1)
    for _ in range(20):
        parts = [bytearray(streams[i]) for i in range(len(streams))]
        part = parts[random.integers(len(parts))]
        part[random.integers(len(part))] ^= random.integers(1, 256)
        with pytest.raises(presage.DamagedFile):
            presage.decode(container.write(header, container.pack_tiles([bytes(p) for p in parts])))


def forged(**changes: object) -> bytes:
    """The golden file with header fields changed and the header's CRC made right."""
    fields = dict(zip(FORGEABLE, FIXED.unpack_from(RGB), strict=True)) | changes
    length = fields["length"]
    head = FIXED.pack(*fields.values()) + RGB[FIXED.size : length - 4]
    return head + struct.pack("<I", zlib.crc32(head)) + RGB[length:]


FORGEABLE = ("magic", "version", "length", "width", "height", "mode", "coding", "tile", "pixel_crc", "sections", "weights", "name")


@pytest.mark.parametrize(
    "changes",
    [
        {"width": 0}, {"width": 1 << 31}, {"width": 1 << 20, "height": 1 << 20}, {"height": 1 << 20}, {"tile": 0}, {"tile": 65535},
        {"mode": 99}, {"coding": 7}, {"version": 2}, {"sections": 255}, {"name": 0}, {"mode": int(Mode.PALETTE)}, {"width": 82},
        {"mode": int(Mode.RGBA)}, {"coding": 0}, {"pixel_crc": 1},
    ],
    ids=str,
)  # fmt: skip
def test_absurd_or_wrong_headers(changes: dict[str, int]) -> None:
    with pytest.raises(presage.DamagedFile):
        presage.decode(forged(**changes))


def test_forgery_itself_is_sound() -> None:
    assert presage.decode(forged()).size == (83, 61)


def test_wrong_weights_are_named() -> None:
    with pytest.raises(presage.WeightsError, match=r"tiny-1.*0123"):
        presage.decode(forged(weights=bytes.fromhex("0123") * 8))


def test_large_claims_take_no_memory() -> None:
    """A stored image whose own header claims 40,000 x 40,000 pixels is refused by size before it is decoded."""
    buffer = io.BytesIO()
    Image.new("1", (8, 8)).save(buffer, "PNG")
    claim = bytearray(buffer.getvalue())
    claim[16:24] = struct.pack(">II", 40_000, 40_000)
    claim[29:33] = struct.pack(">I", zlib.crc32(claim[12:29]))
    data = container.write(Header(8, 8, Mode.BILEVEL, Coding.STORED, 0), {Tag.STORED: bytes(claim)})
    with pytest.raises(presage.DamagedFile, match=r"bomb|size"):
        presage.decode(data)


def test_not_a_presage_file() -> None:
    for data in (b"", b"P", b"hello world" * 20, (HERE / "golden" / "rgb.png").read_bytes()):
        with pytest.raises(presage.DamagedFile, match=r"not a Presage file|cut short"):
            presage.info(data)


def test_recover_lists_what_is_lost() -> None:
    whole = np.asarray(presage.decode(RGB))
    header = container.read_header(RGB)
    tiles = header.section(Tag.TILES)
    assert tiles is not None
    damaged = bytearray(RGB)
    damaged[tiles.offset + 5] ^= 1
    image, lost = presage.recover(bytes(damaged))
    assert lost == [(0, 0, 32, 32)]
    mask = np.ones(whole.shape[:2], bool)
    mask[:32, :32] = False
    assert np.array_equal(np.asarray(image)[mask], whole[mask])
    assert (np.asarray(image)[~mask] == 128).all()
    image, lost = presage.recover(RGB[: tiles.offset + tiles.size // 2])
    assert lost
    assert all(x + w == 83 or y + h == 61 or y >= 32 or x >= 32 for x, y, w, h in lost)
    image, lost = presage.recover(RGB)
    assert not lost
    assert np.array_equal(np.asarray(image), whole)


def test_entropy_golden_words() -> None:
    """The coder's bits are part of the format."""
    random = np.random.default_rng(5)
    weights = random.integers(1, 1 << 20, (50, 16)).astype(np.float32)
    nibbles = random.integers(0, 16, 50).astype(np.int32)
    stream = ans.encode(nibbles, weights)
    decoder = ans.decoder([stream])
    parts = [decoder.decode(part, np.array([[0, len(part)]])) for part in (weights[:7], weights[7:])]
    assert np.array_equal(np.concatenate(parts), nibbles)
    assert decoder.finished
    assert zlib.crc32(stream) == 2069464981


@pytest.mark.parametrize(
    "meta", [b"{", b"\xff", b"7", b'{"transparency": "xyz"}', b'{"dpi": 3}', b"[" * 100_000], ids=lambda m: str(m[:12])
)
def test_hostile_meta_section(meta: bytes) -> None:
    """A JSON section with a right checksum and wrong content is damage, not a traceback."""
    header = container.read_header(RGB)
    kept = {s.tag: RGB[s.offset : s.offset + s.size] for s in header.sections}
    with pytest.raises(presage.DamagedFile, match="META"):
        presage.decode(container.write(header, {Tag.META: meta} | kept))
