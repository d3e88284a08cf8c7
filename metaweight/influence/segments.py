"""Which states of a run are kept, so that the steps between two of them are taken again on the way back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_SIZE = re.compile(r"([\d.]+)\s*(MB|GB|MiB|GiB)")
_BYTES = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}


@dataclass(frozen=True)
class Segments:
    """A run of ``steps`` steps of which the state before each ``every``-th is kept, and the last one."""

    steps: int
    every: int

    @staticmethod
    def planned(steps: int, checkpoints: str | int, size: int, ends: int | None = None) -> Segments:
        """As ``WholeRun`` is asked for; ``size``: bytes of one state, for a size alone; ``ends``: of the
        first and of the last one, where these have more.

        ``checkpoints``: "sqrt", as many states as steps between two of them; "all"; a number of steps; or
        a size, "2GB", that all states together have at most.  Raises ValueError for anything else.
        """
        if checkpoints == "sqrt":
            return Segments(steps, max(1, math.isqrt(steps - 1) + 1))
        if checkpoints == "all":
            return Segments(steps, 1)
        if isinstance(checkpoints, int) and not isinstance(checkpoints, bool) and checkpoints >= 1:
            return Segments(steps, min(checkpoints, steps))
        found = _SIZE.fullmatch(checkpoints) if isinstance(checkpoints, str) else None
        if found is None:
            raise ValueError(
                "checkpoints is 'sqrt', 'all', a number of steps, or what all states may take together, "
                f"'2GB': got {checkpoints!r}"
            )
        ends = size if ends is None else ends
        kept = 2 + int((float(found[1]) * _BYTES[found[2]] - 2 * ends) // size)
        if kept < 2:
            raise ValueError(
                f"{checkpoints} do not hold two states of {ends / 2**20:.1f} MiB, the first and the last, "
                "which are the fewest"
            )
        return Segments(steps, math.ceil(steps / (kept - 1)))

    @property
    def places(self) -> tuple[int, ...]:
        """The steps before which the state is kept; the last is the end of the run."""
        return (*range(0, self.steps, self.every), self.steps)

    def ends_at(self, step: int) -> bool:
        """Whether the state before ``step`` is kept, the first one aside: as ``places`` says, at once."""
        return step % self.every == 0 or step == self.steps

    def backwards(self, end: int) -> Iterator[tuple[int, int]]:
        """(first step, end) of each segment that begins before ``end``, the last one first."""
        places = [place for place in self.places if place < end]
        ends = [*places[1:], end][: len(places)]
        return zip(reversed(places), reversed(ends), strict=True)
