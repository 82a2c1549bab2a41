"""Our own conventional coder: 16 bits and CMYK come back equal, are smaller than PNG, and hostile bytes are found out."""

import io
import struct
import zlib

import numpy as np
import pytest
from conftest import HERE, noise, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import presage
from presage.codec import api
from presage.codec.format import container
from presage.codec.format.container import Coding, Header, Mode, Tag
from presage.codec.image import deep, opening, samples, stored

GOLDEN = HERE / "golden"


@settings(max_examples=40, deadline=None)
@given(
    height=st.integers(1, 12), width=st.integers(1, 12), channels=st.integers(1, 4), bits=st.sampled_from([8, 16]),
    kind=st.sampled_from(["smooth", "random", "flat", "extreme", "sparse"]), seed=st.integers(0, 99),
)  # fmt: skip
def test_any_samples(height: int, width: int, channels: int, bits: int, kind: str, seed: int) -> None:
    random, top = np.random.default_rng(seed), (1 << bits) - 1
    shape = (height, width, channels)
    arrays = {
        "smooth": top // 2 + random.integers(-3, 4, shape).cumsum(0).cumsum(1),
        "random": random.integers(0, top + 1, shape),
        "flat": np.full(shape, random.integers(top + 1)),
        "extreme": random.integers(0, 2, shape) * top,
        "sparse": random.integers(0, 16, shape) * (top // 15),
    }
    array = arrays[kind].clip(0, top).astype(np.uint16)
    decoded, found = samples.decode(samples.encode(array, bits), height, width)
    assert found == bits
    assert np.array_equal(decoded, array)


def written_by_the_page(content: bytes, height: int, width: int) -> NDArray[np.int64]:
    """FORMAT.md, section 15, in plain Python."""
    bits, channels = content[0], content[1]
    at, tables = 2, []
    for _ in range(channels):
        size = int.from_bytes(content[at : at + 4], "little")
        raw = zlib.decompress(content[at + 4 : at + 4 + size]) if size else b"\xff" * (1 << bits >> 3)
        tables.append([8 * i + j for i, byte in enumerate(raw) for j in range(8) if byte >> (7 - j) & 1])
        at += 4 + size
    coded = content[at:]
    low, high, number, place = 0, 0xFFFFFFFF, int.from_bytes(coded[:4], "big"), 4
    contexts: dict[object, tuple[int, int]] = {}

    def bit(context: object) -> int:
        nonlocal low, high, number, place
        p, k = contexts.get(context, (32768, 0))
        middle = low + ((high - low) * p >> 16)
        one = number <= middle
        low, high = (low, middle) if one else (middle + 1, high)
        p += ((65535 if one else 0) - p) * (131072 // (2 * k + 5)) >> 16
        contexts[context] = min(max(p, 24), 65512), min(k + 1, 38)
        while low >> 24 == high >> 24:
            number = number << 8 & 0xFFFFFFFF | (coded[place] if place < len(coded) else 0)
            low, high, place = low << 8 & 0xFFFFFFFF, high << 8 & 0xFFFFFFFF | 255, place + 1
        return int(one)

    order = [1, 0, 2, 3][:channels] if channels > 2 else [0, 1][:channels]
    out = np.zeros((height, width, channels), np.int64)
    errors: dict[tuple[int, int, int], list[int]] = {}
    rests: dict[tuple[int, int, int], int] = {}

    def simple(y: int, x: int, c: int) -> list[int]:
        n = int(out[y - 1, x, c]) if y else None
        w = int(out[y, x - 1, c]) if x else n
        n = w if n is None else n
        w, n = w or 0, n or 0
        nw = int(out[y - 1, x - 1, c]) if y and x else n
        ne = int(out[y - 1, x + 1, c]) if y and x + 1 < width else n
        return [w, n, w + n - nw, w + ne - n]

    for y in range(height):
        for x in range(width):
            before = 0
            for i, c in enumerate(order):
                p = simple(y, x, c)
                if i:
                    p += [a + int(out[y, x, order[i - 1]]) - b for a, b in zip(p, simple(y, x, order[i - 1]), strict=True)]
                around = [(i, y, x - 1), (i, y - 1, x), (i, y - 1, x - 1), (i, y - 1, x + 1)]
                u = [2**40 // (sum(errors[a][j] for a in around if a in errors) + 2) ** 2 + 1 for j in range(len(p))]
                top = len(tables[c]) - 1
                m = min(max((sum(a * b for a, b in zip(u, p, strict=True)) + sum(u) // 2) // sum(u), 0), top)
                west, north, nw, ne = (rests.get(a, 0) for a in around)
                t = 2 * abs(west) + 2 * abs(north) + abs(nw) + abs(ne) + 2 * abs(before)
                d = t.bit_length()
                b = d if d < 2 else 2 * d + (t >> (d - 2) & 1)
                r = 0
                if not bit(("c", 44 * i + b, 0)):
                    g = [0 if v == 0 else 1 if v > 0 else 2 for v in (west, north, before)]
                    negative, n = bit(("s", i, g[0] + 3 * g[1] + 9 * g[2])), 1
                    while n < 17 and bit(("c", 44 * i + b, n)):
                        n += 1
                    r = 1
                    for j in range(n - 2, -1, -1):
                        z = 0 if j == n - 2 else 1 + (r & 1) if j == n - 3 else 3 + j
                        r = 2 * r + bit(("d", i, n, z))
                    r = -r if negative else r
                out[y, x, c], rests[i, y, x], before = m + r, r, r
                errors[i, y, x] = [abs(m + r - v) for v in p]
    assert place == len(coded)
    return np.stack([np.array(table)[out[..., c]] for c, table in enumerate(tables)], -1)


@pytest.mark.parametrize("name", ["cmyk", "gray16", "deep"])
def test_golden_files_by_the_page(name: str) -> None:
    """A decoder that was written from FORMAT.md alone gives the samples that are in the picture beside it."""
    data = (GOLDEN / f"{name}.psg").read_bytes()
    header = container.read_header(data)
    found = written_by_the_page(container.read_section(data, header, Tag.SAMPLES) or b"", header.height, header.width)
    if name == "deep":
        split = deep.split((GOLDEN / "deep.png").read_bytes())
        assert split is not None
        wanted = split[1]
    else:
        wanted = np.atleast_3d(np.asarray(Image.open(GOLDEN / ("cmyk.tif" if name == "cmyk" else "gray16.png"))))
    assert np.array_equal(found, wanted)


def test_golden_files() -> None:
    for name, source in (("cmyk", "cmyk.tif"), ("gray16", "gray16.png"), ("deep", "deep.png")):
        image, wanted = presage.decode((GOLDEN / f"{name}.psg").read_bytes()), Image.open(GOLDEN / source)
        assert (image.mode, image.tobytes()) == (wanted.mode, wanted.tobytes())
    assert stored.same_deep(api.source_file((GOLDEN / "deep.psg").read_bytes()), (GOLDEN / "deep.png").read_bytes())
    data = (GOLDEN / "preview.psg").read_bytes()
    image = presage.decode(data)
    assert image.tobytes() == Image.open(GOLDEN / "rgb.png").tobytes()
    assert image.info["xmp"] == b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>'
    small, wanted = presage.preview(data), Image.open(GOLDEN / "preview.png")
    assert small.size == wanted.size == (29, 40)
    assert np.abs(np.asarray(small, int) - np.asarray(wanted, int)).max() <= 2


@pytest.mark.parametrize("source", ["gamma", "raw", "wide"])
def test_sixteen_bits_take_less_than_png(source: str) -> None:
    """Of a photograph: averages of many pixels, 14 bits of a sensor with its noise, and 8 bits spread over 16."""
    pixels = np.asarray(Image.open(shared("kodak") / "kodim05.png").crop((0, 0, 384, 256)), np.float64) / 255
    light = np.where(pixels <= 0.04045, pixels / 12.92, ((pixels + 0.055) / 1.055) ** 2.4).reshape(128, 2, 192, 2, 3).mean((1, 3))
    random = np.random.default_rng(0)
    electrons = random.poisson(light * [6000, 12000, 8400]) + random.normal(0, 4, light.shape) + 256
    kinds = {
        "gamma": light ** (1 / 2.2) * 65535,
        "raw": np.round(electrons.clip(0, 16383)) * 4,
        "wide": np.round(light ** (1 / 2.2) * 255) * 257,
    }
    array = np.round(kinds[source]).astype(np.uint16)
    png = min((_png(array, kind) for kind in range(5)), key=len)
    data = presage.encode(png, verify=True)
    assert len(data) < 0.95 * len(png)
    split = deep.split(api.source_file(data) or b"")
    assert split is not None
    assert np.array_equal(split[1], array)


def _png(array: NDArray[np.uint16], kind: int) -> bytes:
    """A PNG file, every row by one of the standard's filters."""
    rows = array.astype(">u2").view(np.uint8).reshape(len(array), -1).astype(np.int64)
    left, up = np.pad(rows, ((0, 0), (6, 0)))[:, :-6], np.pad(rows, ((1, 0), (0, 0)))[:-1]
    corner = np.pad(rows, ((1, 0), (6, 0)))[:-1, :-6]
    a, b, c = np.abs(up - corner), np.abs(left - corner), np.abs(left + up - 2 * corner)
    paeth = np.where((a <= b) & (a <= c), left, np.where(b <= c, up, corner))
    coded = (rows - [0 * rows, left, up, (left + up) >> 1, paeth][kind]).astype(np.uint8)
    data = zlib.compress(np.concatenate([np.full((len(rows), 1), kind, np.uint8), coded], 1).tobytes(), 9)
    head = deep.HEAD.pack(array.shape[1], array.shape[0], 16, 2, 0, 0, 0)
    chunks = [b"IHDR" + head, b"tEXtSoftware\0a test", b"IDAT" + data[:100], b"IDAT" + data[100:], b"IEND"]
    return opening.PNG_START + b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)


def test_png_files_keep_their_chunks_and_odd_ones_stay_whole() -> None:
    array = noise(30, 40).astype(np.uint16) * 200
    png = _png(array, 4)
    back = api.source_file(presage.encode(png, verify=True))
    assert back is not None
    assert b"tEXtSoftware\0a test" in back
    for odd in (png + b"behind", png.replace(b"IEND", b"IENX"), png[:-20]):
        assert deep.split(odd) is None
    with_tail = presage.encode(png + b"behind")
    assert api.source_file(with_tail) == png + b"behind"


def test_cmyk_by_the_command_is_a_tiff(tmp_path_factory: pytest.TempPathFactory) -> None:
    from click.testing import CliRunner

    from presage.codec.cli.main import main

    folder = tmp_path_factory.mktemp("cmyk")
    image = Image.fromarray(noise(40, 50)).convert("CMYK")
    image.save(folder / "a.tif")
    assert CliRunner().invoke(main, ["encode", str(folder / "a.tif"), "-q", "--verify"]).exit_code == 0
    (folder / "a.tif").unlink()
    result = CliRunner().invoke(main, ["decode", str(folder / "a.psg"), "-o", str(folder / "a.png")])
    assert result.exit_code == 1
    assert "write a .tif" in result.output
    assert CliRunner().invoke(main, ["decode", str(folder / "a.psg"), "-q"]).exit_code == 0
    assert Image.open(folder / "a.tif").tobytes() == image.tobytes()
    buffer = io.BytesIO()
    image.save(buffer, "JPEG")
    assert presage.decode(presage.encode(buffer.getvalue(), pixels=True)).mode == "CMYK"
    assert presage.preview((folder / "a.psg").read_bytes()).mode == "RGB"


def test_sixteen_bits_by_the_command(tmp_path_factory: pytest.TempPathFactory) -> None:
    from click.testing import CliRunner

    from presage.codec.cli.main import main

    folder = tmp_path_factory.mktemp("deep")
    source = (GOLDEN / "deep.psg").read_bytes()
    (folder / "a.psg").write_bytes(source)
    assert CliRunner().invoke(main, ["decode", str(folder / "a.psg"), "-q"]).exit_code == 0
    assert stored.same_deep((folder / "a.png").read_bytes(), (GOLDEN / "deep.png").read_bytes())
    for arguments, message in ((["-o", str(folder / "a.webp")], "only a .png"), (["--codes", "1", "-f"], "leave out --codes")):
        done = CliRunner().invoke(main, ["decode", str(folder / "a.psg"), *arguments])
        assert done.exit_code == 1
        assert message in done.output
    wrong = bytearray(source)
    wrong[24] ^= 1  # the CRC of the pixels
    place = container.read_header(source).sections[0].offset - 4
    wrong[place : place + 4] = struct.pack("<I", zlib.crc32(wrong[:place]))
    (folder / "b.psg").write_bytes(wrong)
    assert CliRunner().invoke(main, ["decode", str(folder / "b.psg"), "-q"]).exit_code == 3
    assert not (folder / "b.png").exists()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_hostile_samples(data: st.DataObject) -> None:
    """Altered content behind right checksums is damage, or other samples, which the pixel CRC finds."""
    name = data.draw(st.sampled_from(["cmyk", "gray16", "deep"]))
    whole = (GOLDEN / f"{name}.psg").read_bytes()
    header = container.read_header(whole)
    parts = {s.tag: bytearray(whole[s.offset : s.offset + s.size]) for s in header.sections}
    part = parts[data.draw(st.sampled_from(sorted(parts)))]
    before = bytes(part)
    part[data.draw(st.integers(0, len(part) - 1) | st.integers(0, 10))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del part[data.draw(st.integers(0, len(part))) :]
    if part == before:
        return
    try:
        image = presage.decode(container.write(header, {tag: bytes(content) for tag, content in parts.items()}))
    except presage.DamagedFile:
        return
    assert image.tobytes() == presage.decode(whole).tobytes()  # what changed was in another chunk of a PNG


def test_large_claims_take_neither_memory_nor_time() -> None:
    content = samples.HEAD.pack(8, 4) + bytes(16) + bytes(40)
    data = container.write(Header(16000, 16000, Mode.CMYK, Coding.STORED, 0), {Tag.SAMPLES: content})
    with pytest.raises(presage.DamagedFile, match="SAMP"):
        presage.decode(data, limits=presage.Limits(memory=1 << 40, seconds=1e9))
    with pytest.raises(presage.LimitExceeded):
        presage.decode(data, limits=presage.Limits(seconds=100))


def test_combinations_that_are_damage() -> None:
    whole = (GOLDEN / "gray16.psg").read_bytes()
    header = container.read_header(whole)
    content = container.read_section(whole, header, Tag.SAMPLES) or b""
    picture = stored.encode(Image.open(GOLDEN / "gray16.png"))
    for parts in (
        {Tag.SAMPLES: content, Tag.STORED: picture}, {Tag.STORED: picture, Tag.CHUNKS: b"x"}, {Tag.CHUNKS: b"x"},
        {Tag.SAMPLES: content, Tag.CHUNKS: b"xxxxx"}, {},
    ):  # fmt: skip
        with pytest.raises(presage.DamagedFile):
            presage.decode(container.write(header, parts))
    with pytest.raises(presage.DamagedFile, match="mode"):
        presage.decode(container.write(Header(83, 61, Mode.GRAY, Coding.STORED, header.pixel_crc), {Tag.SAMPLES: content}))
