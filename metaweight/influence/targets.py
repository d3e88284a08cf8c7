"""What a run is asked about: the loss of a trusted set, or of single samples, at its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from metaweight.core.contracts import Batch, Forward
from metaweight.core.digest import digest
from metaweight.core.modes import evaluating
from metaweight.data.loaders import LoaderBatches
from metaweight.engines.checks import require_finite_losses
from metaweight.engines.one_step import gradients
from metaweight.engines.pulled import added
from metaweight.influence.norms import norms_of, read_with_derivative
from metaweight.influence.point import Point
from metaweight.influence.record import fingerprint
from metaweight.student.student import Student

Mode = Literal["eval", "train"]
Meta = Any
"""A Batch, batches by (epoch, position), a DataLoader, or a sequence or mapping of these."""


@dataclass(frozen=True)
class Said:
    """What one loss at the end of a run says of where the run ended."""

    loss: float
    parameters: Mapping[str, Tensor]
    statistics: Mapping[str, Tensor]
    """Of running means and variances, by name of the buffer."""


@dataclass(frozen=True)
class Targets:
    """Losses at the end of a run, each the mean over the units of some batches."""

    sets: Sequence[Sequence[Batch]]
    each: bool
    """Whether each row is a target of its own."""

    @staticmethod
    def of(meta: Meta, *, each: bool, device: torch.device) -> Targets:
        """Read ``meta``; raises TypeError for what holds no batches."""
        given = list(meta.values()) if isinstance(meta, Mapping) else meta
        several = isinstance(given, list | tuple)
        sets = [[b.to(device) for b in _batches(one)] for one in (given if several else [given])]
        if not sets or not all(sets):
            raise ValueError("there is no batch to ask about")
        if each and len(sets) > 1:
            raise ValueError("each=True makes each row of one set a target: give one set")
        return Targets(sets, each)

    def __len__(self) -> int:
        """How many losses they are."""
        return sum(map(len, self.sets[0])) if self.each else len(self.sets)

    def name(self, *options: str) -> str:
        """12 digits that stand for what is asked, and how."""
        prints = [[str(fingerprint(batch)) for batch in batches] for batches in self.sets]
        return digest([str(self.each), *options], *prints)[:12]

    def said(self, student: Student, end: Point, mode: Mode) -> list[Said]:
        """Of each target, with the student at ``end``; leaves it in the modes that it is in.

        Raises NonFiniteError where a loss is NaN or infinite.
        """
        end.put_pass(student)
        norms = norms_of(student.module)
        reading = partial(read_with_derivative, norms if mode == "eval" else {}, end.buffers)
        with _mode(student, mode), reading() as statistics:
            leaves: dict[str, Tensor] = {**student.parameters(), **statistics}
            if self.each:
                return [s for batch in self.sets[0] for s in _of_rows(student, batch, leaves, statistics)]
            return [_of_set(student, batches, leaves, statistics) for batches in self.sets]

    @torch.no_grad()
    def losses(self, student: Student, end: Point, mode: Mode) -> list[float]:
        """Only the losses, at the cost of a pass; else as ``said``, up to rounding."""
        end.put_pass(student)
        with _mode(student, mode):
            if self.each:
                return [
                    float(v) for batch in self.sets[0] for v in _by_row(_pass(student, batch), len(batch))
                ]
            return [_mean(student, batches) for batches in self.sets]


def _batches(given: Any) -> list[Batch]:
    if isinstance(given, Batch):
        return [given]
    source = LoaderBatches(given) if isinstance(given, DataLoader) else given
    if not hasattr(source, "batch") or not hasattr(source, "__len__"):
        raise TypeError(
            "meta is a Batch, a DataLoader, batches by (epoch, position), or several of these, got "
            f"{type(given).__name__}"
        )
    return [source.batch(0, position) for position in range(len(source))]


def _of_set(
    student: Student, batches: Sequence[Batch], leaves: Mapping[str, Tensor], statistics: Mapping[str, Tensor]
) -> Said:
    total: dict[str, Tensor] = {}
    loss, count = 0.0, 0
    for batch in batches:
        forward = _pass(student, batch)
        count += len(forward.loss)
        loss += float(forward.loss.detach().double().sum())
        total = added(total, gradients(forward.loss.sum(), leaves))
    return _said(loss / count, {name: value / count for name, value in total.items()}, statistics)


def _of_rows(
    student: Student, batch: Batch, leaves: Mapping[str, Tensor], statistics: Mapping[str, Tensor]
) -> Iterator[Said]:
    for loss in _by_row(_pass(student, batch), len(batch)):
        yield _said(float(loss.detach()), gradients(loss, leaves, keep_graph=True), statistics)


def _by_row(forward: Forward, rows: int) -> Iterator[Tensor]:
    """The mean loss over the units of each row."""
    of_row = forward.units.of_rows(torch.arange(rows, device=forward.loss.device))
    return (forward.loss[of_row == row].mean() for row in range(rows))


def _mean(student: Student, batches: Sequence[Batch]) -> float:
    losses = [_pass(student, batch).loss for batch in batches]
    return sum(float(loss.double().sum()) for loss in losses) / sum(map(len, losses))


def _pass(student: Student, batch: Batch) -> Forward:
    forward = student(batch, taps=False)
    require_finite_losses("meta loss", forward)
    return forward


def _said(loss: float, found: Mapping[str, Tensor], statistics: Mapping[str, Tensor]) -> Said:
    return Said(
        loss,
        {name: value for name, value in found.items() if name not in statistics},
        {name: value for name, value in found.items() if name in statistics},
    )


def _mode(student: Student, mode: Mode) -> AbstractContextManager[None]:
    return evaluating(student.module) if mode == "eval" else nullcontext()
