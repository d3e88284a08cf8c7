"""Where a Hugging Face model keeps its last hidden states, and which of their positions are padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from metaweight.core.batch import Batch
from metaweight.student.losses.text import TextUnit
from metaweight.student.taps import TimeAxis

IGNORED = -100
"""The label of what has none, in all of Hugging Face's losses."""


def last_layers(model: nn.Module) -> tuple[str, ...]:
    """Names of the last layers: of an encoder and a decoder one each, else that of the longest stack.

    Stacks are lists of modules that lie in no other one; none: ().
    """
    lists = {name: part for name, part in model.named_modules() if isinstance(part, nn.ModuleList) and part}
    outer = {
        name: part
        for name, part in lists.items()
        if not any(name.startswith(f"{other}.") for other in lists if other != name)
    }
    sides = [[name for name in outer if is_in(name, side)] for side in ("encoder", "decoder")]
    stacks = sides if all(sides) else [list(outer)]
    longest = [max(names, key=lambda name: len(outer[name])) for names in stacks if names]
    return tuple(f"{name}.{len(outer[name]) - 1}" for name in longest)


def is_in(name: str, side: str) -> bool:
    """Whether a submodule lies in a part that is called ``side``."""
    return side in name.split(".")


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
