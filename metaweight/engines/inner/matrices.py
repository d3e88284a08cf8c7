"""torch.optim's steps that see a whole matrix, Adafactor and Muon, as pure updates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from metaweight.engines.inner.adam import stepped
from metaweight.engines.inner.rules import Options, State, register
from metaweight.engines.inner.states import count


def adafactor(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """Adafactor (Shazeer & Stern, 2018) as torch.optim has it: no momentum, a step relative to the parameter.

    Reads ``step`` and of a matrix ``row_var`` [..., R, 1] and ``col_var`` [..., 1, C], else ``variance``.
    """
    lr, (least, floor), step = options["lr"], options["eps"], count(state)
    least = torch.finfo(parameter.dtype).eps if least is None else least
    share, size = step ** options["beta2_decay"], math.sqrt(parameter.numel())
    rho = min(lr, 1 / math.sqrt(step))
    length = (torch.linalg.vector_norm(parameter) / size).clamp(min=floor)
    if options["weight_decay"] != 0:
        parameter = parameter * (1 - lr * options["weight_decay"])
    after: dict[str, Any] = {**state, "step": step}
    if gradient.dim() > 1:
        rows = after["row_var"] = _lerp(state.get("row_var"), _mean_square(gradient, -1), share)
        columns = after["col_var"] = _lerp(state.get("col_var"), _mean_square(gradient, -2), share)
        variance = rows @ columns / rows.mean(-2, keepdim=True).clamp(min=least)
    else:
        variance = after["variance"] = _lerp(state.get("variance"), gradient * gradient, share)
    update = gradient * variance.clamp(min=least * least).rsqrt()
    excess = (torch.linalg.vector_norm(update) / (size * options["d"])).clamp(min=1.0)
    if isinstance(rho, Tensor):  # torch multiplies numbers into it, in its precision
        length, excess = length.to(rho.dtype), excess.to(rho.dtype)
    return parameter - length * rho / excess * update, after


def muon(
    parameter: Tensor, gradient: Tensor, state: State, options: Options
) -> tuple[Tensor, dict[str, Any]]:
    """Muon (Jordan et al., 2024) for matrices; reads ``momentum_buffer``.

    torch orthogonalises in bfloat16, and so does the value here, to the last bit.  The derivative is that of
    the iteration in the parameter's own precision: what is rounded to eight bits has none to speak of.
    """
    lr, momentum = options["lr"], options["momentum"]
    buffer = _lerp(state.get("momentum_buffer"), gradient, 1 - momentum)
    direction = torch.lerp(gradient, buffer, momentum) if options["nesterov"] else buffer
    numbers = options["ns_coefficients"], options["ns_steps"], options["eps"]
    with torch.no_grad():
        rounded = _orthogonal(direction.bfloat16(), *numbers).to(parameter.dtype)
    update, unrounded = rounded, options.get("unrounded", False)
    if unrounded or (torch.is_grad_enabled() and direction.requires_grad):
        fine = direction if direction.dtype.itemsize >= 4 else direction.float()
        exact = _orthogonal(fine, *numbers)
        update = exact if unrounded else _Rounded.apply(exact, rounded)  # type: ignore[no-untyped-call]
    rate = lr * _shape_factor(options["adjust_lr_fn"], parameter.shape)
    moved = stepped(parameter * (1 - lr * options["weight_decay"]), rate, update)
    return moved, {**state, "momentum_buffer": buffer}


def _orthogonal(matrix: Tensor, coefficients: Sequence[float], steps: int, eps: float) -> Tensor:
    """Newton-Schulz iterations towards the nearest orthogonal matrix, in the precision of ``matrix``."""
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


def _shape_factor(kind: str | None, shape: Sequence[int]) -> float:
    rows, columns = shape
    if kind == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


class _Rounded(torch.autograd.Function):
    """(exact, rounded) -> rounded, with the derivative of exact."""

    @staticmethod
    def forward(ctx: Any, exact: Tensor, rounded: Tensor) -> Tensor:
        ctx.kind = exact.dtype
        return rounded.clone()

    @staticmethod
    def backward(ctx: Any, pull: Tensor) -> tuple[Tensor, None]:
        return pull.to(ctx.kind), None


def _lerp(before: Tensor | None, new: Tensor, share: float) -> Tensor:
    """Towards ``new``; a state that is not there yet is 0."""
    return torch.lerp(torch.zeros_like(new) if before is None else before, new, share)


def _mean_square(gradient: Tensor, dim: int) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(gradient, dim=dim, keepdim=True)
    return norm.square() / gradient.size(dim)


def _refuse_complex(group: Mapping[str, Any]) -> None:
    if any(p.is_complex() for p in group["params"]):
        raise ValueError("Adafactor and Muon of torch take no complex parameters: give those to Adam")


def _check_adafactor(group: Mapping[str, Any]) -> None:
    _refuse_complex(group)
    kinds = {p.dtype for p in group["params"] if p.requires_grad}
    if group["eps"][0] is None and len(kinds) > 1:
        # torch takes the first parameter's for all that follow in the group
        raise ValueError("Adafactor's group has parameters of several precisions: give both of its eps")


# torch has these since 2.5 and 2.9
if hasattr(torch.optim, "Adafactor"):
    register(
        torch.optim.Adafactor, adafactor, options={"decoupled_weight_decay": True}, check=_check_adafactor
    )
if hasattr(torch.optim, "Muon"):
    register(
        torch.optim.Muon,
        muon,
        options={"decoupled_weight_decay": True},
        check=_refuse_complex,
        rounds=True,
    )
