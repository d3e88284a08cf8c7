"""Gradients through a whole training run: what each sample did to the student at its end."""

from metaweight.influence.back import InfluenceWarning
from metaweight.influence.certificate import Certificate
from metaweight.influence.mismatch import MismatchError
from metaweight.influence.result import Influence
from metaweight.influence.whole_run import WholeRun

__all__ = ["Certificate", "Influence", "InfluenceWarning", "MismatchError", "WholeRun"]
