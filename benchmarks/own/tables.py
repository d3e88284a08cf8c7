"""The tables of a run: a row a set and teacher, and how often the promises were kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import TypeVar

from benchmarks.own.trial import Trial
from metaweight.core.markdown import markdown_table

T = TypeVar("T")
SLACK = 0.02
"""How much AUROC a teacher may be below the reference's."""


@dataclass(frozen=True)
class Shape:
    """What a table of one kind of targets shows."""

    figure: str
    """The field of a trial that counts."""
    digits: int
    unit: str
    """Of the figure, in the headings."""
    difference: str
    reference: str
    """The arm that finds wrong rows without a teacher."""
    rule: str
    """That arm, in words."""
    good: str
    """What ``kept`` asks of the figure."""


CLASSES = Shape("accuracy", 1, ", %", "difference, points", "cleanlab", "cleanlab", "as accurate as")
_FOREST = "the residuals of a cross-validated forest"
NUMBERS = Shape("r2", 3, ", R²", "difference", "forest", _FOREST, "as good in R² as")
TOKENS = Shape("f1", 1, ", F1 %", "difference, points", "cleanlab", "cleanlab", "as good in F1 as")
SHAPES = {"number": NUMBERS, "tokens": TOKENS}
"""Kind of rows -> its shape, where it is not that of classes."""


def to_markdown(trials: Sequence[Trial], *, rows: int, rate: float, wrong: str) -> str:
    """A table for classes, for numbers and for tokens, where there are such, with what they are of below."""
    parts = []
    for shape in (CLASSES, NUMBERS, TOKENS):
        own = [one for one in trials if SHAPES.get(one.kind, CLASSES) is shape]
        if own:
            parts.append(_table(own, shape, _about(rate, wrong, shape), rows))
    return "\n\n".join(parts)


def _about(rate: float, wrong: str, shape: Shape) -> str:
    if shape is NUMBERS:
        return f"{rate:.0%} of the numbers shuffled among their rows"
    if shape is TOKENS:
        return (
            f"{rate:.0%} wrong labels put into sets that bring none, F1 of what is not O, wrong labels and "
            "AUROC of tokens, verdicts of the probes of sentences"
        )
    if wrong == "uniform":
        return f"{rate:.0%} wrong labels put into sets that bring none"
    return f"{rate:.0%} of the labels of the first class turned to another in sets that bring no wrong ones"


def _table(trials: Sequence[Trial], shape: Shape, wrong: str, most: int) -> str:
    teachers = [arm for arm in _once(one.arm for one in trials) if arm not in ("uniform", shape.reference)]
    one = teachers[0] if len(teachers) == 1 else "teacher"
    headings = (
        *("set", "kind", "rows", "wrong"),
        *(() if len(teachers) == 1 else ("teacher",)),
        *(f"plain{shape.unit}", f"{one}{shape.unit}", shape.difference),
        *(("plain, RMSE", f"{one}, RMSE") if shape is NUMBERS else ()),
        *(f"AUROC, {one}", f"AUROC, {shape.reference}", "what the probes said", "kept"),
    )
    sets = {name: [one for one in trials if one.data == name] for name in _once(one.data for one in trials)}
    rows = [
        _row(own, teacher, shape, named=len(teachers) > 1) for own in sets.values() for teacher in teachers
    ]
    kept = sum(row[-1] == "yes" for row in rows)
    who = one if len(teachers) == 1 else "the teacher"
    about = (
        f"At most {most:,} training rows, {wrong}, {len(_once(one.seed for one in trials))} seeds, mean ± "
        f"standard deviation. Kept: {who} is at least {shape.good} plain "
        "training within the spread of the difference, and finds wrong rows at least as well as "
        f'{shape.rule} less {SLACK:g} of AUROC; "said so": not, but the probes said in a seed or more that '
        f"the weights are not to be believed. {kept} of {len(rows)} rows are kept."
    )
    return f"{markdown_table(headings, rows)}\n\n{about}"


def _row(trials: Sequence[Trial], teacher: str, shape: Shape, *, named: bool) -> tuple[str, ...]:
    def of(arm: str, figure: str) -> list[float]:
        return [getattr(one, figure) or 0.0 for one in trials if one.arm == arm]

    plain, taught = of("uniform", shape.figure), of(teacher, shape.figure)
    own, other = of(teacher, "auroc"), of(shape.reference, "auroc")
    apart = [b - a for a, b in zip(plain, taught, strict=True)]
    verdicts = [one.verdict for one in trials if one.arm == teacher]
    warned = any(verdict in ("chance", "inverted") for verdict in verdicts)
    good = fmean(apart) + _spread(apart) >= 0 and fmean(own) >= fmean(other) - SLACK
    first = trials[0]
    errors = [with_spread(of(arm, "rmse"), 1) for arm in ("uniform", teacher)] if shape is NUMBERS else []
    return (
        *(first.data, first.kind, f"{first.rows:,}", f"{first.wrong:.0%}"),
        *((teacher,) if named else ()),
        *(with_spread(values, shape.digits) for values in (plain, taught, apart)),
        *errors,
        *(with_spread(own, 2), with_spread(other, 2)),
        ", ".join(f"{verdict} {verdicts.count(verdict)}" for verdict in _once(verdicts)),
        "yes" if good else "said so" if warned else "no",
    )


def _once(values: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(values))


def with_spread(values: Sequence[float], digits: int) -> str:
    """``86.3 ± 1.2``; of one value ± 0."""
    return f"{fmean(values):.{digits}f} ± {_spread(values):.{digits}f}"


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0
