"""How weights move by their slopes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

import torch
from torch import Tensor

from metaweight.core.registry import Registry


class Move(Protocol):
    """A rule that keeps what it needs from one accepted move to the next."""

    @abstractmethod
    def direction(self, slopes: Tensor) -> Tensor:
        """Where weights go, [N], by their centred ``slopes``; what is beyond 1, a whole step, is cut."""

    def state_dict(self) -> dict[str, Tensor]:
        """What it keeps; nothing unless said otherwise."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from ``state_dict()``; from what a new one has where that is empty."""


moves: Registry[type[Move]] = Registry("move")


@moves.register("signed")
class Signed(Move):
    """Every weight by the same size, down where the sample is harmful and up where it helps."""

    def direction(self, slopes: Tensor) -> Tensor:
        """See ``Move``."""
        return -slopes.sign()


@moves.register("adam")
class AdamMove(Move):
    """Adam's step (Kingma and Ba 2015), with betas 0.5 and 0.9 for the few rounds that there are."""

    BETAS = (0.5, 0.9)

    def __init__(self) -> None:
        self._moments: tuple[Tensor, Tensor] | None = None
        self._count = 0

    def direction(self, slopes: Tensor) -> Tensor:
        """See ``Move``."""
        first, second = self._moments or (torch.zeros_like(slopes), torch.zeros_like(slopes))
        a, b = self.BETAS
        self._count += 1
        self._moments = first * a + slopes * (1 - a), second * b + slopes.square() * (1 - b)
        first, second = self._moments
        scale = (second / (1 - b**self._count)).sqrt()
        return -(first / (1 - a**self._count)) / scale.clamp_min(torch.finfo(scale.dtype).tiny)

    def state_dict(self) -> dict[str, Tensor]:
        """See ``Move``."""
        if self._moments is None:
            return {}
        return {"first": self._moments[0], "second": self._moments[1], "count": torch.tensor(self._count)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """See ``Move``."""
        self._moments = (state["first"], state["second"]) if state else None
        self._count = int(state["count"]) if state else 0
