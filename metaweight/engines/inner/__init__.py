"""Differentiable optimizer steps."""

from metaweight.engines.inner import adam as _adam
from metaweight.engines.inner import matrices as _matrices
from metaweight.engines.inner import moments as _moments
from metaweight.engines.inner import sgd as _sgd
from metaweight.engines.inner import squares as _squares
from metaweight.engines.inner.base import InnerStep, clip_gradients
from metaweight.engines.inner.bridge import differentiable_optimizer, register_with_higher
from metaweight.engines.inner.refusals import Observer, refuse_moved_states, refuse_other_steps, refuse_sparse
from metaweight.engines.inner.rules import Rule, Update, register, rule_for, rules
from metaweight.engines.inner.several import as_one, members

register_with_higher()

__all__ = [
    "InnerStep",
    "Observer",
    "Rule",
    "Update",
    "as_one",
    "clip_gradients",
    "differentiable_optimizer",
    "members",
    "refuse_moved_states",
    "refuse_other_steps",
    "refuse_sparse",
    "register",
    "register_with_higher",
    "rule_for",
    "rules",
]
del _adam, _matrices, _moments, _sgd, _squares
