"""A Hugging Face Trainer whose loss is weighted; everything else of it stays as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainerCallback

from metaweight.core.contracts import Batch, MetaweightError
from metaweight.core.processes import Processes
from metaweight.engines.base import Engine
from metaweight.integrations.files import write_report
from metaweight.integrations.huggingface.known import known_rows
from metaweight.integrations.huggingface.layers import text_unit
from metaweight.integrations.huggingface.objective import (
    Objective,
    bare,
    inside,
    require_same_loss,
    student_of,
    unit_loss,
)
from metaweight.integrations.huggingface.preparation import TRUSTED, after, before
from metaweight.integrations.huggingface.rows import ROW, NumberedCollator, NumberedRows
from metaweight.integrations.plan import Plan
from metaweight.integrations.trusted import TrustedRows, with_positions
from metaweight.integrations.weighed import Weighed
from metaweight.integrations.weighing import FILE, Weighing
from metaweight.student.losses import UnitLoss
from metaweight.teachers import Teacher
from metaweight.training.checkpoint import CheckpointError

Base: Any = object
"""What stands behind the mixin is a Trainer."""


class ReweightingMixin(Weighed, Base):
    """Before any Trainer in a class's bases: a teacher, taught by ``trusted_dataset``, weighs its loss.

    ``trusted_dataset``: rows like ``train_dataset``'s that are surely right; None for a teacher that learns
    nothing.  ``teacher``: a name, a Teacher, a class, or "auto" (``Plan``).  ``unit``: what gets a weight.
    ``taps``: submodules that the teacher looks into, None for the last layers.  ``loss``: (outputs, targets)
    -> [B], None for the model's own, found and compared with the Trainer's on the first batch.
    ``trusted_batch_size``: None for the train batch's.  ``reweighter_options``: more of ``Reweighter``.

    Weights of epochs that are over lie in ``weights_by_epoch.bin`` of ``output_dir``, which is for one run at
    a time; a checkpoint has the file under a second name, and goes on by itself.

    Started in several processes (torchrun, ``accelerate launch``), which DistributedDataParallel keeps alike,
    each has a part of the joined batch, and of trusted rows, whose batch is as large as the joined one;
    losses are means over the joined batch, where parts are uneven as well.  Weights are of all rows in all
    processes, and the first one writes.  Raises TypeError for a data set that is a stream, MetaweightError
    for several devices of one process.
    """

    train_dataset: Any
    eval_dataset: Any
    data_collator: Any
    _signature_columns: Any

    def __init__(
        self,
        *args: Any,
        trusted_dataset: Any = None,
        teacher: str | Teacher | type[Teacher] = "auto",
        taps: Sequence[str] | None = None,
        unit: str = "sequence",
        loss: UnitLoss | None = None,
        engine: str | Engine = "auto",
        schedule: str = "lookahead",
        teacher_options: Mapping[str, Any] | None = None,
        teacher_learning_rate: float = 1e-3,
        trusted_batch_size: int | None = None,
        reweighter_options: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        text_unit(unit)
        if trusted_dataset is not None:
            with_positions(trusted_dataset, TRUSTED)
        self._trusted, self._trusted_size = trusted_dataset, trusted_batch_size
        self._unit, self._taps, self._own_loss = unit, taps, loss
        self._weighing: Weighing | None = None
        self._real, self._share = 0, 1.0  # labels of a step, and the part that a micro-batch has of them
        self._checkpoint: str | None = None
        self._given: Any = None
        if hasattr(self, "_prepare_dataset"):
            super().__init__(*args, **before(kwargs, trusted_dataset))
            self._given = kwargs["train_dataset"]
            if trusted_dataset is not None:
                given = kwargs.get("eval_dataset")
                self._trusted, self.eval_dataset = after(self.train_dataset, self.eval_dataset, given)
        else:
            super().__init__(*args, **kwargs)
            self._given = self.train_dataset
        options = teacher_options or {}, teacher_learning_rate, engine, schedule, reweighter_options or {}
        self._plan = Plan(teacher, *options, self.args.seed)
        # of what compute_loss gives, training_step takes the mean over micro-batches
        self.loss_is_scaled_for_ga = False
        self.add_callback(Course(self))
        self._refuse()

    def _refuse(self) -> None:
        """Raise for what cannot be weighed: several devices, compiled models, streams, a loss of a batch."""
        if self.args.n_gpu > 1:
            raise MetaweightError(
                f"{self.args.n_gpu} devices are visible, and metaweight trains on one in each process: set "
                "CUDA_VISIBLE_DEVICES=0, or start a process for each with torchrun"
            )
        if self.args.world_size > 1 and not self.args.average_tokens_across_devices:
            raise ValueError(
                "metaweight weighs the joined batch of all processes, whose loss is the mean over all of its "
                "labels: leave average_tokens_across_devices=True"
            )
        if self.args.torch_compile:
            raise ValueError(
                "engines cannot swap the parameters of a compiled model: give torch_compile=False"
            )
        if self.train_dataset is not None:  # a Trainer that only evaluates has none
            with_positions(self.train_dataset, "training")
        if self.compute_loss_func is not None:
            raise ValueError(
                "compute_loss_func gives one number for a batch, and weights need the loss of each sample: "
                "give loss=(outputs, targets) -> [B] instead"
            )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if ROW not in self._signature_columns:
            self._signature_columns = [*self._signature_columns, ROW]

    def _narrowed(self, dataset: Any, which: str) -> Any:
        """Without the columns that the model does not take, as the Trainer itself has it."""
        return self._remove_unused_columns(dataset, which) if hasattr(dataset, "column_names") else dataset

    def get_train_dataloader(self) -> Any:
        """As the Trainer's, its batches with row numbers."""
        dataset, collator = self.train_dataset, self.data_collator
        numbered = ROW in (getattr(dataset, "column_names", None) or ())
        rows = list(dataset[ROW]) if numbered else range(len(dataset))
        self.train_dataset = NumberedRows(self._narrowed(dataset, "training"), rows)
        self.data_collator = NumberedCollator(collator)
        try:
            return super().get_train_dataloader()
        finally:
            self.train_dataset, self.data_collator = dataset, collator

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> Tensor:
        """As the Trainer's, of the weighted loss.  Raises MetaweightError for a batch without row numbers."""
        if ROW not in inputs:
            raise MetaweightError(
                "a training batch has no row numbers, for another class makes the loader: put "
                "ReweightingMixin first among the bases, before what defines get_train_dataloader"
            )
        self._share = 1 / self.current_gradient_accumulation_steps
        if num_items_in_batch is not None and self._own_loss is None:
            real = self._total(self._objective(inputs).real(inputs))
            self._share = real / self._real if real else self._share  # of none the loss says what to do
        step: Tensor = super().training_step(model, inputs)
        return step

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's; where it counts the labels of a step, they are counted as the loss has them."""
        batches, items = super().get_batch_samples(*args, **kwargs)
        self._real = 0
        if items is not None:
            self._real = self._total(sum(self._objective(one).real(one) for one in batches))
        return batches, items

    def _total(self, number: int) -> int:
        """Over all processes."""
        return sum(theirs for (theirs,) in Processes.at_hand().told([number]))

    def _objective(self, inputs: Mapping[str, Any]) -> Objective:
        return Objective.of(self.model, self.label_names, inputs, self._unit)

    def compute_loss(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """The weighted loss of training rows; of others, in evaluations, the Trainer's own."""
        rows = inputs.get(ROW)
        inputs = {name: value for name, value in inputs.items() if name != ROW}
        if rows is None or not (model.training and torch.is_grad_enabled()):
            return super().compute_loss(model, inputs, *args, **kwargs)
        objective = self._objective(inputs)
        batch = objective.batch(inputs, rows)
        if self._weighing is None:
            trainers, bared = super().compute_loss, inside(model)
            self._weighing = self._begun(bared, objective, batch, lambda: trainers(bared, dict(inputs)))
        scaler = getattr(self.accelerator, "scaler", None)
        loss = self._weighing.loss(
            batch,
            int(self.state.epoch or 0),
            share=self._share,
            loss_scale=1.0 if scaler is None else scaler.get_scale(),
            module=model,
        )
        return loss * (self._share * self.current_gradient_accumulation_steps)

    def _begun(
        self, model: nn.Module, objective: Objective, batch: Batch, trainers: Callable[[], Tensor]
    ) -> Weighing:
        """Built on a run's first batch; where the run is resumed, with what the checkpoint holds."""
        loss = self._own_loss
        if loss is None:
            loss = unit_loss(model, batch.targets, self._unit, self.args.label_smoothing_factor)
        student = student_of(model, loss, self._taps, objective)
        if self._own_loss is None:
            require_same_loss(student, batch, trainers)
        weighing = self._plan.weighing(
            student,
            self.optimizer,
            batch,
            self._trusted_rows(objective),
            samples=len(self._given),
            total_steps=self.state.max_steps * self.args.gradient_accumulation_steps,
            max_norm=self.args.max_grad_norm or None,
            known=known_rows(self._given, objective.label, bare(model)),
            folder=self._folder(),
        )
        if self._checkpoint is not None:
            weighing.load(self._checkpoint)
        return weighing

    def _trusted_rows(self, objective: Objective) -> TrustedRows | None:
        if self._trusted is None:
            return None
        collate = self._get_collator_with_removed_columns(self.data_collator, TRUSTED)

        def batch_of(items: Sequence[Any], rows: Tensor) -> Batch:
            inputs = self._prepare_inputs(collate(list(items)))
            return objective.batch(inputs, rows.to(self.args.device))

        size = self._trusted_size or self._train_batch_size * self.args.world_size
        return TrustedRows(self._narrowed(self._trusted, TRUSTED), batch_of, size, self.args.seed)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self._weighing is not None and self.args.should_save:
            self._weighing.save(output_dir)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None and not (Path(checkpoint) / FILE).is_file():
            raise CheckpointError(
                f"{checkpoint} has no {FILE}: a Trainer without weights made it, or save_only_model=True; "
                "train from the start, or give its model to a new Trainer"
            )
        self._checkpoint = checkpoint

    def _folder(self) -> Path:
        return Path(self.args.output_dir)

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """As the Trainer's; of training also mean and spread of the weights, and losses without them."""
        if self._weighing is not None and "loss" in logs:
            logs.update(self._weighing.figures())
        super().log(logs, *args, **kwargs)


class Course(TrainerCallback):
    """Begins each ``train()`` anew, and writes weights and page at its end."""

    def __init__(self, trainer: ReweightingMixin) -> None:
        self.trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.trainer._weighing = None

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.trainer._weighing is not None and self.trainer._weighing.leads:
            self.trainer._weighing.write(Path(args.output_dir))
            write_report(Path(args.output_dir))


class ReweightingTrainer(ReweightingMixin, Trainer):
    """``transformers.Trainer`` with learnt weights; see ReweightingMixin."""


@functools.cache
def reweighting(trainer: type[Trainer]) -> type[Trainer]:
    """``trainer``, a class such as TRL's SFTTrainer or Seq2SeqTrainer, with learnt weights."""
    return type(f"Reweighting{trainer.__name__}", (ReweightingMixin, trainer), {})
