"""Which teacher ``teacher="auto"`` takes, for a student that is known by what it shows."""

from __future__ import annotations

from metaweight.core.contracts import StateSpec


def fitting(spec: StateSpec, *, table: bool = False, tagged: bool = False) -> str:
    """The name of a teacher that can read ``spec`` (benchmarks/which-teacher.md has the comparisons).

    ``memory`` where there are labels, soft ones or several answers too, and hidden states to compare with the
    trusted rows' (of sentence pairs: of both sides; of tokens: where they are ``tagged`` with a few labels);
    without such states ``surface`` for texts and tokens, ``recall`` for the rest.  Of numbers, and of the
    rows of a ``table`` with hidden states, ``evidence``: there weights learnt from a few trusted rows lost to
    plain training on some sets, and these did not.
    Where nothing is known of targets ``self-paced``.
    """
    if spec.target == "other":
        return "self-paced"
    if spec.target == "number":
        return "evidence"
    if bool(spec.source_taps) if spec.sentences else bool(spec.features) and (tagged or not spec.tokens):
        return "evidence" if table else "memory"
    return "surface" if spec.sentences or spec.tokens else "recall"
