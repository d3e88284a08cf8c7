"""What K inner steps in a row need beside one: their learning rates, and where they lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.randomness import RandomState
from metaweight.engines.inner import InnerStep
from metaweight.student.student import Student

Rates = Sequence[Sequence[float]]


@dataclass(frozen=True)
class WindowEnd:
    """The student, the optimizer and the generators after K inner steps, detached."""

    parameters: Mapping[str, Tensor]
    """theta_K, trainable ones by name."""
    inner: InnerStep
    """The step that would come next; its states are the optimizer's."""
    buffers: Mapping[str, Tensor]
    random: RandomState

    def take_over(self, student: Student, optimizer: Optimizer) -> None:
        """Make the inner steps real: the live student, optimizer and generators go on from here."""
        live = student.parameters()
        with torch.no_grad():
            for name, value in self.parameters.items():
                live[name].copy_(value)
            student.put(self.buffers)
            self.inner.write_states(optimizer, live)
        self.random.restore(student.device)


def checked_rates(rates: Rates | None, steps: int, optimizer: Optimizer) -> Rates | None:
    """``rates`` if they name a learning rate for each step and parameter group; raises ValueError if not."""
    if rates is None:
        return None
    groups = len(optimizer.param_groups)
    if len(rates) != steps or any(len(each) != groups for each in rates):
        raise ValueError(
            f"rates name a learning rate for each of {steps} inner step(s) and each of {groups} parameter "
            f"group(s), got {[list(each) for each in rates]}"
        )
    return rates
