"""RowsTask: a run of labelled rows; a subclass says what a row is, and what a student of it looks like."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from metaweight.core.registry import Registry
from metaweight.core.weights import auroc
from metaweight.data.epochs import Epochs
from metaweight.data.imbalance import check_imbalance
from metaweight.data.rows import Rows, Targets, read_rows, read_targets
from metaweight.data.rows.loader import Inputs
from metaweight.data.rows.parts import Parts, label_column, parts_of
from metaweight.data.rows.spoil import check_spoil
from metaweight.reweighter import Reweighter
from metaweight.student.student import Student
from metaweight.tasks.assembly import Assembled, build_reweighter, execution, seed_of, trains_on_meta
from metaweight.tasks.base import Evaluation, Sources
from metaweight.tasks.class_names import keep_classes
from metaweight.tasks.config.own import check_own
from metaweight.tasks.config.rows import RowsConfig
from metaweight.tasks.figures import Presentation
from metaweight.tasks.outcome import Outcome
from metaweight.tasks.pool import Pool
from metaweight.tasks.rating.new import ByToken
from metaweight.tasks.rows import data as rows_data
from metaweight.tasks.rows.data import Encoder, Learnt, PreparedRows, loader, no_points
from metaweight.tasks.rows.figures import PRESENTATION
from metaweight.tasks.rows.losses import LOSSES
from metaweight.tasks.rows.measures import MAIN, measure
from metaweight.tasks.rows.rating import RowsReader, reading, targets_of
from metaweight.tasks.rows.results import save
from metaweight.teachers.base import name_of
from metaweight.training.run_folder import RunFolder

C = TypeVar("C", bound=RowsConfig)


class RowsTask(ABC, Generic[C]):
    """A student of labelled rows; how good it is on test rows, and which training rows look wrong.

    Figures: of the test rows at the last epoch ``accuracy`` in percent, ``r2`` and ``rmse`` where targets are
    numbers, ``f1`` in percent where a row has several labels, each NaN for other targets and without test
    rows; the same of the validation rows with ``valid_`` before it; ``auroc`` of the mean weight for finding
    the wrong targets, and ``realised_noise``, NaN where it is not known which are wrong; ``seconds``;
    ``weight_mean``.
    """

    config: type[C]
    sets: ClassVar[Registry[Callable[[], Parts]]]
    """Rows by name, for ``--data``."""
    presentation: Presentation = PRESENTATION
    noises: tuple[str, ...] = ("uniform@0.4",)
    auto: ClassVar[Mapping[str, Any]] = {}
    """Options of the teacher ``auto`` that follow from what a row is."""

    @abstractmethod
    def check_parts(self, config: C) -> None:
        """Raise for a model and options of the kind of row that do not do, without data."""

    @abstractmethod
    def encoder(self, config: C, rows: Rows) -> Encoder:
        """What the training rows show of the columns that are learnt from."""

    @abstractmethod
    def module(self, config: C, prepared: Learnt) -> nn.Module:
        """A student's module, initialised from torch's generator."""

    @abstractmethod
    def taps(self, config: C) -> Sequence[str]:
        """Submodules that the teacher looks into, where the config names none."""

    def points(self, encoder: Encoder, inputs: Inputs) -> Tensor:
        """Encoded rows [N, d] as noise that looks at them sees them.  Raises ValueError where they are no
        points."""
        return no_points(encoder, inputs)

    def ignored(self, config: C, parts: Parts) -> Sequence[str]:
        """Columns that are not learnt from, beside the label."""
        return ()

    def student(self, config: C, module: nn.Module, prepared: Learnt) -> Student:
        """``module`` with its loss and taps."""
        taps = config.taps or self.taps(config)
        return Student(module, LOSSES[prepared.targets.kind], taps=taps, execution=execution(config))

    def cells(self, prepared: PreparedRows, of: str, positions: Sequence[int]) -> list[dict[str, str]]:
        """See ``InColumns``: the columns that are learnt from."""
        test = prepared.parts.test
        names = list(prepared.frame.columns)
        frame = test.frame[names] if of == "test" and test is not None else prepared.frame
        values = frame.iloc[list(positions)].to_dict("records")
        return [{str(name): _text(cell) for name, cell in row.items()} for row in values]

    def read(self, config: C, file: str, part: str) -> Rows:
        """The rows of one file, which are the run's ``part``."""
        return read_rows(file, part)

    def label(self, config: C, train: Rows) -> str:
        """The column of the labels."""
        return label_column(train) if config.label is None else config.label

    def check(self, config: C) -> None:
        check_own(config)
        check_spoil(config.noise, config.noise_rate)
        check_imbalance(config.imbalance)
        if config.train is None:
            _ = self.sets[config.data]
        self.check_parts(config)

    def parts(self, config: C) -> Parts:
        """The rows that ``config`` names."""
        if config.train is None:
            return self.sets[config.data]()
        files = {"train": config.train, "meta": config.meta, "valid": config.valid, "test": config.test}
        read = {part: self.read(config, file, part) for part, file in files.items() if file is not None}
        return self.own_parts(config, read)

    def own_parts(self, config: C, rows: dict[str, Rows]) -> Parts:
        """The parts of the user's ``rows``: "train" and, perhaps, "meta", "valid" and "test"."""
        return parts_of(rows, label=self.label(config, rows["train"]), meta_column=config.meta_column)

    def targets(self, config: C, parts: Parts) -> Targets:
        """What the training rows' labels are."""
        return read_targets(parts.cells(parts.train), parts.label, parts.train.origins, kind=config.target)

    def prepare(self, config: C) -> PreparedRows:
        self.check(config)
        return self.prepared(config, self.parts(config))

    def usable(self, config: C, parts: Parts) -> Parts:
        """``parts`` without training rows that have no input.  Raises ValueError for other such rows."""
        return parts

    def prepared(self, config: C, parts: Parts) -> PreparedRows:
        """``parts``, split, spoilt and encoded as ``config`` says."""
        parts = self.usable(config, parts)
        return rows_data.prepare(
            config,
            parts,
            self.targets(config, parts),
            lambda rows: self.encoder(config, rows),
            points=self.points,
            ignore=self.ignored(config, parts),
        )

    def keep(self, prepared: PreparedRows, folder: RunFolder) -> None:
        if prepared.targets.classes:
            keep_classes(prepared.targets.classes, folder)

    def build(self, config: C, prepared: PreparedRows) -> Reweighter:
        torch.manual_seed(seed_of(config.seed, "initial"))
        student = self.student(config, self.module(config, prepared).to(config.device), prepared)
        probe = loader(config, prepared, "meta", training=True).batch(0, 0)
        spec = student.spec(probe, class_counts=self.counts(prepared), samples=prepared.samples)
        if config.teacher == "auto" and not config.teacher_options:
            config = replace(config, teacher_options=self.auto)
        return build_reweighter(config, student, spec)

    def counts(self, prepared: PreparedRows) -> Sequence[int] | None:
        """Training rows of each given class."""
        if prepared.targets.kind != "classes":
            return None
        given = prepared.given[prepared.splits.train]
        counts: list[int] = torch.bincount(given, minlength=len(prepared.targets.classes)).tolist()
        return counts

    def sources(self, config: C, prepared: PreparedRows) -> Sources:
        own = prepared.splits.trained(with_meta=trains_on_meta(config))
        return Sources(
            loader(config, prepared, "train", training=True, positions=own),
            loader(config, prepared, "meta", training=True),
        )

    def pool(self, config: C, prepared: PreparedRows) -> Pool:
        spoilt, targets = prepared.spoilt, prepared.targets
        classed = targets.kind == "classes"
        return Pool(
            prepared.own,
            prepared.splits.meta,
            None if spoilt is None else spoilt.flipped,
            None if spoilt is None else spoilt.nominal,
            prepared.given if classed else None,
            len(targets.classes) if classed else 0,
        )

    def batches(self, config: C, prepared: PreparedRows, positions: Tensor, *, training: bool) -> Epochs:
        return loader(config, prepared, "train", training=training, positions=positions)

    def evaluation(self, config: C, prepared: PreparedRows) -> Evaluation:
        held = {"valid": len(prepared.splits.valid) > 0, "test": prepared.test is not None}
        batches = {part: loader(config, prepared, part, training=False) for part, has in held.items() if has}
        return Evaluation(batches, self.measure(prepared), f"valid_{MAIN[prepared.targets.kind]}")

    def measure(self, prepared: PreparedRows) -> Any:
        """How good a student is: (student, batches) -> figures."""
        return measure(prepared.targets)

    def settled(self, config: C, label: str, encoder: Encoder) -> C:
        """``config`` with the columns by name that the training rows had."""
        return replace(config, label=label)

    def later(self, asked: C, settled: C, file: str) -> Rows:
        """Rows that come after a run of the options ``asked``, with the columns that ``settled`` names."""
        return self.read(settled, file, "train")

    def kept_encoder(self, config: C, record: Mapping[str, Any], folder: Path) -> Encoder:
        """The encoder whose ``record`` is kept, with the vocabulary in ``folder``."""
        raise NotImplementedError

    def later_targets(self, targets: Targets, cells: Sequence[Any]) -> Targets:
        """What later rows with these cells are told, of a run with ``targets``."""
        return targets

    def by_token(self, reader: RowsReader[C], parts: Parts, given: Tensor, inputs: Inputs) -> ByToken | None:
        """See ``New.by_token``."""
        return None

    def reading(self, config: C, prepared: PreparedRows) -> Mapping[str, Any] | None:
        return reading(prepared)

    def reader(self, config: C, reading: Mapping[str, Any], folder: Path) -> RowsReader[C]:
        encoder = self.kept_encoder(config, reading["encoder"], folder)
        label, columns = reading["label"], tuple(reading["columns"])
        own = self.settled(config, label, encoder)
        return RowsReader(self, config, own, label, columns, targets_of(reading["targets"]), encoder)

    def reader_at_hand(self, config: C, prepared: PreparedRows) -> RowsReader[C]:
        """The reader of a run in memory."""
        label, columns = prepared.parts.label, tuple(map(str, prepared.frame.columns))
        own = self.settled(config, label, prepared.encoder)
        return RowsReader(self, config, own, label, columns, prepared.targets, prepared.encoder)

    def conclude(
        self, config: C, prepared: PreparedRows, trained: Assembled, folder: RunFolder | None
    ) -> Outcome:
        index, spoilt = prepared.own, prepared.spoilt
        if folder is not None:
            save(config, prepared, trained, folder)
        weights = trained.weights.mean_weight()[index]
        finite = weights.isfinite()
        row = trained.row
        figures = {name: row.get(f"test_{name}", math.nan) for name in ("accuracy", "r2", "rmse", "f1")}
        figures |= {name: row.get(name, math.nan) for name in ("valid_accuracy", "valid_r2", "valid_f1")}
        figures |= {
            "auroc": math.nan if spoilt is None else auroc(weights[finite], spoilt.flipped[finite]),
            "realised_noise": math.nan if spoilt is None else spoilt.realised,
            "seconds": trained.trainer.seconds,
            "weight_mean": float(weights[finite].mean()),
        }
        return trained.outcome(
            figures, {"target": prepared.targets.kind, "teacher": name_of(trained.trainer.reweighter.teacher)}
        )


def _text(cell: object) -> str:
    """A cell as its owner wrote it; tokens side by side."""
    if isinstance(cell, list | tuple | np.ndarray):
        return " ".join(map(str, cell))
    import pandas as pd

    return "" if pd.isna(cell) else str(cell)
