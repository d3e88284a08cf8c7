"""What to say of students that reverse mode cannot differentiate twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from metaweight.engines.base import EngineError, first_line

# as torch words it: "derivative for X is not implemented", of the second derivative
_NO_SECOND_DERIVATIVE = ("not implemented", "once_differentiable")


@contextmanager
def double_backward() -> Iterator[None]:
    """Raise EngineError where an operator inside has no second derivative."""
    try:
        yield
    except RuntimeError as error:
        if not any(said in str(error) for said in _NO_SECOND_DERIVATIVE):
            raise
        raise EngineError(
            f"the student has an operator without double backward ({first_line(error)}); "
            "try engine='forward' or 'difference', or replace it"
        ) from error
