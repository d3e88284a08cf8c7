"""The loss that a Hugging Face model trains on, per sequence or token, and a batch's place in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from transformers.loss.loss_utils import ForCausalLMLoss

from metaweight.core.batch import Batch
from metaweight.core.errors import MetaweightError
from metaweight.core.processes import Processes
from metaweight.core.randomness import forked_rng
from metaweight.integrations.huggingface.layers import IGNORED, TimeMasks, text_unit
from metaweight.models.stacks import last_layers
from metaweight.student import Student
from metaweight.student.losses import (
    LabelSmoothing,
    TokenCrossEntropy,
    UnitLoss,
    binary_cross_entropy,
    cross_entropy,
    squared_error,
)


def bare(model: Any) -> Any:
    """The Hugging Face model inside of PEFT's."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def inside(model: nn.Module) -> nn.Module:
    """The module that a Trainer's step is given, without DistributedDataParallel around it.

    Raises MetaweightError for another wrapper of several processes.
    """
    if isinstance(model, DistributedDataParallel):
        inner: nn.Module = model.module
        return inner
    processes = Processes.at_hand().size
    if processes > 1:
        raise MetaweightError(
            f"the Trainer trains a {type(model).__name__} in {processes} processes, and metaweight follows "
            "DistributedDataParallel alone there: leave out fsdp, deepspeed and parallelism_config"
        )
    return model


@dataclass(frozen=True)
class Objective:
    """How a model's inputs become a Batch.

    ``label``: the name of the labels among them.
    """

    label: str
    each_row: bool
    """Whether a row is a unit, and so needs a label that counts."""
    shifted: bool
    """Whether position t is to predict label t + 1."""
    two_sided: bool
    """Whether there is an encoder and a decoder."""
    decoder_ids: Callable[[Tensor], Tensor] | None
    """Labels -> the decoder's inputs, where a model makes them itself."""

    @classmethod
    def of(
        cls, model: nn.Module, label_names: Sequence[str], inputs: Mapping[str, Any], unit: str
    ) -> Objective:
        """Read off the model.  Raises ValueError unless ``inputs`` have labels under one name."""
        labels = [name for name in label_names if name in inputs]
        if len(labels) != 1:
            raise ValueError(
                f"a sample's loss needs its labels in one tensor; of the label names {list(label_names)} the "
                f"batch has {labels}, of {sorted(inputs)}: collate them as 'labels'"
            )
        inner = bare(model)
        two_sided = bool(getattr(getattr(inner, "config", None), "is_encoder_decoder", False))
        causal = getattr(inner, "loss_function", None) is ForCausalLMLoss
        made = getattr(inner, "prepare_decoder_input_ids_from_labels", None) if two_sided else None
        return cls(labels[0], unit == "sequence", causal and not two_sided, two_sided, made)

    def real(self, inputs: Mapping[str, Any]) -> int:
        """Labels that the loss counts."""
        return int((self._aligned(inputs[self.label]) != IGNORED).sum())

    def _aligned(self, labels: Tensor) -> Tensor:
        """The label that each position is to predict."""
        if not self.shifted or labels.dim() != 2:
            return labels
        return F.pad(labels, (0, 1), value=IGNORED)[:, 1:]

    def batch(self, inputs: Mapping[str, Any], rows: Tensor) -> Batch:
        """Model inputs without labels, targets, and the row numbers [B].

        Raises ValueError where a collator has put several rows into one, and where a unit has no label.
        """
        kept = {name: value for name, value in inputs.items() if name != self.label}
        labels = inputs[self.label]
        if len(labels) != len(rows):
            raise ValueError(
                f"{len(rows)} rows were collated to {len(labels)}, and none has a loss of its own then: "
                "train without packing and with padding (packing=False, padding_free=False)"
            )
        if self.decoder_ids is not None and "decoder_input_ids" not in kept and labels.dim() == 2:
            kept["decoder_input_ids"] = self.decoder_ids(labels)
        targets = self._aligned(labels)
        if self.each_row and targets.dim() == 2 and not targets.is_floating_point():
            empty = rows[(targets == IGNORED).all(dim=1)].tolist()
            if empty:
                raise ValueError(
                    f"rows {', '.join(map(str, empty[:5]))} have no label that counts, {IGNORED} alone, and "
                    "so no loss to weigh: leave them out of the data"
                )
        return Batch(kept, targets, rows)


def unit_loss(model: nn.Module, targets: Tensor, unit: str, smoothing: float) -> UnitLoss:
    """The loss of ``targets``: tokens [B, T], classes [B], several yes or no [B, L], numbers.

    ``smoothing``: a Trainer's label_smoothing_factor.  Raises ValueError for tokens as units where a row has
    one label.
    """
    text = text_unit(unit)
    if targets.dim() == 2 and not targets.is_floating_point():
        return TokenCrossEntropy(padding=IGNORED, smoothing=smoothing, unit=text)
    if text == "token":
        raise ValueError(
            f"unit='token' needs a label for each token, got labels {tuple(targets.shape)} of "
            f"{targets.dtype}: take unit='sequence'"
        )
    config = getattr(bare(model), "config", None)
    kind = getattr(config, "problem_type", None)
    if kind == "regression" or getattr(config, "num_labels", None) == 1:
        return squared_error
    if kind == "multi_label_classification" or targets.is_floating_point():
        return binary_cross_entropy
    return LabelSmoothing(smoothing) if smoothing else cross_entropy


def student_of(model: nn.Module, loss: UnitLoss, taps: Sequence[str] | None, objective: Objective) -> Student:
    """``model`` with its loss per unit; ``taps``: None for the last layers."""
    padding = getattr(getattr(bare(model), "config", None), "pad_token_id", None)
    return Student(
        model,
        loss,
        taps=last_layers(model) if taps is None else taps,
        time_axes=TimeMasks(objective.two_sided, padding if isinstance(padding, int) else None),
    )


def require_same_loss(student: Student, batch: Batch, trainers: Callable[[], Tensor]) -> None:
    """Raise ValueError unless equal weights train on what the Trainer trains on without any.

    ``trainers``: its loss of the same rows; neither pass leaves a trace.
    """

    def pass_of_trainer() -> Tensor:
        return student.within({}, student.buffers(), trainers)

    with forked_rng(student.device):  # both draw the same dropout masks
        theirs = float(student.without_graph(pass_of_trainer))
    ours = float(student.glance(batch, plain=False).loss.mean())
    types = {p.dtype for p in student.module.parameters()}
    exact = types <= {torch.float32, torch.float64} and not autocasts(student.module)
    if abs(ours - theirs) > (1e-5 if exact else 2e-2) * max(1.0, abs(theirs)):
        raise ValueError(
            f"the mean of the losses per unit is {ours:.6g} on the first batch, the Trainer's own loss "
            f"{theirs:.6g}: it trains on more, or on something else (an auxiliary loss, a loss of its own). "
            "Give the loss of each sample, loss=(outputs, targets) -> [B]; it is then taken as it is"
        )


def autocasts(model: nn.Module) -> bool:
    """Whether Accelerate runs the model in mixed precision."""
    return hasattr(model, "_original_forward")
