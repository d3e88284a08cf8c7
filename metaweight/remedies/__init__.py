"""What to do about bad data without a teacher, each remedy under one registered name.

A remedy trains in stages that resume; ``run`` runs it, and a run that has none.
"""

from metaweight.remedies import (  # noqa: F401 - they register
    co_teaching,
    early_stopping,
    filters,
    glc,
    trusted,
    whole_run,
)
from metaweight.remedies.base import NONE, Remedy, build_remedy, check, remedies, remedy_options
from metaweight.remedies.course import Course, Stage
from metaweight.remedies.run import begun, go_on, run

__all__ = [
    "NONE",
    "Course",
    "Remedy",
    "Stage",
    "begun",
    "build_remedy",
    "check",
    "go_on",
    "remedies",
    "remedy_options",
    "run",
]
