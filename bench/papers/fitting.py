"""A short training, the same for all networks that are only measured here."""

import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

Log = Callable[[str], None]
SHOWN = 100  # steps a line of the log


def fit(
    network: nn.Module,
    loss: Callable[[int], Tensor],
    steps: int,
    rate: float,
    log: Log,
    *,
    warm_up: int = 50,
    betas: tuple[float, float] = (0.9, 0.99),
    clip: float = 1.0,
) -> float:
    """Make `loss(step)` small by Adam, the rate falling along half a cosine; seconds it took. clip: largest norm of a gradient."""
    optimiser = torch.optim.Adam(network.parameters(), lr=rate, betas=betas)
    network.train()
    started, total = time.perf_counter(), 0.0
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / warm_up) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
        value = loss(step)
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimiser.step()
        total += float(value.detach())
        if (step + 1) % SHOWN == 0:
            log(f"step {step + 1}/{steps}: loss {total / SHOWN:.4f}, {time.perf_counter() - started:.0f} s")
            total = 0.0
    network.eval().requires_grad_(False)
    return time.perf_counter() - started
