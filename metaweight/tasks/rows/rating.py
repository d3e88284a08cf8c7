"""How a run of labelled rows reads rows that come after it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.data.rows import Rows, Targets
from metaweight.data.rows.loader import RowsLoader
from metaweight.data.rows.parts import parts_of, same_columns
from metaweight.data.rows.targets import BETWEEN, label_text, labels_of
from metaweight.student.student import Student
from metaweight.tasks.config.rows import RowsConfig
from metaweight.tasks.rating.new import New, Said
from metaweight.tasks.rows.data import Encoder
from metaweight.tasks.rows.measures import two_logits
from metaweight.training.evaluation import outputs_of

if TYPE_CHECKING:
    from metaweight.tasks.rows.task import RowsTask

C = TypeVar("C", bound=RowsConfig)


@dataclass(frozen=True, eq=False)
class RowsReader(Generic[C]):
    """What the training rows of a run have shown, and later rows as its students take them."""

    task: RowsTask[C]
    asked: C
    """The run's options."""
    config: C
    """The same with the columns of labels and texts by name, as the training rows have them."""
    label: str
    columns: tuple[str, ...]
    """Those that are learnt from."""
    targets: Targets
    encoder: Encoder

    def student(self) -> Student:
        """A student like that of the run, untrained."""
        module = self.task.module(self.config, self).to(self.config.device)
        return self.task.student(self.config, module, self)

    def with_encoder(self, encoder: Encoder) -> RowsReader[C]:
        """The same for rows that are encoded otherwise."""
        return replace(self, encoder=encoder)

    def read(self, place: str) -> New:
        """The rows of a file, see ``Reader.read``."""
        return self.of_rows(self.task.later(self.asked, self.config, place))

    def of_rows(self, rows: Rows) -> New:
        """Rows that were read.  Those without a label, or without an input, are not weighed."""
        parts = self.task.usable(self.config, parts_of({"train": rows}, label=self.label, meta_column=None))
        cells = parts.cells(parts.train)
        targets = self.task.later_targets(self.targets, cells)
        given = targets.encode(cells, parts.train.origins, "new")
        inputs = self.encoder.encode(same_columns(parts.train, self.columns))

        def batches(size: int | None) -> Iterable[Batch]:
            return RowsLoader(
                inputs,
                given,
                torch.arange(len(given)),
                batch_size=size or inputs.at_once,
                shuffle=False,
                device=self.config.device,
            ).epoch(0)

        frame = rows.frame.drop(columns=[self.label])
        places = np.arange(len(rows)) if parts.places is None else parts.places
        classed = targets.kind in ("classes", "one-logit")
        return New(
            rows.origins,
            {str(name): _cells(frame[name]) for name in frame.columns},
            torch.from_numpy(places),
            parts.left_out,
            batches,
            [_shown(cell, targets.kind) for cell in rows.column(self.label).tolist()],
            classes=given.long().tolist() if classed else None,
            notes=parts.notes,
            says=None if targets.kind == "tokens" else lambda student: _said(student, batches(None), targets),
            by_token=self.task.by_token(self, parts, given, inputs),
        )


def reading(prepared: Any) -> dict[str, Any]:
    """What ``RowsReader`` is made of, as JSON holds it, but for vocabularies."""
    targets = prepared.targets
    return {
        "label": prepared.parts.label,
        "columns": [str(name) for name in prepared.frame.columns],
        "targets": {name: getattr(targets, name) for name in ("kind", "classes", "center", "scale")},
        "encoder": prepared.encoder.record,
    }


def targets_of(record: Mapping[str, Any]) -> Targets:
    """Those that ``reading`` gave."""
    return Targets(record["kind"], tuple(record["classes"]), record["center"], record["scale"])


def _said(student: Student, batches: Iterable[Batch], targets: Targets) -> Said:
    outputs: Tensor = outputs_of(student, batches)[0].float().cpu()
    if targets.kind == "number":
        return Said(targets.shown(outputs.flatten()))
    if targets.kind == "several":
        return Said(targets.shown(outputs > 0))
    logits = two_logits(outputs) if targets.kind == "one-logit" else outputs
    share, most = logits.softmax(dim=-1).max(dim=-1)
    return Said([targets.classes[code] for code in most.tolist()], share.double().tolist())


def _cells(column: Any) -> list[Any]:
    """As the user has them; empty where nothing is."""
    cells: list[Any] = column.astype(object).where(column.notna(), "").tolist()
    return cells


def _shown(cell: Any, kind: str) -> str:
    """A label as the user wrote it."""
    if kind == "several":
        return BETWEEN.join(labels_of(cell))
    if kind == "tokens":
        return " ".join(map(str, cell))
    return label_text(cell)
