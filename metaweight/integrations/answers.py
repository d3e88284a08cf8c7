"""What the student said of each training row when it was last trained on it, beside what the row says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from metaweight.core.contracts import Forward, Target


class Answers:
    """Labels of ``samples`` rows and the student's probabilities, or numbers and its own, by ``target``.

    Rows that have no one label have none: tokens, several labels, soft ones.
    """

    def __init__(self, samples: int, target: Target) -> None:
        self._samples, self._target = samples, target
        self._given = self._said = torch.empty(0)
        self._known = torch.zeros(samples, dtype=torch.bool)

    def see(self, forward: Forward) -> None:
        """Take what a pass over rows gave, in all processes those of all; a row's last one counts."""
        targets, outputs = forward.batch.targets, forward.outputs.detach().float()
        if self._target not in ("class", "number") or forward.units.real is not None or not outputs.numel():
            return
        classes, join = self._target == "class", forward.part.join
        given = join(targets if classes else targets.float().flatten())
        said = join(outputs.softmax(dim=1) if classes else outputs.flatten())
        if not len(self._given):
            self._given = torch.zeros(self._samples, dtype=given.dtype)
            self._said = torch.zeros(self._samples, *said.shape[1:])
        index = join(forward.batch.index).cpu()
        self._given[index], self._said[index] = given.cpu(), said.cpu()
        self._known[index] = True

    def of(self, rows: Tensor) -> dict[str, Tensor]:
        """``given`` and ``probabilities`` or ``said`` of SampleWeights for ``rows`` [m]; {} unless all are
        known."""
        if not bool(self._known[rows].all()):
            return {}
        said = "probabilities" if self._target == "class" else "said"
        return {"given": self._given[rows], said: self._said[rows]}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"given": self._given, "said": self._said, "known": self._known}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` gave."""
        self._given, self._said, self._known = state["given"], state["said"], state["known"]
