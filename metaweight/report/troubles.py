"""What could not be drawn: a picture less is no reason to lose a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from metaweight.core.contracts import MetaweightError

T = TypeVar("T")


class Troubles:
    """Which pictures are missing and why, in sentences."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def attempt(self, what: str, make: Callable[[], T], instead: Callable[[str], T]) -> T:
        """What ``make`` gives, or ``instead`` of it something that is given the sentence of its error."""
        try:
            return make()
        except Exception as error:  # of any kind: matplotlib, Pillow and the disk have their own
            sentence = f"{what} could not be drawn: {type(error).__name__}: {error}"
            self.found.append(sentence)
            return instead(sentence)

    def raise_any(self) -> None:
        """Raise MetaweightError that names them all, where there are any: everything else is written."""
        if self.found:
            raise MetaweightError("\n".join((*self.found, "everything else is written")))
