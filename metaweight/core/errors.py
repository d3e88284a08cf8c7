"""What ends a run, and what warns of one that goes nowhere."""

from __future__ import annotations

from torch import Tensor


class MetaweightError(RuntimeError):
    """A run cannot go on: the message says what happened and what to do."""


class NonFiniteError(MetaweightError):
    """A loss, a weight or a gradient is NaN or infinite; ``index`` [n] names the samples, if known.

    It is raised before the optimizer or the teacher is touched, so the last state is still good.
    """

    def __init__(self, message: str, index: Tensor | None = None) -> None:
        super().__init__(message)
        self.index = index


class LostProcessError(MetaweightError):
    """Another process of the run has ended, or has not answered in time."""


class CollapseWarning(UserWarning):
    """The teacher gives (nearly) the same weight to every sample: it selects nothing."""
