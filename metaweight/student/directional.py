"""Passes of a student with a tangent: how its losses change along a direction of its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.autograd import forward_ad

from metaweight.core.batch import Batch
from metaweight.student.execution import LayerOutputs
from metaweight.student.moving import Buffers
from metaweight.student.outputs import logits_in, units_of
from metaweight.student.structure import dual_outputs
from metaweight.student.student import Named, Student


def directional(
    student: Student,
    batch: Batch,
    parameters: Named,
    direction: Named,
    buffers: Mapping[str, Tensor],
    kept: LayerOutputs | None = None,
) -> Tensor | None:
    """<direction, grad loss_i> for each unit [U] by forward-mode AD; None where all tangents are lost.

    ``kept``: of a pass at the same parameters, see ``Student.outputs_kept``.
    """
    if student.compiled is not None:
        return _compiled(student, batch, parameters, direction, buffers, kept)

    def dual_pass() -> Tensor | None:
        # clones: a second try, with a graph, starts from the same
        own = Buffers(buffers)
        # what was kept has no graph, which a gradient inside of the pass needs
        replay = None if torch.is_grad_enabled() else kept
        with forward_ad.dual_level(), nullcontext() if replay is None else replay.replayed():
            dual = {
                n: forward_ad.make_dual(p, direction[n]) if n in direction else p
                for n, p in parameters.items()
            }
            loss = student.functional(batch, dual, own, taps=False, plain=True).loss
            tangents = forward_ad.unpack_dual(loss).tangent
            return None if tangents is None else tangents.clone()

    return student.without_graph(dual_pass)


def _compiled(
    student: Student,
    batch: Batch,
    parameters: Named,
    direction: Named,
    buffers: Named,
    kept: LayerOutputs | None,
) -> Tensor | None:
    assert student.compiled is not None
    moving = {n: parameters[n] for n in direction}
    still = {n: p for n, p in student.complete(parameters, buffers).items() if n not in direction}
    with torch.no_grad():
        outputs, tangents = student.compiled.directional(
            moving, direction, still, student.execution.inputs(batch), kept
        )
        with forward_ad.dual_level():
            duals = dual_outputs(outputs, tangents)
            loss = units_of(student.loss, duals, logits_in(duals, student.logits), batch).loss
            slopes = forward_ad.unpack_dual(loss).tangent
            return None if slopes is None else slopes.clone()
