"""The statistics beneath a table: difference to plain training, wins and losses, mean ranks, the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metaweight.comparison.arms import Group
from metaweight.core.console import Terminal
from metaweight.core.csv_text import csv_text
from metaweight.core.markdown import escaped, markdown_table
from metaweight.core.records import Record
from metaweight.report.statistics.advice import advice
from metaweight.report.statistics.answer import answer
from metaweight.report.statistics.differences import Paired, WinTieLoss, paired_by_noise, rank_cells, ranks
from metaweight.tasks.figures import Compared
from metaweight.tasks.outcome import Result

BASE = "uniform"
LEGEND = (
    "Less {base}: mean difference on the seeds that both have, with its 95 % t interval. "
    "Seeds: better / equal / worse. Kinds of noise: the whole interval better / holding 0 / worse."
)


class Standing(Record, frozen=True):
    """One arm by one figure."""

    arm: str
    compared: Compared
    pairs: Mapping[str, Paired]
    """Kind of noise -> less the base; empty for the base itself or where there is none."""
    rank: float | None
    """Mean rank; None where the arm has none."""

    @property
    def kinds(self) -> WinTieLoss:
        return WinTieLoss.of(self.pairs)


class Standings(Record, frozen=True, kw_only=True):
    """What stands beneath a table."""

    noises: tuple[str, ...]
    """In the order of the results."""
    compared: tuple[Compared, ...]
    """Those of the task that a run has; the sentences are about the first."""
    standings: tuple[Standing, ...]
    """Figure by figure, arms in the order of the results."""
    advice: str
    """What to use, in one sentence."""
    sentences: tuple[str, str, str]
    ranked: tuple[int, int]
    """How many (noise, seed) the ranks of the first figure are over, and of how many."""
    base: str = BASE


def standings(
    results: Sequence[Result],
    compared: Sequence[Compared],
    *,
    groups: Mapping[str, Group],
    base: str = BASE,
) -> Standings | None:
    """All statistics of a comparison; None where fewer than two arms or no compared figure is there.

    ``groups``: see ``answer``.
    """
    having = [c for c in compared if any(result.figures.get(c.figure) is not None for result in results)]
    if not having or len({result.arm for result in results}) < 2:
        return None
    main = having[0]
    return Standings(
        noises=tuple(dict.fromkeys(result.noise for result in results)),
        compared=tuple(having),
        standings=tuple(standing for one in having for standing in _of_figure(results, one, base)),
        advice=advice(results, main, groups).sentence,
        sentences=answer(
            results,
            main.figure,
            unit=main.unit,
            digits=main.digits,
            higher_is_better=main.higher_is_better,
            groups=groups,
        ),
        ranked=rank_cells(results, main.figure),
        base=base,
    )


def _of_figure(results: Sequence[Result], one: Compared, base: str) -> list[Standing]:
    order = ranks(results, one.figure, higher_is_better=one.higher_is_better)
    rows = []
    for arm in dict.fromkeys(result.arm for result in results):
        pairs: dict[str, Paired] = {}
        if arm != base:
            better = one.higher_is_better
            pairs = paired_by_noise(results, one.figure, arm=arm, base=base, higher_is_better=better)
        rows.append(Standing(arm, one, pairs, order.get(arm)))
    return rows


@dataclass(frozen=True)
class _Sheet:
    """A table of text."""

    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def _sheets(found: Standings) -> list[_Sheet]:
    by_arm: dict[str, list[Standing]] = {}
    for standing in found.standings:
        by_arm.setdefault(standing.arm, []).append(standing)
    sheets = []
    for noise in found.noises:
        rows = [
            (arm, *(cell for s in row for cell in _difference(s.pairs.get(noise), s.compared)))
            for arm, row in by_arm.items()
            if any(noise in s.pairs for s in row)
        ]
        columns = [(f"{c.heading}, less {found.base}", "seeds") for c in found.compared]
        headings = ("arm", *(heading for pair in columns for heading in pair))
        if rows:
            sheets.append(_Sheet(f"Noise: {noise}", headings, tuple(rows)))
    used, cells = found.ranked
    title = f"All kinds of noise ({used} of {cells} runs of an arm are those that every arm has)"
    columns = [(f"{c.heading}, mean rank", "kinds of noise") for c in found.compared]
    overall = tuple(
        (arm, *(cell for s in row for cell in (_rank(s.rank), s.kinds.text() if s.pairs else "-")))
        for arm, row in by_arm.items()
    )
    headings = ("arm", *(heading for pair in columns for heading in pair))
    return [*sheets, _Sheet(title if used < cells else "All kinds of noise", headings, overall)]


def _difference(pair: Paired | None, one: Compared) -> tuple[str, str]:
    if pair is None:
        return "-", "-"
    text = f"{pair.mean:+z.{one.digits}f}"
    if not math.isnan(pair.low):
        text += f" [{pair.low:+z.{one.digits}f}, {pair.high:+z.{one.digits}f}]"
    return text, f"{pair.wins} / {pair.ties} / {pair.losses}"


def _rank(rank: float | None) -> str:
    return "-" if rank is None else f"{rank:.1f}"


def standings_to_markdown(found: Standings) -> str:
    """The three sentences, a block for each kind of noise, one over all, and how to read them."""
    parts = ["".join(f"{number}. {escaped(s)}\n" for number, s in enumerate(found.sentences, start=1))]
    for sheet in _sheets(found):
        parts.append(f"**{escaped(sheet.title)}**\n\n{markdown_table(sheet.headings, sheet.rows)}\n")
    return "\n".join([*parts, f"{LEGEND.format(base=found.base)}\n"])


def standings_to_csv(found: Standings) -> str:
    """A row for each figure, kind of noise and arm, in full precision; empty where something is undefined.

    ``low`` and ``high`` are the 95 % t interval, ``bootstrap_*`` the percentile one; rank and kinds are over
    all kinds of noise and the same in each row of an arm.
    """
    pair_names = ["seeds", "difference", "low", "high", "bootstrap_low", "bootstrap_high"]
    counts = ["seeds_better", "seeds_equal", "seeds_worse", "mean_rank"]
    kinds = ["kinds_better", "kinds_equal", "kinds_worse"]
    rows = []
    for standing in found.standings:
        for noise in found.noises:
            pair = standing.pairs.get(noise)
            numbers: list[float | None] = [None] * 9
            if pair is not None:
                interval = [pair.mean, *(pair.interval or (None, None)), *(pair.bootstrap or (None, None))]
                numbers = [len(pair.seeds), *interval, pair.wins, pair.ties, pair.losses]
            overall: list[float | None] = [standing.rank, None, None, None]
            if standing.pairs:
                overall[1:] = map(len, (standing.kinds.wins, standing.kinds.ties, standing.kinds.losses))
            rows.append([standing.compared.figure, noise, standing.arm, *numbers, *overall])
    return csv_text(["figure", "noise", "arm", *pair_names, *counts, *kinds], rows)


def print_standings(found: Standings, *, console: Terminal) -> None:
    """What to use, in the terminal; why, and the tables behind it, are in the files."""
    console.print(found.advice, style="bold")
    console.print(
        "why, with differences, intervals and ranks: statistics.md in the run folder", soft_wrap=True
    )
