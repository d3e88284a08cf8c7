"""The leaderboard: arms by rank over data sets, what each promises, every cell, and the signature."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from benchmarks.default.across import CLEAN, DEFAULT, PLAIN, Across, Cell, Means, Run, across
from benchmarks.default.bars import FAR_BELOW, FINDS, GAP, NEAR_ENOUGH, Bars, aurocs, bars, gap_closed
from metaweight.core.markdown import Strong, markdown_table

DIAGRAM = "critical-difference.png"


def leaderboard(
    runs: Sequence[Run], found: Means, ranked: Across, about: Mapping[str, str], signature: str
) -> str:
    """Markdown; ``about``: arm -> what it does."""
    held = {arm: kept for arm in about if (kept := bars(runs, found, arm)) is not None}
    listed = [*ranked.arms, *(arm for arm in ranked.left_out if arm in held)]
    apart = [_ranked_apart(found, clean=clean) for clean in (False, True)]
    rows = [_row(place, arm, ranked, apart, held, about) for place, arm in enumerate(listed, start=1)]
    headings = (
        *("", "arm", "what it does", "rank, sets", "bad data", "right labels", "rank, cells"),
        f"{DEFAULT} less it (p)",
        *("near the best", "worst to plain", "gap closed", f"AUROC ≥ {FINDS:g}"),
    )
    parts = [
        f"# {_opening(ranked)}",
        markdown_table(headings, rows, left=3),
        _how(ranked, found),
        *((f"![critical-difference diagram]({DIAGRAM})",) if ranked.critical is not None else ()),
        "## The bars",
        _asked(held.get(DEFAULT), ranked),
        "## Every cell",
        _cells(runs, found, listed),
        *((_failed(runs),) if any(run.value is None for run in runs) else ()),
        f"`{signature}`",
    ]
    return "\n\n".join(parts) + "\n"


def _opening(ranked: Across) -> str:
    first, *others = ranked.arms
    reach = math.inf if ranked.critical is None else ranked.critical
    near = [arm for arm in others if ranked.by_set[arm] - ranked.by_set[first] < reach]
    if near:
        best = f"{first} has the best rank over {ranked.sets} data sets"
        return f"{best}; not told apart from it: {', '.join(near)}"
    return f"{first} is the best over {ranked.sets} data sets, outside the critical difference"


def _ranked_apart(found: Means, *, clean: bool) -> Mapping[str, float]:
    """Arm -> its rank by set over the cells with right labels alone, or over all others; empty for none."""
    cells = {cell: values for cell, values in found.items() if (cell[1] == CLEAN) == clean}
    return across(cells).by_set if cells else {}


def _row(
    place: int,
    arm: str,
    ranked: Across,
    apart: Sequence[Mapping[str, float]],
    held: Mapping[str, Bars],
    about: Mapping[str, str],
) -> tuple[str, ...]:
    own, against = held[arm], ranked.against.get(arm)
    columns = (ranked.by_set, *apart, ranked.by_cell)
    return (
        *(str(place), Strong(arm) if arm == DEFAULT else arm, about[arm]),
        *(f"{ranks[arm]:.1f}" if arm in ranks else "-" for ranks in columns),
        "-" if against is None else f"{against[0]:+.1f} ({_p(against[1])})",
        f"{own.near:.0%}",
        "-" if own.worst is None else f"{own.worst:+.1f}",
        "-" if own.closed is None else f"{own.closed:.0%}",
        "-" if own.finds is None else f"{own.finds:.0%}",
    )


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def _how(ranked: Across, found: Means) -> str:
    parts = [
        f"{len(found)} cells, each a data set under a kind of bad data, mean over seeds.",
        "Rank, cells: mean over cells.",
        "Rank, sets: a vote a set, for its kinds and seeds are no witnesses of their own; bad data and right",
        "labels: the same over such cells alone.",
        *(() if ranked.friedman is None else (f"Friedman's test over sets: {_p(ranked.friedman)}.",)),
        *(
            ()
            if ranked.critical is None
            else (f"Ranks by set closer than {ranked.critical:.2f} are not told apart (Nemenyi, 5 %).",)
        ),
        f"{DEFAULT} less it: mean difference over sets in points, p of Wilcoxon's signed ranks over sets,",
        "corrected for the number of arms by Holm.",
        "Near the best: cells within 1 point (0.3 BLEU) of the best arm, chosen on these very figures.",
        "Worst to plain: the least difference to plain training.",
        "Gap closed: median share of what lies between plain training on wrong and on right labels, where",
        f"that is {GAP:g} points or more.",
        f"AUROC: share of the cells with wrong labels in which weights find these with {FINDS:g} or more.",
    ]
    if ranked.left_out:
        parts.append(f"Without a rank, for some set cannot have them: {', '.join(ranked.left_out)}.")
    return " ".join(parts)


def _asked(own: Bars | None, ranked: Across) -> str:
    """Whether each bar is met by the default, and where not."""
    if own is None:
        return f"{DEFAULT} was not among the arms."
    rivals = [arm for arm in ranked.arms if arm != DEFAULT]
    ahead = min(ranked.by_set[a] for a in rivals) - ranked.by_set.get(DEFAULT, float("inf"))
    lines = [
        (
            f"rank the best, by more than the critical difference ({ranked.critical or 0:.2f})",
            f"ahead by {ahead:+.2f}",
            ranked.critical is not None and ahead > ranked.critical,
        ),
        (
            f"near the best arm in {NEAR_ENOUGH:.0%} of the cells",
            f"{own.near:.0%}",
            own.near >= NEAR_ENOUGH,
        ),
        (
            f"never more than {FAR_BELOW:g} points below plain training",
            "-"
            if own.worst is None or own.worst_at is None
            else f"{own.worst:+.1f} on {' '.join(own.worst_at)}",
            own.worst is not None and own.worst >= -FAR_BELOW,
        ),
        (
            "closes 75 % of the gap to right labels, median",
            "-" if own.closed is None else f"{own.closed:.0%}",
            own.closed is not None and own.closed >= 0.75,
        ),
        (
            f"AUROC {FINDS:g} or more in 80 % of the cells with wrong labels",
            "-" if own.finds is None else f"{own.finds:.0%}",
            own.finds is not None and own.finds >= 0.8,
        ),
    ]
    rows = [(asked, got, "yes" if met else "no") for asked, got, met in lines]
    text = markdown_table((f"asked of {DEFAULT}", "measured", "met"), rows, left=1)
    if own.far:
        text += f"\n\nNot near the best: {', '.join(' '.join(cell) for cell in own.far)}."
    return text


def _cells(runs: Sequence[Run], found: Means, arms: Sequence[str]) -> str:
    """A row a cell: the figure of each arm, the best in bold; the default's AUROC and share of the gap."""
    areas, wrong = aurocs(runs, DEFAULT), _wrong(runs)
    rows = []
    for cell, values in found.items():
        best = max(values.values())
        shown = (
            "-" if arm not in values else _marked(f"{values[arm]:.1f}", values[arm] == best) for arm in arms
        )
        closed = gap_closed(found, cell, DEFAULT) if DEFAULT in values and PLAIN in values else None
        rows.append(
            (
                *cell,
                "-" if cell not in wrong else f"{wrong[cell]:.0%}",
                *shown,
                "-" if cell not in areas or cell[1] == CLEAN else f"{areas[cell]:.2f}",
                "-" if closed is None else f"{closed:.0%}",
            )
        )
    headings = ("set", "bad data", "wrong", *arms, f"AUROC, {DEFAULT}", f"gap closed, {DEFAULT}")
    return markdown_table(headings, rows, left=2)


def _failed(runs: Sequence[Run]) -> str:
    """Which runs have no figure."""
    names = [f"{run.arm} on {run.data} {run.noise}, seed {run.seed}" for run in runs if run.value is None]
    return f"Failed, so that their cells are without these arms: {'; '.join(names)}."


def _marked(text: str, best: bool) -> str:
    return Strong(text) if best else text


def _wrong(runs: Sequence[Run]) -> dict[Cell, float]:
    shares: dict[Cell, list[float]] = {}
    for run in runs:
        if run.wrong is not None:
            shares.setdefault((run.data, run.noise), []).append(run.wrong)
    return {cell: fmean(values) for cell, values in shares.items()}


def signature(about: Mapping[str, Any], runs: Sequence[Run], *, profile: str, budget: int | None) -> str:
    """What a figure here can be compared by: suite, versions, seeds, budget, sets, commit, day."""
    versions = about["versions"]
    seeds = sorted({run.seed for run in runs})
    commit = str(about.get("commit") or "none")[:12] + ("+changes" if about.get("modified") else "")
    return "|".join(
        [
            f"bench-default:{profile}",
            *(f"{name}:{versions[name]}" for name in ("metaweight", "torch", "python")),
            f"seeds:{','.join(map(str, seeds))}",
            f"budget:{budget or 1}",
            f"sets:{len({run.data for run in runs})}",
            f"runs:{len(runs)}",
            f"commit:{commit}",
            f"day:{about['started'][:10]}",
        ]
    )
