"""Tasks: what a student learns, from data to the figures of a table; each under one registered name."""

from metaweight.tasks import image, translation
from metaweight.tasks.base import Evaluation, Prepared, Sources, Task, described, tasks
from metaweight.tasks.cost import COST, cost_line, iteration_cost
from metaweight.tasks.outcome import Finished, Outcome
from metaweight.tasks.training import assemble, require_kept, run

tasks.add("image", image.ImageTask())
tasks.add("translation", translation.TranslationTask())

__all__ = [
    "COST",
    "Evaluation",
    "Finished",
    "Outcome",
    "Prepared",
    "Sources",
    "Task",
    "assemble",
    "cost_line",
    "described",
    "iteration_cost",
    "require_kept",
    "run",
    "tasks",
]
