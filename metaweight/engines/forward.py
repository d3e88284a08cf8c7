"""Engine ``forward``: a vector-Jacobian product through the update, then one dual-number pass."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from metaweight.contracts import Batch
from metaweight.engines.base import (
    EngineError,
    Problem,
    Recorded,
    Solution,
    checked_weights,
    first_line,
    refuse_reentrant,
    registry,
    require_finite,
)
from metaweight.engines.linear_outputs import LinearOutputs
from metaweight.inner import InnerStep
from metaweight.student import RandomState, Student


@registry.register("forward")
class ForwardMode:
    """dL/dw_i = <u, grad loss_i> / U with u = (d theta'/dg)^T grad L_meta(theta'), all U at once.

    The U inner products are one Jacobian-vector product of the loss vector in direction u, exact also
    where BatchNorm couples the batch.  No second-order graph; about 3.5 plain steps with ``lookahead``.
    """

    summary = "exact, one inner step; no double backward: one forward-mode pass gives every sample's slope"
    max_unroll: int | None = 1

    def __init__(self) -> None:
        self._checked: weakref.WeakSet[nn.Module] = weakref.WeakSet()

    def solve(self, problem: Problem) -> Solution:
        student, optimizer, (batch,) = problem.student, problem.optimizer, problem.train
        parameters = student.parameters()
        inner = InnerStep.of(optimizer, parameters, problem.max_norm)
        recorded = problem.recorded or self._record(student, batch)
        loss = recorded.forward.loss
        index = recorded.forward.index
        require_finite("train loss", loss, index)
        weights = checked_weights(problem.weigh(recorded.forward.state(problem.progress)), index)
        fixed = weights.detach()
        first_time = student.module not in self._checked
        if first_time:
            refuse_reentrant(loss)
        keep = recorded.keep_graph or first_time
        gradient = _gradients((fixed * loss).mean(), parameters, inner, keep_graph=keep)

        # theta', and with it the update's graph from the gradient alone
        leaves = {name: g.detach().requires_grad_() for name, g in gradient.items()}
        still = {name: p.detach() for name, p in parameters.items()}
        moved, _ = inner(still, leaves)
        virtual = {name: p.detach().requires_grad_() for name, p in moved.items()}

        meta = student.functional(problem.meta, virtual, _clones(recorded.buffers))
        require_finite("meta loss", meta.loss, meta.index)
        pull = _gradients(meta.loss.mean(), virtual, inner)
        names = [name for name in leaves if name in pull]
        if not names:
            raise EngineError(
                "the meta loss does not depend on any parameter that the optimizer moves: "
                "check which ones it was given"
            )
        u = torch.autograd.grad(
            [moved[n] for n in names], list(leaves.values()), [pull[n] for n in names], allow_unused=True
        )
        direction = {name: v for name, v in zip(leaves, u, strict=True) if v is not None}
        slopes = _directional(student, batch, still, recorded, direction)
        # reverse mode knows the weighted sum of the slopes; a tangent lost on the way shows here
        _compare((fixed * slopes).mean(), _inner_product(gradient, direction), (fixed * slopes).abs().mean())
        if first_time:  # with any weights, zero ones included
            plain = _gradients(loss.mean(), parameters, inner, keep_graph=recorded.keep_graph)
            _compare(slopes.mean(), _inner_product(plain, direction), slopes.abs().mean())
            self._checked.add(student.module)
        return Solution((weights,), (slopes / len(index),), meta, (index,), gradient)

    def keeping(self, student: Student) -> AbstractContextManager[LinearOutputs]:
        """Linear layers' outputs: the dual pass need not compute them again."""
        return LinearOutputs(student.module).recorded()

    def _record(self, student: Student, batch: Batch) -> Recorded:
        random, buffers = RandomState.of(student.device), student.buffers()
        with self.keeping(student) as kept:
            forward = student.functional(batch, {}, student.buffers())
        return Recorded(forward, buffers, random, keep_graph=False, kept=kept)


def _gradients(
    loss: Tensor, parameters: Mapping[str, Tensor], inner: InnerStep, *, keep_graph: bool = False
) -> dict[str, Tensor]:
    """Gradients of a scalar by name, for the parameters that the optimizer moves and that it reaches."""
    names = list(inner.options)
    grads = torch.autograd.grad(
        loss, [parameters[n] for n in names], retain_graph=keep_graph, allow_unused=True
    )
    return {name: g for name, g in zip(names, grads, strict=True) if g is not None}


def _clones(buffers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # a pass moves the running statistics it is given, in place
    return {name: b.clone() for name, b in buffers.items()}


def _inner_product(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([(a[n] * b[n]).sum() for n in b if n in a]).sum()


def _compare(forward_mode: Tensor, reverse_mode: Tensor, scale: Tensor) -> None:
    tolerance = 1e-6 if scale.dtype.itemsize >= 8 else 2e-2
    if bool((forward_mode - reverse_mode).abs() > tolerance * scale + torch.finfo(scale.dtype).tiny):
        raise EngineError(
            f"forward mode gives {float(forward_mode):.6g}, reverse mode {float(reverse_mode):.6g}: "
            "a part of the student drops tangents (reentrant checkpointing, inference_mode, .data) or draws "
            "random numbers outside torch's generators; use engine='higher'"
        )


def _directional(
    student: Student,
    batch: Batch,
    parameters: Mapping[str, Tensor],
    recorded: Recorded,
    direction: dict[str, Tensor],
) -> Tensor:
    """<direction, grad loss_i> for each unit [U]: one dual pass that replays the recorded random draws."""

    def dual_pass() -> Tensor | None:
        recorded.random.restore(student.device)
        linear = recorded.kept.replayed() if isinstance(recorded.kept, LinearOutputs) else nullcontext()
        with torch.no_grad(), forward_ad.dual_level(), linear:
            dual = {
                name: forward_ad.make_dual(p, direction[name]) if name in direction else p
                for name, p in parameters.items()
            }
            loss = student.functional(batch, dual, _clones(recorded.buffers), taps=False).loss
            tangent = forward_ad.unpack_dual(loss).tangent
            return None if tangent is None else tangent.clone()

    try:
        tangent = dual_pass()
    except (NotImplementedError, RuntimeError) as error:
        raise EngineError(
            f"{_failing_part(student.module, dual_pass)} has no forward-mode derivative "
            f"({first_line(error)}); use engine='higher'"
        ) from error
    if tangent is None:
        raise EngineError(
            "the loss carries no tangent: the student cuts it (inference_mode, reentrant checkpointing, "
            ".detach() or .data on its way); use engine='higher'"
        )
    return tangent


def _failing_part(root: nn.Module, dual_pass: object) -> str:
    """The innermost submodule that runs when the dual pass fails, as ``'name' (Class)``."""
    names = {id(part): name for name, part in root.named_modules()}
    stack: list[nn.Module] = []

    def enter(part: nn.Module, _inputs: object) -> None:
        stack.append(part)

    def leave(part: nn.Module, _inputs: object, _output: object) -> None:
        stack.pop()

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        dual_pass()  # type: ignore[operator]
    except (NotImplementedError, RuntimeError):
        pass
    finally:
        for handle in handles:
            handle.remove()
    if not stack:
        return "the student's loss"
    part = stack[-1]
    return f"{names.get(id(part)) or 'the student'!r} ({type(part).__name__})"
