"""What a file says of itself, without any weights. Standard library only."""

from __future__ import annotations

from itertools import accumulate
from mmap import mmap
from typing import Any

from ..errors import DamagedFile
from ..limits import Limits
from . import container, jpeg, stages
from .container import Coding, Header, Tag
from .listing import read_list

NAMES = {
    Coding.STORED: "stored",
    Coding.COLOUR: "model",
    Coding.GRAY: "model",
    Coding.CHAIN: "chain",
    Coding.SET: "set",
    Coding.LATENT: "lossy",
    Coding.LATENT_SET: "lossy set",
    Coding.ORDERED: "ordered",
    Coding.PLANES: "planes",
    Coding.JPEG: "JPEG",
    Coding.RECOGNISED: "recognised",
    Coding.DIGITS: "digits",
    Coding.FLOW: "flow",
    Coding.FLOW_SET: "flow set",
    Coding.STAGED: "stages",
    Coding.STAGED_SET: "set in stages",
}
ORIGINS = {1: "Photo CD", 2: "JPEG", 3: "BT.601", 4: "BT.709", 5: "BT.709, full range"}
SAMPLES = {"LA": 2, "RGB": 3, "RGBA": 4, "CMYK": 4}  # at a pixel; 1 in all other modes


def info(data: bytes | bytearray | memoryview | mmap, limits: Limits | None = None) -> dict[str, Any]:
    """Size, model, rate and sections of a file; of a set the names of its images. Needs no weights. Raises DamagedFile.

    limits: of a set's names and images; LimitExceeded is raised for more.
    """
    data = container.octets(data)
    header = container.read_header(data)
    mode, is_set = container.PIL_MODES[header.mode], header.coding in container.SETS
    listed = read_list(data, header, limits or Limits()) if is_set else []
    facts: dict[str, Any] = {"images": len(listed)} if is_set else {"width": header.width, "height": header.height}
    facts |= {"mode": mode, "coding": NAMES[header.coding], "bytes": len(data)}
    pixels = sum(w * h for _, (w, h) in listed) if is_set else header.width * header.height or 1
    facts["bits_per_sample"] = round(8 * len(data) / (pixels * SAMPLES.get(mode, 1)), 4)
    if not is_set:
        facts["bits_per_pixel"] = round(8 * len(data) / pixels, 4)
    facts["version"] = container.VERSION
    if header.section(Tag.LATENTS):
        latents = container.read_section(data, header, Tag.LATENTS)
        if not latents:
            raise DamagedFile("the section LATN is not what this format allows")
        facts["quality"] = round(latents[0] / 2.55, 1)
    if header.coding == Coding.JPEG:
        facts |= jpeg.facts_of(data, header)
    if header.coding == Coding.RECOGNISED:
        facts |= jpeg.facts_of_pixels(data, header)
    if any(header.weights):
        facts |= {"model": header.model, "weights": header.weights.hex()}
    if header.coding in container.CUT:
        facts |= codes_of(data, header)
    elif header.coding in (Coding.JPEG, Coding.RECOGNISED):
        facts["tile"] = header.tile  # in blocks
    elif header.coding != Coding.STORED:
        facts["tile"] = header.tile  # with loss in latents
        if header.coding in container.STAGED:
            facts |= stages.facts_of(data, header)
        if origin := container.read_section(data, header, Tag.ORIGIN):
            facts["origin"] = origin_of(origin)
        if kept := container.read_section(data, header, Tag.LEVELS):
            facts["levels"] = [int.from_bytes(kept[i : i + 32], "little").bit_count() for i in range(0, len(kept), 32)]
    elif header.section(Tag.SOURCE):
        facts["note"] = "16 bits a channel, kept as the source PNG file"
    elif header.section(Tag.CHUNKS):
        facts["note"] = "16 bits a channel, by a conventional lossless coder"
    else:
        facts["note"] = "stored by a conventional lossless coder"
    facts["sections"] = {s.tag.decode("ascii", "backslashreplace"): s.size for s in header.sections}
    if is_set:
        facts["names"] = [name for name, _ in listed]
    return facts


def pixels_of(data: bytes | mmap, header: Header, limits: Limits) -> int:
    """Of a picture, or of all of a set. Raises DamagedFile and LimitExceeded."""
    if header.coding not in container.SETS:
        return header.width * header.height
    return sum(width * height for _, (width, height) in read_list(data, header, limits))


def origin_of(content: bytes) -> str:
    """Where the pixels come from, and how much chroma there is, by the section ORIG."""
    number, rules = (*content[:2], 0, 0)[:2]
    chroma = "4:4:4" if not rules else "4:2:2" if not rules >> 4 else "4:2:0" if rules & 15 else "4:4:0"
    return f"{ORIGINS.get(number, 'unknown')} {chroma}"


def codes_of(data: bytes | mmap, header: Header) -> dict[str, Any]:
    """How many codes a file that may be cut still holds, and of ordered codes how many each patch has. Raises DamagedFile."""
    stream = container.ChunkStream(data, header)
    there = sum(stream[i].codes for i in range(len(stream)))
    facts: dict[str, Any] = {"codes": there, "chunks": len(stream), "cut": not stream.whole}
    if header.coding == Coding.ORDERED and (layers := container.read_layers(data, header)):
        ends = list(accumulate(layers))
        whole = sum(end <= there for end in ends)
        part = (there - ends[whole - 1] if whole else there) / layers[whole] if whole < len(layers) else 0.0
        facts |= {"codes_of_whole_file": ends[-1], "layers": len(layers), "layers_there": round(whole + part, 3)}
    return facts | {"bytes_of_whole_file": header.size}
