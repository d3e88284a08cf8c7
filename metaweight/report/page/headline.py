"""The answer on top of the page, and what the page says of runs that are not finished."""

from __future__ import annotations

import math
from collections import Counter

from metaweight.report.page.gallery import counted
from metaweight.report.page.samples import WeightView
from metaweight.report.page.study import PLAINLY, ReadRun, Study
from metaweight.report.page.suspicion import Suspicion
from metaweight.report.statistics import answer
from metaweight.report.statistics.advice import advice


def headline(study: Study, views: list[WeightView], suspicion: Suspicion | None = None) -> tuple[str, ...]:
    """A few sentences, what to do first: of a grid what its statistics say, of one run what it suspects, if
    that can be believed, and what it reached."""
    suspected = () if suspicion is None else (suspicion.sentence, *_believed(suspicion))
    if not study.grid:
        said = _of_run(study, study.runs[0], views)
        if suspicion is None:
            return said
        known = said[1:2] if views and "flipped" in views[0].kinds else ()
        if study.gain is not None:
            return (suspicion.sentence, *study.gain.sentences, *_believed(suspicion), *known)
        return (*suspected, said[0], *known)
    if not study.results:
        return (
            "No run of this grid is finished yet, so there is no answer.",
            "Below is what the runs have logged so far.",
            "Make this page again when the grid is done.",
        )
    advised = advice(study.results, study.compared, study.groups)
    sentences = answer(
        study.results,
        study.compared.figure,
        unit=study.compared.unit,
        digits=study.compared.digits,
        higher_is_better=study.compared.higher_is_better,
        groups=study.groups,
    )
    best = f"Use {advised.first}: it "
    reasons = [f"It {one.removeprefix(best)}" if one.startswith(best) else one for one in reversed(sentences)]
    return (advised.sentence, *suspected, *(one for one in reasons if one and one != advised.sentence))


def _believed(suspicion: Suspicion) -> tuple[str, ...]:
    return () if suspicion.belief is None else suspicion.belief.sentences


def _of_run(study: Study, run: ReadRun, views: list[WeightView]) -> tuple[str, ...]:
    if run.state != "finished":
        return (_reached(study, run), "Make this page again when it is done.")
    if study.gain is not None:
        return (*study.gain.sentences, _found(run, views), _advice(views))
    return (_reached(study, run), _found(run, views), _advice(views))


def _reached(study: Study, run: ReadRun) -> str:
    value = None if run.result is None else run.result.with_validation().figures.get(study.main.figure)
    done = len(run.epochs)
    epochs = f"{done} epoch{'s' * (done != 1)}"
    if run.state != "finished":
        return f"This run is not finished: {epochs} of {run.config.epochs} are done."
    if value is None or not study.main.reached:
        return f"The student of {run.arm} trained for {epochs}; its {study.main.figure} is not known."
    return f"With {run.arm} the student ends at {study.main.said(value)} after {epochs}."


def _found(run: ReadRun, views: list[WeightView]) -> str:
    area = run.figures.get("auroc")
    if views and views[0].unseen_whole:
        return "No training sample was trained on, so none has a weight."
    if views and views[0].flat:
        return "Every sample has the same weight, so the weights find nothing."
    if area is None or not math.isfinite(area):
        unknown = not views or "flipped" not in views[0].kinds
        why = "it is not known which are bad" if unknown else "none is, as far as is known, or all are"
        return f"Whether the weights find bad samples cannot be said: {why}."
    return (
        f"The weights tell bad samples from good ones with an AUROC of {area:.2f}: of a good and a bad "
        f"sample drawn at random, the good one has the larger weight in {100 * area:.0f} of 100 cases."
    )


def _advice(views: list[WeightView]) -> str:
    if not views or views[0].flat:
        return "Compare it with a teacher that learns: metaweight compare does it in one command."
    lowest = views[0].lowest
    verdicts = [sample.flipped for sample in lowest if sample.flipped is not None]
    if not verdicts:
        return f"Look first at the {len(lowest)} samples with the lowest weights, at the end of this page."
    if not any(verdicts):
        return f"None of the {len(lowest)} samples with the lowest weights, at the end of this page, is bad."
    rest = "" if all(verdicts) else ", and the others are worth a second look"
    return (
        f"Look first at the {len(lowest)} samples with the lowest weights, at the end of this page: "
        f"{counted(sum(verdicts), len(verdicts)).lower()}{rest}."
    )


def state_of(study: Study) -> str:
    """One sentence on the runs of a grid that are not there; empty where all are."""
    states = Counter(run.state for run in study.runs)
    rest = {state: states[state] for state in ("failed", "unfinished", "missing") if states[state]}
    if not rest or not study.grid:
        return ""
    names = {"failed": "failed", "unfinished": "not finished", "missing": "missing"}
    counts = ", ".join(f"{number} {names[state]}" for state, number in rest.items())
    sentence = f"{states['finished']} of {len(study.runs)} runs are finished; {counts}."
    return f"{sentence} What follows shows what there is."


def troubles(study: Study) -> list[tuple[str, str]]:
    """(run, what happened) of every failed run and every one that is not finished."""
    rows = [(run.name, run.error or "failed") for run in study.runs if run.state == "failed"]
    for run in study.runs:
        if run.state == "unfinished":
            done = len(run.epochs)
            rows.append((run.name, f"not finished: {done} of {run.config.epochs} epochs so far"))
    return rows


def weight_notes(views: list[WeightView]) -> list[str]:
    """What is missing in the weights, in sentences."""
    notes = []
    flat = [view.run.arm for view in views if view.flat and not view.unseen_whole]
    flat = [arm for arm in dict.fromkeys(flat) if arm != PLAINLY]
    if flat:
        notes.append(f"{', '.join(flat)}: every sample has the same weight, so there is nothing to draw.")
    for view in views:
        if view.broken:
            notes.append(
                f"{view.run.name}: {view.broken:,} weights or losses are not finite; they are left out."
            )
        if view.dropped:
            notes.append(f"{view.run.name}: its remedy dropped {view.dropped:,} of {view.samples:,} samples.")
        if view.unseen:
            notes.append(f"{view.run.name}: {view.unseen:,} samples were never seen, so they have no weight.")
    return notes
