"""An engine under test: its answers, compared with real steps of torch's optimizers, and its refusals."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from metaweight.engines import Abilities, Engine, EngineError, HyperGradient, hypergradient
from metaweight.engines.base import Recorded
from metaweight.testing.oracles import RealSteps, relative
from metaweight.testing.problems import weights_for
from metaweight.testing.rules import refused, require

ADVICE = "raise EngineError(\"... names the part; use engine='higher'\")"


@dataclass(frozen=True)
class Subject:
    """An engine, and what it has refused so far."""

    engine: Engine
    refusals: dict[str, str] = field(default_factory=dict)
    """Name of the problem -> the words of its EngineError."""

    @property
    def abilities(self) -> Abilities:
        return self.engine.abilities

    def answer(
        self, steps: RealSteps, weights: list[Tensor], recorded: Recorded | None = None
    ) -> HyperGradient:
        """dL_meta/dw, w being the tensors themselves."""
        leaves = [w.clone().requires_grad_() for w in weights]
        queue = iter(leaves)
        return hypergradient(
            steps.student,
            steps.optimizer,
            steps.train,
            steps.meta,
            lambda _state: next(queue),
            leaves,
            self.engine,
            max_norm=steps.max_norm,
            recorded=recorded,
            scope=None if steps.scope is None else list(steps.scope),
            rates=steps.rates,
            check_every=0,  # the rules are to see the engine itself
        )

    def require_right(self, name: str, steps: RealSteps, *, able: bool | None = True) -> None:
        """Raise ContractError unless slopes and meta loss are those of real steps.

        ``able``: whether it says so; False: it must refuse; None: it may, and the refusal is kept by name.
        """
        weights = weights_for(steps)
        with refused(EngineError, name, ADVICE) as refusal:
            result = self.answer(steps, weights)
        if refusal:
            require(able is not True, f"it refuses {name} ({refusal[0]}), and says that it can")
            self.refusals[name] = refusal[0]
            return
        require(able is not False, f"it takes {name}, and says that it cannot; {ADVICE}")
        if not self.abilities.exact:
            return
        off = relative(torch.cat(result.grads), torch.cat(steps.slopes(weights)))
        require(off <= 1e-6, f"{name}: off by {off:.1e} of central differences through torch's optimizer")
        off = abs(float(result.meta_loss) - steps.meta_loss(weights))
        require(off <= 1e-10, f"{name}: the meta loss is off by {off:.1e}; it is that after the inner steps")
