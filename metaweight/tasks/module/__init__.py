"""A module and data of the user's own, given as objects: what ``metaweight.fit`` trains."""

from metaweight.tasks.module.data import ModuleData
from metaweight.tasks.module.task import ModuleTask, prepare_module

__all__ = ["ModuleData", "ModuleTask", "prepare_module"]
