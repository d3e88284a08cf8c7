"""Which teacher ``teacher="auto"`` takes, for a student that is known by what it shows, and why."""

from __future__ import annotations

from typing import Any, NamedTuple

from metaweight.core.contracts import StateSpec
from metaweight.teachers.base import Teacher, build_teacher


class Fitting(NamedTuple):
    """A teacher by name."""

    name: str
    why: str
    """As it is said to the user."""

    def build(self, spec: StateSpec, **options: Any) -> Teacher:
        """It, with the reason as its ``choice``; raises as ``build_teacher``."""
        teacher = build_teacher(self.name, spec, **options)
        teacher.choice = self.why
        return teacher


def fitting(spec: StateSpec, *, tagged: bool = False) -> Fitting:
    """A teacher that can read ``spec`` (benchmarks/which-teacher.md has the comparisons).

    ``jury`` where there are labels, soft ones or several answers too, and hidden states to compare with the
    trusted rows'; ``memory`` for sentence pairs with such states on both sides, and for tokens that are
    ``tagged`` with a few labels; without such states ``surface`` for texts and tokens, ``recall`` for the
    rest.  Of numbers ``evidence``.  Where nothing is known of targets ``self-paced``.
    """
    if spec.target == "other":
        return Fitting("self-paced", "nothing is known of the targets but their loss")
    if spec.target == "number":
        return Fitting("evidence", "of numbers the trusted rows' residuals say most")
    if spec.sentences or spec.tokens:
        if spec.source_taps if spec.sentences else spec.features and tagged:
            return Fitting("memory", "hidden states can be compared with those of the trusted ones")
        return Fitting("surface", "there are no hidden states to compare with those of the trusted ones")
    if not spec.features:
        return Fitting("recall", "the student shows no hidden states: its gradients say most")
    return Fitting(
        "jury", "it starts from all that the student and the trusted rows say, and learns the rest"
    )
