"""JPEG files that are made smaller and come back bit for bit: Presage beside other coders of their coefficients."""

import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import presage

from ...codec.format.jpeg import is_jpeg
from .codecs import Codec, choose
from .common import Log, machine, timed


@dataclass(frozen=True)
class Repacker(Codec):
    """A codec of JPEG files: encode and decode are (file, threads) -> file. encode raises Refused for a file that it does not take."""

    decode: Callable[[bytes, int], Any]


class Refused(Exception):
    """A JPEG file that a coder does not take."""


def _jxl(data: bytes, threads: int) -> bytes:
    import imagecodecs

    try:
        packed = imagecodecs.jpegxl_encode_jpeg(data, usecontainer=True, numthreads=threads)
    except imagecodecs.JpegxlError as error:
        raise Refused(str(error)) from None
    return bytes(packed)


def _from_jxl(data: bytes, threads: int) -> bytes:
    import imagecodecs

    return bytes(imagecodecs.jpegxl_decode_jpeg(data, numthreads=threads))


def _program(command: Sequence[str], suffixes: tuple[str, str], data: bytes, _: int) -> bytes:
    """What a program makes of a file; of its arguments {in} and {out} stand for names."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = (str(Path(folder) / f"a{suffix}") for suffix in suffixes)
        Path(source).write_bytes(data)
        arguments = [argument.replace("{in}", source).replace("{out}", target) for argument in command]
        done = subprocess.run(arguments, capture_output=True, cwd=folder, check=False)
        if done.returncode or not Path(target).exists():
            raise Refused(done.stderr.decode(errors="replace").strip()[-200:] or "no result")
        return Path(target).read_bytes()


def _programs(name: str, pack: Sequence[str], unpack: Sequence[str], suffix: str, about: str) -> Repacker:
    encode, decode = partial(_program, pack, (".jpg", suffix)), partial(_program, unpack, (suffix, ".jpg"))
    return Repacker(name, about, encode, decode, program=pack[0])


def _peers() -> list[Repacker]:
    return [
        Repacker("jxl", "JPEG XL, transcoding with reconstruction (libjxl)", _jxl, _from_jxl, needs="imagecodecs"),
        _programs("lepton", ["lepton", "{in}", "{out}"], ["lepton", "{in}", "{out}"], ".lep", "Lepton"),
        _programs("brunsli", ["cbrunsli", "{in}", "{out}"], ["dbrunsli", "{in}", "{out}"], ".br", "brunsli"),
        _programs("packjpg", ["packjpg", "-np", "{in}"], ["packjpg", "-np", "{in}"], ".pjg", "packJPG"),
    ]


def run(
    folder: Path,
    names: Sequence[str],
    *,
    model: str,
    model_path: Sequence[Path],
    threads: int,
    limit: int | None,
    log: Log = lambda _: None,
) -> dict[str, Any]:
    """Measure on the JPEG files of a folder; a dict for JSON and `reports.jpeg`. Seconds are of one run after one that warms up.

    A file that a coder does not take counts with its own bytes. Raises ValueError for a folder without JPEG files and unknown coders, and
    RuntimeError if a file does not come back.
    """
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and is_jpeg(path.read_bytes()[:2])][:limit]
    if not files:
        raise ValueError(f"{folder} has no JPEG files")
    options: dict[str, Any] = {"model_path": model_path}

    def pack(data: bytes, threads: int) -> bytes:
        return presage.encode(data, model=model if model != "jpeg" else "photo", threads=threads, **options)

    def unpack(data: bytes, threads: int) -> bytes:
        return presage.decode_file(data, threads=threads, **options)

    own = Repacker("presage", "Presage", pack, unpack)
    chosen, notes = choose([own, *_peers()], names)
    for codec in chosen:
        _measure(codec, files[0], threads)
    rows: list[dict[str, Any]] = []
    for path in files:
        rows.append({"name": path.name, "bytes": path.stat().st_size, "codecs": {c.name: _measure(c, path, threads) for c in chosen}})
        measured, size = rows[-1]["codecs"], rows[-1]["bytes"]
        log(f"{path.name}  " + "  ".join(f"{name} {facts['bytes'] / size:.1%}" for name, facts in measured.items()))
    return {
        "machine": machine(threads),
        "files": rows,
        "notes": notes,
        "codecs": {codec.name: codec.description for codec in chosen},
        "sums": {codec.name: _sum(rows, codec.name) for codec in chosen},
    }


def _measure(codec: Repacker, path: Path, threads: int) -> dict[str, Any]:
    """Bytes, seconds, and whether the coder takes the file. Raises RuntimeError if it comes back otherwise."""
    data = path.read_bytes()
    try:
        packed, encode_s = timed(codec.encode, data, threads)
    except Refused:
        return {"bytes": len(data), "taken": False, "encode_s": None, "decode_s": None}
    unpacked, decode_s = timed(codec.decode, packed, threads)
    if unpacked != data:
        raise RuntimeError(f"{codec.name} does not give back {path.name}")
    facts = {"bytes": len(packed), "taken": True, "encode_s": encode_s, "decode_s": decode_s}
    if codec.name == "presage" and not (said := presage.info(packed))["tile"]:
        facts |= {"taken": False, "why": said["note"].rpartition(": ")[2]}
    return facts


def _sum(rows: Sequence[dict[str, Any]], name: str) -> dict[str, Any]:
    facts = [(row["codecs"][name], row["bytes"]) for row in rows]
    timed_facts = [(entry, size) for entry, size in facts if entry["encode_s"] is not None]
    return {
        "bytes": sum(entry["bytes"] for entry, _ in facts),
        "share": sum(entry["bytes"] for entry, _ in facts) / sum(size for _, size in facts),
        "mean_share": fmean(entry["bytes"] / size for entry, size in facts),
        "taken": sum(entry["taken"] for entry, _ in facts),
        "kept": dict(Counter(entry["why"] for entry, _ in facts if "why" in entry)),
        "most_growth": max(entry["bytes"] - size for entry, size in facts),
        "encode_mb_s": _rate(timed_facts, "encode_s"),
        "decode_mb_s": _rate(timed_facts, "decode_s"),
    }


def _rate(facts: Sequence[tuple[dict[str, Any], int]], seconds: str) -> float | None:
    """Megabytes of JPEG files a second."""
    return sum(size for _, size in facts) / 1e6 / sum(entry[seconds] for entry, _ in facts) if facts else None
