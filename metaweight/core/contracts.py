"""The values and seams that every room of metaweight agrees on; no code of any teacher or engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from metaweight.core.batch import Batch as Batch
from metaweight.core.batch import require_batch as require_batch

Target = Literal["class", "soft", "several", "number", "other"]
"""What a unit is to be told: one class label (a sentence: words); a distribution of classes [C]; answers in
0..1 to yes-or-no questions, one logit each [L]; numbers [D], as the outputs have them; or something of which
teachers know nothing but its loss (labels of pixels, places in the batch, targets of a loss that does not say
of what kind they are)."""
Center = bool | Literal["class"]
"""How a hypergradient of weights is centred: not, within the batch, within each given class of it."""


class MetaweightError(RuntimeError):
    """A run cannot go on: the message says what happened and what to do."""


class NonFiniteError(MetaweightError):
    """A loss, a weight or a gradient is NaN or infinite; ``index`` [n] names the samples, if known.

    It is raised before the optimizer or the teacher is touched, so the last state is still good.
    """

    def __init__(self, message: str, index: Tensor | None = None) -> None:
        super().__init__(message)
        self.index = index


class CollapseWarning(UserWarning):
    """The teacher gives (nearly) the same weight to every sample: it selects nothing."""


@dataclass(frozen=True)
class Units:
    """The units of a batch of B rows: U = B where each row is one, or U real tokens in the rows' order.

    Raises ValueError for shapes that do not fit together.
    """

    loss: Tensor
    """[U]; its mean is the ordinary loss."""
    size: Tensor
    """[U], real target tokens of the unit; 1 where a row has one target."""
    real: Tensor | None = None
    """[B, T] bool, the target tokens that are not padding; None where a row has one target."""
    each_token: bool = False
    """Whether every real token is a unit of its own."""

    def __post_init__(self) -> None:
        if self.size.shape != self.loss.shape:
            shapes = f"{tuple(self.loss.shape)} and {tuple(self.size.shape)}"
            raise ValueError(f"every unit has a loss and a size, got shapes {shapes}")
        if self.real is None:
            if self.each_token:
                raise ValueError("tokens as units: say which targets are real, Units(..., real=[B, T] bool)")
        elif self.real.dtype != torch.bool or self.real.dim() != 2:
            got = f"{self.real.dtype} of shape {tuple(self.real.shape)}"
            raise ValueError(f"Units.real is bool of shape [B, T], got {got}; write targets != padding")

    def of_rows(self, values: Tensor) -> Tensor:
        """Give each unit what belongs to its row: [B, ...] -> [U, ...]."""
        if not self.each_token:
            return values
        assert self.real is not None
        tokens = self.real.sum(dim=1).to(values.device)
        return values.repeat_interleave(tokens, dim=0, output_size=len(self.loss))


@dataclass(frozen=True)
class StudentState:
    """What the student tells the teacher about a batch, detached from the student's graph.

    U units, C classes, D_k the width of tap k after pooling over space or time.  Where a sentence is a
    unit, T target tokens are padded to the longest of the batch, ``real`` says which count, and C is V.
    """

    loss: Tensor
    """[U], per unit; its mean is the ordinary loss."""
    size: Tensor
    """[U], 1 for an image, target tokens for a sentence."""
    outputs: Tensor
    """[U, C] logits; of sentences [U, T, V]; of one number a unit [U, 1]; of pixels [U, C], the mean of
    logits [U, C, H, W] over the image; [U, 0] where the student gives none."""
    features: Mapping[str, Tensor]
    """Tap name -> [U, D_k]."""
    targets: Tensor
    """[U] for classes; of sentences [U, T]; others as the batch has them."""
    index: Tensor
    """[U], position in the data set; a token has its sentence's."""
    progress: float = 0.0
    """Share of training done, 0 to 1."""
    real: Tensor | None = None
    """[U, T] bool, the real target tokens of sentences; None where a unit has one target."""
    lengths: Mapping[str, Tensor] = field(default_factory=dict)
    """Tap over the source -> [U], its real positions: the source's length."""

    def __len__(self) -> int:
        return len(self.loss)


@dataclass(frozen=True)
class StateSpec:
    """Sizes that a teacher is built from; ``Student.spec(batch)`` makes one."""

    features: Mapping[str, int]
    """Tap name -> D_k, in the order of the taps."""
    classes: int
    """C, the last dimension of ``StudentState.outputs``, whatever these are; 0 where there are none."""
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    class_counts: tuple[int, ...] | None = None
    """Samples of each (given) class in the training set, where known; length C."""
    samples: int | None = None
    """One more than the largest index of the training set, where known."""
    sentences: bool = False
    """Whether a unit is a sentence: outputs [U, T, V] and targets [U, T]."""
    tokens: bool = False
    """Whether a unit is a token of a sentence: its class is a word, and C the size of a vocabulary."""
    source_taps: tuple[str, ...] = ()
    """Taps over the source of a sentence pair, from early to deep."""
    target: Target = "class"
    """What kind of target a unit has."""

    @property
    def labels(self) -> bool:
        """Whether every unit has one class label, of a sentence words."""
        return self.target == "class"


@dataclass(frozen=True)
class StepReport:
    """What one meta-iteration did."""

    weights: Tensor
    """[U], the weights of the real step, detached."""
    losses: Tensor
    """[U], loss per target token (of an image: its loss) before the real step, detached."""
    train_loss: float
    """Mean of the unit losses without weights, before the real step."""
    meta_loss: float | None
    """Mean loss on the meta batch after the virtual step; None where no meta pass ran."""
    stats: Mapping[str, float]
    """Scalars: weight_mean, weight_spread (std / mean), ess (share), size (targets), and the engine's own."""
    index: Tensor
    """[U], position of each unit in the data set; tokens of one sentence share theirs."""


@dataclass(frozen=True)
class Forward:
    """One pass of a student over a batch, with its graph."""

    units: Units
    outputs: Tensor
    """The logits as the module gave them; [U, 0] where there are none."""
    features: Mapping[str, Tensor]
    """Tap -> [U, D]."""
    lengths: Mapping[str, Tensor]
    """Tap over the source -> [U], its real positions."""
    batch: Batch

    @property
    def loss(self) -> Tensor:
        """[U]; its mean is the ordinary loss."""
        return self.units.loss

    @property
    def index(self) -> Tensor:
        """[U], position of each unit in the data set."""
        return self.units.of_rows(self.batch.index)

    def state(self, progress: float = 0.0, *, detached: bool = True) -> StudentState:
        """What the teacher may see of it, detached unless a gradient is to pass through it."""

        def shown(value: Tensor) -> Tensor:
            return value.detach() if detached else value

        units, outputs, targets = self.units, shown(self.outputs), self.batch.targets
        real = units.real
        if units.each_token:
            outputs, targets, real = outputs[real], targets[real], None
        if outputs.dim() == 1:
            outputs = outputs[:, None]
        elif outputs.dim() > 3:
            outputs = outputs.flatten(2).mean(dim=2)
        return StudentState(
            loss=shown(units.loss),
            size=units.size.detach().to(units.loss.dtype),
            outputs=outputs,
            features={name: shown(value) for name, value in self.features.items()},
            targets=targets,
            index=self.index,
            progress=progress,
            real=real,
            lengths=self.lengths,
        )
