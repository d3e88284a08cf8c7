"""Gradients through a whole training run: what each sample did to the student at its end."""

from metaweight.influence.back import InfluenceWarning
from metaweight.influence.certificate import Certificate
from metaweight.influence.learning import Learnt, Round
from metaweight.influence.mismatch import MismatchError
from metaweight.influence.result import Influence
from metaweight.influence.smoothness import Smoothness
from metaweight.influence.whole_run import WholeRun

__all__ = [
    "Certificate",
    "Influence",
    "InfluenceWarning",
    "Learnt",
    "MismatchError",
    "Round",
    "Smoothness",
    "WholeRun",
]
