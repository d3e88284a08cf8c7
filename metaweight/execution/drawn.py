"""Random numbers as inputs of a traced graph: a compiler may read a mask before it is drawn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

Draw = Callable[[], Tensor]


def draws_taken_out(graph: fx.GraphModule) -> list[Draw] | None:
    """Make every random tensor of ``graph`` a further input; what draws them, in the order of the inputs.

    None, and the graph stays as it is, where a random number depends on a value.  Masks of dropout do not:
    they fill tensors that are empty.
    """
    nodes = [node for node in graph.graph.nodes if _is_random(node)]
    if not all(map(_is_free, nodes)):
        return None
    last = [node for node in graph.graph.nodes if node.op == "placeholder"][-1]
    for number, node in enumerate(nodes):
        with graph.graph.inserting_after(last):
            last = graph.graph.placeholder(f"drawn_{number}")
        with graph.graph.inserting_before(node):
            # what follows may change it in place, which would be written back to an input
            own = graph.graph.call_function(torch.ops.aten.clone.default, (last,))
        node.replace_all_uses_with(own)
    draws = [_draw(node) for node in nodes]
    for node in nodes:
        graph.graph.erase_node(node)
    graph.recompile()
    return draws


def _is_random(node: fx.Node) -> bool:
    target = node.target
    return isinstance(target, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in target.tags


def _is_free(node: fx.Node) -> bool:
    """Whether nothing but sizes decides what it draws."""
    name = _name(node)
    fills = name.endswith("_like") or all(
        _name(source).startswith("empty") for source in node.all_input_nodes
    )
    # an empty tensor that it fills in place is seen by nobody else
    alone = not name.endswith("_") or all(len(source.users) == 1 for source in node.all_input_nodes)
    return fills and alone and isinstance(node.meta.get("val"), Tensor)


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "overloadpacket", node.target)).removeprefix("aten.")


def _draw(node: fx.Node) -> Draw:
    assert isinstance(node.target, torch._ops.OpOverload)
    target = node.target
    kinds = {n: _kind(n.meta["val"]) for n in node.all_input_nodes}
    arguments, options = node.args, dict(node.kwargs)

    def draw() -> Tensor:
        def empty(source: fx.Node) -> Tensor:
            shape, stride, like = kinds[source]
            return torch.empty_strided(shape, stride, **like)

        given = fx.node.map_arg((arguments, options), empty)
        drawn: Tensor = target(*given[0], **given[1])
        return drawn

    return draw


def _kind(tensor: Tensor) -> tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]:
    return tuple(tensor.shape), tensor.stride(), {"dtype": tensor.dtype, "device": tensor.device}
