"""What a student learns, from data to the figures of a table; each task under one registered name.

``config`` holds the options of a run, ``run`` makes one of any task.
"""

from metaweight.tasks.assembly import Assembled
from metaweight.tasks.base import Evaluation, Prepared, Sources, Task, described, tasks
from metaweight.tasks.cost import COST, choice_lines, iteration_cost
from metaweight.tasks.identity import require_same_run, run_manifest
from metaweight.tasks.image import task as image
from metaweight.tasks.module import task as module
from metaweight.tasks.outcome import Finished, Outcome
from metaweight.tasks.pool import Pool, Pooled, pooled
from metaweight.tasks.run import assemble, begin, run
from metaweight.tasks.tabular import task as tabular
from metaweight.tasks.text import task as text
from metaweight.tasks.tokens import task as tokens
from metaweight.tasks.translation import task as translation

tasks.add("image", image.ImageTask())
tasks.add("module", module.ModuleTask())
tasks.add("tabular", tabular.TabularTask())
tasks.add("text", text.TextTask())
tasks.add("tokens", tokens.TokensTask())
tasks.add("translation", translation.TranslationTask())

__all__ = [
    "COST",
    "Assembled",
    "Evaluation",
    "Finished",
    "Outcome",
    "Pool",
    "Pooled",
    "Prepared",
    "Sources",
    "Task",
    "assemble",
    "begin",
    "choice_lines",
    "described",
    "iteration_cost",
    "pooled",
    "require_same_run",
    "run",
    "run_manifest",
    "tasks",
]
