"""The optimizers whose step is known as a pure update, and which of them a live optimizer is."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

State = Mapping[str, Any]
Options = Mapping[str, Any]
Update = Callable[[Tensor, Tensor, State, Options], "tuple[Tensor, dict[str, Any]]"]
"""(parameter, gradient, its state, its group's options) -> (new parameter, new state); writes nothing."""
Check = Callable[[Mapping[str, Any]], None]
"""A parameter group, its ``params`` included: raises ValueError for what the update does not do."""


@dataclass(frozen=True)
class Rule:
    """The definition of an optimizer's step."""

    update: Update
    options: dict[str, Any] = field(default_factory=dict)
    """What the update is told where a parameter group does not say it."""
    check: Check | None = None
    elementwise: bool = False
    """Whether each number of a parameter moves by its own gradient and state alone, so that a shard of a
    parameter can be moved by itself."""
    flat: bool = False
    """Whether the update does not look at a parameter's shape: small ones are then moved together."""
    rounds: bool = False
    """Whether the step rounds on its way, so that no small change of a gradient is seen in it; the update's
    derivative is then that without the rounding, as is its value at ``options["unrounded"]``."""


_rules: dict[type[Optimizer], Rule] = {}
_without: dict[type[Optimizer], str] = {
    torch.optim.LBFGS: "it evaluates the loss several times in a step, so its step is no function of one "
    "gradient; use SGD or Adam",
    torch.optim.SparseAdam: "it takes sparse gradients alone; use Adam, and sparse=False in the embedding",
    torch.optim.Rprop: "its step depends on the gradient's sign alone, so no weight has an influence on it; "
    "use RMSprop or Adam",
}


def register(
    optimizer: type[Optimizer],
    update: Update,
    *,
    options: Options | None = None,
    check: Check | None = None,
    elementwise: bool = False,
    flat: bool = False,
    rounds: bool = False,
) -> None:
    """File the pure ``update`` as the definition of the step of ``optimizer``, an Optimizer subclass.

    ``update(parameter, gradient, state, options) -> (new parameter, new state)`` is called for each parameter
    that has a gradient.  ``state`` is what ``optimizer.state`` holds of it, by the same names, and empty
    before its first step; the new state goes back there, a float as torch's count of steps.  ``options`` is
    the parameter group without ``params``.  Write it with torch's operations, out of place: it gives the
    virtual step and, by autograd, the derivative in parameter, gradient and state.  ``maximize`` is done
    already (the gradient comes negated), and a complex parameter [...] comes as reals [..., 2], as its
    gradient and its state do.  ``metaweight.testing.check_optimizer`` proves an update.

    ``options`` here: defaults for what a group does not say; ``decoupled_weight_decay=True`` belongs there
    where the decay is no part of the gradient.  ``check`` is called with each group when a Reweighter is
    built and raises ValueError for what the update does not do.  ``elementwise``: each number moves by its
    own gradient and state alone, which sharded students ask for; ``flat``: and the update does not look at a
    parameter's shape, so that small ones may come laid end to end, as one.  ``rounds``: see ``Rule``.
    Raises TypeError for what is no Optimizer subclass, ValueError where it has an update already.
    """
    if not (isinstance(optimizer, type) and issubclass(optimizer, Optimizer)):
        raise TypeError(f"an update belongs to a subclass of torch.optim.Optimizer, got {optimizer!r}")
    if optimizer in _rules:
        raise ValueError(f"{optimizer.__name__} already has an update")
    _rules[optimizer] = Rule(update, dict(options or {}), check, elementwise, flat, rounds)


def rules() -> Mapping[type[Optimizer], Rule]:
    """The optimizers that can be differentiated through, with the definition of their steps."""
    return dict(_rules)


def rule_for(optimizer: Optimizer) -> Rule:
    """The rule of ``optimizer``: of its class, or of the base whose step it has unchanged.

    Raises TypeError where there is none.
    """
    kind = type(optimizer)
    base = next((each for each in kind.__mro__ if each in _rules or each in _without), None)
    if base is None:
        known = ", ".join(each.__name__ for each in _rules)
        raise TypeError(
            f"{kind.__name__} cannot be differentiated through: its update is not known. Use one of "
            f"torch.optim's {known}, or file its update: metaweight.engines.inner.register({kind.__name__}, "
            "update)"
        )
    if base in _without:
        raise TypeError(f"{kind.__name__} cannot be differentiated through: {_without[base]}")
    own_step = [n for n in _methods(base) if _plain(getattr(kind, n)) is not _plain(getattr(base, n))]
    if own_step:
        raise TypeError(
            f"{kind.__name__} overrides {', '.join(own_step)} of {base.__name__}, whose update is known: "
            f"file its own with metaweight.engines.inner.register({kind.__name__}, update)"
        )
    own = vars(optimizer).get("step")
    if own is not None and _plain(own) is not _plain(kind.step):
        raise TypeError(
            f"the step of this {kind.__name__} was replaced by {own!r}: a meta-gradient would not see what "
            "it does. Leave the instance's step alone; max_norm clips the gradient"
        )
    return _rules[base]


def step_of(rule: Rule, parameter: Tensor, options: Options) -> Update:
    """The update of one parameter, with what torch's optimizers all do alike around it."""
    update = rule.update
    if options.get("maximize"):
        update = _negated(update)
    return _in_pairs(update) if parameter.is_complex() else update


def _negated(update: Update) -> Update:
    def climb(
        parameter: Tensor, gradient: Tensor, state: State, options: Options
    ) -> tuple[Tensor, dict[str, Any]]:
        return update(parameter, -gradient, state, options)

    return climb


def _in_pairs(update: Update) -> Update:
    """``update`` on real and imaginary parts as reals of their own, its states back in complex form."""

    def pairwise(
        parameter: Tensor, gradient: Tensor, state: State, options: Options
    ) -> tuple[Tensor, dict[str, Any]]:
        real = torch.view_as_real(parameter)
        parts = {key: _real(value) if isinstance(value, Tensor) else value for key, value in state.items()}
        moved, after = update(real, _real(gradient), parts, options)
        return _complex(moved), {
            key: _complex(v) if isinstance(v, Tensor) and v.shape == real.shape else v
            for key, v in after.items()
        }

    return pairwise


def _real(value: Tensor) -> Tensor:
    # a conjugate view, as autograd may give, has no real view
    return torch.view_as_real(value.resolve_conj()) if value.is_complex() else value


def _complex(value: Tensor) -> Tensor:
    return torch.view_as_complex(value.contiguous())


def _methods(base: type[Optimizer]) -> list[str]:
    """What the step of ``base`` is made of: ``step`` and the methods that it has beside those of all."""
    own = base.__mro__[: base.__mro__.index(Optimizer)]
    names = {name: None for each in own for name, value in vars(each).items() if callable(value)}
    return ["step", *(name for name in names if name != "step" and not name.startswith("__"))]


def _plain(step: Any) -> Any:
    """A step without the layers that torch itself puts around it: profiling, counting for schedulers."""
    step = getattr(step, "__func__", step)
    while getattr(step, "__code__", None) in _layers():
        step = step.__wrapped__
    return step


@functools.cache
def _layers() -> frozenset[Any]:
    """The code of torch's own wrappers around a step.

    Found by the code and not by a mark on the function: functools.wraps copies marks to any wrapper.
    """

    def step(optimizer: Optimizer) -> None: ...

    scheduled = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    torch.optim.lr_scheduler.LambdaLR(scheduled, lambda _: 1.0)
    return frozenset([Optimizer.profile_hook_step(step).__code__, vars(scheduled)["step"].__code__])
