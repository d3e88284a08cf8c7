"""How a module is run: plainly, under autocast, in channels-last layout, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from metaweight.core.batch import Batch
from metaweight.core.registry import did_you_mean
from metaweight.student.structure import in_full

if TYPE_CHECKING:
    from metaweight.student.execution.compiled import Compiled

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
"""Of a module's call: positional ones, and keyword ones by name."""
PRECISIONS = ("float32", "bf16")
LAYOUTS = ("contiguous", "channels_last")


@dataclass(frozen=True)
class Execution:
    """Options of every pass of a student.

    ``precision``: "bf16" runs the module under autocast; parameters, losses and the optimizer stay as
    they are.  ``memory_format``: "channels_last" for images of four dimensions.  ``compile``: True, or the
    name of a torch.compile backend; the first pass of each input shape takes a minute or more.
    Raises ValueError for an unknown one, with the nearest.
    """

    precision: Literal["float32", "bf16"] = "float32"
    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    compile: bool | str = False

    def __post_init__(self) -> None:
        _require("precision", self.precision, PRECISIONS)
        _require("memory_format", self.memory_format, LAYOUTS)
        if isinstance(self.compile, str):
            _require("backend", self.compile, torch.compiler.list_backends(exclude_tags=()))

    def prepare(self, module: nn.Module) -> None:
        """Bring a module's parameters into the layout, in place."""
        if self.memory_format == "channels_last":
            module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def inputs(self, batch: Batch) -> Arguments:
        """A batch's positional and keyword arguments in the layout."""

        def laid_out(value: Any) -> Any:
            if self.memory_format == "channels_last" and isinstance(value, Tensor) and value.dim() == 4:
                return value.to(memory_format=torch.channels_last)
            return value

        return tuple(map(laid_out, batch.args)), {n: laid_out(v) for n, v in batch.kwargs.items()}

    def compiled(self, module: nn.Module, taps: Sequence[str]) -> Compiled | None:
        """The compiled passes of a module; None where they are not wanted."""
        if self.compile is False:
            return None
        # not above: with torch._dynamo an import of metaweight takes twice as long
        from metaweight.student.execution.compiled import Compiled

        return Compiled(module, taps, "inductor" if self.compile is True else self.compile)

    def in_full(self, outputs: Any, dtype: torch.dtype) -> Any:
        """A pass's outputs in the parameters' ``dtype``: losses are summed in full."""
        return outputs if self.precision == "float32" else in_full(outputs, dtype)

    def autocast(self, device: torch.device) -> AbstractContextManager[Any]:
        """Around a pass of the module."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(device.type, torch.bfloat16)


def _require(what: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"unknown {what} {value!r}.{did_you_mean(value, known)}")


def require_device(name: str) -> None:
    """Raise ValueError where torch cannot put a tensor on the device ``name``."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:  # a build without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"device {name!r} cannot be used here: {reason}; --device cpu always can") from error


def keep_buffers() -> None:
    """Let compiled code be backpropagated more than once; for what is compiled from now on."""
    import torch._functorch.config  # not above: it takes longer than all else here

    torch._functorch.config.donated_buffer = False
