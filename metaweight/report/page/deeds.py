"""What single samples did to the end of a run, as the page shows it: from influence.npz and verify.json."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from markupsafe import Markup
from torch import Tensor

from metaweight.core.shown import shown
from metaweight.influence import Certificate, Influence
from metaweight.influence.questions import LONG, SHORT
from metaweight.influence.result import highest_first
from metaweight.report.own_rows import class_names, own_columns
from metaweight.report.page.exhibits import Exhibit, exhibits
from metaweight.report.page.gallery import Card, card
from metaweight.report.page.samples import LowSample, samples_at
from metaweight.report.page.study import ReadRun
from metaweight.training.run_folder import RunFolder
from metaweight.training.sample_weights import SampleWeights

MOST = 12
"""Samples of either end."""
COLUMNS = 6
"""Of the owner's, on a card."""
MADE = "From the certificate, made by training again without some rows; its rank correlation is the LDS."


@dataclass(frozen=True)
class Deeds:
    """The samples of both ends."""

    harmful: tuple[Card, ...]
    """The most harmful first."""
    helpful: tuple[Card, ...]
    """The most helpful first."""
    lead: str
    verdict: tuple[str, ...]
    """What the certificate says of the influences; empty where there is none."""
    note: str
    """Why there is nothing to see of the samples."""


def deeds_of(run: ReadRun) -> Deeds | None:
    """Of a run that ``metaweight influence`` was asked of; None else.

    Raises ValueError where its files are damaged, or are of different runs.
    """
    path = run.folder / "influence.npz"
    if not path.is_file() or not (run.folder / "weights.npz").is_file():
        return None
    found = Influence.load(path)
    samples = RunFolder(run.folder).read_weights().own
    whole = found.values if found.values.dim() == 1 else found.values.mean(0)
    if len(samples.index) and int(samples.index.max()) >= len(whole):
        raise ValueError(f"{path} is of {len(whole):,} samples, and weights.npz of others")
    values = whole[samples.index]
    loss = float(found.losses.double().mean())
    harmful, helpful = first_ones(values, MOST), first_ones(-values, MOST)
    rows = [*harmful, *helpful]
    cards, note = cards_of_rows(run, samples, rows, values[rows].tolist())
    return Deeds(
        tuple(cards[: len(harmful)]),
        tuple(cards[len(harmful) :]),
        _lead(values, loss, found.asked),
        _verdict(run.folder / "verify.json", loss),
        note,
    )


def first_ones(values: Tensor, most: int) -> list[int]:
    """Places of the largest positive ones."""
    return [int(at) for at in highest_first(values)[:most] if values[at] > 0]


def _lead(values: Tensor, loss: float, asked: str) -> str:
    seen = values.isfinite()
    harm, count = int((values[seen] > 0).sum()), int(seen.sum())
    whose = f"mean loss of the {asked}" if asked else "loss that was asked about"
    return (
        f"The influence of a row is by how much the {whose} at the end of this run ({loss:.4g}) would rise "
        "if the row weighed 1 more in all of its visits, as far as a straight line tells: without a row of "
        f"weight 1 it would fall by about as much. More weight of {harm:,} of {count:,} rows does harm."
    )


def cards_of_rows(
    run: ReadRun, samples: SampleWeights, rows: Sequence[int], influences: Sequence[float]
) -> tuple[list[Card], str]:
    """A card for each of ``rows`` with its influence, and the note of the exhibits."""
    picked = samples_at(samples, samples.weights, samples.mean_weight(), rows)
    display = exhibits(run, picked)
    names = display.classes or class_names(run.folder) or ()
    own = _own_cells(run, picked) if not display.samples else {}
    made = []
    for sample, influence in zip(picked, influences, strict=True):
        exhibit, cells = display.samples.get(sample.row, Exhibit()), own.get(sample.row, ())
        sentences = [text for _, text in cells if len(text) > SHORT]
        if sentences:
            exhibit = Exhibit(source=sentences[0], target="" if len(sentences) < 2 else sentences[1])
        one = card(sample, exhibit, names, 2.0)
        short = tuple((name, text) for name, text in cells if len(text) <= SHORT and text != one.given)
        made.append(
            replace(
                one,
                history=Markup(),
                influence=f"{influence:+.3g}",
                mean="" if math.isnan(sample.mean) else one.mean,
                cells=short[:COLUMNS],
            )
        )
    return made, display.note


def _own_cells(run: ReadRun, picked: Sequence[LowSample]) -> dict[int, tuple[tuple[str, str], ...]]:
    """Row -> its owner's columns with what is in them."""
    own = own_columns(run.folder, torch.tensor([one.index for one in picked], dtype=torch.int64).numpy())
    columns = {name: cells.to_pylist() for name, cells in (own or {}).items()}
    return {
        one.row: tuple((name, _cut(cells[at])) for name, cells in columns.items())
        for at, one in enumerate(picked)
    }


def _cut(cell: object) -> str:
    text = shown("" if cell is None else str(cell))
    return text if len(text) <= LONG else f"{text[:LONG]}…"


def _verdict(path: Path, loss: float) -> tuple[str, ...]:
    """What the certificate in ``path`` says of influences on the loss ``loss``; other scores in a line."""
    if not path.is_file():
        return ()
    certificate = Certificate.load(path)
    mine = [score for score in certificate.scores if score.name == "influence"]
    if not mine:
        return ()
    if not math.isclose(certificate.loss, loss, rel_tol=1e-4):
        return (f"The certificate beside it is of another loss ({certificate.loss:.4g}).",)
    said = replace(certificate, scores=tuple(mine)).sentences()
    others = [
        f"{score.name} {score.lds:.2f} ({score.low:.2f} to {score.high:.2f})"
        for score in certificate.scores
        if score.name != "influence" and None not in (score.lds, score.low, score.high)
    ]
    beside = [f"LDS of other scores, with 95 % intervals: {'; '.join(others)}."] if others else []
    return (MADE, *said, *beside)
