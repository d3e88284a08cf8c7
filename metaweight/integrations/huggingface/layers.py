"""Which positions of a Hugging Face model's hidden states are padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from metaweight.core.batch import Batch
from metaweight.models.stacks import is_in
from metaweight.student.losses.text import TextUnit
from metaweight.student.taps import TimeAxis

IGNORED = -100
"""The label of what has none, in all of Hugging Face's losses."""


@dataclass(frozen=True)
class TimeMasks:
    """Which positions of a tap are real, from the masks that a tokenizer gives, from labels, or ids.

    ``two_sided``: the model has an encoder and a decoder, and taps of the latter run over the labels.
    ``padding``: the id that counts as padding where there is no ``attention_mask``; None: none does.
    """

    two_sided: bool
    padding: int | None

    def __call__(self, tap: str, batch: Batch) -> TimeAxis | None:
        inputs, targets = batch.kwargs, batch.targets
        tokens = targets.dim() == 2 and not targets.is_floating_point()
        if self.two_sided and is_in(tap, "decoder") and tokens:
            return TimeAxis(targets != IGNORED, of_targets=True)
        real = self._real(inputs)
        return None if real is None else TimeAxis(real, of_targets=tokens and not self.two_sided)

    def _real(self, inputs: dict[str, Any]) -> Tensor | None:
        mask, ids = inputs.get("attention_mask"), inputs.get("input_ids")
        if isinstance(mask, Tensor) and mask.dim() == 2:
            return mask.bool()
        if not isinstance(ids, Tensor) or ids.dim() != 2:
            return None
        return ids != (-1 if self.padding is None else self.padding)


def text_unit(unit: str) -> TextUnit:
    """What a loss calls the unit "sequence" or "token".  Raises ValueError for another."""
    if unit not in ("sequence", "token"):
        raise ValueError(f"unit is 'sequence' or 'token', got {unit!r}")
    return "token" if unit == "token" else "sentence"
