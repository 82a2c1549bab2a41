"""What comes before the groups in the integer network, by whichever products."""

from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


def through(activations: Callable[[str, T], T], layers: Iterable[str], x: T) -> tuple[T, T]:
    """The hidden vectors of blocks, and the head of their last places, from their inputs. activations: of a layer by its name."""
    y = activations("trunk", x)
    for name in layers:
        if name.startswith("blocks"):
            y = activations(name, y)
    return y, activations("last_head", y)
