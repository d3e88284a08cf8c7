"""A student whose parameters are spread over processes by torch's ``fully_shard``: a shard of each in each.

torch gathers the parameters of one part of the module at a time, for its call, and swaps them in itself.  So
other values are written into the shards, and gradients come by ``backward``, which sends each process the
shards of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor, nn

from metaweight.core.errors import MetaweightError
from metaweight.core.processes import Processes
from metaweight.core.shards import is_sharded, own_shard, shard_lengths, sum_over_shards

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor

T = TypeVar("T")
Shards = Mapping[str, Tensor]
"""Parameter name -> what belongs to this process's shard of it: values, a gradient, a direction."""


class Sharded:
    """The parameters of a module that ``fully_shard`` has spread over the processes of a mesh."""

    def __init__(self, module: nn.Module, parts: list[FSDPModule]) -> None:
        self._parts = parts
        self.reshard()
        self.parameters: dict[str, DTensor] = {}
        """All of the module's by name, the frozen ones too; a shared one appears once."""
        first: dict[int, str] = {}
        self._first: dict[str, str] = {}
        """Every name of a parameter -> the one that it goes by."""
        for name, parameter in module.named_parameters(remove_duplicate=False):
            self._first[name] = first.setdefault(id(parameter), name)
            self.parameters[first[id(parameter)]] = _checked(name, parameter)
        meshes = {parameter.device_mesh for parameter in self.parameters.values()}
        if len(meshes) > 1:
            raise MetaweightError("the student's parameters are sharded over several meshes: give all one")
        (self.mesh,) = meshes
        self.processes = Processes.at_hand(self.mesh.get_group())
        total = sum_over_shards(self.parameters.values())
        assert total is not None
        self.total = total
        """The sum over processes of what each has of its shards, the same in all."""
        for part in parts:
            _refuse_settings(part)

    @staticmethod
    def of(module: nn.Module) -> Sharded | None:
        """That of a module with parts in ``fully_shard``; None where it has none.

        Raises MetaweightError for shards of other kinds, and where some parameters are sharded only.
        """
        parts = [part for part in module.modules() if is_part(part)]
        if not parts and not any(map(is_sharded, module.parameters())):
            return None
        return Sharded(module, parts)  # type: ignore[arg-type]

    def inside(self, submodule: str) -> set[str]:
        """Names of the parameters in a submodule."""
        prefix = f"{submodule}." if submodule else ""
        return {first for name, first in self._first.items() if name.startswith(prefix)}

    def reshard(self) -> None:
        """Forget what is gathered of the parameters: the next pass gathers what the shards hold then."""
        for part in self._parts:
            part.reshard()

    def standing_on(self, values: Shards, call: Callable[[], T]) -> T:
        """``call()``, a pass and perhaps its backward, while the shards hold ``values``.

        Afterwards the module shows its shards: whoever builds an optimizer then finds the parameters.
        """
        self._exchange(values)
        try:
            return call()
        finally:
            self._exchange(values)

    @torch.no_grad()
    def _exchange(self, values: Shards) -> None:
        """What the shards hold goes where ``values`` lie, and these into the shards: a copy the fewer."""
        for name, value in values.items():
            place = own_shard(self.parameters[name])
            if place.data_ptr() != value.data_ptr():
                live = place.clone()
                place.copy_(value)
                value.detach().copy_(live)
        self.reshard()

    def gradients(
        self, scalar: Tensor, names: Iterable[str], *, keep_graph: bool = False
    ) -> dict[str, Tensor]:
        """Shards of the gradient of the sum over processes of ``scalar``, by name, of what it reaches.

        Gradients that are there already stay as they are.
        """
        for part in self._parts:
            _refuse_settings(part)
        gathered = {name: p.grad for name, p in self.parameters.items()}
        for p in self.parameters.values():
            p.grad = None
        try:
            # torch takes the mean over processes
            (scalar * self.mesh.size()).backward(retain_graph=keep_graph)
            grads = {name: self.parameters[name].grad for name in names}
        finally:
            for name, p in self.parameters.items():
                p.grad = gathered[name]
        return {name: own_shard(grad) for name, grad in grads.items() if grad is not None}

    def gathered(self, name: str, shard: Tensor) -> Tensor:
        """The whole of what each process has a shard of, shaped like the parameter ``name``."""
        dim, rows = self._layout(name)
        return self.processes.put_together(shard.movedim(dim, 0), rows).movedim(0, dim)

    def scattered(self, name: str, value: Tensor) -> Tensor:
        """This process's shard of the sum over processes of ``value``, shaped like the parameter ``name``."""
        dim, rows = self._layout(name)
        return self.processes.scattered(value.movedim(dim, 0), rows).movedim(0, dim)

    def _layout(self, name: str) -> tuple[int, list[int]]:
        """The dimension along which a parameter is sharded, and how long each process's shard is."""
        like, (placement,), size = self.parameters[name], self.parameters[name].placements, self.mesh.size()
        dim: int = placement.dim  # type: ignore[attr-defined]
        return dim, shard_lengths(like.shape[dim], size)

    def of_shard(self, name: str, shard: Tensor) -> DTensor:
        """The tensor shaped like the parameter ``name`` of which ``shard`` is this process's."""
        from torch.distributed.tensor import DTensor

        like = self.parameters[name]
        return DTensor.from_local(
            shard, self.mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
        )

    @cached_property
    def names(self) -> dict[int, str]:
        """Identity of each trainable parameter, as a module's call finds it gathered -> its name."""
        # a shared parameter goes by its first name
        first = {id(p): name for name, p in self.parameters.items()}
        found: dict[int, str] = {}
        for part in self._parts:
            assert isinstance(part, nn.Module)
            here = dict(part.named_parameters(remove_duplicate=False))
            part.unshard()
            for key, value in part.named_parameters(remove_duplicate=False):
                if not is_sharded(value) and value.requires_grad:
                    found[id(value)] = first[id(here[key])]
            part.reshard()
        return found


def is_part(module: nn.Module) -> bool:
    """Whether ``module`` went through ``fully_shard``."""
    return _is_part(type(module))  # type: ignore[arg-type]  # a class is hashable


@lru_cache(maxsize=1024)
def _is_part(kind: type) -> bool:
    fsdp = sys.modules.get("torch.distributed.fsdp")  # whoever has shards has imported it
    part = getattr(fsdp, "FSDPModule", None)  # torch has it from 2.6 on
    return part is not None and issubclass(kind, part)


def kind_of(layer: nn.Module) -> type[nn.Module]:
    """The class of ``layer`` as its user wrote it: ``fully_shard`` puts one of its own in front."""
    return type(layer).__mro__[2] if is_part(layer) else type(layer)


def _checked(name: str, parameter: Tensor) -> Any:
    if not is_sharded(parameter):
        raise MetaweightError(
            f"the parameter {name!r} is in one piece, and others of the student are sharded: call "
            "fully_shard on the whole module too, after its parts"
        )
    mesh, placements = parameter.device_mesh, parameter.placements  # type: ignore[attr-defined]
    if mesh.ndim != 1 or not placements[0].is_shard():
        raise MetaweightError(
            f"the parameter {name!r} lies as {placements} on a mesh of {mesh.ndim} dimensions: a student is "
            "sharded by fully_shard over a mesh of one dimension"
        )
    return parameter


def _refuse_settings(part: FSDPModule) -> None:
    """Raise MetaweightError for settings under which a backward gives no mean over processes."""
    group = part._get_fsdp_state()._fsdp_param_group
    if group is None:  # a part all of whose parameters belong to parts inside
        return
    if not group.reduce_grads:
        raise MetaweightError(
            "set_requires_gradient_sync(False) keeps a student's gradients where no meta-gradient sees them: "
            "leave it out; with fully_shard each micro-batch may be reduced"
        )
    if group.gradient_divide_factor is not None:
        raise MetaweightError(
            "set_gradient_divide_factor changes what a backward gives: leave it out, and scale the loss"
        )
