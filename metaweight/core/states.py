"""What a batch's units are, and what a teacher sees of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from metaweight.core.processes import ALONE, Processes

Target = Literal["class", "soft", "several", "number", "other"]
"""What a unit is to be told: one class label (a sentence: words); a distribution of classes [C]; answers in
0..1 to yes-or-no questions, one logit each [L]; numbers [D], as the outputs have them; or something of which
teachers know nothing but its loss (labels of pixels, places in the batch, targets of a loss that does not say
of what kind they are)."""


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
    pooled: bool = False
    """Whether losses are sums over their targets times U / (all targets of the batch): where a batch lies in
    several processes, the targets that count are those of all."""

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
    among: Tensor | None = None
    """[N], losses per target of all units that these are a part of, to rank theirs among; None: these are
    all."""

    def __len__(self) -> int:
        return len(self.loss)


@dataclass(frozen=True)
class Suggestion:
    """Which class each unit of a batch has if not the given one, by what a teacher goes by; detached."""

    labels: Tensor
    """[U] int64, the likeliest class but the given one."""
    share: Tensor
    """[U] in 0..1: what part of an ordinary sample's weight belongs to ``labels``."""


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
    meta_in_train: bool = False
    """Whether training batches hold the trusted samples too, by the index that meta batches have for them."""
    processes: Processes = ALONE
    """Those that train the student together; tables with a row a sample are shared out among them."""

    @property
    def labels(self) -> bool:
        """Whether every unit has one class label, of a sentence words."""
        return self.target == "class"
