"""The engines: every way to the hypergradient, by name; none of them knows a teacher.

``hypergradient`` is the one way in; ``inner`` holds the optimizers' updates that the inner steps take.
"""

from metaweight.engines import auto as _auto
from metaweight.engines import difference as _difference
from metaweight.engines import double as _double
from metaweight.engines import forward as _forward
from metaweight.engines import ghost as _ghost
from metaweight.engines import higher_copy as _higher_copy
from metaweight.engines import implicit as _implicit
from metaweight.engines.abilities import Abilities
from metaweight.engines.base import Engine, build_engine, engine_options, registry
from metaweight.engines.checks import EngineError
from metaweight.engines.ghost import register_layer_rule
from metaweight.engines.gradient import HyperGradient, hypergradient
from metaweight.engines.replay import ReplayError, ReplayWarning
from metaweight.engines.reverse import Reverse

names = registry.names
options = engine_options
register_engine = registry.register

__all__ = [
    "Abilities",
    "Engine",
    "EngineError",
    "HyperGradient",
    "ReplayError",
    "ReplayWarning",
    "Reverse",
    "build_engine",
    "hypergradient",
    "names",
    "options",
    "register_engine",
    "register_layer_rule",
    "registry",
]
del _auto, _difference, _double, _forward, _ghost, _higher_copy, _implicit
