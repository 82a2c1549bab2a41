"""Arrays that a walk uses again for every piece of its work: fresh memory for each would cost as much as a product."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, ClassVar


class Buffers:
    """Attributes are arrays, or lists of arrays, with a row for every item of the largest piece of work; `scratch` names those without."""

    scratch: ClassVar[frozenset[str]] = frozenset()

    def rows(self) -> Iterator[Any]:
        """The arrays with a row for every item."""
        for name, value in vars(self).items():
            if name not in self.scratch:
                yield from value if isinstance(value, list) else [value]

    def first(self, count: int) -> Any:
        """The same of so many items."""

        def cut(value: Any) -> Any:
            return [array[:count] for array in value] if isinstance(value, list) else value[:count]

        return SimpleNamespace(**{name: value if name in self.scratch else cut(value) for name, value in vars(self).items()})
