"""Where a model of somebody else's keeps its last hidden states."""

from __future__ import annotations

from torch import nn


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
