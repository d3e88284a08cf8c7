"""Teachers without parameters: rules that set the weights from the state alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.teachers.base import Normalize, Teacher, checked_normalize, mean_one, register_teacher
from metaweight.teachers.inputs import (
    class_labels,
    in_columns,
    require_one_label,
    require_outputs,
    unit_loss,
)
from metaweight.teachers.readings import by_rows
from metaweight.teachers.sentences import sentence_log_probability


@register_teacher("uniform")
class Uniform(Teacher):
    """Weight 1 for every sample: plain training, bit for bit."""

    sees, learns = "nothing", False
    unrated = "it gives every row the weight 1"

    def __init__(self, spec: StateSpec) -> None:
        super().__init__()

    def forward(self, state: StudentState) -> Tensor:
        """Ones [U]."""
        return torch.ones_like(state.loss)


@register_teacher("random")
class Random(Teacher):
    """max(N(0, 1), 0) rescaled to mean 1: the control that L2RW must beat.  Ren et al. (2018).

    The numbers are those of one ``torch.Generator`` seeded with ``seed``, drawn once a step: ``forward``
    reads its state, ``track`` moves it on.  The state is a buffer, so a resumed run goes on with it.
    """

    sees, learns = "nothing", False
    unrated = "it draws weights at random"

    generator_state: Tensor

    def __init__(self, spec: StateSpec, *, seed: int = 0) -> None:
        super().__init__()
        self.register_buffer("generator_state", torch.Generator().manual_seed(seed).get_state())

    def forward(self, state: StudentState) -> Tensor:
        """This step's random weights [U]; all zero where every draw is negative."""
        normal, _ = self._draw(state)
        return mean_one(normal.clamp_min(0)).to(state.loss.device)

    def track(self, state: StudentState) -> None:
        """Go on to the next step's numbers."""
        _, after = self._draw(state)
        self.generator_state = after.to(self.generator_state.device)

    def _draw(self, state: StudentState) -> tuple[Tensor, Tensor]:
        # on the CPU wherever the student is, so that a seed means the same weights on every device
        generator = torch.Generator()
        generator.set_state(self.generator_state.cpu())
        normal = torch.randn(len(state), generator=generator, dtype=state.loss.dtype)
        return normal, generator.get_state()


@register_teacher("class-balanced")
class ClassBalanced(Teacher):
    """Inverse effective number of the given class, (1 - beta) / (1 - beta^n).  Cui et al. (2019).

    Counts are those of ``spec.class_counts``, else the labels seen so far (weights are 1 before any).
    The mean weight over the training distribution is 1.  ``beta``: 0 is uniform, 1 is 1/n.
    Of several answers, above 0.5 or not, yes and no of each question are counted, as they come, and a unit
    has the mean over its questions.
    Raises ValueError for a beta outside [0, 1], counts that do not fit the classes, sentences, and targets
    that are neither classes nor answers.
    """

    sees, learns = "surface", False

    counts: Tensor

    def __init__(self, spec: StateSpec, *, beta: float = 0.999) -> None:
        super().__init__()
        if not 0 <= beta <= 1:
            raise ValueError(f"beta lies in [0, 1], got {beta}")
        self.beta = beta
        self.target = spec.target
        require_one_label(spec, "class-balanced", "several")
        counts = checked_counts(spec) if spec.target == "class" else None
        self.known = counts is not None
        # of questions: yes to each, then no to each
        counts = counts or (0,) * (spec.classes if spec.target == "class" else 2 * spec.classes)
        self.register_buffer("counts", torch.tensor(counts, dtype=torch.int64))

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U] > 0 by class; a class that was never seen counts as one sample."""
        counts, counted = self.counts.to(state.loss.dtype), self._counted(state)
        by_class = 1 / effective_number(counts.clamp_min(1), self.beta)
        mean = (counts * by_class).sum() / counts.sum().clamp_min(1)
        return (by_class / mean)[counted].mean(dim=1).where(mean > 0, torch.ones_like(state.loss))

    def track(self, state: StudentState) -> None:
        """Count the batch's labels, unless the counts were given."""
        if not self.known:
            counted = self._counted(state).to(self.counts.device).flatten()
            self.counts = self.counts.index_add(0, counted, torch.ones_like(counted))

    def _counted(self, state: StudentState) -> Tensor:
        """Which of the counts each unit adds to: [U, 1], or one a question [U, L]."""
        if self.target == "class":
            return class_labels(state)[:, None]
        no = in_columns(state.targets, state.loss.dtype) <= 0.5
        return torch.arange(no.shape[1], device=no.device) + no.shape[1] * no


def checked_counts(spec: StateSpec) -> tuple[int, ...] | None:
    """``spec.class_counts``, None where unknown.  Raises ValueError unless it has a count >= 0 a class."""
    counts = spec.class_counts
    if counts is not None and (len(counts) != spec.classes or min(counts) < 0 or sum(counts) == 0):
        raise ValueError(f"class_counts gives {spec.classes} counts >= 0, not all 0, got {counts}")
    return counts


def effective_number(counts: Tensor, beta: float) -> Tensor:
    """(1 - beta^n) / (1 - beta), and its limit n at beta = 1: [C] -> [C].  Cui et al. (2019)."""
    if beta == 1:
        return counts
    if beta == 0:
        return torch.ones_like(counts)
    return -torch.expm1(counts * math.log(beta)) / (1 - beta)


@register_teacher("focal")
class Focal(Teacher):
    """(1 - p_y)^gamma, detached: samples that the student finds hard count more.  Lin et al. (2017).

    Differences to the paper: (1) the factor is a weight, no gradient flows through it, as all weights
    here; (2) ``normalize="batch"`` rescales to mean 1: without it the factor falls towards 0 while the
    student learns, which lowers the learning rate as much as it selects.  "none" is the paper's scale;
    (3) p_y of a sentence is the geometric mean over its tokens, that of a soft label t exp(-KL(t || p));
    (4) of several answers it is the mean over the questions.
    Raises ValueError for a negative gamma and for numbers, of which there is no probability.
    """

    sees, learns = "surface", False

    def __init__(self, spec: StateSpec, *, gamma: float = 2.0, normalize: Normalize = "batch") -> None:
        super().__init__()
        require_outputs(spec, "teacher 'focal'", "class", "soft", "several")
        self.target = spec.target
        if gamma < 0:
            raise ValueError(f"gamma is 0 or more, got {gamma}")
        self.gamma = gamma
        self.normalize = checked_normalize(normalize)

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U]; all zero where the student is certain of every given label."""
        weights = (self._rest(state) ** self.gamma).mean(dim=1).to(state.loss.dtype)
        return mean_one(weights) if self.normalize == "batch" else weights

    def _rest(self, state: StudentState) -> Tensor:
        """1 - p_y of each unit [U, 1], or of each of its answers [U, L]."""
        if state.real is not None:
            return -sentence_log_probability(state).expm1()[:, None]
        outputs = state.outputs.detach()
        if self.target == "class":
            return by_rows(_share_of_others, outputs, class_labels(state))[:, None]
        given = in_columns(state.targets, outputs.dtype)
        if self.target == "several":
            return given * (-outputs).sigmoid() + (1 - given) * outputs.sigmoid()
        divergence = torch.xlogy(given, given) - given * outputs.log_softmax(dim=1)
        return -(-divergence.sum(dim=1, keepdim=True).clamp_min(0)).expm1()


def _share_of_others(outputs: Tensor, labels: Tensor) -> Tensor:
    """1 - p_y [U], which as a sum keeps its digits where p_y rounds to 1."""
    return outputs.softmax(dim=1).scatter(1, labels[:, None], 0).sum(dim=1)


@register_teacher("self-paced")
class SelfPaced(Teacher):
    """1 where the loss is below a threshold, else 0; the threshold grows.  Kumar et al. (2010).

    The threshold is a quantile of the last ``history`` losses: it keeps the share ``start`` at progress 0
    and everything at progress 1.  Weights are 1 before any loss was seen.
    Raises ValueError for a share outside (0, 1] or an empty history.
    """

    sees, learns = "loss", False
    unrated = "at the end of a run it keeps every row"

    losses: Tensor
    count: Tensor

    def __init__(
        self, spec: StateSpec, *, start: float = 0.5, history: int = 1024, normalize: Normalize = "none"
    ) -> None:
        super().__init__()
        if not 0 < start <= 1:
            raise ValueError(f"start, the share of samples kept first, lies in (0, 1], got {start}")
        if history < 1:
            raise ValueError(f"history holds 1 loss or more, got {history}")
        self.start = start
        self.normalize = checked_normalize(normalize)
        self.register_buffer("losses", torch.zeros(history))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, state: StudentState) -> Tensor:
        """Weights [U], 0 or 1 (before normalisation)."""
        share = self.start + (1 - self.start) * state.progress
        history = self.losses[: int(self.count)]
        if share >= 1 or len(history) == 0:
            return torch.ones_like(state.loss)
        weights = (unit_loss(state) <= torch.quantile(history, share)).to(state.loss.dtype)
        return mean_one(weights) if self.normalize == "batch" else weights

    def track(self, state: StudentState) -> None:
        """Remember the batch's losses, newest first."""
        room = len(self.losses)
        self.losses = torch.cat([unit_loss(state).detach().to(self.losses), self.losses])[:room]
        self.count = (self.count + len(state)).clamp_max(room)
