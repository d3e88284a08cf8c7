"""Differentiable optimizer steps."""

from metaweight.engines.inner import adam as _adam
from metaweight.engines.inner import sgd as _sgd
from metaweight.engines.inner.base import InnerStep, clip_gradients, register_rule, rule_for, rules
from metaweight.engines.inner.bridge import differentiable_optimizer, register_with_higher

register_with_higher()

__all__ = [
    "InnerStep",
    "clip_gradients",
    "differentiable_optimizer",
    "register_rule",
    "register_with_higher",
    "rule_for",
    "rules",
]
del _adam, _sgd
