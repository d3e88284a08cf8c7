"""What to say of students that reverse mode cannot differentiate twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from metaweight.engines.base import EngineError, first_line
from metaweight.student import Student

# as torch words it: "derivative for X is not implemented", of the second derivative
_NO_SECOND_DERIVATIVE = ("not implemented", "once_differentiable")


def refuse_compiled(student: Student) -> None:
    """Raise EngineError for a compiled student: torch has no second derivative of its passes."""
    if student.compiled is not None:
        raise EngineError(
            "a compiled student's passes have no second derivative; use engine='forward', 'difference' or "
            "'higher', which does not compile"
        )


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
