"""What the training loop asks of a network."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn


class Trainable(nn.Module):
    """A network that can be trained: `forward` gives the loss of uint8 symbols (B, H, W, C), whose mean training makes small.

    What most networks have no use for does nothing here.
    """

    unit, unit_name = math.log(2), "bits/dim"  # the loss is shown in

    @property
    def is_quantised(self) -> bool:
        """Whether weights and activations are on their grids: those of the network, or of its prior."""
        return any(bool(value) for name, value in self.named_buffers() if name.endswith("quantised"))

    def quantise(self, sample: Tensor) -> None:
        """From now on weights and activations are on their grids, which are chosen from uint8 sample symbols (B, H, W, C)."""
        raise NotImplementedError

    def start_from(self, tensors: Mapping[str, Tensor]) -> None:
        """Take first weights from a weights file. Raises ValueError."""
        raise ValueError("networks of this model start from checkpoints, not from weights files")

    def adopt(self, state: Mapping[str, Tensor]) -> None:
        """Take first weights from the checkpoint of another run; what this network does not have is left out."""
        own = self.state_dict()
        self.load_state_dict({k: torch.tensor(False) if k.endswith("quantised") else v for k, v in state.items() if k in own})

    def begin(self, crops: Callable[[int], Tensor], fresh: bool) -> None:
        """Before the first step: take from so many training crops what no gradient gives. fresh: no other run gives it either."""

    def compile_loss(self) -> None:
        """Fuse what is slow step by step; needs a C++ compiler or a GPU."""

    def restart_dead_codes(self, pixels: Tensor) -> None:
        """Give codes that training crops (B, H, W, C) hardly choose another start."""

    def describe(self, parts: Sequence[Tensor]) -> str:
        """What the network does to held-out crops (B, H, W, C), part by part, in words."""
        total = sum(float(self(part).mean()) * len(part) for part in parts)
        return f"{total / sum(map(len, parts)) / self.unit:.4f} {self.unit_name}"
