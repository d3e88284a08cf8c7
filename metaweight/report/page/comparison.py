"""The table of the page: arms under one kind of noise, with what they gain over the baseline."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from metaweight.report.page.glyphs import interval, swatch
from metaweight.report.page.study import Study
from metaweight.report.statistics import Paired, paired, ranks
from metaweight.report.tables import Row, aggregate
from metaweight.tasks.figures import Column

NONE = "–"


@dataclass(frozen=True)
class Entry:
    """One cell: what is printed and by what it is sorted."""

    text: str
    value: float | None = None
    """None sorts behind everything."""
    best: bool = False
    picture: Markup | None = None


@dataclass(frozen=True)
class Line:
    """One arm."""

    arm: str
    swatch: Markup
    entries: tuple[Entry, ...]
    state: str
    """What is not finished, in words; empty where all is."""


@dataclass(frozen=True)
class Block:
    """One kind of noise."""

    noise: str
    headings: tuple[str, ...]
    lines: tuple[Line, ...]


def blocks(study: Study) -> list[Block]:
    """A block for each kind of noise, a line for each arm, finished or not.

    Of a run and the plain one beside it none of what needs several seeds, nor figures that neither has.
    """
    if not study.grid and len(study.arms) < 2:
        return []
    columns = study.columns
    if not study.grid:
        known = {name for one in study.results for name, value in one.figures.items() if value is not None}
        columns = tuple(column for column in columns if column.figure in known)
    table = aggregate(study.results, columns)
    rows = {(row.noise, row.arm): row for row in table.rows}
    compared = len(study.arms) > 1 and study.base in study.arms
    gained = (f"difference to {study.base}{' [95 %]' if study.grid else ''}",) if compared else ()
    counted = ("wins / ties / losses",) if compared and study.grid else ()
    ranked = ("mean rank",) if len(study.arms) > 1 and study.grid else ()
    seeds = ("seeds",) if study.grid else ()
    headings = (*(column.heading for column in columns), *gained, *counted, *ranked, *seeds)
    return [
        Block(noise, headings, tuple(_lines(study, noise, rows, columns, compared))) for noise in study.noises
    ]


def _lines(
    study: Study,
    noise: str,
    rows: dict[tuple[str, str], Row],
    columns: Sequence[Column],
    compared: bool,
) -> list[Line]:
    results, figure = study.results, study.main.figure
    better = study.compared.higher_is_better
    here = [result for result in results if result.noise == noise]
    places = ranks(here, figure, higher_is_better=better)
    pairs = {
        arm: paired(results, figure, arm=arm, base=study.base, noise=noise, higher_is_better=better)
        for arm in study.arms
        if arm != study.base
    }
    ends = [v for p in pairs.values() if p for v in (p.low, p.high, p.mean) if math.isfinite(v)]
    span = (min([0.0, *ends]), max([0.0, *ends]))
    lines = []
    for style, arm in enumerate(study.arms):
        runs = study.runs_of(arm, noise)
        if not runs:
            continue
        entries = [_figure(rows, (noise, arm), column) for column in columns]
        if compared:
            gained, counts = _gain(pairs.get(arm), study, arm, span=span)
            entries += [gained, counts] if study.grid else [replace(gained, picture=None)]
        if len(study.arms) > 1 and study.grid:
            rank = places.get(arm)
            entries.append(Entry(NONE if rank is None else f"{rank:.1f}", rank))
        states = Counter(run.state for run in runs)
        finished = states.pop("finished", 0)
        if study.grid:
            entries.append(Entry(f"{finished}" if not states else f"{finished} of {len(runs)}", finished))
        words = ", ".join(
            f"{n} {'not finished' if state == 'unfinished' else state}" for state, n in states.items()
        )
        lines.append(Line(arm, swatch(style), tuple(entries), words))
    return lines


def _figure(rows: dict[tuple[str, str], Row], key: tuple[str, str], column: Column) -> Entry:
    spread = rows[key].figures.get(column.figure) if key in rows else None
    if spread is None:
        return Entry(NONE)
    others = [
        row.figures[column.figure].mean
        for row in rows.values()
        if row.noise == key[0] and column.figure in row.figures
    ]
    rounded = [round(value, column.digits) for value in others]
    pick = {"highest": max, "lowest": min}.get(column.best or "")
    best = pick is not None and len(rounded) > 1 and round(spread.mean, column.digits) == pick(rounded)
    return Entry(spread.text(column.digits), spread.mean, best)


def _gain(pair: Paired | None, study: Study, arm: str, *, span: tuple[float, float]) -> list[Entry]:
    if pair is None:
        return [Entry("baseline" if arm == study.base else NONE), Entry(NONE)]
    digits = study.main.digits
    text = f"{pair.mean:+z.{digits}f}"
    if math.isfinite(pair.low):
        text += f" [{pair.low:+z.{digits}f}, {pair.high:+z.{digits}f}]"
    text = text.replace("-", "\N{MINUS SIGN}")
    drawn = interval(pair.mean, pair.low, pair.high, span=span)
    counts = f"{pair.wins} / {pair.ties} / {pair.losses}"
    return [Entry(text, pair.mean, picture=drawn), Entry(counts, pair.wins - pair.losses)]
