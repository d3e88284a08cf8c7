"""Cross-entropy of many rows of logits that keeps nothing of their size.

Every derivative is made from the logits, piece by piece, by torch's own cross-entropy of the piece.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function, forward_ad

from metaweight.core.pieces import is_large, pieces


def cross_entropy_of_rows(
    logits: Tensor,
    targets: Tensor,
    *,
    where: Tensor | None = None,
    ignore_index: int = -100,
    smoothing: float = 0.0,
) -> Tensor:
    """As torch's cross_entropy of each row, bit for bit: logits [R, C], labels [U] -> [U] in nats.

    Or of each place of a row: [R, C, ...], labels [R, ...] -> [R, ...]; or with probabilities of the classes:
    [R, C], [R, C] -> [R].

    ``where`` [U]: the row of each unit, no two the same; None: R = U, in their order.  First and second
    derivatives and those of forward mode hold a few pieces of the logits beside what they give; gradients of
    many at once (``is_grads_batched``) are refused by torch.
    """
    rows = _Rows(targets, where, ignore_index, smoothing)
    if not _fits(logits, targets, where) or not is_large(logits.numel()) or _followed(logits):
        return rows.loss(logits if where is None else logits[where])
    if torch.is_grad_enabled() and logits.requires_grad:
        loss: Tensor = CrossEntropyOfRows.apply(  # type: ignore[no-untyped-call]
            logits, targets, where, ignore_index, smoothing
        )
        return loss
    return rows.losses(logits)


def _fits(logits: Tensor, targets: Tensor, where: Tensor | None) -> bool:
    """Whether the rows can be told apart; torch has words for what is wrong."""
    if where is not None:
        return logits.dim() == 2
    if targets.is_floating_point():
        return logits.dim() == 2 and targets.shape == logits.shape and not targets.requires_grad
    return logits.dim() > 1 and targets.shape == (*logits.shape[:1], *logits.shape[2:])


def _followed(logits: Tensor) -> bool:
    """Whether a compiler, torch.func, autocast or forward mode beside a graph is to see torch's own calls."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch.is_autocast_enabled(logits.device.type)
        or (torch.is_grad_enabled() and forward_ad.unpack_dual(logits).tangent is not None)
    )


def _as_forward(logits: Tensor) -> torch.autocast:
    """No autocast, as there was none in the forward: a backward may be called inside of one."""
    return torch.autocast(logits.device.type, enabled=False)


@dataclass(frozen=True)
class _Rows:
    """What rows of logits are told, and the loss of that."""

    targets: Tensor
    where: Tensor | None
    ignore_index: int
    smoothing: float

    def loss(self, logits: Tensor, units: slice = slice(None)) -> Tensor:
        """Of ``units``, given their logits."""
        targets = self.targets[units]
        return F.cross_entropy(
            logits,
            targets,
            reduction="none",
            ignore_index=self.ignore_index,
            label_smoothing=self.smoothing,
        )

    def pieces(self, logits: Tensor) -> Iterator[tuple[slice, slice | Tensor]]:
        """Units, with their rows."""
        for units in pieces(len(self.targets), logits):
            yield units, units if self.where is None else self.where[units]

    def losses(self, logits: Tensor) -> Tensor:
        """Of all units."""
        return torch.cat([self.loss(logits[places], units) for units, places in self.pieces(logits)])

    def gradient(self, scale: Tensor, logits: Tensor) -> Tensor:
        """Of (scale * loss).sum() by the logits."""
        total = self._like(logits)
        for units, places in self.pieces(logits):
            part = logits[places].detach().requires_grad_()
            with torch.enable_grad(), _as_forward(logits):
                loss = self.loss(part, units)
            (total[places],) = torch.autograd.grad(loss, part, scale[units])
        return total

    def second(
        self, scale: Tensor, logits: Tensor, direction: Tensor, wanted: list[bool]
    ) -> list[Tensor | None]:
        """Of <direction, gradient> by ``scale`` and by ``logits``, where ``wanted``."""
        totals = [
            torch.empty_like(scale) if wanted[0] else None,
            self._like(logits) if wanted[1] else None,
        ]
        for units, places in self.pieces(logits):
            factor, part = (value.detach().requires_grad_() for value in (scale[units], logits[places]))
            with torch.enable_grad(), _as_forward(logits):
                loss = self.loss(part, units)
            found = _twice(loss, factor, part, direction[places], wanted)
            for total, place, value in zip(totals, (units, places), found, strict=True):
                if total is not None and value is not None:
                    total[place] = value
        return totals

    def _like(self, logits: Tensor) -> Tensor:
        """For a value of each row; 0 where no unit is."""
        make = torch.empty if self.where is None else torch.zeros
        return make(logits.shape, dtype=logits.dtype, device=logits.device)


def _twice(
    loss: Tensor, scale: Tensor, logits: Tensor, direction: Tensor, wanted: list[bool], further: bool = False
) -> list[Tensor | None]:
    """Of <direction, gradient of (scale * loss).sum() by ``logits``> by ``scale`` and ``logits``."""
    (gradient,) = torch.autograd.grad(loss, logits, scale, create_graph=True)
    inputs = [value for value, asked in zip((scale, logits), wanted, strict=True) if asked]
    found = iter(torch.autograd.grad(gradient, inputs, direction, create_graph=further))
    return [next(found) if asked else None for asked in wanted]


class CrossEntropyOfRows(Function):
    """The loss [U]; keeps the logits, which are there anyway."""

    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, targets: Tensor, where: Tensor | None, ignore_index: int, smoothing: float
    ) -> Tensor:
        ctx.save_for_backward(logits, targets, where)
        ctx.options = ignore_index, smoothing
        return _Rows(targets, where, ignore_index, smoothing).losses(logits)

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        gradient: Tensor = GradientOfRows.apply(  # type: ignore[no-untyped-call]
            scale, *ctx.saved_tensors, *ctx.options
        )
        return gradient, None, None, None, None


class GradientOfRows(Function):
    """The loss's gradient [R, C], a function of what the losses are scaled by and of the logits."""

    @staticmethod
    def forward(
        ctx: Any,
        scale: Tensor,
        logits: Tensor,
        targets: Tensor,
        where: Tensor | None,
        ignore_index: int,
        smoothing: float,
    ) -> Tensor:
        ctx.save_for_backward(scale, logits, targets, where)
        ctx.options = ignore_index, smoothing
        return _Rows(targets, where, ignore_index, smoothing).gradient(scale, logits)

    @staticmethod
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor | None, ...]:
        scale, logits, targets, where = ctx.saved_tensors
        rows, wanted = _Rows(targets, where, *ctx.options), [_reached(ctx, number) for number in (0, 1)]
        if torch.is_grad_enabled():  # a third derivative follows, which is torch's own
            # scale may be a function of the logits, by which this derivative is not meant to go
            scale, logits = scale.view_as(scale), logits.view_as(logits)
            with _as_forward(logits):
                loss = rows.loss(logits if where is None else logits[where])
            found = _twice(loss, scale, logits, direction, wanted, further=True)
        else:
            found = rows.second(scale, logits, direction, wanted)
        return *found, None, None, None, None


def _reached(ctx: Any, number: int) -> bool:
    """Whether a backward goes on to the input ``number``: torch's own operators make no other gradient."""
    if not ctx.needs_input_grad[number]:
        return False
    node, _ = ctx.next_functions[number]
    return not node.next_functions or torch._C._will_engine_execute_node(node)
