"""Table of what `papers/absorbing.py` measured."""

from typing import Any

from .layout import rows_of


def markdown(result: dict[str, Any]) -> str:
    """Steps of diffusion, and the calls of the order-agnostic model."""
    head = ["", "bits/dim", "one image alone with bits back, estimate", "of a set, estimate"]
    rows = [
        [
            f"absorbing diffusion, {row['steps']:,} steps, bound",
            f"{row['bound']:.3f}",
            f"{row['alone_estimate']:.2f}",
            f"{row['set_estimate']:.3f}",
        ]
        for row in result["steps"]
    ]
    rows += [[f"{result['model']}, {row['calls']:,} calls, exact model", f"{row['bits']:.3f}", "-", "-"] for row in result["calls"]]
    about = f"{result['pictures']:,} pictures. Estimates: log2(steps) bits more for every value, which only images after it give back."
    return "\n\n".join([rows_of(head, rows), about])
