"""Archive many small pictures of all kinds while being killed, go on, restore, compare.

python tests/archive_stress.py --pictures /path/to/pictures --count 500 --work /tmp/stress [--threads | --ray]

--pictures: a folder with files that Pillow reads, of which small pieces are taken. Without it the sample photograph is cut up.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from presage.codec.archive import archiving, runners
from presage.codec.archive.work import Done, Job, Task, archive_one
from presage.codec.image.deep import png_of
from presage.codec.image.stored import same_deep

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "samples" / "kodim23.png"


# ----------------------------------------------------------------------------------------------------------- pictures


def pieces(folder: Path | None, chance: random.Random) -> Iterator[Image.Image]:
    """Small pieces of photographs, for ever."""
    paths = [SAMPLE] if folder is None else sorted(p for p in folder.rglob("*") if p.suffix in (".png", ".webp", ".jpg"))
    opened: dict[Path, Image.Image] = {}
    while True:
        path = chance.choice(paths)
        try:
            image = opened.setdefault(path, Image.open(path).convert("RGB"))
        except (OSError, ValueError):  # one that is broken on purpose
            paths.remove(path)
            continue
        width, height = (min(chance.randint(17, 120), side) for side in image.size)
        x, y = chance.randint(0, image.width - width), chance.randint(0, image.height - height)
        piece = image.crop((x, y, x + width, y + height))
        piece.info = {}
        yield piece
        if len(opened) > 12:
            opened.pop(next(iter(opened)))


def kinds(image: Image.Image, chance: random.Random) -> dict[str, Any]:
    """Ways to write a picture: a function of a path, by a suffix that says which."""
    gray = image.convert("L")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    colours = np.asarray(image).astype(np.uint16)
    colours = colours * 250 + np.random.default_rng(image.width).integers(0, 64, colours.shape, np.uint16)
    clear = image.copy()
    clear.putalpha(gray.point(lambda level: 255 if level > 99 else level))
    exif = Image.Exif()
    exif[0x010E] = "a piece"

    def saved(picture: Image.Image, **options: Any) -> Any:
        return lambda path: picture.save(path, **options)

    def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
        buffer = io.BytesIO()
        picture.save(buffer, kind, **options)
        return buffer.getvalue()

    jpeg, png = encoded(image, "JPEG", quality=88), encoded(image, "PNG")
    return {
        "png": saved(image), "text.png": saved(image, dpi=(300, 300), icc_profile=b"not a profile"), "gray.png": saved(gray),
        "deep.png": saved(deep), "alpha.png": saved(clear), "palette.png": saved(image.quantize(chance.choice([9, 60, 256]))),
        "jpg": saved(image, quality=chance.randint(60, 96)), "420.jpg": saved(image, quality=80, subsampling=2, exif=exif),
        "progressive.jpg": saved(image, quality=85, progressive=True, optimize=True), "gray.jpeg": saved(gray, quality=90),
        "cmyk.jpg": saved(image.convert("CMYK"), quality=85), "bmp": saved(image), "gray.bmp": saved(gray), "ppm": saved(image),
        "pgm": saved(gray), "tif": saved(image), "lzw.tif": saved(image, compression="tiff_lzw"), "webp": saved(image, quality=70),
        "lossless.webp": saved(image, lossless=True), "gif": saved(image.convert("P")),
        "once.png": saved(Image.open(io.BytesIO(jpeg))), "broken.jpg": lambda path: path.write_bytes(jpeg[: len(jpeg) // 2]),
        "broken.png": lambda path: path.write_bytes(png[: len(png) // 2] + b"?"), "more.png": lambda path: path.write_bytes(png + b"more"),
        "no.jpg": lambda path: path.write_bytes(b"\xff\xd8\xff" + chance.randbytes(300)), "txt": lambda path: path.write_text("no picture"),
        "empty.png": lambda path: path.write_bytes(b""), "wrong.png": lambda path: path.write_bytes(jpeg),
        "colour16.png": lambda path: path.write_bytes(png_of(colours)),
    }  # fmt: skip


def make(folder: Path, count: int, pictures: Path | None, seed: int = 0) -> None:
    """A tree of so many files of all kinds, with links, empty folders, odd names, times and modes."""
    chance = random.Random(seed)
    source = pieces(pictures, chance)
    names = ["plain", "Plain", "PLAIN", "a\u0308", "\u00e4", "with space", "dots..", "~", "line\nbreak", "x" * 200, "con"]
    for number in range(count):
        ways = kinds(next(source), chance)
        suffix = list(ways)[number % len(ways)]
        below = folder / chance.choice(["", "a", "A", "a/b", "a/B/c", "d e"])
        below.mkdir(parents=True, exist_ok=True)
        name = f"{chance.choice(names)}.{suffix}"
        path = below / (name if not (below / name).exists() else f"{number} {name}")
        ways[suffix](path)
        os.chmod(path, chance.choice([0o644, 0o600, 0o755, 0o444]))
        os.utime(path, ns=(0, chance.randrange(10**18, 2 * 10**18)))
    (folder / "hollow" / "inside").mkdir(parents=True)
    (folder / "dangling").symlink_to("/nowhere/at all")
    (folder / "up").symlink_to("../..")
    with (folder / os.fsdecode(b"not \xff text.txt")).open("wb") as file:
        file.write(b"bytes that are no text")
    for number, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_dir() and not p.is_symlink())):
        os.utime(path, ns=(0, 1_500_000_000_000_000_001 + number))


# ------------------------------------------------------------------------------------------------------------ comparing


def compare(source: Path, restored: Path, archive: Path) -> Counter[str]:
    """Raises AssertionError unless two trees are the same, byte for byte where the manifest promises that, and in pixels else."""
    said = lines(archive)
    promised = {line["path"]: line.get("promise", "") for line in said}
    found = {str(p.relative_to(source)) for p in source.rglob("*")}
    assert found == {str(p.relative_to(restored)) for p in restored.rglob("*")}
    assert found == set(promised)
    assert len(said) == len(promised), "something is in the manifest twice"
    same: Counter[str] = Counter()
    for name in found:
        old, new = source / name, restored / name
        a, b = old.lstat(), new.lstat()
        assert (a.st_mode, a.st_mtime_ns) == (b.st_mode, b.st_mtime_ns), name
        if old.is_symlink():
            assert os.readlink(old) == os.readlink(new), name
        elif old.is_file() and promised[name] == "bytes":
            assert old.read_bytes() == new.read_bytes(), name
        elif old.is_file():
            with Image.open(old) as first, Image.open(new) as second:
                assert (first.mode, first.size, first.tobytes()) == (second.mode, second.size, second.tobytes()), name
                assert not name.endswith("colour16.png") or same_deep(old.read_bytes(), new.read_bytes()), name
                assert first.getpalette() == second.getpalette(), name
                assert first.info.keys() == second.info.keys(), name
        same[promised[name] or "no file"] += 1
    return same


def lines(archive: Path) -> list[dict[str, Any]]:
    """The lines of a manifest but the first."""
    return [json.loads(line) for line in (archive / "manifest.jsonl").read_text().splitlines()[1:]]


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all files below a folder, by their paths in it."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


# -------------------------------------------------------------------------------------------------------------- killing


def command(*arguments: object) -> list[str]:
    """The program, in this Python."""
    return [sys.executable, "-m", "presage", *map(str, arguments)]


def lines_in(manifest: Path) -> int:
    """Whole lines of a manifest."""
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


def by_threads(source: Path, target: Path, count: int = 2) -> int:
    """Archive by so many threads of this process, which the program itself does only by one; the exit code."""
    archiving.runner = lambda *_: (runners.threads(count), 1)
    return archiving.archive(source, target).exit_code


def archive_killed(
    source: Path, target: Path, kills: int, options: list[str], chance: random.Random, at_most: float = 3600, threads: bool = False
) -> list[int]:
    """Archive, killed so many times after random numbers of files, then to the end; the lines that the manifest had after each.

    By processes, as options say, or by threads.
    """
    words = command("archive", source, "-o", target, "-q", *options)
    if threads:
        words = [sys.executable, __file__, "--pictures", str(source), "--work", str(target), "--inside"]
    total = sum(1 for p in source.rglob("*"))
    after = sorted(chance.randrange(1, total) for _ in range(kills))
    seen = []
    for wanted in [*after, total + 10]:
        process = subprocess.Popen(words, start_new_session=True)
        end = time.monotonic() + at_most
        while process.poll() is None and lines_in(target / "manifest.jsonl") <= wanted:
            assert time.monotonic() < end, "it takes too long"
            time.sleep(chance.random() * 0.05)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
        seen.append(lines_in(target / "manifest.jsonl"))
    assert process.returncode == 0, process.returncode
    return seen


def workers_of(parent: int) -> list[int]:
    """Processes of Ray below one, that work on tasks."""
    below: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                stat = (folder / "stat").read_text()
                names[int(folder.name)] = (folder / "cmdline").read_text()
            except OSError:
                continue
            below.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(folder.name))
    found, waiting = [], [parent]
    while waiting:
        process = waiting.pop()
        waiting += below.get(process, [])
        if names.get(process, "").startswith("ray::attempt"):
            found.append(process)
    return found


def archive_on_ray(source: Path, target: Path, kills: int, options: list[str], chance: random.Random) -> int:
    """Archive on a cluster of this machine, of which so many workers are killed while they work; how many were."""
    total, killed = sum(1 for _ in source.rglob("*")), 0
    process = subprocess.Popen(command("archive", source, "-o", target, "-q", "--ray", "", "-j", "2", *options))
    after = sorted(chance.randrange(total // 8, total * 3 // 4) for _ in range(kills))
    while process.poll() is None:
        if after and lines_in(target / "manifest.jsonl") > after[0] and (workers := workers_of(process.pid)):
            os.kill(chance.choice(workers), signal.SIGKILL)
            killed += 1
            after.pop(0)
        time.sleep(0.02)
    assert process.returncode == 0, process.returncode
    return killed


# ------------------------------------------------------------------------------------------------------------- workers


def measured(job: Job, task: Task) -> Done:
    """Archive a file; as the note what it took: seconds, of these on a processor and waiting for one, and the process."""

    def spent() -> tuple[float, float]:
        on, waiting, _ = Path("/proc/thread-self/schedstat").read_text().split()
        return int(on) / 1e9, int(waiting) / 1e9

    before, started = spent(), time.perf_counter()
    done = archive_one(job, task)
    after = spent()
    numbers = [time.perf_counter() - started, after[0] - before[0], after[1] - before[1], os.getpid()]
    return replace(done, note=json.dumps(numbers))


def scaling(source: Path, target: Path) -> None:
    """What a file takes with one and two workers, threads and processes (Linux).

    Seconds on the processor, and waiting for something else than a processor: for the interpreter's lock, for the disk. They are the same
    on a machine that is busy with other work; seconds by the clock are not. The first files of each process, which load models, do not
    count.
    """
    setattr(archiving, "archive_one", measured)  # noqa: B010
    alone = first = 0.0
    for name, count in (("processes", 1), ("processes", 2), ("threads", 1), ("threads", 2)):
        shutil.rmtree(target, ignore_errors=True)
        chosen = getattr(runners, name)(count)
        archiving.runner = lambda *_, chosen=chosen: (chosen, 1)
        notes = [json.loads(note) for _, note in archiving.archive(source, target).notes]
        seen: Counter[int] = Counter()
        counted = []
        for note in notes:
            seen[note[3]] += 1
            if seen[note[3]] > 4 * (count if name == "threads" else 1):
                counted.append(note)
        wall, processor, queue = (sum(note[i] for note in counted) / len(counted) for i in range(3))
        alone, first = (wall - queue, wall) if count == 1 else (alone, first)
        print(
            f"{count} {name}: a file takes {processor:.3f} s of a processor, and waits {wall - processor - queue:.3f} s for other than one;"
        )
        print(f"  {count * alone / (wall - queue):.2f} times the files of one, where each has a processor")
        print(f"  by the clock {wall:.3f} s a file, {count * first / wall:.2f} times the files of one")


def main() -> None:
    """The whole of it, with figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--ray", action="store_true", help="On a Ray cluster of this machine, whose workers are killed twice.")
    parser.add_argument("--threads", action="store_true", help="By threads of one process instead of processes.")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--scaling", type=Path, help="Only measure one and two workers on the files of this folder.")
    options = parser.parse_args()
    if options.inside:
        sys.exit(by_threads(options.pictures, options.work))
    chance = random.Random(options.seed)
    if options.scaling:
        scaling(options.scaling, options.work)
        return
    shutil.rmtree(options.work, ignore_errors=True)
    source, target, restored = (options.work / name for name in ("source", "archive", "restored"))
    make(source, options.count, options.pictures, options.seed)
    started = time.monotonic()
    if options.ray:
        print(f"workers killed: {archive_on_ray(source, target, 2, [], chance)}")
    else:
        seen = archive_killed(source, target, options.kills, ["-j", "2"], chance, threads=options.threads)
        print(f"lines after each kill, and at the end: {seen}")
    print(f"archived in {time.monotonic() - started:.0f} s")
    again = subprocess.run(command("archive", source, "-o", target, "--json"), check=True, capture_output=True, text=True)
    print("again:", json.loads(again.stdout.splitlines()[-1]))
    for arguments in (["--check"], ["-o", restored]):
        subprocess.run(command("restore", target, *arguments), check=True)
    print("the same:", dict(compare(source, restored, target)))
    files = [line for line in lines(target) if line["kind"] == "file"]
    spent, codec = (sum(line.get(name, 0) for line in files if line["result"] == "coded") for name in ("seconds", "codec_seconds"))
    before, after = (sum(line.get(name, 0) for line in files) for name in ("bytes", "stored_bytes"))
    print(f"{before:,} -> {after:,} bytes; {1 - codec / spent:.1%} of the time on coded files is outside the codec")


if __name__ == "__main__":
    main()
