"""A look inside Presage: where the time of decoding goes, and what tiles, integers and the coder add to the network's bits."""

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch

import presage

from ...codec.coders import ans
from ...codec.format import container
from ...models.frequencies import Distribution
from ...models.photo import network as photo
from ...models.photo.exact import ExactPhoto, Wavefront
from .codecs import Pixels

Function = Callable[..., Any]
PARTS: tuple[tuple[str, Any, tuple[str, ...]], ...] = (
    ("network products", ExactPhoto, ("sums",)),
    ("activations", ExactPhoto, ("layer", "activation")),
    ("features and context", Wavefront, ("__init__", "start", "put", "finish")),
    ("distributions", Wavefront, ("distribution",)),
    ("distributions", Distribution, ("nibble",)),
    ("entropy coder", ans.AnsDecoder, ("__init__", "decode")),
)
"""Part, and the functions whose own time, without that of others in this list, it is."""
WHOLE_PIXELS = 1 << 19  # an image of more is not given to the float network in one piece
FLOAT_TILES = 24  # tiles in a call of the float network


class Clock:
    """Seconds that wrapped functions take themselves; for one thread at a time."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._nested: list[float] = []

    def wrap(self, part: str, function: Function) -> Function:
        def timed(*arguments: Any, **named: Any) -> Any:
            self._nested.append(0.0)
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent = time.perf_counter() - started
                self.seconds[part] += spent - self._nested.pop()
                if self._nested:
                    self._nested[-1] += spent

        return timed


@contextmanager
def replaced(owner: Any, name: str, function: Function) -> Iterator[None]:
    """A function of a module or class is another one for a while."""
    before = getattr(owner, name)
    setattr(owner, name, function)
    try:
        yield
    finally:
        setattr(owner, name, before)


def where_time_goes(data: bytes) -> list[dict[str, Any]]:
    """Seconds and shares of the parts of decoding a .psg file with one thread."""
    clock = Clock()
    with ExitStack() as stack:
        for part, owner, names in PARTS:
            for name in names:
                stack.enter_context(replaced(owner, name, clock.wrap(part, getattr(owner, name))))
        started = time.perf_counter()
        presage.decode(data, threads=1)
        total = time.perf_counter() - started
    seconds = {part: clock.seconds[part] for part, _, _ in PARTS}
    seconds["rest"] = total - sum(seconds.values())
    return [{"part": part, "seconds": s, "share": s / total} for part, s in seconds.items()]


def float_network(checkpoint: Path) -> photo.Photo:
    """The averaged network of a training checkpoint, in floating point. Raises ValueError if it does not fit."""
    network = photo.Photo(photo.Config())
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
        network.load_state_dict({**state["network"], **state["average"]})
    except (KeyError, TypeError, RuntimeError, UnpicklingError) as error:
        raise ValueError(f"{checkpoint} is no checkpoint of the photo network: {error}") from None
    network.quantised.fill_(False)
    return network


def float_bits(network: photo.Photo, images: Sequence[Pixels]) -> float:
    """Bits of images of the same size, without any context between them."""
    with torch.no_grad():
        stacks = (torch.from_numpy(np.stack(images[at : at + FLOAT_TILES])) for at in range(0, len(images), FLOAT_TILES))
        return sum(float(network(stack).sum(dtype=torch.float64)) for stack in stacks) / math.log(2)


def float_bits_in_tiles(network: photo.Photo, pixels: Pixels) -> float:
    """Bits of an image that is cut into the codec's tiles."""
    groups: dict[tuple[int, ...], list[Pixels]] = defaultdict(list)
    for left, top, right, bottom in container.tile_boxes(pixels.shape[1], pixels.shape[0], ExactPhoto.tile):
        tile = pixels[top:bottom, left:right]
        groups[tile.shape].append(tile)
    return sum(float_bits(network, group) for group in groups.values())


def coded_bits(pixels: Pixels) -> tuple[float, int, int]:
    """Bits of an image: ideal code length under the integer weights, streams of the entropy coder, whole file.

    Done in this process alone, where the counting can be seen.
    """
    ideal: list[float] = []
    streams: list[int] = []
    encode = ans.encode

    def counting(nibbles: ans.Nibbles, weights: ans.Weights) -> bytes:
        exact = weights.astype(np.float64)
        chosen = np.take_along_axis(exact, nibbles[:, None].astype(np.int64), 1)[:, 0]
        ideal.append(float(np.log2(exact.sum(1) / chosen).sum()))
        stream = encode(nibbles, weights)
        streams.append(8 * len(stream))
        return stream

    with replaced(ans, "encode", counting):
        size = len(presage.encode(pixels, threads=1))
    return sum(ideal), sum(streams), 8 * size


def ladder(images: Sequence[tuple[str, Callable[[], Pixels]]], network: photo.Photo | None, threads: int) -> dict[str, Any]:
    """Mean bits per sub-pixel of every rung from the float network to the file, over (name, pixels) of images.

    Each rung has the percent that it adds to the one before. Without a float network its rungs are left out; with one,
    images that are too large for it in one piece, of which `note` tells; no rungs if no image is left.
    """
    names = ["integers on tiles", "entropy coder", "file"]
    if network:
        names = ["float network on whole images", "float network on tiles", *names]
    rows: list[list[float]] = []
    skipped = []
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for name, load in images:
            pixels = load()
            bits: list[float] = []
            if network:
                if pixels.size > 3 * WHOLE_PIXELS:
                    skipped.append(name)
                    continue
                bits = [float_bits(network, [pixels]), float_bits_in_tiles(network, pixels)]
            rows.append([b / pixels.size for b in (*bits, *coded_bits(pixels))])
    finally:
        torch.set_num_threads(before)
    rungs: list[dict[str, Any]] = []
    if rows:
        means = np.mean(rows, axis=0).tolist()
        increments = [None, *(100 * (b / a - 1) for a, b in pairwise(means))]
        rungs = [{"rung": n, "bpsp": m, "increment_percent": i} for n, m, i in zip(names, means, increments, strict=True)]
    note = f"left out {', '.join(skipped)}: too large for the float network in one piece" if skipped else ""
    return {"rungs": rungs, "images": len(rows), "note": note}
