"""Ways to weigh samples, each teacher under one registered name.

A teacher sees what the student tells of a batch and gives a weight >= 0 for each unit; it knows no engine.
"""

from metaweight.teachers import auto as _auto
from metaweight.teachers import deep as _deep
from metaweight.teachers import evidence as _evidence
from metaweight.teachers import fixed as _fixed
from metaweight.teachers import jury as _jury
from metaweight.teachers import l2rw as _l2rw
from metaweight.teachers import layer_attention as _attention
from metaweight.teachers import loss_net as _loss_net
from metaweight.teachers import memory as _memory
from metaweight.teachers import neighbours as _neighbours
from metaweight.teachers import recall as _recall
from metaweight.teachers import surface as _surface
from metaweight.teachers.base import (
    Normalize,
    Teacher,
    build_teacher,
    mean_one,
    options,
    register_teacher,
    registry,
    weights_from,
)
from metaweight.teachers.per_sample import PerSample

names = registry.names

__all__ = [
    "Normalize",
    "PerSample",
    "Teacher",
    "build_teacher",
    "mean_one",
    "names",
    "options",
    "register_teacher",
    "registry",
    "weights_from",
]
del (
    _attention,
    _auto,
    _deep,
    _evidence,
    _fixed,
    _jury,
    _l2rw,
    _loss_net,
    _memory,
    _neighbours,
    _recall,
    _surface,
)
