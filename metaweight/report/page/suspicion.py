"""All suspects of one run as the page shows them: a table to search, a histogram, classes side by side."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from metaweight.report.own_rows import class_names, own_columns
from metaweight.report.page.study import Study
from metaweight.report.statistics.belief import Belief
from metaweight.report.suspects import Suspects
from metaweight.training.run_folder import RunFolder

MOST = 2000
"""Rows that the page holds; the files have all."""
BARS = 30
PAIRS = 12
"""Pairs of a given and a suggested class that are shown."""
CLASSES = 40
"""Classes that are shown."""
LONG = 160
"""Characters of a cell that are shown."""
FIRST = ("file", "row", "name", "given_label", "suggested_label", "share", "mean_weight", "loss")
"""Columns that stand before the user's own."""
FILES = ("rows.csv", "pairs.csv", "weights.csv")


@dataclass(frozen=True)
class Bar:
    """Rows within one part of the weights."""

    low: float
    high: float
    rows: int
    share: float
    """Of the highest bar."""
    suspect: bool


@dataclass(frozen=True)
class OfClass:
    """The rows of one given class."""

    name: str
    rows: int
    suspects: int
    mean: float


@dataclass(frozen=True)
class Suspicion:
    """What one run suspects."""

    rows: int
    suspects: int
    cutoff: float | None
    belief: Belief | None
    columns: tuple[str, ...]
    data: Markup
    """JSON of the first ``MOST`` rows, a list of cells each."""
    shown: int
    bars: tuple[Bar, ...]
    classes: tuple[OfClass, ...]
    pairs: tuple[tuple[str, str, int], ...]
    """Given and suggested class of suspects, and how many, the most frequent first."""
    files: tuple[str, ...]
    """Of the run's folder, that have every row."""

    @property
    def sentence(self) -> str:
        """What to do first."""
        verdict = None if self.belief is None else self.belief.verdict
        if verdict in ("chance", "inverted"):
            return (
                "Do not act on these weights: on rows whose truth is known they were no better than chance."
            )
        if not self.suspects:
            return f"No row stands out: of {self.rows:,} training rows none is suspected of a wrong label."
        several, sure = self.suspects > 1, verdict == "believable"
        rows = "rows" if several else "row"
        look = ("are" if several else "is") + " probably" if sure else "look" if several else "looks"
        return (
            f"{self.suspects:,} of {self.rows:,} training {rows} {look} wrong: check "
            f"{'them' if several else 'it'} first, below."
        )


def suspicion_of(study: Study) -> Suspicion | None:
    """Of the only run of a study, if it is finished and its weights tell rows apart; None else.

    Raises ValueError where its files are damaged.
    """
    run = study.runs[0]
    if study.grid or run.state != "finished" or not (run.folder / "weights.npz").is_file():
        return None
    given = RunFolder(run.folder).read_weights()
    means = given.own.mean_weight()
    means = means[means.isfinite()]
    if not len(means) or bool((means == means[0]).all()):  # nothing was told apart
        return None
    found = Suspects(given)
    index = found.samples.index.tolist()
    names = class_names(run.folder) or ()
    own = own_columns(run.folder, index) or {}
    table = found.columns({**found.where(), **{name: cells for name, cells in own.items()}}, names)
    suspect = np.array(table["is_suspect"], dtype=bool)
    weights = np.array(table["mean_weight"])
    bars = _bars(weights, suspect)
    labelled = "given_label" in table and found.samples.probabilities is not None
    first = [name for name in FIRST if name in table and (name != "name" or any(table["name"]))]
    columns = (*first, *(name for name in own if name not in FIRST))
    rows = [
        [int(suspect[place]), *(_cell(table[name][place]) for name in columns)]
        for place in range(min(len(weights), MOST))
    ]
    return Suspicion(
        len(weights),
        int(suspect.sum()),
        None if found.belief is None else found.belief.cutoff,
        found.belief,
        columns,
        _json({"columns": ["suspect", *columns], "rows": rows}),
        len(rows),
        bars,
        _classes(table, suspect) if labelled else (),
        _pairs(table, suspect) if labelled else (),
        tuple(name for name in FILES if (run.folder / name).is_file()),
    )


def _bars(weights: Any, suspect: Any) -> tuple[Bar, ...]:
    counts, edges = np.histogram(weights, bins=BARS)
    within = np.clip(np.digitize(weights, edges) - 1, 0, BARS - 1)
    low = np.bincount(within[suspect], minlength=BARS)
    return tuple(
        Bar(float(a), float(b), int(n), float(n / counts.max()), bool(2 * bad > n))
        for a, b, n, bad in zip(edges[:-1], edges[1:], counts, low, strict=True)
    )


def _classes(table: dict[str, list[Any]], suspect: Any) -> tuple[OfClass, ...]:
    given, weights = [str(label) for label in table["given_label"]], np.array(table["mean_weight"])
    found = []
    for name in dict.fromkeys(given):
        own = np.array([label == name for label in given])
        found.append(OfClass(name, int(own.sum()), int((own & suspect).sum()), float(weights[own].mean())))
    return tuple(sorted(found, key=lambda one: (-one.suspects / one.rows, one.name))[:CLASSES])


def _pairs(table: dict[str, list[Any]], suspect: Any) -> tuple[tuple[str, str, int], ...]:
    counts: dict[tuple[str, str], int] = {}
    for bad, given, other in zip(suspect, table["given_label"], table["suggested_label"], strict=True):
        if bad and given != other:
            counts[str(given), str(other)] = counts.get((str(given), str(other)), 0) + 1
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:PAIRS]
    return tuple((given, other, count) for (given, other), count in ordered)


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4g}"
    text = str(value)
    return text if len(text) <= LONG else f"{text[:LONG]}…"


def _json(value: Any) -> Markup:
    """JSON that stays inside of its script element, whatever text is in it."""
    text = json.dumps(value, ensure_ascii=True)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


GLOSSARY: Sequence[tuple[str, str]] = (
    (
        "weight",
        "How much a training row counts: 1 is an ordinary row, 0 is left out. The mean after the warm-up.",
    ),
    ("teacher", "What gives the weights: it looks at the student and learns from the trusted rows."),
    ("student", "The model that is trained on the weighted rows."),
    ("trusted rows", "Rows whose labels somebody has checked; nothing else says what is right."),
    ("suspect", "A row whose weight lies below the cut-off: its label is probably wrong."),
    (
        "probe",
        "A trusted row planted among the training rows, half with a wrong label, to test the weights.",
    ),
    (
        "AUROC",
        "Of a right and a wrong row drawn at random, how often the right one weighs more: 0.5 is chance.",
    ),
)
"""Words of the page, in a sentence each."""
