"""What the Transformer prior saves: files of ordered codes beside the same codes without it, in real bytes.

The same chunks with their checks, and the same range coder, get other weights: all entries alike, or the frequencies of the entries in
each layer, independent of everything else. These frequencies are counted on the very images that are measured, which favours them.
"""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import presage

from ...codec.coders.chunks import Writer
from ...codec.format import container
from ...codec.paths.layers import read_codes
from ...codec.paths.reading import Reading
from ...codec.settings import Settings
from ...codec.weights import load
from ...models.ordered.exact import ExactOrdered
from ..compare.common import read_pixels

SHARE_BITS = 23  # of a frequency as a weight
Codes = Sequence[Tensor]


def run(paths: Sequence[Path], model: str, threads: int, model_path: Sequence[Path] = ()) -> dict[str, Any]:
    """Mean bytes of the codes of images, as they are in files and with other weights; a dict for JSON.

    Raises ValueError for a model without ordered codes, and what Presage raises.
    """
    settings = Settings(threads=threads, model_path=model_path)
    network = load(model, settings).model
    if not isinstance(network, ExactOrdered):
        raise ValueError(f"the model {model} has no ordered codes")
    sizes: list[int] = []
    every: list[Codes] = []
    for path in paths:
        data = presage.encode_lossy(read_pixels(path), model=model, threads=threads, model_path=model_path)
        header = container.read_header(data)
        section = header.section(container.Tag.CODES)
        assert section is not None
        sizes.append(section.size)
        every.append(read_codes(Reading(data, header, False, settings), network, None)[0])
    entries, layers = network.config.entries, network.config.count
    uniform = np.ones((layers, entries), np.float32)
    independent = np.stack([_frequencies([codes[layer] for codes in every], entries) for layer in range(layers)])
    prior = fmean(sizes)
    savings: dict[str, Any] = {"model": model, "images": len(paths), "prior_bytes": prior}
    for name, weights in (("uniform", uniform), ("independent", independent)):
        other = fmean(_size(codes, weights) for codes in every)
        savings |= {f"{name}_bytes": other, f"saved_against_{name}": 1 - prior / other}
    return savings


def _frequencies(codes: Sequence[Tensor], entries: int) -> NDArray[np.float32]:
    """How often each entry is used, as a weight of at least 1."""
    counts = torch.bincount(torch.cat(list(codes)).cpu(), minlength=entries).double().numpy()
    weights: NDArray[np.float32] = (1 + np.floor(counts / counts.sum() * ((1 << SHARE_BITS) - entries))).astype(np.float32)
    return weights


def _size(codes: Codes, weights: NDArray[np.float32]) -> int:
    """Bytes of the chunks of codes with weights (layers, entries)."""
    writer = Writer()
    for layer, chosen in enumerate(codes):
        for part in chosen.split(4096):
            writer.add(part, torch.from_numpy(weights[layer]).expand(len(part), -1))
    return len(writer.finish())
