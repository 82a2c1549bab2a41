"""The floating type of training and of what only training needs: bfloat16 where its products are faster than float32's."""

import time
from functools import lru_cache

import torch

SIDE, ROUNDS = 192, 3


@lru_cache
def working_dtype(device: torch.device) -> torch.dtype:
    """Measured once on every device: without instructions of its own bfloat16 is up to a hundred times slower than float32."""
    return min((torch.bfloat16, torch.float32), key=lambda dtype: _seconds(dtype, device))


def _seconds(dtype: torch.dtype, device: torch.device) -> float:
    """How long the product of two square matrices takes, at best."""
    x = torch.ones((SIDE, SIDE), dtype=dtype, device=device)
    seconds = []
    for _ in range(1 + ROUNDS):
        started = time.perf_counter()
        (x @ x).cpu()  # waits for a GPU
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:])
