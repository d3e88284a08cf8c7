"""A teacher under test, at its start and after experience, and what weights must be."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState, Target
from metaweight.teachers.base import Teacher
from metaweight.testing.rules import require
from metaweight.testing.states import class_spec, class_state, extremes, sentence_spec, sentence_state
from metaweight.testing.target_states import target_extremes, target_spec, target_state
from metaweight.testing.teacher_sight import Change

DOUBLE = torch.float64


@dataclass(frozen=True)
class Subject:
    """A teacher class and the units that it is asked about."""

    kind: type[Teacher]
    sentences: bool
    device: str = "cpu"
    target: Target = "class"

    @property
    def weighing(self) -> type[Teacher]:
        """The class that weighs these units: ``kind``, or what that builds in its place."""
        return type(self.fresh())

    def spec(self, dtype: torch.dtype = torch.float32) -> StateSpec:
        """Three taps; of classes also how large they are."""
        device = torch.device(self.device)
        if self.sentences:
            return sentence_spec(dtype=dtype, device=device)
        if self.target != "class":
            return target_spec(self.target, dtype=dtype, device=device)
        return class_spec(class_counts=(40, 30, 4, 9), dtype=dtype, device=device)

    def state(self, units: int = 12, seed: int = 0, dtype: torch.dtype = torch.float32) -> StudentState:
        """Random units that fit ``spec``."""
        if self.target != "class":
            return target_state(self.target, units, seed=seed, dtype=dtype, device=self.device)
        make = sentence_state if self.sentences else class_state
        return make(units, seed=seed, dtype=dtype, device=self.device)

    def extremes(self, state: StudentState) -> list[StudentState]:
        """The same units of a student out of all measure."""
        return extremes(state) if self.target == "class" else target_extremes(self.target, state)

    def fresh(self, dtype: torch.dtype = torch.float32, *, seed: int = 3) -> Teacher:
        """A teacher at its start."""
        return self.built(self.spec(dtype), seed=seed)

    def built(self, spec: StateSpec, *, seed: int = 3) -> Teacher:
        """As ``build_teacher`` does, from a class that need not be registered; draws leave no trace."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.kind(spec).to(device=spec.device, dtype=spec.dtype)

    def experienced(
        self,
        dtype: torch.dtype = torch.float32,
        change: Change = lambda state: state,
    ) -> Teacher:
        """One that saw steps and meta passes, made by ``change``, with every parameter off its start."""
        teacher = self.fresh(dtype)
        for seed in (11, 12):
            teacher.track(change(self.state(9, seed, dtype)))
            teacher.observe(change(self.state(10, seed + 10, dtype)))
        for seed in range(8):  # of the units that are weighed later
            state = self.state(60, seed, dtype)
            teacher.take_hypergradient(state.index, (state.index % 7 - state.loss).to(state.loss))
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for p in teacher.parameters():
                p.add_(0.3 * torch.randn(p.shape, generator=generator, dtype=p.dtype).to(p.device))
        return teacher


def require_weights(teacher: Teacher, state: StudentState) -> Tensor:
    """The weights of a state, checked for all that weights are."""
    weights: Tensor = teacher(state)
    loss = state.loss
    got = f"got {weights.dtype} {tuple(weights.shape)} on {weights.device}"
    require(weights.shape == loss.shape, f"{got} for {len(loss)} units; give one weight a unit")
    require(
        weights.dtype == loss.dtype and weights.device == loss.device,
        f"{got} for losses of {loss.dtype} on {loss.device}; end with weights.to(state.loss)",
    )
    least = f"got a minimum of {float(weights.detach().min()):.3g}"
    require(bool(weights.isfinite().all()), "got NaN or infinity; bound what may overflow")
    require(bool((weights >= 0).all()), f"{least}; end with 2 * score.sigmoid() or clamp_min(0)")
    return weights


def trainable(teacher: Teacher) -> dict[str, Tensor]:
    """Its parameters that meta-gradients are taken for."""
    return {name: p for name, p in teacher.named_parameters() if p.requires_grad}
