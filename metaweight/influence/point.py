"""Everything that a step starts from, to the last bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from metaweight.engines.inner import members
from metaweight.student.student import Student

State = Mapping[str, Any]


@dataclass(frozen=True)
class Generators:
    """torch's global generators at one moment: that of the CPU and that of the student's device."""

    cpu: Tensor
    device: Tensor | None

    @staticmethod
    def of(device: torch.device) -> Generators:
        """Take their state."""
        return Generators(
            torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        )

    def restore(self, device: torch.device) -> None:
        """Put it back."""
        torch.set_rng_state(self.cpu)
        if self.device is not None:
            torch.cuda.set_rng_state(self.device, device)


@dataclass(frozen=True)
class Point:
    """Copies of parameters, optimizer states, buffers and generators before one step of a run."""

    parameters: Mapping[str, Tensor]
    """The trainable ones by name."""
    states: Mapping[str, State]
    """Parameter name -> the optimizer's state of it, empty before its first step."""
    buffers: Mapping[str, Tensor]
    """Running statistics and the like, and frozen parameters that passes move."""
    generators: Generators
    short: bool = False
    """Whether parameters and optimizer states are rounded to bfloat16."""
    gradient: Mapping[str, Tensor] = field(default_factory=dict)
    """Of the step from here, name -> before clipping; empty where that is not asked for."""
    losses: Tensor | None = None
    """[U], of its units."""

    @staticmethod
    def of(student: Student, optimizer: Optimizer) -> Point:
        """Where both stand."""
        parameters = student.parameters()
        return Point(
            {name: p.detach().clone() for name, p in parameters.items()},
            {name: _copied(optimizer.state.get(p, {})) for name, p in parameters.items()},
            dict(student.buffers()),
            Generators.of(student.device),
        )

    @torch.no_grad()
    def put(self, student: Student, optimizer: Optimizer) -> None:
        """Let both stand here; the parameters stay the same objects."""
        self.put_pass(student)
        holders = {
            p: one for one in members(optimizer) for group in one.param_groups for p in group["params"]
        }
        for name, p in student.parameters().items():
            if p not in holders:
                continue
            state = holders[p].state
            if self.states[name]:
                state[p] = _copied(self.states[name])
            else:
                state.pop(p, None)  # torch tells a first step by what is not there

    @staticmethod
    def forget(student: Student, optimizer: Optimizer) -> None:
        """Give the room of gradients and optimizer states back, until both are put somewhere again."""
        for p in student.parameters().values():
            p.grad = None
            for one in members(optimizer):
                one.state.pop(p, None)

    @torch.no_grad()
    def put_pass(self, student: Student) -> None:
        """Only what a pass looks at: parameters, buffers, generators."""
        for name, p in student.parameters().items():
            p.copy_(self.parameters[name])
        self.put_beside(student)

    def put_beside(self, student: Student) -> None:
        """Of that only buffers and generators."""
        student.put(self.buffers)
        self.generators.restore(student.device)

    def rounded(self) -> Point:
        """In half of float32's bytes: parameters and optimizer states in bfloat16, but counts of steps."""
        return self._cast(lambda value, _: value.to(torch.bfloat16) if _is_long(value) else value, self, True)

    def lengthened(self, like: Point) -> Point:
        """As ``rounded`` left it, in the types that ``like`` has, a state after it."""
        return self._cast(lambda value, other: value.to(other.dtype), like, False)

    def emptied(self) -> Point:
        """Only the types, for ``lengthened``."""
        return self._cast(lambda value, _: value.new_empty(0), self, self.short)

    def _cast(self, cast: Callable[[Tensor, Tensor], Tensor], like: Point, short: bool) -> Point:
        states = {
            name: {
                key: cast(value, like.states[name][key])
                if isinstance(value, Tensor) and key != "step"
                else value
                for key, value in state.items()
            }
            for name, state in self.states.items()
        }
        parameters = {name: cast(value, like.parameters[name]) for name, value in self.parameters.items()}
        return replace(self, parameters=parameters, states=states, short=short)

    def differs(self, other: Point) -> str | None:
        """What is not the same in ``other`` to the last bit, for people; None where all is."""
        pairs: list[tuple[str, Any, Any]] = [
            (f"the parameter {name!r}", value, other.parameters.get(name))
            for name, value in self.parameters.items()
        ]
        pairs += [
            (f"{key!r} of the optimizer's state of {name!r}", state.get(key), theirs.get(key))
            for name, state in self.states.items()
            for theirs in [other.states.get(name, {})]
            for key in {**state, **theirs}
        ]
        pairs += [
            (f"the buffer {name!r}", value, other.buffers.get(name)) for name, value in self.buffers.items()
        ]
        pairs.append(("torch's random state", self.generators.cpu, other.generators.cpu))
        if self.generators.device is not None and other.generators.device is not None:
            pairs.append(("the GPU's random state", self.generators.device, other.generators.device))
        return next((what for what, mine, theirs in pairs if not same_bits(mine, theirs)), None)

    def apart(self, other: Point) -> tuple[float, str]:
        """(the largest difference from ``other`` of a parameter, by its largest number, that parameter)."""

        def off(name: str, value: Tensor) -> float:
            theirs = other.parameters[name]
            size = max(float(theirs.abs().max()), torch.finfo(value.dtype).tiny)
            return float((value - theirs).abs().max()) / size

        return max((off(name, value), name) for name, value in self.parameters.items() if value.numel())

    def size(self) -> int:
        """Bytes."""
        tensors = [*self.parameters.values(), *self.buffers.values(), *self.gradient.values()]
        tensors.append(self.generators.cpu)
        tensors += [v for state in self.states.values() for v in state.values() if isinstance(v, Tensor)]
        return sum(value.numel() * value.element_size() for value in tensors)


def _copied(state: State) -> dict[str, Any]:
    return {key: v.detach().clone() if isinstance(v, Tensor) else v for key, v in state.items()}


def _is_long(value: Tensor) -> bool:
    return value.is_floating_point() and value.element_size() > 2


def same_bits(a: Any, b: Any) -> bool:
    """Whether two tensors, or two plain values, are the same to the last bit."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return type(a) is type(b) and bool(a == b)
    if (a.shape, a.dtype) != (b.shape, b.dtype):
        return False
    # bit for bit: NaN is itself, and -0 is not 0
    return torch.equal(_bits(a), _bits(b))


def _bits(value: Tensor) -> Tensor:
    flat = value.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8) if flat.numel() else flat
