"""What would change an optimizer's step behind its update's back, refused before the first step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim import optimizer as torch_optimizer

from metaweight.core.shards import is_sharded
from metaweight.core.submodules import submodules
from metaweight.engines.inner.rules import rule_for
from metaweight.engines.inner.several import members

ONLY_LOOK = ("torch.profiler", "torch.distributed._tools")
"""Modules of torch whose hooks on all optimizers look at a step and leave it alone."""


class Observer:
    """A step hook that changes nothing of the step."""


def refuse_other_steps(optimizer: Optimizer, parameters: Mapping[str, Tensor]) -> None:
    """Raise TypeError or ValueError unless the steps of ``optimizer`` on ``parameters`` are its updates.

    ``optimizer``: what ``as_one`` gives; ``parameters``: the student's trainable ones by name.  Refused are
    optimizers without a rule, hooks on the step or on a gathered gradient, and options that no update has.
    """
    names = {id(p): name for name, p in parameters.items()}
    number = 0
    for one in members(optimizer):
        rule = rule_for(one)
        _refuse_hooks(one)
        if not rule.elementwise and any(map(is_sharded, parameters.values())):
            raise ValueError(
                f"{type(one).__name__} looks at whole parameters, as far as is known, and each process has a "
                "shard of it: use SGD or AdamW, or file its update with register(..., elementwise=True) if "
                "each number moves by its own gradient and state alone"
            )
        for group in one.param_groups:
            _check_group(group, number, names)
            if rule.check is not None:
                rule.check(group)
            number += 1
    for name, p in parameters.items():
        if getattr(p, "_post_accumulate_grad_hooks", None):
            raise ValueError(
                f"parameter {name!r} has a post-accumulate-grad hook: a meta-gradient would not see what it "
                "does to the gradient or the step. Remove it; max_norm clips the gradient"
            )


def refuse_sparse(module: nn.Module) -> None:
    """Raise ValueError for a trainable embedding with sparse gradients."""
    for name, part in submodules(module):
        if isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.sparse and part.weight.requires_grad:
            raise ValueError(
                f"{name or 'the module'!r} is an embedding with sparse gradients, which no inner step takes: "
                "build it with sparse=False"
            )


def _refuse_hooks(optimizer: Optimizer) -> None:
    everywhere = [
        *torch_optimizer._global_optimizer_pre_hooks.values(),
        *torch_optimizer._global_optimizer_post_hooks.values(),
    ]
    own = vars(optimizer)  # a class that leaves out Optimizer's constructor has none
    hooks = [
        *own.get("_optimizer_step_pre_hooks", {}).values(),
        *own.get("_optimizer_step_post_hooks", {}).values(),
        *(hook for hook in everywhere if not str(hook.__module__).startswith(ONLY_LOOK)),
    ]
    hooks = [hook for hook in hooks if not isinstance(hook, Observer)]
    if hooks:
        name = getattr(hooks[0], "__qualname__", repr(hooks[0]))
        raise ValueError(
            f"{type(optimizer).__name__} has a step hook ({name}): a meta-gradient would not see what it "
            "does, and steps inside a window would not call it. Remove it: max_norm clips the gradient, and "
            "what only looks (averaged weights, logging) can follow each call of the Reweighter's step"
        )


def _check_group(group: Mapping[str, object], number: int, names: Mapping[int, str]) -> None:
    where = f"parameter group {number}"
    if group.get("differentiable"):
        raise ValueError(
            f"differentiable=True in {where}: leave it out, the virtual step is differentiable without"
        )
    parameters, capturable = group["params"], group.get("capturable")
    assert isinstance(parameters, list)
    for p in parameters:
        if not p.requires_grad:
            continue
        if id(p) not in names:
            raise ValueError(
                f"the optimizer's {where} holds a tensor of shape {tuple(p.shape)} on {p.device} that is no "
                "parameter of the student; build it from the student's module, after the module has its "
                "device"
            )
        if capturable and p.device.type == "cpu":
            raise ValueError(f"capturable=True in {where}, and {names[id(p)]!r} is on the CPU: leave it out")


def refuse_moved_states(optimizer: Optimizer) -> None:
    """Raise ValueError where a parameter has gone to another device than its optimizer's state."""
    for one in members(optimizer):
        for parameter, state in one.state.items():
            for key, value in state.items():
                if isinstance(value, Tensor) and value.dim() and value.device != parameter.device:
                    raise ValueError(
                        f"the optimizer's {key} of a parameter on {parameter.device} is on {value.device}: "
                        "build the optimizer after the module has its device, or load its state again"
                    )


def require_dense(name: str, gradient: Tensor) -> None:
    """Raise ValueError for a sparse gradient."""
    if gradient.layout is not torch.strided:
        raise ValueError(
            f"the gradient of {name!r} is sparse, which no inner step takes: build its embedding with "
            "sparse=False"
        )
