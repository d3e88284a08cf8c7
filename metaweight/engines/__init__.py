"""Ways to get the hypergradient, by name."""

from metaweight.engines import forward as _forward
from metaweight.engines import higher_copy as _higher_copy
from metaweight.engines.base import Engine, EngineError, HyperGradient, build_engine, hypergradient, registry

names = registry.names
register_engine = registry.register

__all__ = [
    "Engine",
    "EngineError",
    "HyperGradient",
    "build_engine",
    "hypergradient",
    "names",
    "register_engine",
    "registry",
]
del _forward, _higher_copy
