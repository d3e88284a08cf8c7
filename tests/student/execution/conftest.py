"""A backend of torch.compile that shows what it is given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import Tensor, fx
from torch._dynamo.backends import registry


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[fx.GraphModule]:
    """The graphs that a backend of the name "seeing", which runs them as they are, was asked to compile."""
    graphs: list[fx.GraphModule] = []

    def backend(graph: fx.GraphModule, inputs: list[Tensor], **_: object) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    backend._tags = ()  # as torch's own
    monkeypatch.setitem(registry._BACKENDS, "seeing", None)
    monkeypatch.setitem(registry._COMPILER_FNS, "seeing", backend)
    return graphs
