"""The submodules of a student: what a message calls them, and other code in place of their forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

Call = Callable[[Any, Tensor], Tensor]
"""(layer, its input) -> its output."""


def described(module: nn.Module, part: nn.Module) -> str:
    """``part`` of ``module`` in a message: ``'name' (Class)``; without a name ``the student (Class)``."""
    name = next((name for name, known in module.named_modules() if known is part), "")
    return f"{name!r} ({type(part).__name__})" if name else f"the student ({type(part).__name__})"


@contextmanager
def replaced(layers: Sequence[nn.Module], call: Call) -> Iterator[None]:
    """Calls of ``layers`` inside go to ``call``; none of them may have a forward of its own instance."""
    for layer in layers:
        # on the instance: hooks, which users may have, still see the layer's call
        layer.forward = call.__get__(layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
