"""metaweight: learn a weight for every training sample from a small trusted set."""

from metaweight import data, engines, losses, models, teachers
from metaweight.contracts import (
    Batch,
    CollapseWarning,
    MetaweightError,
    NonFiniteError,
    StateSpec,
    StepReport,
    StudentState,
)
from metaweight.data import pairs
from metaweight.engines import HyperGradient, hypergradient
from metaweight.execution import Execution
from metaweight.reweighter import Reweighter
from metaweight.student import Student
from metaweight.teachers.base import Teacher, build_teacher, register_teacher

__version__ = "0.1.0"

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
