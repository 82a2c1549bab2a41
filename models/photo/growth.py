"""A narrower network's weights in a wider one: what is new begins without effect, so that training goes on from where it was.

After Chen, Goodfellow, Shlens: "Net2Net" (2016), but new units keep their random first weights, and what they would do is what is 0.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

Part = tuple[int, int]  # inputs of the narrower and of the wider layer


def wider(own: Mapping[str, Tensor], narrower: Mapping[str, Tensor], parts: Mapping[str, Sequence[Part]]) -> dict[str, Tensor]:
    """The state `narrower` in the shapes of the state `own`.

    parts: what the inputs of layers consist of, by the layer's name. Raises ValueError for a network that is not narrower.
    """
    result: dict[str, Tensor] = {}
    for name, value in narrower.items():
        mine = own.get(name)
        if mine is None or mine.shape == value.shape:
            result[name] = value
            continue
        layer, _, kind = name.rpartition(".")
        if kind in ("exponent", "input_bits"):  # chosen again when the grids are
            result[name] = mine
            continue
        if any(a < b for a, b in zip(mine.shape, value.shape, strict=True)):
            raise ValueError(f"{name} of the checkpoint is {list(value.shape)}, which is not within {list(mine.shape)}")
        result[name] = mine.clone()
        if kind == "bias":
            result[name][: len(value)] = value
        else:
            result[name][: len(value)] = 0
            result[name][: len(value), _columns(parts.get(layer, [(value.shape[1], mine.shape[1])]))] = value
    return result


def _columns(parts: Sequence[Part]) -> Tensor:
    """Where the narrower layer's inputs are among those of the wider one."""
    starts = torch.tensor([0, *(new for _, new in parts)]).cumsum(0)
    return torch.cat([start + torch.arange(old) for start, (old, _) in zip(starts.tolist(), parts, strict=False)])
