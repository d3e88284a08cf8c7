"""Counts, on a CPU, where a device would have to be waited for.

``sync_debug_mode`` of torch.cuda tells it on a GPU alone.  Here every operator that gives Python a value, or
has a shape that depends on values, is caught with the line that called it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

VALUES = {
    *("_local_scalar_dense", "nonzero", "masked_select", "equal", "bincount", "histc", "multinomial"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive"),
}
"""Operators that wait for the device, by their names in aten."""
HANDED_OVER = frozenset({"tolist", "numpy", "cpu"})
"""Methods that do not show among these on a CPU."""


class DeviceReads:
    """Inside: what waits for the device, ``reads``, as ``operator at file:line``.

    ``on_host``: tensors that lie on the CPU whatever the device is, as an optimizer's counts of steps.
    """

    def __init__(self, on_host: Iterable[Tensor] = ()) -> None:
        self.reads: list[str] = []
        self._on_host = [*on_host]
        host = {value.data_ptr() for value in self._on_host}
        self._modes = (_Operators(self.reads, host), _Functions(self.reads))

    def __enter__(self) -> DeviceReads:
        for mode in self._modes:
            mode.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        for mode in reversed(self._modes):
            mode.__exit__(*error)


class _Operators(TorchDispatchMode):
    """Below autograd: also what a backward calls, and what bool(), float() and int() are made of."""

    def __init__(self, reads: list[str], host: set[int]) -> None:
        super().__init__()
        self._reads, self._host = reads, host

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = function._schema.name.removeprefix("aten::"), kwargs or {}
        if _waits(name, args, kwargs) and args[0].data_ptr() not in self._host:
            self._reads.append(f"{name} at {_caller()}")
        return function(*args, **kwargs)


def _waits(name: str, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    if name in ("index", "index_put", "index_put_"):
        return any(isinstance(one, Tensor) and one.dtype in (torch.bool, torch.uint8) for one in args[1])
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    return name in VALUES


class _Functions(TorchFunctionMode):
    """Where Python calls torch: what crosses over from or to the CPU, which is no crossing there."""

    def __init__(self, reads: list[str]) -> None:
        super().__init__()
        self._reads = reads

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(function, "__name__", ""), kwargs or {}
        made_here = name in ("tensor", "as_tensor") and kwargs.get("device") is not None
        # of tensors that are there already a device is no news
        to_cpu = name == "to" and any(
            isinstance(one, str) and one == "cpu" for one in (*args[1:], *kwargs.values())
        )
        if name in HANDED_OVER or made_here or to_cpu:
            self._reads.append(f"{name} at {_caller()}")
        return function(*args, **kwargs)


def _caller() -> str:
    """The innermost line of the package that led here."""
    frame = sys._getframe(2)
    while frame is not None:
        _, found, name = frame.f_code.co_filename.rpartition("/metaweight/")
        if found and "/site-packages/" not in name and "tests/" not in name:
            return f"{name}:{frame.f_lineno} ({frame.f_code.co_name})"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside of the package"
