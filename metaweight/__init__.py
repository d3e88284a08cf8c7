"""metaweight: learn a weight for every training sample from a small trusted set."""

from metaweight import engines, losses
from metaweight.contracts import (
    Batch,
    CollapseWarning,
    MetaweightError,
    NonFiniteError,
    StateSpec,
    StepReport,
    StudentState,
)
from metaweight.engines import HyperGradient, hypergradient
from metaweight.student import Student
from metaweight.teachers.base import Teacher, build_teacher, register_teacher

__version__ = "0.1.0"
