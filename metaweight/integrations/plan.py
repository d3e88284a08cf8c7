"""How the weights are to be learnt, before there is a student: what a user of a trainer asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from metaweight.core.batch import Batch
from metaweight.core.contracts import StateSpec
from metaweight.core.randomness import forked_rng
from metaweight.data.epochs import Epochs
from metaweight.engines.base import Engine
from metaweight.integrations.known_rows import KnownRows
from metaweight.integrations.weighing import Weighing
from metaweight.reweighter import Reweighter
from metaweight.student import Student
from metaweight.teachers import Teacher, build_teacher
from metaweight.teachers.fitting import fitting


@dataclass(frozen=True)
class Plan:
    """A teacher by name, class, object or "auto"; the Reweighter's options.

    ``options``: more of ``Reweighter``, by name.  Raises TypeError for options of a teacher that is built
    already.
    """

    teacher: str | Teacher | type[Teacher] = "auto"
    teacher_options: Mapping[str, Any] = field(default_factory=dict)
    teacher_learning_rate: float = 1e-3
    engine: str | Engine = "auto"
    schedule: str = "lookahead"
    options: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.teacher, Teacher) and self.teacher_options:
            raise TypeError(
                f"teacher_options belong to a teacher that is built here, got them with the built "
                f"{type(self.teacher).__name__}"
            )

    def weighing(
        self,
        student: Student,
        optimizer: Optimizer | Sequence[Optimizer],
        batch: Batch,
        trusted: Epochs | None,
        *,
        samples: int,
        total_steps: int | None,
        max_norm: float | None,
        known: KnownRows | None = None,
        warmup: int = 0,
        folder: Path | None = None,
    ) -> Weighing:
        """Build teacher and Reweighter for a student, measured on its first ``batch``.

        In several processes the first one's counts.  ``folder``: see Weighing.
        """
        own = student.spec(batch, samples=samples)
        spec = replace(student.processes.from_first(lambda: own), device=own.device)
        teacher = self.teacher_for(student, spec)
        learned = [p for p in teacher.parameters() if p.requires_grad]
        reweighter = Reweighter(
            student,
            teacher,
            optimizer=optimizer,
            teacher_optimizer=torch.optim.Adam(learned, lr=self.teacher_learning_rate) if learned else None,
            engine=self.engine,
            schedule=self.schedule,
            max_norm=max_norm,
            total_steps=total_steps,
            **self.options,
        )
        return Weighing(
            reweighter,
            trusted,
            samples=samples,
            target=spec.target,
            known=known,
            warmup=warmup,
            seed=self.seed,
            folder=folder,
        )

    def teacher_for(self, student: Student, spec: StateSpec) -> Teacher:
        """The teacher; its first parameters depend on the seed alone, and nothing is drawn for them."""
        if isinstance(self.teacher, Teacher):
            return self.teacher.to(device=spec.device, dtype=spec.dtype)
        with forked_rng(student.device):
            torch.manual_seed(self.seed)
            if isinstance(self.teacher, str):
                if self.teacher == "auto":
                    return fitting(spec).build(spec, **self.teacher_options)
                return build_teacher(self.teacher, spec, **self.teacher_options)
            return self.teacher(spec, **self.teacher_options).to(device=spec.device, dtype=spec.dtype)
