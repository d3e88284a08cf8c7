"""Contracts of teachers, engines and tasks as functions: a plug-in's author calls them, and so do our tests.

Each raises ``ContractError`` for the first rule that is broken.  They need no test framework, and seconds.
"""

from metaweight.testing.engine_contract import check_engine
from metaweight.testing.rules import ContractError
from metaweight.testing.task_contract import check_task
from metaweight.testing.teacher_contract import check_teacher

__all__ = ["ContractError", "check_engine", "check_task", "check_teacher"]
