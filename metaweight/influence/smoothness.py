"""How far a gradient through a whole run can be trusted: what it says, held against runs beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import mean

import torch
from torch import Tensor, nn

from metaweight.core.submodules import submodules
from metaweight.influence.back import WayBack
from metaweight.influence.recording import Recording
from metaweight.influence.steps import Steps
from metaweight.influence.targets import Targets

KINKED = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.Hardtanh, nn.Hardswish, nn.MaxPool1d, nn.MaxPool2d)
SMALL_EPS, SMALL_BATCH = 1e-6, 32
GOOD, POOR = 0.9, 0.5
"""Cosines of neighbouring gradients, above which one can be trusted and below which it says little."""


@dataclass(frozen=True)
class Smoothness:
    """A run's gradient by weights beside that of runs with weights a little off, means over directions."""

    cosine: float
    """Of the two gradients; 1: the gradient does not change over the step."""
    change: float
    """Length of their difference, in lengths of the gradient."""
    signs: float
    """Share of the gradient, by absolute value, that keeps its sign: 1 is smooth, 0.5 is chance."""
    promised: float
    """How far the loss over the step, there and back, is from what the gradient promises, relative to it."""
    step: float
    advice: tuple[str, ...]
    """What would make the run smoother, as far as its parts show it."""

    def sentences(self) -> tuple[str, ...]:
        """What it says, in plain words."""
        kind = "smooth" if self.cosine >= GOOD else "rough" if self.cosine >= POOR else "close to chaotic"
        trust = {
            "smooth": "influences can be trusted, and steps along them of this size",
            "rough": "influences rank samples, and steps along them should be smaller",
            "close to chaotic": "influences predict little here",
        }[kind]
        said = (
            f"This run is {kind}: with weights {self.step:.0%} off its gradient has a cosine of "
            f"{self.cosine:.2f} with the one it had, and {self.signs:.0%} of it keep their sign; {trust}.",
            f"The loss moves by {self.promised:.0%} more or less than the gradient promises over that step.",
        )
        return said if kind == "smooth" else (*said, *self.advice)


def measured(
    recording_of: Callable[[Steps], Recording],
    steps: Steps,
    gradient: Tensor,
    targets: Targets,
    step: float,
    directions: int,
    seed: int,
) -> Smoothness:
    """``recording_of``: the run of other steps, not yet taken.  ``gradient`` [N]: at the run's own, NaN
    for samples that no batch had.  Directions are signs drawn at random, so that each weight moves by
    ``step`` of itself."""
    generator = torch.Generator().manual_seed(seed)
    known = gradient.nan_to_num(0)
    found: list[tuple[float, float, float, float]] = []
    for _ in range(directions):
        signs = torch.randint(0, 2, (len(known),), generator=generator).double() * 2 - 1
        along = step * signs * steps.weights
        there = recording_of(replace(steps, weights=steps.weights + along))
        loss, moved = _gradient(there, targets)
        back = recording_of(replace(steps, weights=steps.weights - along))
        back.take()
        (behind,) = targets.losses(back.student, back.end(), "eval")
        promised = 2 * float(known @ along)
        found.append(
            (
                float(torch.nn.functional.cosine_similarity(known, moved, dim=0)),
                float((moved - known).norm() / known.norm()),
                float(known.abs()[known.sign() == moved.sign()].sum() / known.abs().sum()),
                abs(loss - behind - promised) / abs(promised) if promised else float("nan"),
            )
        )
    cosine, change, kept, off = map(mean, zip(*found, strict=True))
    return Smoothness(cosine, change, kept, off, step, advice_for(there, steps))


def _gradient(recording: Recording, targets: Targets) -> tuple[float, Tensor]:
    recording.take()
    said = targets.said(recording.student, recording.end(), "eval")
    return said[0].loss, WayBack(recording, said).go()[0, 0].nan_to_num(0)


def advice_for(recording: Recording, steps: Steps) -> tuple[str, ...]:
    """What about student, optimizer and batches makes runs rough."""
    module, optimizer = recording.student.module, recording.optimizer
    parts = [part for _, part in submodules(module)]
    kinked = sorted({type(part).__name__ for part in parts if isinstance(part, KINKED)})
    said = []
    if kinked:
        said.append(f"{', '.join(kinked)} have kinks: GELU or SiLU, and mean pooling, have none.")
    rates = [group.get("eps", 1.0) for group in optimizer.param_groups if "betas" in group]
    if rates and min(rates) < SMALL_EPS:
        said.append(
            f"Adam's eps of {min(rates):.0e} makes first steps jump with the sign of a gradient: eps=1e-6 "
            "or more, and a warm-up of the learning rate, do not."
        )
    said.append("Half of the learning rate makes every step smaller, and the run smoother.")
    size = len(steps.batch(0))
    if size < SMALL_BATCH:
        said.append(f"Batches of {size} samples are small: larger ones change less from one to the next.")
    return tuple(said)
