"""Activations by name."""

from __future__ import annotations

from torch import nn

from metaweight.core.registry import did_you_mean

ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh}


def activation_of(name: str) -> type[nn.Module]:
    """The layer called so; raises KeyError for an unknown one."""
    if name not in ACTIVATIONS:
        raise KeyError(f"unknown activation {name!r}.{did_you_mean(name, ACTIVATIONS)}")
    return ACTIVATIONS[name]
