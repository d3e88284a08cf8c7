"""Which teacher ``teacher="auto"`` takes, for a student that is known by what it shows."""

from __future__ import annotations

from metaweight.core.contracts import StateSpec


def fitting(spec: StateSpec) -> str:
    """The name of a teacher that can read ``spec`` (benchmarks/which-teacher.md has the comparisons).

    ``memory`` where there are labels, soft ones or several answers too, and hidden states to compare with the
    trusted rows' (of sentence pairs: of both sides); without such states ``surface`` for texts and tokens,
    ``recall`` for the rest.  Where targets are numbers ``knn``: learned weights of numbers lost to plain
    training on some tables.  Where nothing is known of targets ``self-paced``.
    """
    if spec.target == "number":
        return "knn"
    if spec.target == "other":
        return "self-paced"
    if bool(spec.source_taps) if spec.sentences else bool(spec.features) and not spec.tokens:
        return "memory"
    return "surface" if spec.sentences or spec.tokens else "recall"
