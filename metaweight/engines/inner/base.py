"""A live optimizer's step as a pure function: one for the virtual step and for all its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.core.shards import is_sharded, own_shard, sum_over_shards
from metaweight.engines.inner.packs import kind_of, moved, packs
from metaweight.engines.inner.refusals import refuse_other_steps, require_dense
from metaweight.engines.inner.rules import Options, State, Update, rule_for, step_of
from metaweight.engines.inner.several import as_one, members
from metaweight.engines.inner.states import write_state


def clip_gradients(
    gradients: Sequence[Tensor], max_norm: float, total: Callable[[Tensor], Tensor] | None = None
) -> list[Tensor]:
    """Scale gradients to a joint 2-norm of at most ``max_norm``, as torch's ``clip_grad_norm_`` does.

    ``total``: where they are shards, the differentiable sum over all of a number of those here.
    """
    norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients]))
    if total is not None:
        norm = total(norm.square()).sqrt()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    return [g * scale for g in gradients]


@dataclass(frozen=True)
class InnerStep:
    """One optimizer step on a student's parameters as a pure function, taken from a live optimizer."""

    updates: Mapping[str, Update]
    """Parameter name -> the update of its optimizer."""
    options: Mapping[str, Options]
    """Parameter name -> options of its group."""
    states: Mapping[str, State]
    """Parameter name -> the optimizer's state of it, empty before its first step."""
    max_norm: float | None = None
    groups: Mapping[str, int] = field(default_factory=dict)
    """Parameter name -> number of its group, counted through all optimizers."""
    trainable: tuple[str, ...] = ()
    """All trainable parameters of the student, also those that no optimizer holds."""
    rounds: bool = False
    """Whether an update rounds on its way (Muon): differences of steps show its rounding and no slope."""
    total: Callable[[Tensor], Tensor] | None = None
    """Where parameters are sharded: the differentiable sum over all shards of a number of those here."""
    flat: frozenset[str] = frozenset()
    """Names of parameters whose update does not look at their shape."""

    @staticmethod
    def of(
        optimizer: Optimizer | Sequence[Optimizer],
        parameters: Mapping[str, Tensor],
        max_norm: float | None = None,
    ) -> InnerStep:
        """Read ``optimizer`` as it stands, one or several (see ``as_one``).

        ``parameters``: the student's trainable ones by name; those that the optimizer does not hold stay
        put.  Of sharded ones the step is that of the shards here.  Raises TypeError or ValueError for what
        ``refuse_other_steps`` refuses, ValueError where the optimizer holds a parameter that is not among
        them.
        """
        optimizer = as_one(optimizer)
        refuse_other_steps(optimizer, parameters)
        names = {id(p): name for name, p in parameters.items()}
        updates: dict[str, Update] = {}
        options: dict[str, Options] = {}
        states: dict[str, State] = {}
        groups: dict[str, int] = {}
        number, rounds = 0, False
        flat: set[str] = set()
        for one in members(optimizer):
            rule = rule_for(one)
            rounds = rounds or rule.rounds
            for group in one.param_groups:
                own = {key: _number(value) for key, value in group.items() if key != "params"}
                settings = {**rule.options, **own}
                for p in group["params"]:
                    if not p.requires_grad:
                        continue
                    name = names[id(p)]
                    updates[name] = step_of(rule, p, settings)
                    if rule.flat and updates[name] is rule.update:
                        flat.add(name)
                    options[name], groups[name] = settings, number
                    state = one.state.get(p, {})
                    states[name] = {key: own_shard(v) if is_sharded(v) else v for key, v in state.items()}
                number += 1
        if not options:
            raise ValueError("the optimizer holds no trainable parameter of the student")
        total = sum_over_shards(parameters.values())
        trainable = tuple(parameters)
        return InnerStep(
            updates, options, states, max_norm, groups, trainable, rounds, total, frozenset(flat)
        )

    def at(self, rates: Sequence[float] | None) -> InnerStep:
        """The same step with the learning rate of each parameter group; None: as they are."""
        if rates is None:
            return self
        options = {name: {**own, "lr": rates[self.groups[name]]} for name, own in self.options.items()}
        return replace(self, options=options)

    def unrounded(self) -> InnerStep:
        """The step that has the derivative of this one, where an update rounds."""
        if not self.rounds:
            return self
        return replace(self, options={name: {**own, "unrounded": True} for name, own in self.options.items()})

    def detached(self) -> InnerStep:
        """The same step with states that are constants."""
        states = {
            name: {key: v.detach() if isinstance(v, Tensor) else v for key, v in state.items()}
            for name, state in self.states.items()
        }
        return replace(self, states=states)

    def __call__(
        self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], InnerStep]:
        """New parameters and the step that comes after; a parameter without gradient stays as it is.

        Gradients of parameters that no optimizer holds are left aside, as in clipping.
        """
        successors, states = dict(parameters), dict(self.states)
        for name, value in self.taken(gradients).items():
            update = self.updates[name]
            successors[name], states[name] = update(
                parameters[name], value, self.states[name], self.options[name]
            )
        return successors, replace(self, states=states)

    def successors(
        self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> tuple[dict[str, Tensor], list[list[str]]]:
        """New parameters alone, and the names of those that were moved together.

        Each state is let go of before the next one is made.
        """
        successors, values = dict(parameters), self.taken(gradients)
        together = list(packs(values, self._kinds(parameters, values), parameters))
        for names in together:
            update, options = self.updates[names[0]], self.options[names[0]]
            if len(names) == 1:
                (name,) = names
                successors[name], _ = update(parameters[name], values[name], self.states[name], options)
            else:
                successors |= moved(names, parameters, values, self.states, update, options)
        return successors, together

    def _kinds(
        self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor]
    ) -> dict[str, Hashable]:
        """Of parameters that may move together the same; None where one moves by itself."""
        kinds: dict[str, Hashable] = {}
        for name, value in gradients.items():
            own = kind_of(parameters[name], value, self.states[name]) if name in self.flat else None
            kinds[name] = None if own is None else (self.groups[name], own)
        return kinds

    def taken(self, gradients: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The gradients that the step takes, as it takes them."""
        names = [name for name in self.options if name in gradients]
        values = [gradients[name] for name in names]
        for name, value in zip(names, values, strict=True):
            require_dense(name, value)
        if self.max_norm is not None and values:
            values = clip_gradients(values, self.max_norm, self.total)
        return dict(zip(names, values, strict=True))

    def write_states(
        self, optimizer: Optimizer | Sequence[Optimizer], parameters: Mapping[str, Tensor]
    ) -> None:
        """Make these states those of the live ``optimizer`` of ``parameters``, in torch's own form."""
        names = {id(p): name for name, p in parameters.items()}
        for one in members(as_one(optimizer)):
            for p in (p for group in one.param_groups for p in group["params"]):
                state = self.states.get(names.get(id(p), ""))
                if state:
                    write_state(one.state[p], state, p, self.options[names[id(p)]])


def _number(value: object) -> object:
    """An option; a tensor of one element, which torch takes for a number, without dimensions."""
    return value.squeeze() if isinstance(value, Tensor) and value.dim() and value.numel() == 1 else value
