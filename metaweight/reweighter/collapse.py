"""Says when a learned teacher has come to give every sample the same weight."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Mapping
from typing import Any

from metaweight.core.contracts import CollapseWarning


class CollapseWatch:
    """Warns once when a learned teacher's weights stay equal within each batch long after the start."""

    def __init__(self, *, patience: int = 100, spread: float = 0.01) -> None:
        self.spread = spread
        self.recent: deque[tuple[float, float]] = deque(maxlen=patience)
        self.seen = 0
        self.warned = False
        self._unread: Mapping[str, float] = {}

    def see_later(self, stats: Mapping[str, float]) -> None:
        """Take an iteration's ``stats`` once the next one has read them, or a checkpoint is due."""
        self._see_last()
        self._unread = stats

    def _see_last(self) -> None:
        if stats := self._unread:
            self._unread = {}
            self.see(stats["weight_mean"], stats["weight_spread"])

    def see(self, mean: float, spread: float) -> None:
        """Take one iteration's mean weight and relative spread (std / mean)."""
        self.recent.append((mean, spread))
        self.seen += 1
        patience = self.recent.maxlen or 0
        if self.warned or self.seen < 2 * patience or max(s for _, s in self.recent) > self.spread:
            return
        self.warned = True
        warnings.warn(
            f"the weights have collapsed to one value (mean {mean:.2f}, spread below {self.spread:.0%} for "
            f"{patience} iterations): the teacher selects nothing. Try center=True, normalize='batch', "
            "a lower teacher learning rate, or a teacher that sees more than the loss",
            CollapseWarning,
            stacklevel=6,
        )

    def state_dict(self) -> dict[str, Any]:
        """Counters, for a checkpoint."""
        self._see_last()
        return {"recent": list(self.recent), "seen": self.seen, "warned": self.warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting from a checkpoint."""
        self._unread = {}
        self.recent.clear()
        self.recent.extend((float(m), float(s)) for m, s in state["recent"])
        self.seen, self.warned = int(state["seen"]), bool(state["warned"])
