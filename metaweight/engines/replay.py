"""Two ways back along K inner steps: undo the momentum steps, or keep every point of the way."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch.optim import Optimizer

from metaweight.engines.checks import EngineError
from metaweight.engines.inner import InnerStep, as_one, clip_gradients, members, rule_for
from metaweight.engines.inner.sgd import sgd
from metaweight.student.student import Named

LONGEST = 50
"""Inner steps that single precision undoes without a warning."""
FARTHEST = 1e-3
"""Relative distance between recovered and true parameters that passes without one."""
ADVICE = "use replay='snapshots', which takes any optimizer: Reverse(replay='snapshots')"


class ReplayError(EngineError, ValueError):
    """The steps of this optimizer cannot be undone."""


class ReplayWarning(UserWarning):
    """The trajectory that was recovered may be far from the one that was taken."""


class Replay(Protocol):
    """Told of every step on the way out, it gives them back from the last to the first.

    The first step leaves from what is live: that needs no recovery and is exact.
    """

    def went(self, inner: InnerStep, gradients: Named, parameters: Named, after: InnerStep) -> None:
        """``inner`` has moved by ``gradients`` to ``parameters`` and left ``after``."""
        ...

    def back(self) -> Named:
        """The parameters before the last step that was not yet given back."""
        ...

    def step(self, gradients: Named) -> InnerStep:
        """The step that was taken there, with its states, from the gradients there; follows ``back``."""
        ...


class Snapshots:
    """Keeps parameters and states of every step: any optimizer, K times their memory."""

    def __init__(self, start: Named) -> None:
        self._here = start
        self._kept: list[tuple[Named, InnerStep]] = []

    def went(self, inner: InnerStep, gradients: Named, parameters: Named, after: InnerStep) -> None:
        """See ``Replay``."""
        self._kept.append((self._here, inner))
        self._here = parameters

    def back(self) -> Named:
        """See ``Replay``."""
        return self._kept[-1][0]

    def step(self, gradients: Named) -> InnerStep:
        """See ``Replay``."""
        return self._kept.pop()[1]


@dataclass(frozen=True)
class _Taken:
    """A step that is to be undone; nothing of it is of the parameters' size."""

    inner: InnerStep
    """Its options, without the states."""
    moved: frozenset[str]
    fresh: frozenset[str]
    """Those of ``moved`` that had no buffer before: theirs is the gradient itself."""


class Momentum:
    """Undoes SGD's momentum steps; keeps theta_K and v_K alone, whatever K.

    theta_t = theta_{t+1} + lr_t v_{t+1};  v_t = (v_{t+1} - (1 - dampening) (g_t + decay theta_t)) / mu with
    g_t taken anew at theta_t.  Each division by mu magnifies what rounding has lost, to about eps mu^-K.
    """

    def __init__(self, start: Named, inner: InnerStep) -> None:
        self.start, self.first = start, inner
        self._here, self._after = start, inner
        self._way: list[_Taken] = []
        self._steps, self._off = 0, 0.0

    @staticmethod
    def check(optimizer: Optimizer) -> None:
        """Raise ReplayError unless every step of ``optimizer`` can be undone."""
        for one in members(as_one(optimizer)):
            if rule_for(one).update is not sgd:
                raise ReplayError(f"{type(one).__name__} steps cannot be undone; {ADVICE}")
        for number, group in enumerate(optimizer.param_groups):
            if group["momentum"] == 0:
                raise ReplayError(
                    f"momentum 0 in parameter group {number} leaves nothing to undo its steps by; {ADVICE}"
                )
            if group["nesterov"]:
                raise ReplayError(
                    f"a Nesterov step (parameter group {number}) is undone only with the gradient at the "
                    f"point that is sought; {ADVICE}"
                )

    def went(self, inner: InnerStep, gradients: Named, parameters: Named, after: InnerStep) -> None:
        """See ``Replay``."""
        names = frozenset(name for name in inner.options if name in gradients)
        fresh = frozenset(name for name in names if inner.states[name].get("momentum_buffer") is None)
        self._way.append(_Taken(replace(inner, states={}), names, fresh))
        self._here, self._after = parameters, after
        self._steps += 1

    def back(self) -> Named:
        """See ``Replay``."""
        step, here = self._way[-1], dict(self._here)
        for name in step.moved:
            buffer = self._after.states[name]["momentum_buffer"]
            here[name] = here[name] + step.inner.options[name]["lr"] * buffer
        if len(self._way) == 1:
            self._off = _distance(here, self.start)
            return self.start
        self._here = here
        return here

    def step(self, gradients: Named) -> InnerStep:
        """See ``Replay``.  Warns at the first step where the way back was too long."""
        last = self._way.pop()
        if not self._way:
            self._warn()
            return replace(last.inner, states=self.first.states)
        names = [name for name in last.inner.options if name in last.moved]
        values = [gradients[name] for name in names]
        if last.inner.max_norm is not None and values:
            values = clip_gradients(values, last.inner.max_norm)
        states = {name: dict(state) for name, state in self._after.states.items()}
        for name, gradient in zip(names, values, strict=True):
            own, buffer = last.inner.options[name], states[name].pop("momentum_buffer")
            if name not in last.fresh:
                drive = (-gradient if own.get("maximize") else gradient).add(
                    self._here[name], alpha=own["weight_decay"]
                )
                before = buffer.sub(drive, alpha=1 - own["dampening"]).div_(own["momentum"])
                states[name]["momentum_buffer"] = before
        self._after = replace(last.inner, states=states)
        return self._after

    def _warn(self) -> None:
        """Say so where theta_0 as recovered is far from the live one, or was bound to be."""
        off, kind = self._off, next(iter(self.start.values())).dtype.to_real()
        if off <= FARTHEST and (kind.itemsize >= 8 or self._steps <= LONGEST):
            return
        mu = min(float(options["momentum"]) for options in self.first.options.values())
        expected = torch.finfo(kind).eps * mu**-self._steps
        warnings.warn(
            f"{self._steps} momentum steps were undone in {kind}: rounding leaves the recovered momentum off "
            f"by about eps * mu^-K = {expected:.1e} of itself, and the recovered parameters by {off:.1e} "
            "(measured at the first step); take fewer steps, float64 or replay='snapshots'",
            ReplayWarning,
            stacklevel=2,
        )


def _distance(recovered: Named, true: Named) -> float:
    """Relative, in the 2-norm over all parameters."""
    apart = torch.stack([(recovered[name] - p).norm() for name, p in true.items()]).norm()
    return float(apart / torch.stack([p.norm() for p in true.values()]).norm())
