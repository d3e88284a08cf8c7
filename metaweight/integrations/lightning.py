"""Weights in Lightning: a LightningModule whose training step gives the weighted loss.

class Classifier(mw.lightning.Weighted):
    def configure_optimizers(self):
        return torch.optim.SGD(self.module.parameters(), lr=0.1)

model = Classifier(module, trusted=checked_pairs)
lightning.Trainer(max_epochs=5).fit(model, mw.lightning.loader(pairs, batch_size=64, shuffle=True))
model.suspects()  # positions in ``pairs``, lowest weight first; weights.csv and the page (report.html) lie
                  # in the log's folder
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from metaweight.core.batch import Batch, require_batch
from metaweight.core.errors import MetaweightError
from metaweight.core.processes import Processes
from metaweight.data.indexed import Indexed, collate
from metaweight.data.loaders import bears_positions, rows_in
from metaweight.engines.base import Engine
from metaweight.integrations.files import write_report
from metaweight.integrations.last_hidden import described
from metaweight.integrations.plan import Plan
from metaweight.integrations.trusted import TrustedRows, with_positions
from metaweight.integrations.weighed import Weighed
from metaweight.integrations.weighing import Weighing
from metaweight.student import Student
from metaweight.teachers import Teacher

try:
    from lightning.pytorch import LightningModule
    from lightning.pytorch.strategies import DDPStrategy
except ImportError as error:
    raise ImportError("lightning is not installed: pip install 'metaweight[lightning]'") from error


KEY = "metaweight"
"""The teacher's part of a checkpoint."""


def loader(dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:
    """A DataLoader of pairs (x, y) whose batches know their rows; ``options``: any but its collate_fn."""
    return DataLoader(Indexed(dataset), collate_fn=collate, **options)


class Weighted(Weighed, LightningModule):
    """Trains ``module`` on losses weighted by a teacher; define ``configure_optimizers``, and what you like.

    ``module``: a module, trained on the cross-entropy of its logits, into which the teacher looks at the last
    hidden layer, as far as it is found; or a Student with a loss and taps of its own.  ``trusted``: pairs
    (x, y) that are surely right, by position; None for a teacher that learns nothing.  ``teacher``: a name, a
    Teacher, a class, or "auto" (``Plan``).  ``samples``: rows of the training data; None: counted where
    ``loader`` or ``mw.data.numbered`` made the DataLoader.
    ``trusted_batch_size``: None for the train batch's.  Accumulation, clipping by norm, precision, schedulers
    are the Trainer's; its checkpoints hold the teacher and the weights of all epochs.

    In several processes (``strategy="ddp"``) each has a part of the joined batch, of trusted rows too, whose
    size is that of the joined batch; weights are of all rows in all processes, and the first one writes.  Of
    "ddp_spawn" and "ddp_notebook" the files alone are left: their processes end with ``fit``.  Raises
    ValueError for clipping by value, MetaweightError for other strategies of several processes.
    """

    _begins = "Trainer.fit"

    def __init__(
        self,
        module: nn.Module | Student,
        trusted: Any = None,
        *,
        teacher: str | Teacher | type[Teacher] = "auto",
        engine: str | Engine = "auto",
        schedule: str = "lookahead",
        teacher_options: Mapping[str, Any] | None = None,
        teacher_learning_rate: float = 1e-3,
        trusted_batch_size: int | None = None,
        samples: int | None = None,
        reweighter_options: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._given = (module,)  # in a tuple, or Lightning would take it for a part of itself
        self.module = module.module if isinstance(module, Student) else module
        self._trusted = None if trusted is None else with_positions(trusted, "trusted")
        self._trusted_size, self._samples, self._seed = trusted_batch_size, samples, seed
        options = teacher_options or {}, teacher_learning_rate, engine, schedule, reweighter_options or {}
        self._plan = Plan(teacher, *options, seed)
        self._weighing: Weighing | None = None
        self._place: Path | None = None
        self._resumed: dict[str, Any] | None = None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's own."""
        return self.module(*args, **kwargs)

    def training_step(self, batch: Any, _batch_idx: int) -> Tensor:
        """The weighted loss of a Batch; logs mean and spread of the weights and the losses without them."""
        batch, trainer = require_batch(batch), self.trainer
        if self._weighing is None:
            self._weighing = self._begun(batch)
        scaler = getattr(trainer.precision_plugin, "scaler", None)
        loss = self._weighing.loss(
            batch,
            self.current_epoch,
            share=1 / trainer.accumulate_grad_batches,
            loss_scale=1.0 if scaler is None else scaler.get_scale(),
        )
        self.log_dict(self._weighing.figures(), batch_size=len(batch))
        return loss

    def _begun(self, batch: Batch) -> Weighing:
        trainer, processes = self.trainer, Processes.at_hand()
        if processes.size > 1 and not isinstance(trainer.strategy, DDPStrategy):
            raise MetaweightError(
                f"a group of {processes.size} processes is up, and metaweight follows no "
                f"{type(trainer.strategy).__name__} there: take Trainer(strategy='ddp')"
            )
        # once, for all processes have to ask for it together
        self._place = Path(trainer.log_dir or trainer.default_root_dir)
        clip = trainer.gradient_clip_val
        if clip and trainer.gradient_clip_algorithm == "value":
            raise ValueError(
                "gradient_clip_algorithm='value' is no part of the virtual step: clip by norm, "
                "Trainer(gradient_clip_algorithm='norm')"
            )
        steps = trainer.estimated_stepping_batches * trainer.accumulate_grad_batches
        weighing = self._plan.weighing(
            described(*self._given, batch),
            self.optimizers(use_pl_optimizer=False),
            batch,
            self._trusted_rows(sum(rows for (rows,) in processes.told([len(batch)]))),
            samples=_rows_of(trainer.train_dataloader) if self._samples is None else self._samples,
            total_steps=int(steps) if math.isfinite(steps) else None,
            max_norm=clip or None,
        )
        if self._resumed is not None:
            weighing.load_state_dict(self._resumed)
        return weighing

    def _trusted_rows(self, size: int) -> TrustedRows | None:
        if self._trusted is None:
            return None

        def batch_of(items: Sequence[Any], rows: Tensor) -> Batch:
            pairs = ((*item, row) for item, row in zip(items, rows.tolist(), strict=True))
            return collate(list(pairs))

        return TrustedRows(self._trusted, batch_of, self._trusted_size or size, self._seed)

    def on_train_start(self) -> None:
        """Begins anew, or from the checkpoint that ``fit`` was given."""
        self._weighing = None
        if self.trainer.ckpt_path is None:
            self._resumed = None

    def on_train_end(self) -> None:
        """Writes the weights and the page into the log's folder."""
        if self._weighing is not None and self._weighing.leads and not self.trainer.fast_dev_run:
            self._weighing.write(self._folder())
            write_report(self._folder())

    def _folder(self) -> Path:
        assert self._place is not None
        return self._place

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The teacher, its optimizer, counters and weights beside Lightning's own."""
        if self._weighing is not None:
            checkpoint[KEY] = self._weighing.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """For the first step, when the teacher is built."""
        self._resumed = checkpoint.get(KEY)


def _rows_of(batches: Any) -> int:
    """Rows of the data set below a DataLoader.  Raises TypeError where its batches may be of other rows."""
    if not isinstance(batches, DataLoader) or not bears_positions(batches.dataset):
        raise TypeError(
            f"the rows of {type(batches).__name__} cannot be counted: make it by mw.lightning.loader(pairs, "
            "batch_size=...) or mw.data.numbered(loader), or say Weighted(..., samples=N)"
        )
    return rows_in(batches)
