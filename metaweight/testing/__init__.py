"""Contracts of teachers, engines, optimizers and tasks as functions, for authors of plug-ins and our tests.

Each raises ``ContractError`` for the first rule that is broken.  They need no test framework, and seconds.
"""

from metaweight.testing.engine_contract import check_engine
from metaweight.testing.layer_rule import check_layer_rule
from metaweight.testing.optimizer_contract import check_optimizer
from metaweight.testing.rules import ContractError
from metaweight.testing.task_contract import check_task
from metaweight.testing.teacher_contract import check_teacher

__all__ = [
    "ContractError",
    "check_engine",
    "check_layer_rule",
    "check_optimizer",
    "check_task",
    "check_teacher",
]
