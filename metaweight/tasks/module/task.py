"""The task of a module that is given as an object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from metaweight.core.modes import evaluating
from metaweight.core.registry import Registry
from metaweight.data.ahead import ReadAhead
from metaweight.data.epochs import Epochs
from metaweight.data.rows import Rows
from metaweight.data.rows.parts import Parts
from metaweight.student.losses import UnitLoss
from metaweight.student.student import Student
from metaweight.tasks.assembly import execution
from metaweight.tasks.base import Evaluation, Sources
from metaweight.tasks.config.module import ModuleConfig
from metaweight.tasks.module.data import ModuleData, Places, RawTargets, parts_of_module, stacked
from metaweight.tasks.rows import Encoder, PreparedRows, RowsTask
from metaweight.tasks.rows.data import Learnt, prepare
from metaweight.tasks.rows.losses import LOSSES


class ModuleTask(RowsTask[ModuleConfig]):
    """A module of the user's own on data sets of the user's own; what it learns by follows from its targets.

    Whole numbers [n] are classes (cross-entropy), other numbers [n] or [n, 1] are learnt by squared error,
    several of 0 and 1 [n, L] by binary cross-entropy.  Figures: as ``RowsTask``.
    """

    config = ModuleConfig
    sets: ClassVar[Registry[Callable[[], Parts]]] = Registry("module's data set")

    def check_parts(self, config: ModuleConfig) -> None:
        pass

    def prepare(self, config: ModuleConfig) -> PreparedRows:
        raise ValueError(
            "a module and its data are objects: give them to metaweight.fit(module, train, meta)"
        )

    def encoder(self, config: ModuleConfig, rows: Rows) -> Encoder:
        raise NotImplementedError  # a run is prepared by ``prepare_module``

    def reading(self, config: ModuleConfig, prepared: PreparedRows) -> None:
        """Nothing: its rows are in no file."""

    def module(self, config: ModuleConfig, prepared: Learnt) -> nn.Module:
        return _given(prepared).module

    def taps(self, config: ModuleConfig) -> Sequence[str]:
        return ()

    def loss(self, config: ModuleConfig, prepared: Learnt) -> UnitLoss:
        return _given(prepared).loss or LOSSES[prepared.targets.kind]

    def sources(self, config: ModuleConfig, prepared: PreparedRows) -> Sources:
        train, meta = super().sources(_read_on(config), prepared)
        return Sources(_ahead(config, train), _ahead(config, meta, cycled=True))

    def batches(
        self, config: ModuleConfig, prepared: PreparedRows, positions: Tensor, *, training: bool
    ) -> Epochs:
        own = super().batches(_read_on(config), prepared, positions, training=training)
        batches: Epochs = _ahead(config, own)
        return batches

    def evaluation(self, config: ModuleConfig, prepared: PreparedRows) -> Evaluation:
        own = super().evaluation(_read_on(config), prepared)
        return replace(own, batches={part: _ahead(config, one) for part, one in own.batches.items()})

    def student(self, config: ModuleConfig, module: nn.Module, prepared: Learnt) -> Student:
        loss = self.loss(config, prepared)
        return Student(module, loss, taps=config.taps, execution=execution(config))


def prepare_module(config: ModuleConfig, data: ModuleData) -> PreparedRows:
    """The data of a run of ``data.module``.  Raises ValueError for targets that it has no output for."""
    parts = parts_of_module(data)
    first = data.items.batch([0])
    with evaluating(data.module), torch.no_grad():
        said = Student(data.module, lambda outputs, targets: outputs.flatten(1).sum(dim=1)).glance(
            first.to(next(data.module.parameters()).device)
        )
    targets = _targets(data, said.outputs, stacked(parts.cells(parts.train)))
    return prepare(config, parts, targets, lambda rows: Places(data))


def _targets(data: ModuleData, outputs: Tensor, values: Tensor) -> RawTargets:
    """What kind of targets there are, by their type, and how many classes the module tells apart."""
    if not values.is_floating_point():
        names = tuple(map(str, range(outputs.shape[-1])))
        return RawTargets("classes", names, note=f"targets are classes, of {len(names)}")
    if values.dim() == 2 and values.shape[1] > 1 and bool(((values == 0) | (values == 1)).all()):
        names = tuple(map(str, range(values.shape[1])))
        return RawTargets("several", names, note=f"targets are {len(names)} labels, 0 or 1 each")
    return RawTargets("number", note="targets are numbers")


def _read_on(config: ModuleConfig) -> ModuleConfig:
    """Workers read on the CPU."""
    return replace(config, device="cpu") if config.workers else config


def _ahead(config: ModuleConfig, source: Any, *, cycled: bool = False) -> Any:
    """A source of a run, read by its workers where it has some."""
    if not config.workers:
        return source
    device = torch.device(config.device)
    pin = device.type == "cuda"
    return ReadAhead(source, workers=config.workers, persistent=cycled, device=device, pin_memory=pin)


def _given(prepared: Learnt) -> ModuleData:
    assert isinstance(prepared.encoder, Places)
    return prepared.encoder.data
