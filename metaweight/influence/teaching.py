"""A teacher that weighs each batch of a run by what the student is at that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from metaweight.core.contracts import Batch, Center, Forward, MetaweightError
from metaweight.core.digest import digest
from metaweight.engines.centring import steered
from metaweight.engines.sight import Sight
from metaweight.student.buffers import put_buffers
from metaweight.student.student import Student
from metaweight.teachers.base import Teacher, name_of


@dataclass
class Teaching:
    """Weights by a teacher whose parameters stay what they are for a whole run.

    Before each step the teacher is as new, but for its parameters, and has looked at ``trusted`` through the
    student of that moment, so that a weight is a function of student and parameters alone.  ``steps``: of the
    run, for the share of training done.  ``center``: what is subtracted from slopes of weights before the
    teacher learns from them, as ``Reweighter(center=...)`` does.
    """

    teacher: Teacher
    new: Mapping[str, Tensor]
    """The teacher's buffers before it has seen anything."""
    trusted: Sequence[Batch]
    steps: int
    samples: int
    center: Center = False
    _seen: Tensor = field(init=False, repr=False)
    """[2, N] float64: the sums of the weights that samples got, and how many these were."""

    def __post_init__(self) -> None:
        self._seen = torch.zeros(2, self.samples, dtype=torch.float64)

    def parameters(self) -> list[nn.Parameter]:
        """Those that are learnt."""
        return [p for p in self.teacher.parameters() if p.requires_grad]

    def values(self) -> Tensor:
        """They as one vector [P] float64 on the CPU, copied."""
        return _flat([p.detach() for p in self.parameters()])

    @torch.no_grad()
    def put(self, values: Tensor) -> None:
        """Give the parameters ``values`` [P]."""
        own = self.parameters()
        for p, part in zip(own, values.split([p.numel() for p in own]), strict=True):
            p.copy_(part.view_as(p))

    def name(self) -> str:
        """Stands for the teacher as it is, and for what it looks at."""
        rows = [batch.index for batch in self.trusted]
        kind = [type(self.teacher).__name__, str(self.center)]
        return digest(kind, self.values(), *self.new.values(), *rows)

    def look(self, student: Student) -> None:
        """Be as new, then look at the trusted rows through the student, which leaves no trace in it."""
        if not self.teacher.wants_meta:
            return
        put_buffers(self.teacher, self.new)
        for batch in self.trusted:
            self.teacher.observe(student.glance(batch, plain=False).joined())

    def weights(self, step: int, forward: Forward) -> Tensor:
        """[U], after ``look``, without a graph; counted for ``means``."""
        with torch.no_grad():
            weights = Sight.of(self.teacher, forward.joined(step / self.steps)).weights
        own = forward.index.cpu()
        self._seen[0].index_add_(0, own, weights.to("cpu", torch.float64))
        self._seen[1].index_add_(0, own, torch.ones(len(own), dtype=torch.float64))
        return weights

    def sight(self, step: int, forward: Forward) -> Sight:
        """The same weights with their graph to the parameters and to what the teacher saw of the student."""
        return Sight.of(self.teacher, forward.joined(step / self.steps), through_state=step > 0)

    def learnt_from(self, sight: Sight, slope: Tensor) -> Tensor:
        """[P] float64: what the loss says of the parameters through the weights of a step, dL/dw [U]."""
        own = self.parameters()
        pull = steered(slope, sight.weights.detach(), self.center, 0.0, sight.state.targets)
        found = torch.autograd.grad(sight.weights, own, pull, allow_unused=True, retain_graph=True)
        return _flat([torch.zeros_like(p) if g is None else g for p, g in zip(own, found, strict=True)])

    def means(self) -> Tensor:
        """[N] float64, of the weights that samples got so far, NaN where a sample had none."""
        return self._seen[0] / self._seen[1]


def require_teachable(teacher: Teacher) -> None:
    """Raise TypeError for what is no teacher, MetaweightError for one that whole runs cannot teach."""
    if not isinstance(teacher, Teacher):
        raise TypeError(f"wrt is a Teacher, got {type(teacher).__name__}")
    name = name_of(teacher)
    if teacher.sees == "gradient" or type(teacher).take_hypergradient is not Teacher.take_hypergradient:
        raise MetaweightError(
            f"teacher {name!r} reads the meta-gradients of single steps, which a plain run has none of: take "
            "one that sees the student, 'memory', 'mlp', 'attention' or 'mw-net'"
        )
    if not any(p.requires_grad for p in teacher.parameters()):
        raise MetaweightError(f"teacher {name!r} has no parameter that could learn")


def _flat(values: Sequence[Tensor]) -> Tensor:
    return torch.cat([value.reshape(-1).to("cpu", torch.float64) for value in values])
