"""The one sentence that a comparison opens with: which arm to use, and what it gains over plain training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from metaweight.comparison.arms import Group
from metaweight.report.statistics.answer import NAMED, Case, listed, to_rank
from metaweight.report.statistics.differences import Paired, WinTieLoss, paired_by_noise, ranks
from metaweight.tasks.figures import Compared
from metaweight.tasks.outcome import Result


@dataclass(frozen=True)
class Advice:
    """What to use."""

    sentence: str
    arm: str | None
    """The arm to use instead of plain training; None where there is none, or nobody can say."""
    first: str | None = None
    """The arm of the best mean rank, where there is one."""


def advice(results: Sequence[Result], compared: Compared, groups: Mapping[str, Group]) -> Advice:
    """From the mean ranks and the paired differences to plain training, as ``answer`` explains them.

    A gain counts where its 95 % t interval leaves out 0.  Raises as ``answer``.
    """
    case = Case(results, compared.figure, compared.unit, compared.digits, compared.higher_is_better, groups)
    if not case.cells:
        return Advice(f"No finished run has the figure {compared.figure}: there is nothing to compare.", None)
    ranked, _ = to_rank(case)
    order = ranks(ranked, case.figure, higher_is_better=case.higher_is_better)
    if len(order) < 2:
        return Advice(
            "Which arm to use cannot be said: there is no kind of noise and seed that all arms have.", None
        )
    first = min(order, key=order.__getitem__)
    plain = next((arm for arm in order if groups.get(arm) == "plain"), None)
    if plain is None:
        return Advice(
            f"Use {first}, the best here; what it gains over plain training is not known.", first, first
        )
    if first == plain:
        return Advice(f"Use plain training ({plain}): no arm has a better mean rank here.", None, first)
    better = case.higher_is_better
    pairs = paired_by_noise(ranked, case.figure, arm=first, base=plain, higher_is_better=better)
    return _against(case, first, plain, pairs)


def _against(case: Case, first: str, plain: str, pairs: Mapping[str, Paired]) -> Advice:
    """``first``, the best by rank, against plain training."""
    kinds = WinTieLoss.of(pairs)
    gain = _gain(case, pairs)
    if max(len(pair.seeds) for pair in pairs.values()) == 1:
        return Advice(f"Run more seeds: with one, {first} has {gain}, which may be chance.", None, first)
    if not kinds.wins:
        return Advice(
            f"Use plain training ({plain}): the best arm, {first}, has {gain}, which is inside the spread of "
            "the seeds.",
            None,
            first,
        )
    if kinds.losses:
        gain = _gain(case, {noise: pairs[noise] for noise in kinds.wins})
        return Advice(
            f"Use {first} on {listed(kinds.wins)}, where it has {gain}, but plain training ({plain}) on "
            f"{listed(kinds.losses)}, where {first} loses.",
            first,
            first,
        )
    return Advice(f"Use {first}: it has {gain}.", first, first)


def _gain(case: Case, pairs: Mapping[str, Paired]) -> str:
    """``4.1 points of accuracy more than plain training``: under each kind of noise, the mean of many."""

    def said(mean: float) -> str:
        return f"{abs(mean):.{case.digits}f}"

    def way(mean: float) -> str:
        return "more" if mean >= 0 else "less"

    means = {noise: pair.mean for noise, pair in pairs.items()}
    if len(means) > NAMED:
        mean = fmean(means.values())
        whole = f"on average over {len(means)} kinds of noise"
        return f"{said(mean)} {case.unit} {way(mean)} than plain training {whole}"
    (noise, mean), *rest = means.items()
    text = f"{said(mean)} {case.unit} {way(mean)} than plain training"
    if not rest:
        return text
    return ", ".join([f"{text} on {noise}", *(f"{said(m)} {way(m)} on {name}" for name, m in rest)])
