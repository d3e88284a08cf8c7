"""One optimizer for the code, where a user has wrapped his or has several of them for one student."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

WRAPPERS = frozenset(
    {
        "accelerate.optimizer.AcceleratedOptimizer",
        "lightning.pytorch.core.optimizer.LightningOptimizer",
        "pytorch_lightning.core.optimizer.LightningOptimizer",
        "lightning.fabric.wrappers._FabricOptimizer",
        "lightning_fabric.wrappers._FabricOptimizer",
    }
)
"""Classes around an optimizer that take its own step: others (Lookahead, SAM) take another one by it."""


def as_one(optimizer: object) -> Optimizer:
    """A single optimizer as it is, a wrapped one without its wrapper, several as one.

    Raises TypeError for what is no optimizer or wraps one in a way that is not known, ValueError for an
    empty sequence or a parameter that two of them hold.
    """
    if isinstance(optimizer, list | tuple):
        parts = [part for one in optimizer for part in members(as_one(one))]
        if not parts:
            raise ValueError("optimizer is one of torch.optim, or several of them: got an empty sequence")
        return parts[0] if len(parts) == 1 else Several(parts)
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(optimizer).__mro__}
    inner = getattr(optimizer, "optimizer", None)
    if names & WRAPPERS:
        return as_one(inner)
    if isinstance(inner, Optimizer):
        raise TypeError(
            f"{type(optimizer).__name__} wraps another optimizer: where it takes that one's step, pass its "
            ".optimizer; where it takes a step of its own, make it a torch.optim.Optimizer and file its "
            "update with metaweight.engines.inner.register"
        )
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is one of torch.optim, or several of them, got {optimizer!r}")
    return optimizer


def members(optimizer: Optimizer) -> tuple[Optimizer, ...]:
    """The optimizers that ``as_one`` has joined, or the single one."""
    return optimizer.parts if isinstance(optimizer, Several) else (optimizer,)


class Several(Optimizer):
    """Optimizers of disjoint parameters that step together; their groups come one after the other."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self.parts = tuple(parts)
        holder: dict[int, int] = {}
        for number, part in enumerate(self.parts):
            for group in part.param_groups:
                for p in group["params"]:
                    if holder.setdefault(id(p), number) != number:
                        raise ValueError(
                            f"two optimizers hold one parameter of shape {tuple(p.shape)}, which both would "
                            "move: give each parameter to one of them"
                        )

    @property
    def param_groups(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The groups of all, the same objects: a learning rate that is set here is set there."""
        return [group for part in self.parts for group in part.param_groups]

    @property
    def state(self) -> Mapping[Tensor, Any]:  # type: ignore[override]
        """Parameter -> its state, to be read; each optimizer keeps its own."""
        return _States(self.parts)

    @property
    def defaults(self) -> dict[str, Any]:  # type: ignore[override]
        """None: each optimizer has its own."""
        return {}

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """A step of each; a closure is evaluated once, before them."""
        value = None if closure is None else closure()
        for part in self.parts:
            part.step()
        return value

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all."""
        for part in self.parts:
            part.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """One of each, in their order."""
        return {"optimizers": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from ``state_dict()`` of as many.  Raises ValueError for another number of them."""
        states = state_dict.get("optimizers", [state_dict])
        if len(states) != len(self.parts):
            raise ValueError(f"the state is that of {len(states)} optimizer(s), not of {len(self.parts)}")
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)

    def register_step_pre_hook(self, hook: Any) -> Handles:  # type: ignore[override]
        """On each of them."""
        return Handles([part.register_step_pre_hook(hook) for part in self.parts])

    def register_step_post_hook(self, hook: Any) -> Handles:  # type: ignore[override]
        """On each of them."""
        return Handles([part.register_step_post_hook(hook) for part in self.parts])

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Raises TypeError: which of them is it to be?"""
        raise TypeError("add a parameter group to one of the optimizers, not to all")

    def __repr__(self) -> str:
        return f"Several({', '.join(type(part).__name__ for part in self.parts)})"

    def __getstate__(self) -> dict[str, Any]:
        return {"parts": self.parts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.parts = state["parts"]


class Handles:
    """Those of one hook on several optimizers."""

    def __init__(self, handles: Sequence[RemovableHandle]) -> None:
        self._handles = handles

    def remove(self) -> None:
        """Take the hook away from all."""
        for handle in self._handles:
            handle.remove()


class _States(Mapping[Tensor, Any]):
    """The states of several optimizers, looked up where they are."""

    def __init__(self, parts: Sequence[Optimizer]) -> None:
        self._parts = parts

    def __getitem__(self, parameter: Tensor) -> Any:
        for part in self._parts:
            if parameter in part.state:
                return part.state[parameter]
        raise KeyError("no step has been taken on this parameter")

    def __iter__(self) -> Iterator[Tensor]:
        return (parameter for part in self._parts for parameter in part.state)

    def __len__(self) -> int:
        return sum(len(part.state) for part in self._parts)
