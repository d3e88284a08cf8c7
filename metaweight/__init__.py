"""metaweight: learn a weight for every training sample from a small trusted set."""

from metaweight import data, engines, models, teachers
from metaweight.core.contracts import (
    Batch,
    CollapseWarning,
    MetaweightError,
    NonFiniteError,
    StateSpec,
    StepReport,
    StudentState,
)
from metaweight.core.version import __version__
from metaweight.data import pairs
from metaweight.engines import HyperGradient, hypergradient
from metaweight.reweighter import Reweighter
from metaweight.student import losses
from metaweight.student.execution import Execution
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher, build_teacher, register_teacher

__all__ = [
    "Batch",
    "CollapseWarning",
    "Execution",
    "HyperGradient",
    "MetaweightError",
    "NonFiniteError",
    "Reweighter",
    "StateSpec",
    "StepReport",
    "Student",
    "StudentState",
    "Teacher",
    "__version__",
    "build_teacher",
    "data",
    "engines",
    "hypergradient",
    "losses",
    "models",
    "pairs",
    "register_teacher",
    "teachers",
]
