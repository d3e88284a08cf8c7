"""The three sentences that a user wants of a comparison, and no more than its seeds allow to say."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from metaweight.comparison.arms import Group
from metaweight.report.statistics.differences import (
    Paired,
    WinTieLoss,
    by_cell,
    paired,
    paired_by_noise,
    rank_cells,
    ranks,
)
from metaweight.tasks.outcome import Result

INSIDE = "internal states"
NAMED = 4
"""Arms that a sentence names, the best first, before it only counts the others; and kinds of noise up to
which it says each difference."""


def answer(
    results: Sequence[Result],
    figure: str,
    *,
    unit: str,
    digits: int = 1,
    higher_is_better: bool = True,
    groups: Mapping[str, Group],
) -> tuple[str, str, str]:
    """Do internal states beat surface and loss; do they beat the other arms; which arm to use here.

    ``unit`` stands behind a difference ("points of accuracy").  ``groups``: arm -> group; one that it
    lacks is ``other``: it counts among the other arms and may be recommended.  A group is stood for by
    the arm that has its best mean under that kind of noise; the choice is made on the figures that are then
    compared, which flatters both sides.  "Beats" means that the 95 % t interval of the paired difference
    leaves out 0; it is not corrected for the number of comparisons.
    Raises KeyError for a figure that no result names, ValueError for a run that is given twice.
    """
    case = Case(results, figure, unit, digits, higher_is_better, groups)
    inside = case.arms("internal")
    if not case.cells:
        return (f"No finished run has the figure {figure}: there is nothing to compare.", "", "")
    others = case.arms("remedy", "other")
    rivals = "the simple remedies"
    if case.arms("other"):
        rivals = "the other arms" if not case.arms("remedy") else "the simple remedies and other arms"
    return (
        _contest(case, inside, case.arms("surface"), "arms that see surface or loss alone"),
        _contest(case, inside, others, rivals),
        _recommendation(case),
    )


@dataclass(frozen=True)
class Case:
    """The results and how they are read."""

    results: Sequence[Result]
    figure: str
    unit: str
    digits: int
    higher_is_better: bool
    groups: Mapping[str, Group]
    cells: Mapping[tuple[str, int], Mapping[str, float]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", by_cell(self.results, self.figure))

    def arms(self, *groups: Group) -> list[str]:
        """Arms of these groups that have the figure somewhere, in the order of the results."""
        having = {arm for cell in self.cells.values() for arm in cell}
        order = dict.fromkeys(result.arm for result in self.results)
        return [arm for arm in order if arm in having and self.groups.get(arm, "other") in groups]

    @property
    def noises(self) -> list[str]:
        return list(dict.fromkeys(noise for noise, _ in self.cells))

    def spoken(self, noise: str) -> str:
        """A kind of noise as a sentence has it: "on none" would mean nowhere."""
        return "the data as they are" if self.noises == ["none"] else noise

    def best(self, noise: str, arms: Sequence[str]) -> str | None:
        """The arm with the best mean over its seeds; the first of equal ones."""
        means = {
            arm: fmean(values)
            for arm in arms
            if (values := [c[arm] for (kind, _), c in self.cells.items() if kind == noise and arm in c])
        }
        pick: Callable[..., str] = max if self.higher_is_better else min
        return pick(means, key=means.__getitem__) if means else None

    def paired(self, noise: str, arm: str, base: str) -> Paired | None:
        return paired(
            self.results,
            self.figure,
            arm=arm,
            base=base,
            noise=noise,
            higher_is_better=self.higher_is_better,
        )

    def shown(self, pair: Paired) -> str:
        """``+3.2 points [+1.0, +5.4]``; without an interval for one seed."""
        digits = self.digits
        text = f"{pair.mean:+z.{digits}f} {self.unit}".rstrip()
        return text if math.isnan(pair.low) else f"{text} [{pair.low:+z.{digits}f}, {pair.high:+z.{digits}f}]"


def _contest(case: Case, ours: Sequence[str], theirs: Sequence[str], named: str) -> str:
    """One sentence: on which kinds of noise the best of ours beats the best of theirs, by how much."""
    if not ours or not theirs:
        missing = f"arms that see {INSIDE}" if not ours else named
        return f"Whether {INSIDE} beat {named} cannot be said: there is no finished run of {missing}."
    outcomes: dict[int, list[str]] = {1: [], 0: [], -1: []}
    pairs, kinds = [], len(case.noises)
    in_detail = kinds <= NAMED
    for noise in case.noises:
        one, other = case.best(noise, ours), case.best(noise, theirs)
        pair = case.paired(noise, one, other) if one and other else None
        if pair is not None:
            pairs.append(pair)
            compared = f" ({one} against {other}: {case.shown(pair)})" if in_detail else ""
            outcomes[pair.verdict].append(f"{case.spoken(noise)}{compared}")
    if not pairs:
        return f"Whether {INSIDE} beat {named} cannot be said: no seed has both under one kind of noise."
    words = {1: f"beat {named} on", 0: "cannot be told from them on", -1: "lose to them on"}
    if not outcomes[1]:
        words[0] = f"cannot be told from {named} on"
        if not outcomes[0]:
            words[-1] = f"lose to {named} on"
    parts = [
        f"{words[sign]} {', '.join(on) if in_detail else _counted(case, on)}"
        for sign, on in outcomes.items()
        if on
    ]
    one_each = len(ours) == len(theirs) == 1
    remark = "" if one_each else ", each side by its best arm, chosen on these very figures"
    return f"Arms that see {INSIDE} {'; they '.join(parts)}; {_basis(pairs)}{remark}."


def _basis(pairs: Sequence[Paired]) -> str:
    """What the intervals are: ``95 % t intervals over 3 seeds``."""
    counts = sorted({len(pair.seeds) for pair in pairs})
    if counts == [1]:
        return "one seed, which says nothing of how much seeds differ"
    return f"95 % t intervals over {' to '.join(str(n) for n in {counts[0]: 0, counts[-1]: 0})} seeds"


def _recommendation(case: Case) -> str:
    """One sentence: the arm to use here, or that the differences are inside the spread of the seeds."""
    results, left_out = to_rank(case)
    mean_ranks = ranks(results, case.figure, higher_is_better=case.higher_is_better)
    order = dict(sorted(mean_ranks.items(), key=lambda rank: rank[1]))
    if len(order) < 2:
        return "Which arm to use cannot be said: there is no kind of noise and seed that all arms have."
    first = next(iter(order))
    count, cells = rank_cells(results, case.figure)
    of = f"{count}" if count == cells else f"the {count} of {cells} that all arms have"
    missing = f"; for want of runs without {listed(left_out)}" if left_out else ""
    about = f"has the best mean rank ({order[first]:.1f} of {len(order)} arms; runs compared: {of}{missing})"
    better = case.higher_is_better
    pairs = {
        arm: paired_by_noise(results, case.figure, arm=first, base=arm, higher_is_better=better)
        for arm in order
        if arm != first
    }
    rivals = {arm: WinTieLoss.of(found) for arm, found in pairs.items()}
    if max(len(pair.seeds) for found in pairs.values() for pair in found.values()) == 1:
        return (
            f"One seed cannot choose an arm: {first} {about}, but run at least 3 seeds before you rely on it."
        )
    plain = next((arm for arm in rivals if case.groups.get(arm) == "plain"), None)
    parts = [f"Use {first}: it {about}" if plain is None or rivals[plain].wins else f"{first} {about}"]
    if plain is not None:
        of_plain = rivals[plain]
        parts += [
            f"it {verb} {plain} on {_counted(case, names)}"
            for verb, names in (
                ("beats", of_plain.wins),
                ("loses to", of_plain.losses),
                ("cannot be told from", of_plain.ties),
            )
            if names
        ]
    parts += [
        f"{arm} beats it on {_counted(case, found.losses)}"
        for arm, found in rivals.items()
        if found.losses and arm != plain
    ]
    equal = [arm for arm, found in rivals.items() if arm != plain and not found.wins and not found.losses]
    if len(equal) > NAMED:
        equal = [*equal[:NAMED], f"{len(equal) - NAMED} more"]
    parts.append(f"inside the spread of the seeds from it everywhere: {listed(equal)}" if equal else "")
    if plain is not None and not rivals[plain].wins:
        parts.append(f"so nothing here speaks against {plain}, the cheapest")
    return f"{'; '.join(part for part in parts if part)}."


def to_rank(case: Case) -> tuple[list[Result], list[str]]:
    """The results whose arms are ranked, and the arms that are not, as they lack runs that others have.

    One such arm would leave out all runs that it lacks.  Plain training always ranks, and where fewer than
    two arms would, all do.
    """
    results = [r for r in case.results if case.groups.get(r.arm) != "bound"]
    runs = Counter(arm for cell in by_cell(results, case.figure).values() for arm in cell)
    most = max(runs.values(), default=0)
    short = [arm for arm in runs if runs[arm] < most and case.groups.get(arm) != "plain"]
    if len(runs) - len(short) < 2:
        return results, []
    return [r for r in results if r.arm not in short], short


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _counted(case: Case, noises: Sequence[str]) -> str:
    """Some of the kinds of noise by name, and where there are many how many of them."""
    named, kinds = [case.spoken(noise) for noise in noises], len(case.noises)
    return (
        listed(named) if kinds <= NAMED else f"{len(noises)} of {kinds} kinds of noise ({', '.join(named)})"
    )
