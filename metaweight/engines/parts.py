"""The submodules of a student: what a message calls them."""

from __future__ import annotations

from torch import nn


def described(module: nn.Module, part: nn.Module) -> str:
    """``part`` of ``module`` in a message: ``'name' (Class)``; without a name ``the student (Class)``."""
    name = next((name for name, known in module.named_modules() if known is part), "")
    return f"{name!r} ({type(part).__name__})" if name else f"the student ({type(part).__name__})"
