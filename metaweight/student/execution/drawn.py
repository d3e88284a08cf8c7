"""Random numbers as inputs of a traced graph: a compiler may read a mask before it is drawn."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, fx
from torch.utils._pytree import tree_map_only

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
    sources = node.all_input_nodes
    fills = name.endswith("_like") or all(_name(source).startswith("empty") for source in sources)
    # an empty tensor that it fills in place is seen by nobody else
    alone = not name.endswith("_") or all(len(source.users) == 1 for source in sources)
    return fills and alone and isinstance(node.meta.get("val"), Tensor)


def _name(node: fx.Node) -> str:
    return str(getattr(node.target, "overloadpacket", node.target)).removeprefix("aten.")


def _draw(node: fx.Node) -> Draw:
    assert isinstance(node.target, torch._ops.OpOverload)
    target = node.target
    like = fx.node.map_arg((node.args, dict(node.kwargs)), lambda source: source.meta["val"])

    def draw() -> Tensor:
        arguments, options = tree_map_only(Tensor, _empty, like)
        mask: Tensor = target(*arguments, **options)
        return mask

    return draw


def _empty(like: Tensor) -> Tensor:
    """A real tensor of the kind of a traced one."""
    return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)
