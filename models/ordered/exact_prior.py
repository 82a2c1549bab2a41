"""The `transformer` prior in exact integers, one layer of codes after the other, with the keys and values of earlier tokens kept.

Attention is integer arithmetic as well: products of int8 queries and keys, weights 0..255 from a table, and a quotient that rounds. A
sum over T tokens is at most T x 255 x 127, which is proved to be below 2^24 when the weights are loaded, so float32 holds it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import integer
from ..integer import LARGEST, SUM_BITS, Tensors
from ..kernels import jit
from ..model import Code, Places, Turn
from ..teams import Team
from ..tensors import read_settings
from ..units import CATEGORY_BITS, DEEPEST
from .prior import FARTHEST, WEIGHT, TransformerConfig
from .rows import Front

if TYPE_CHECKING:
    from .compiled_prior import CompiledTransformer
    from .reference_prior import ReferenceTransformer


class ExactTransformer:
    """The integer network, in compiled loops or in torch."""

    def __init__(self, arrays: Tensors, arithmetic: str | None = None, device: str = "cpu") -> None:
        """`arrays` as in the weights file. Raises ValueError if a sum could leave the exact range."""
        arrays = {name: np.asarray(array) for name, array in arrays.items()}
        self.config = c = TransformerConfig(**read_settings(arrays))
        layers = integer.linear_layers(arrays)
        tokens = len(c.sides)
        if max(tokens * WEIGHT * LARGEST, c.head * LARGEST**2) >= 1 << SUM_BITS:
            raise ValueError(f"attention over {tokens} tokens is not exact: a sum may reach 2^{SUM_BITS}")
        if min(arrays["last_bits"].min(), arrays["block_bits"].min()) < 0:
            raise ValueError("the shifts of a block are not what this program knows")
        for name, length, most in (("attention", FARTHEST + 1, WEIGHT), ("category", DEEPEST + 1, 1 << CATEGORY_BITS)):
            table = arrays[f"tables.{name}"]
            if len(table) != length or table.min() < 0 or table.max() > most or table[0] == 0:
                raise ValueError(f"the table of {name} is not what this program knows")
        self.network: CompiledTransformer | ReferenceTransformer
        if device == "cpu" and jit.wanted(arithmetic):
            from .compiled_prior import CompiledTransformer

            self.network = CompiledTransformer(c, arrays, layers)
        else:
            from .reference_prior import ReferenceTransformer

            self.network = ReferenceTransformer(c, arrays, layers, arithmetic, device)

    def front(self, pictures: int, height: int, width: int, team: Team) -> Front:
        """For some pictures of one size, in places of the map."""
        return self.network.front(pictures, height, width, team)


def walk(network: ExactTransformer, pictures: int, height: int, width: int, layers: int, code: Code, workers: int = 1) -> list[Places]:
    """The codes of the first layers, in the order of the rows, as `code` gives them: the one walk for all directions.

    The channel of a turn is the layer, its places the rows; each picture's rows have a part. workers: threads that share the work.
    """
    total = sum((height // side) * (width // side) for side in network.config.sides[:layers]) * pictures
    known: list[Places] = []
    done = 0
    with Team(workers) as team:
        front = network.front(pictures, height, width, team)
        for layer in range(layers):
            parts: list[Places] = []
            own = front.rows // pictures
            for rows, weights in front.weights():
                edges = np.clip(np.arange(pictures + 1) * own, rows.start, rows.stop) - rows.start
                done += len(weights)
                turn = Turn(layer, 0, np.arange(rows.start, rows.stop), np.stack([edges[:-1], edges[1:]], 1), done / total)
                parts.append(np.asarray(code(turn, weights)).astype(np.int64))
                if len(parts[-1]) < len(weights):
                    return [*known, np.concatenate(parts)]
            known.append(np.concatenate(parts))
            front.tell(known[-1])
    return known
