"""The streams of values that are coded some bits at a time: a stream for every stage and group of tiles. Standard library only."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from itertools import accumulate
from mmap import mmap
from typing import Any

from ..errors import DamagedFile
from . import container
from .container import Header, Tag

HEAD = struct.Struct("<HHB")
"""calls, tiles of a group, stages"""
ENTRY = struct.Struct("<II")
"""bytes, CRC-32 of a stream"""
MOST_STAGES = 8


def pack_stages(streams: Sequence[Sequence[bytes]], calls: int, group: int) -> dict[bytes, bytes]:
    """The two sections, given the streams of all groups in every stage, and how many tiles a group has but for the last."""
    every = [stream for stage in streams for stream in stage]
    index = HEAD.pack(calls, group, len(streams)) + b"".join(ENTRY.pack(len(s), zlib.crc32(s)) for s in every)
    return {Tag.STAGE_INDEX: index, Tag.STAGES: b"".join(every)}


class StageStreams:
    """Access to the streams of a file, of which the last ones may be cut off.

    calls: of each stage. stages: how many. group: tiles of a group, but for the last one. groups: how many. whole: nothing is cut off.
    """

    calls: int
    group: int
    stages: int

    def __init__(self, data: bytes | mmap, header: Header) -> None:
        """Raises DamagedFile for an index that this format does not allow."""
        index, section = container.read_section(data, header, Tag.STAGE_INDEX), header.section(Tag.STAGES)
        if not index or section is None or section != header.sections[-1] or len(index) < HEAD.size:
            raise DamagedFile("the index of stages is damaged")
        self.calls, self.group, self.stages = HEAD.unpack_from(index)
        entries = list(ENTRY.iter_unpack(index[HEAD.size :])) if (len(index) - HEAD.size) % ENTRY.size == 0 else []
        ends: list[int] = list(accumulate((size for size, _ in entries), initial=section.offset))
        right = 1 <= self.stages <= MOST_STAGES and self.group and self.calls and entries and not len(entries) % self.stages
        if not right or ends[-1] != section.offset + section.size:
            raise DamagedFile("the index of stages is damaged")
        self.groups = len(entries) // self.stages
        self._data, self._crcs = data, [crc for _, crc in entries]
        self._ends: list[int] = ends
        self.whole = len(data) >= header.size

    def check_tiles(self, count: int) -> None:
        """Raises DamagedFile if the index does not fit so many tiles."""
        if self.groups != -(-count // self.group):
            raise DamagedFile("the index of stages does not go with the picture")

    def tiles(self, group: int, count: int) -> range:
        """The tiles of a group, of so many in all."""
        return range(group * self.group, min(count, (group + 1) * self.group))

    def there(self, stage: int, group: int) -> bool:
        """Whether a stream is not cut off."""
        end: int = self._ends[stage * self.groups + group + 1]
        return end <= len(self._data)

    def stream(self, stage: int, group: int) -> bytes:
        """A stream that is not cut off. Raises DamagedFile."""
        number = stage * self.groups + group
        content = self._data[self._ends[number] : self._ends[number + 1]]
        if len(content) != self._ends[number + 1] - self._ends[number] or zlib.crc32(content) != self._crcs[number]:
            raise DamagedFile(f"stage {stage} of group {group} is damaged")
        return content

    @property
    def least(self) -> int:
        """Bytes of the smallest cut: all groups have their first stage."""
        return self._ends[self.groups]

    def end(self, size: int) -> int:
        """Bytes of a file that has as many whole streams as the first so many bytes hold."""
        return max(end for end in self._ends if end <= size)


def facts_of(data: bytes | mmap, header: Header) -> dict[str, Any]:
    """What a file says of its stages, and how many all of its tiles still have. Raises DamagedFile."""
    streams = StageStreams(data, header)
    whole = sum(all(streams.there(stage, group) for group in range(streams.groups)) for stage in range(streams.stages))
    facts = {"calls": streams.calls, "stages": streams.stages, "groups": streams.groups}
    return facts | {"cut": not streams.whole, "stages_there": whole, "bytes_of_whole_file": header.size}
