"""A batch: what a student is called with, the targets of its loss, and where its samples stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

Inputs = tuple[Any, ...] | Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Samples with their targets and their positions in the data set.

    ``inputs``: a tuple of positional arguments of the student, whose tensors have first dimension U, or a
    mapping of keyword arguments, kept as a dict, whose tensors have first dimension U or 1 (position ids
    [1, T]); other values are passed on.
    ``targets``: [U, ...]; whole numbers of any width become int64, as torch's losses take classes.
    ``index``: [U], int64, position in the whole data set.
    Raises TypeError for inputs that are neither, for targets that are no tensor and an index that holds no
    integers, ValueError where lengths differ or are 0.
    """

    inputs: Inputs
    targets: Tensor
    index: Tensor
    stands_in: ClassVar[bool] = False
    """Whether its rows count for nothing, see ``StandIn``."""

    def __post_init__(self) -> None:
        if isinstance(self.inputs, Mapping):
            object.__setattr__(self, "inputs", dict(self.inputs))
        elif not isinstance(self.inputs, tuple):
            got = type(self.inputs).__name__
            raise TypeError(
                "Batch.inputs is a tuple of the student's arguments, or a mapping of keyword arguments, got "
                f"{got}; write (x,)"
            )
        if wrong := [name for name in self.kwargs if not isinstance(name, str)]:
            raise TypeError(f"Batch.inputs by keyword has names as keys, got {wrong[0]!r}")
        _require_tensor("targets", self.targets)
        _require_tensor("index", self.index)
        if not (self.targets.is_floating_point() or self.targets.is_complex() or _is_bool(self.targets)):
            object.__setattr__(self, "targets", self.targets.to(torch.int64))
        if self.index.dim() != 1:
            raise ValueError(f"Batch.index has shape [U], got {tuple(self.index.shape)}")
        if self.index.is_floating_point() or _is_bool(self.index):
            raise TypeError(f"Batch.index holds positions, int64, got {self.index.dtype}")
        size = len(self.index)
        if size == 0:
            raise ValueError("a Batch holds at least one sample, got none")
        if self.targets.dim() == 0 or len(self.targets) != size:
            raise ValueError(f"Batch.index names {size} samples, targets have {tuple(self.targets.shape)}")
        lengths = (size,) if isinstance(self.inputs, tuple) else (size, 1)
        for name, value in self._named():
            if isinstance(value, Tensor) and (value.dim() == 0 or len(value) not in lengths):
                shape = tuple(value.shape)
                raise ValueError(f"Batch.index names {size} samples, inputs[{name!r}] has shape {shape}")

    def __len__(self) -> int:
        return len(self.index)

    @property
    def args(self) -> tuple[Any, ...]:
        """The positional arguments; none where all are keyword arguments."""
        return self.inputs if isinstance(self.inputs, tuple) else ()

    @property
    def kwargs(self) -> dict[str, Any]:
        """The keyword arguments; none where all are positional."""
        return {} if isinstance(self.inputs, tuple) else dict(self.inputs)

    def call(self, module: Callable[..., Any]) -> Any:
        """What ``module`` gives for this batch's inputs."""
        return module(*self.args, **self.kwargs)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on another device, tensors inside of other inputs too; pinned ones without waiting
        for the copy, which kernels on that device do by themselves."""
        # whether memory is pinned CUDA alone knows, which a forked process must not ask
        away = torch.device(device).type != "cpu"
        return self._mapped(lambda value: value.to(device, non_blocking=away and value.is_pinned()))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory; a DataLoader with ``pin_memory=True`` asks for it."""
        return self._mapped(Tensor.pin_memory)

    def rows(self, rows: Tensor) -> Batch:
        """The samples at ``rows`` [n] int64 alone; inputs that are no tensors of U rows stay."""
        size = len(self)

        def taken(value: Any) -> Any:
            if isinstance(value, Tensor) and value.dim() and len(value) == size:
                return value[rows.to(value.device)]
            return value

        inputs = (
            tuple(map(taken, self.args))
            if isinstance(self.inputs, tuple)
            else {name: taken(value) for name, value in self.kwargs.items()}
        )
        return replace(self, inputs=inputs, targets=taken(self.targets), index=taken(self.index))

    def part(self, rank: int, size: int) -> Batch:
        """The rows of process ``rank`` of ``size``, side by side; one that stands in where none are left."""
        rows = torch.arange(len(self))
        own = rows[part_of(len(self), rank, size)]
        return self.rows(own) if len(own) else StandIn.of(self.rows(rows[:1]))

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """All tensors changed alike, those inside of other inputs too."""
        inputs = tree_map_only(Tensor, change, self.inputs)
        return replace(self, inputs=inputs, targets=change(self.targets), index=change(self.index))

    def _named(self) -> list[tuple[str | int, Any]]:
        return [*enumerate(self.args), *self.kwargs.items()]


class StandIn(Batch):
    """A part of a batch whose rows count for nothing.

    Where a batch has fewer rows than there are processes, it keeps those without a row in step with the
    others.
    """

    stands_in = True

    @staticmethod
    def of(batch: Batch) -> StandIn:
        """With the rows of ``batch``."""
        return StandIn(**vars(batch))


def part_of(rows: int, rank: int, size: int) -> slice:
    """Which of so many rows are those of process ``rank`` of ``size``: side by side, numbers that differ by
    one at most, none where there are fewer rows than processes."""
    each, more = divmod(rows, size)
    first = rank * each + min(rank, more)
    return slice(first, first + each + (rank < more))


def _is_bool(value: Tensor) -> bool:
    return value.dtype == torch.bool


def _require_tensor(what: str, value: object) -> None:
    if isinstance(value, Tensor):
        return
    got = type(value).__name__
    if isinstance(value, list | tuple) and value:
        got += f" of {type(value[0]).__name__}"
    if what == "targets":
        advice = "map labels to 0..C-1 first, torch.tensor([classes.index(name) for name in labels])"
    else:
        advice = "write torch.tensor(positions)"
    raise TypeError(f"Batch.{what} is a tensor [U, ...], got {got}; {advice}")


def require_batch(value: object) -> Batch:
    """``value`` where it is a Batch; raises TypeError, with what makes one, where it is not."""
    if not isinstance(value, Batch):
        raise TypeError(
            f"a loader gives Batches, got {type(value).__name__}: give the DataLoader "
            "collate_fn=metaweight.data.collate, or build metaweight.Batch((x,), targets, index)"
        )
    return value
