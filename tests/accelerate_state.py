"""Accelerate keeps its state for the whole process: that of other tests is dropped, and one's own after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def fresh() -> Iterator[None]:
    """No state of Accelerate before, and none left behind."""
    from accelerate.state import AcceleratorState, GradientState

    def reset() -> None:
        GradientState._reset_state()
        AcceleratorState._reset_state(reset_partial_state=True)

    reset()
    try:
        yield
    finally:
        reset()
