"""Previews: what is put in front of a file, what is shown of files without one, and that it costs neither time nor torch."""

import io
import json
import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import HERE, noise, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import presage
from presage.codec import api, previews
from presage.codec.format import container
from presage.codec.format import preview as sections
from presage.codec.format.container import Coding, Header, Mode, Tag
from presage.codec.format.preview import Preview
from presage.codec.image import files
from presage.codec.image import previews as pictures

PLAIN = (HERE / "golden" / "rgb.psg").read_bytes()


def webp(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", **options)
    return buffer.getvalue()


def with_preview(data: bytes = PLAIN, orientation: int = 1, size: tuple[int, int] = (40, 30)) -> bytes:
    image = Image.fromarray(noise(size[1], size[0]))
    return sections.put(data, Preview(orientation, webp(image), size))


def stored(size: tuple[int, int] = (640, 480), **options: object) -> bytes:
    """A stored file of a smooth picture that is large enough to have room for a preview."""
    buffer = io.BytesIO()
    Image.fromarray(noise(size[1], size[0])).save(buffer, "PNG", compress_level=1, **options)
    picture, bare = files.read(buffer.getvalue()), io.BytesIO()
    Image.fromarray(noise(size[1], size[0])).save(bare, "PNG", compress_level=1)
    header = Header(*size, picture.mode, Coding.STORED, zlib.crc32(picture.image.tobytes()))
    return pictures.of_picture(container.write(header, {Tag.STORED: bare.getvalue()} | picture.extras), picture)


def near(a: Image.Image, b: Image.Image) -> float:
    """Mean difference of grey levels at a size at which dithering and the like are not seen."""
    small = [np.asarray(image.convert("RGB").resize((20, 15), Image.Resampling.BOX), np.float64) for image in (a, b)]
    return float(np.abs(small[0] - small[1]).mean())


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    """A quarter of the sample, large enough for a preview at the tiny model's rate."""
    return Image.open(HERE.parent / "samples" / "kodim23.png").crop((200, 100, 500, 300))


def test_it_stands_in_front_is_small_and_changes_no_pixel(photograph: Image.Image) -> None:
    whole, plain = presage.encode(photograph, model="tiny", preview=True), presage.encode(photograph, model="tiny")
    header = container.read_header(whole)
    assert header.sections[0].tag == Tag.PREVIEW
    assert 0 < len(whole) - len(plain) <= 0.015 * len(plain)
    assert presage.decode(whole).tobytes() == photograph.tobytes()
    small = presage.preview(whole)
    assert max(small.size) <= 256
    assert near(small, photograph) < 6  # decibels are for large pictures: it is the right picture, the right way round
    assert near(small.transpose(Image.Transpose.ROTATE_180), photograph) > 20
    others = {s.tag: whole[s.offset : s.offset + s.size] for s in header.sections[1:]}
    before = container.read_header(plain)
    assert others == {s.tag: plain[s.offset : s.offset + s.size] for s in before.sections}


def test_lossy_files_keep_to_their_limit(photograph: Image.Image) -> None:
    data = presage.encode_lossy(photograph, model="tiny-latent", size=9000, preview=True)
    assert len(data) <= 9000
    cut = presage.encode_lossy(photograph, model="tiny-ordered", preview=True)
    whole = sections.put(cut, Preview(1, webp(photograph.resize((30, 20))), (30, 20)))
    for size in (len(whole), len(whole) - 40, container.read_header(whole).sections[0].offset + 3):
        assert presage.decode(whole[:size]).size == photograph.size
    assert presage.preview(whole[: len(whole) - 40]).size == (30, 20)


def test_a_file_that_is_too_small_has_none(tmp_path: Path) -> None:
    data = presage.encode(noise(8, 8), model="tiny", preview=True)
    assert container.read_header(data).section(Tag.PREVIEW) is None
    Image.fromarray(noise(8, 8)).save(tmp_path / "a.png")
    done = run("encode", "-m", "tiny", "--preview", "a.png", "-o", "a.psg", folder=tmp_path)
    assert done.returncode == 0
    assert "no preview" in done.stderr


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_respected(orientation: int) -> None:
    """The preview is shown as Pillow's `exif_transpose` shows the picture; thumbnails of the plugin are not turned, as Pillow's are not."""
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    data = stored((400, 260), exif=exif)
    assert container.read_header(data).section(Tag.PREVIEW)
    image = presage.decode(data)
    upright = ImageOps.exif_transpose(image)
    assert near(presage.preview(data), upright) < 6
    without = {s.tag: data[s.offset : s.offset + s.size] for s in container.read_header(data).sections[1:]}
    for found in (data, container.write(container.read_header(data), without)):
        shown = presage.preview(found, 60)
        assert max(shown.size) == 60 or found is data
        assert abs(shown.width / shown.height - upright.width / upright.height) < 0.05
    presage.register_pillow()
    opened = Image.open(io.BytesIO(data))
    opened.thumbnail((30, 30))
    assert opened.getexif().get(0x0112, 1) == orientation
    assert opened.width > opened.height


def test_pillow_uses_it_and_decodes_where_it_is_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    presage.register_pillow()
    data = stored()
    size = sections.read(data, container.read_header(data)).size  # type: ignore[union-attr]
    picture = presage.decode(data)
    calls: list[int] = []
    decode = api.decode

    def counted(data: bytes) -> Image.Image:
        calls.append(1)
        return decode(data)

    monkeypatch.setattr(api, "decode", counted)
    image = Image.open(io.BytesIO(data))
    assert image.draft(None, (size[0] - 1, size[1] - 1)) == ("RGB", (0, 0, *size))
    assert image.size == size
    image.load()
    assert not calls
    image = Image.open(io.BytesIO(data))
    image.thumbnail(size)
    assert not calls
    assert max(image.size) == max(size)
    image = Image.open(io.BytesIO(data))
    image.thumbnail((size[0] + 1, size[1] + 1))
    assert calls
    picture.thumbnail((size[0] + 1, size[1] + 1))
    assert image.tobytes() == picture.tobytes()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_all_modes(mode: str) -> None:
    picture = Image.fromarray(noise(300, 400))
    image = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 257) if mode == "I;16" else picture.convert(mode)
    made = pictures.make(image, b"", b"", 6000)
    assert made is not None
    small = pictures.show(made)
    assert small.mode in ("RGB", "RGBA")
    assert near(small, picture.convert("L") if mode in ("1", "L", "LA", "I;16") else picture) < 6
    for kind in ("PNG", "JPEG", "WEBP"):
        assert Image.open(io.BytesIO(previews.to_file(small, kind))).size == small.size


def test_files_without_one(photo: np.ndarray, tmp_path: Path) -> None:
    """Each by the cheapest way."""
    golden = HERE / "golden"
    ways = {name: previews.shown((golden / f"{name}.psg").read_bytes(), 40) for name in ("palette", "rgb", "jpeg", "ordered", "lossy")}
    assert {name: found.way for name, found in ways.items()} == {
        "palette": "stored", "rgb": "decoded", "jpeg": "decoded", "ordered": "cut", "lossy": "decoded",
    }  # fmt: skip
    for name in ("palette", "rgb", "jpeg"):
        assert ways[name].image.size == (40, 29)
        assert near(ways[name].image, Image.fromarray(photo)) < 20
    with pytest.raises(presage.ImageRefused, match="set"):
        presage.preview((golden / "set-colour.psg").read_bytes())


def jpeg_with_thumbnail(bars: int) -> bytes:
    """A JPEG file of a 3:2 picture whose EXIF has a thumbnail of 160 x 120 with black bars, or with other ones."""
    image = Image.fromarray(noise(400, 600))
    small = Image.new("RGB", (160, 120), (bars, bars, bars))
    small.paste(image.resize((160, 107)), (0, 7))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=90)
    thumbnail = buffer.getvalue()
    entry = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
    place = 8 + 2 + 12 + 4 + 2 + 24 + 4
    first = b"\x01\x00" + entry + (8 + 2 + 12 + 4).to_bytes(4, "little")
    offsets = b"".join(tag + b"\x04\x00\x01\x00\x00\x00" + value.to_bytes(4, "little") for tag, value in
                       ((b"\x01\x02", place), (b"\x02\x02", len(thumbnail))))  # fmt: skip
    exif = b"Exif\0\0II*\0\x08\0\0\0" + first + b"\x02\x00" + offsets + bytes(4) + thumbnail
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


def test_thumbnail_in_exif() -> None:
    """It is shown without its bars, turned; where the bars are no bars, or more pixels are wanted, it is not."""
    source = jpeg_with_thumbnail(0)
    data = presage.encode(source, model="tiny-jpeg")
    assert presage.info(data)["coding"] == "JPEG"
    found = previews.shown(data, 256)
    assert found.way == "thumbnail"
    assert found.image.size == (107, 160)
    picture = Image.open(io.BytesIO(source)).transpose(Image.Transpose.ROTATE_270)
    assert near(found.image, picture) < 8
    assert previews.shown(data, 400).way == "decoded"
    assert previews.shown(presage.encode(jpeg_with_thumbnail(200), model="tiny-jpeg"), 256).way == "decoded"
    presage.register_pillow()
    for side, size in ((160, (160, 107)), (161, (600, 400))):
        opened = Image.open(io.BytesIO(data))
        opened.draft(None, (side, side))
        assert opened.size == size
        opened.load()
        assert opened.getexif()[0x0112] == 6
        assert near(opened, Image.open(io.BytesIO(source))) < 8
    with_one = presage.encode(source, model="tiny-jpeg", preview=True)
    assert presage.decode_file(with_one) == source
    assert previews.shown(with_one).way == "preview"


def test_profile_is_applied() -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # of another colour space: it cannot be applied
    image = Image.new("RGB", (64, 64), (200, 100, 50))
    assert near(pictures.plain(image, profile), image) == 0
    assert near(pictures.plain(image, b"no profile"), image) == 0
    same = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert near(pictures.plain(image, same), image) <= 1


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_hostile_previews(data: st.DataObject) -> None:
    """Flips, cuts and forgeries behind right checksums: DamagedFile, or a picture of the size that is told."""
    content = bytearray(sections.read(with_preview(), container.read_header(with_preview())).content)  # type: ignore[union-attr]
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    header = container.read_header(PLAIN)
    kept = {s.tag: PLAIN[s.offset : s.offset + s.size] for s in header.sections}
    forged = container.write(header, {Tag.PREVIEW: bytes(content)} | kept)
    try:
        image = presage.preview(forged)
    except presage.DamagedFile:
        return
    assert image.size in ((40, 30), (30, 40)) or max(image.size) <= 256


@pytest.mark.parametrize(
    "content",
    [b"", b"\x01", b"\x00" + webp(Image.new("RGB", (4, 4))), b"\x01" + webp(Image.new("RGB", (257, 4))),
     b"\x01" + webp(Image.new("RGB", (4, 4)), lossless=True), b"\x01" + webp(Image.new("RGB", (4, 4)), exif=b"Exif\0\0MM"),
     b"\x01" + webp(Image.new("RGB", (4, 4))) + b"\0"],
    ids=["empty", "no-file", "orientation", "too-large", "lossless", "beside", "behind"],
)  # fmt: skip
def test_what_is_no_preview(content: bytes) -> None:
    header = container.read_header(PLAIN)
    kept = {s.tag: PLAIN[s.offset : s.offset + s.size] for s in header.sections}
    data = container.write(header, {Tag.PREVIEW: content} | kept)
    with pytest.raises(presage.DamagedFile, match="PREV"):
        presage.preview(data)


def test_a_damaged_preview_is_damage_of_the_file() -> None:
    data = bytearray(with_preview())
    place = container.read_header(bytes(data)).sections[0].offset + 20
    data[place] ^= 1
    for read in (presage.decode, presage.preview):
        with pytest.raises(presage.DamagedFile, match="PREV"):
            read(bytes(data))
    assert presage.recover(bytes(data))[0].size == (83, 61)
    header = Header(0, 0, Mode.RGB, Coding.SET, 0, 32)
    with pytest.raises(presage.DamagedFile, match="PREV"):
        presage.decode(container.write(header, {Tag.PREVIEW: b""}))


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    return subprocess.run([sys.executable, "-m", "presage", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_command(tmp_path: Path) -> None:
    (tmp_path / "a.psg").write_bytes(with_preview(orientation=6))
    done = run("preview", "a.psg", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert (facts["way"], facts["width"], facts["height"], facts["output"]) == ("preview", 30, 40, "a.preview.png")
    assert Image.open(tmp_path / "a.preview.png").size == (30, 40)
    assert run("preview", "a.psg", folder=tmp_path).returncode == 1  # it exists
    assert run("preview", "a.psg", "-o", ".thumb.XYZ", folder=tmp_path).returncode == 2
    assert run("preview", "a.psg", "-o", ".thumb.XYZ", "--format", "png", "--size", "20", folder=tmp_path).returncode == 0
    assert Image.open(tmp_path / ".thumb.XYZ").format == "PNG"
    assert max(Image.open(tmp_path / ".thumb.XYZ").size) == 20
    (tmp_path / "bad.psg").write_bytes(with_preview()[:-5])
    (tmp_path / "not.psg").write_bytes(b"no such file")
    assert run("preview", "not.psg", folder=tmp_path).returncode == 3
    pipe = f"cat a.psg | {sys.executable} -m presage preview - --size 9 | cat > piped.png"
    subprocess.run(pipe, shell=True, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(HERE.parent)})
    assert max(Image.open(tmp_path / "piped.png").size) == 9


def test_neither_torch_nor_numpy_and_milliseconds(tmp_path: Path) -> None:
    """What the command imports, and the processor time it takes: 0.3 s is promised, and wall time is not ours on a busy machine."""
    (tmp_path / "a.psg").write_bytes(stored())
    script = (
        "import sys, time; from presage.codec.cli.main import main\n"
        "try: main(['preview', 'a.psg', '-q', '-o', 'a.png'])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(time.process_time()); print(sorted(set(sys.modules) & {'torch', 'numpy', 'numba', 'safetensors', 'constriction'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(HERE.parent)},
                          capture_output=True, text=True, check=True)  # fmt: skip
    seconds, modules = done.stdout.split("\n")[:2]
    assert modules == "[]"
    assert float(seconds) < 0.6
    data, times = (tmp_path / "a.psg").read_bytes(), []
    for _ in range(5):
        started = time.process_time()
        presage.preview(data)
        times.append(time.process_time() - started)
    assert min(times) < 0.05


def test_kodak(tmp_path: Path) -> None:
    """A real file by the shipped model, as it is promised: at most 1.5 % and 50 ms."""
    picture = Image.open(shared("kodak") / "kodim03.png").crop((0, 0, 384, 256))
    data = presage.encode(picture, model="photo-1", preview=True, threads=1)
    found = container.read_header(data).section(Tag.PREVIEW)
    assert found is not None
    assert found.size <= 0.015 * len(data)
    started = time.process_time()
    small = presage.preview(data)
    assert time.process_time() - started < 0.05
    assert near(small, picture) < 6
