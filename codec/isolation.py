"""Keeping the host's settings of torch away from work whose integers must come out the same everywhere."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def isolated() -> Iterator[None]:
    """Without the host's autocast, which would compute exact products in half precision; also a decorator.

    torch is not imported for it: a host that has not imported it has no settings either.
    """
    torch = sys.modules.get("torch")
    with ExitStack() as stack:
        if torch is not None:
            for device in ("cpu", "cuda"):
                if torch.amp.is_autocast_available(device) and (device == "cpu" or torch.cuda.is_available()):
                    stack.enter_context(torch.autocast(device, enabled=False))
        yield
