"""Threads that share a piece of work within a model: kernels release the interpreter's lock."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

T = TypeVar("T")


class Team:
    """The calling thread and its helpers, who end with the `with` block."""

    def __init__(self, members: int) -> None:
        self.members = members
        self._helpers = ThreadPoolExecutor(members - 1, "presage") if members > 1 else None

    def __enter__(self) -> "Team":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._helpers is not None:
            self._helpers.shutdown()

    def each(self, work: Callable[[T, int], None], parts: Iterable[T]) -> None:
        """Have `work` done for every part, by whoever is free: work(part, member), members counting from 0."""
        left = iter(list(parts))  # a list's iterator may be shared by threads

        def take(member: int) -> None:
            for part in left:
                work(part, member)

        helping = [self._helpers.submit(take, member) for member in range(1, self.members)] if self._helpers is not None else []
        try:
            take(0)
        finally:
            for helper in helping:
                helper.result()
