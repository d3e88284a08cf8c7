"""One step gone back through: with its batch at once, block by block, or some rows at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from metaweight.core.contracts import Forward
from metaweight.core.randomness import RandomState, differentiable
from metaweight.engines.graph import checked_graph
from metaweight.engines.pulled import GradientGraph, added
from metaweight.influence.blocks import Block, kept_at_edges
from metaweight.influence.norms import Observed
from metaweight.influence.part_draws import DrawnForAll, NotInPartsError
from metaweight.influence.point import Point
from metaweight.influence.steps import Steps
from metaweight.student.student import Named, Student

PARTS = 8
"""A graph that is differentiated once more holds about four passes, and what the losses say as much again as
a gradient and an optimizer's states."""
_NOT_SO = (NotInPartsError, RuntimeError, TypeError, ValueError, IndexError)
"""What a student may raise that cannot be taken apart; whether it can take the batch the whole one says."""
LOGITS = 4
"""Logits a parameter from which on it is they that take the memory: beside a step of so many copies of the
parameters four of them."""


@dataclass
class Said:
    """What one target says of a step, from what it says of the step's gradient."""

    slope: Tensor
    """dL/dw [U]."""
    parameters: Mapping[str, Tensor]
    """Of the parameters before the step, through the gradient alone."""
    statistics: Mapping[str, Tensor]
    """Of the running statistics before it."""
    taught: Tensor | None = None
    """Of a teacher's parameters [P] float64."""


@dataclass
class Piece:
    """A step with what the losses at the end say of its gradient; the student has the parameters before it.

    ``pulls``, ``statistics``: for each target, of the gradient and of the running statistics after it.
    """

    student: Student
    steps: Steps
    step: int
    point: Point
    """Where the step leaves from; of its parameters and states nothing is needed."""
    names: Sequence[str]
    """Of the parameters that are moved."""
    pulls: Sequence[Named]
    statistics: Sequence[Mapping[str, Tensor]]
    norms: Mapping[str, _BatchNorm] = field(default_factory=dict)

    def at_once(self) -> tuple[Tensor, list[Said]]:
        """(sample of each unit [U], for each target)."""
        self.point.put_beside(self.student)
        self.steps.look(self.student)  # outside of what is watched
        observed = self._observed()
        with differentiable(), observed.watching():
            forward = self.steps.forward(self.student, self.step)
        return self._back(forward, observed)

    def by_blocks(self, blocks: Sequence[Block]) -> tuple[Tensor, list[Said]] | None:
        """The same with the graph of one block at a time; None where the gradient is not the step's then, and
        where it is not the blocks that take the memory but the logits.
        """
        student, observed = self.student, self._observed()
        self.point.put_beside(student)
        try:
            with kept_at_edges(blocks, observed, student.device, self._check):
                with differentiable(), observed.watching():
                    forward = self.steps.forward(student, self.step)
                if forward.outputs.numel() > LOGITS * sum(p.numel() for p in student.parameters().values()):
                    return None
                return self._back(forward, observed, taken=True)
        except _NOT_SO:
            return None

    def _observed(self) -> Observed:
        return Observed(self.norms if any(self.statistics) else {})

    def _back(
        self, forward: Forward, observed: Observed, *, taken: bool = False
    ) -> tuple[Tensor, list[Said]]:
        """Through a pass; ``taken``: whether it must have the gradient of the step, else NotInPartsError."""
        student, steps, step = self.student, self.steps, self.step
        self._check(forward.loss)
        leaves, teaching = student.parameters(), steps.teaching
        sight = None if teaching is None else teaching.sight(step, forward)
        weights = steps.weights_of(step, forward) if sight is None else sight.weights
        graph = GradientGraph(forward, weights, leaves, self.names)
        if taken and not _same(graph.gradient(), self.point.gradient, 1):
            raise NotInPartsError("the gradient is not the step's")
        found = []
        for number, (pull, after) in enumerate(zip(self.pulls, self.statistics, strict=True)):
            another = number + 1 < len(self.pulls)
            beside, before = observed.back(after, self.point.buffers)
            keep = another or sight is not None
            slope, own = graph.through(pull, inside=step > 0, beside=beside, keep_graph=keep)
            said = Said(slope, own, before)
            if teaching is not None and sight is not None:
                said.taught = teaching.learnt_from(sight, slope)
                more = sight.through_state(forward, slope, leaves, graph.names, keep_graph=another)
                said.parameters = added(own, more)
            found.append(said)
        return forward.index.cpu(), found

    def by_rows(self, parts: int = PARTS) -> tuple[Tensor, list[Said]] | None:
        """The same from ``parts`` passes over some of the rows each, in the memory of one; None where their
        gradients do not add up to the step's: rows of a batch that know of each other.
        """
        student, steps = self.student, self.steps
        self.point.put_beside(student)
        batch = steps.batch(self.step)
        start = RandomState.of(student.device)
        found = [_Sums() for _ in self.pulls]
        gradient: dict[str, Tensor] = {}
        index: list[Tensor] = []
        units = 0
        # of a single row nobody could tell its draws from one for all
        for chosen in torch.arange(len(batch)).tensor_split(max(1, min(parts, len(batch) // 2))):
            student.put(self.point.buffers)
            start.restore(student.device)
            drawn = DrawnForAll(int(chosen[0]), len(chosen), len(batch))
            try:
                with differentiable(), drawn:
                    forward = student(batch.rows(chosen), taps=False)
            except _NOT_SO:
                return None
            self._check(forward.loss)
            scale = self._scale(forward.loss.detach(), units)
            if scale is None:
                return None
            weights = scale * steps.weights_of(self.step, forward, units)
            graph = GradientGraph(forward, weights, student.parameters(), self.names, summed=True)
            gradient = _joined(gradient, graph.gradient())
            for number, (pull, sums) in enumerate(zip(self.pulls, found, strict=True)):
                another = number + 1 < len(self.pulls)
                slope, own = graph.through(pull, inside=self.step > 0, keep_graph=another)
                sums.slopes.append(scale * slope)
                sums.parameters = _joined(sums.parameters, own)
            index.append(forward.index.cpu())
            units += len(forward.loss)
            del forward, graph
        if not _same(gradient, self.point.gradient, units):
            return None
        return torch.cat(index), [
            Said(torch.cat(one.slopes) / units, {n: v.div_(units) for n, v in one.parameters.items()}, after)
            for one, after in zip(found, self.statistics, strict=True)
        ]

    def _check(self, value: Tensor) -> None:
        """Raise EngineError for what has no second derivative behind it, once in a run."""
        if self.step == len(self.steps) - 1:
            checked_graph(value, len(self.steps))

    def _scale(self, losses: Tensor, first: int) -> Tensor | None:
        """What the losses of a part are in the whole batch, as a multiple: by the number of its tokens, say;
        None where they are others.
        """
        assert self.point.losses is not None
        whole = self.point.losses[first : first + len(losses)]
        if whole.shape != losses.shape:
            return None
        size = losses.abs().sum()
        return torch.where(size > 0, whole.abs().sum() / size, torch.ones_like(size))


@dataclass
class _Sums:
    """Of one target, over the parts so far."""

    slopes: list[Tensor] = field(default_factory=list)
    parameters: dict[str, Tensor] = field(default_factory=dict)


def _joined(total: dict[str, Tensor], more: Named) -> dict[str, Tensor]:
    """The sum by name, in the place of ``total``."""
    for name, value in more.items():
        if name in total:
            total[name] += value
        else:
            total[name] = value.clone()
    return total


def _same(summed: Named, gradient: Named, units: int) -> bool:
    """Whether the parts' gradients are the step's, but for rounding."""
    if summed.keys() != gradient.keys():
        return False
    off = sum(float((summed[n] / units - g).double().square().sum()) for n, g in gradient.items())
    size = sum(float(g.double().square().sum()) for g in gradient.values())
    rounding = max((torch.finfo(g.dtype).eps for g in gradient.values()), default=0.0)
    return off <= 9 * rounding * size  # of the norms: three times the root of the rounding
