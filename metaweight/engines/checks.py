"""What every engine and schedule asks of losses, weights and slopes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from metaweight.core.contracts import Forward, MetaweightError, NonFiniteError
from metaweight.core.reads import doubt
from metaweight.core.submodules import submodules
from metaweight.student.student import Student


def checked_weights(weights: Tensor, index: Tensor) -> Tensor:
    """``weights`` [U] if they can be those of the units ``index`` [U]: shape, finite, non-negative.

    Raises TypeError for what is no floating tensor, ValueError for others.
    """
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        got = f"a tensor of {weights.dtype}" if isinstance(weights, Tensor) else type(weights).__name__
        raise TypeError(f"a teacher gives a floating tensor of weights [{len(index)}], got {got}")
    if weights.shape != index.shape:
        raise ValueError(f"a teacher gives weights of shape [{len(index)}], got {tuple(weights.shape)}")
    values = weights.detach()

    def fail() -> None:
        _refuse_not_finite("weight", values, index)
        raise ValueError(f"weights are non-negative, got a minimum of {float(values.min()):.3g}")

    doubt(~((values >= 0) & (values != math.inf)).all(), fail)
    return weights


def require_finite_losses(what: str, forward: Forward, *, where: Tensor | None = None) -> None:
    """Raise NonFiniteError, in all processes, where a loss of the joined batch is NaN or infinite.

    ``where``: a single bool, whether it matters.
    """
    # not the pass itself, whose graph holds what is as large as the parameters
    losses, index, part = forward.losses, forward.index, forward.part
    bad = ~losses.isfinite().all()
    doubt(
        bad if where is None else bad & where,
        lambda: _refuse_not_finite(what, losses, part.join(index)),
    )


def require_finite(what: str, values: Tensor, index: Tensor) -> None:
    """Raise NonFiniteError, with the samples' indices, where one of ``values`` [U] is NaN or infinite."""
    values = values.detach()
    doubt(~values.isfinite().all(), lambda: _refuse_not_finite(what, values, index))


def _refuse_not_finite(what: str, values: Tensor, index: Tensor) -> None:
    bad = ~values.isfinite()
    if bool(bad.any()):
        samples = index[bad.to(index.device)]
        names = ", ".join(str(int(i)) for i in samples[:10]) + (", ..." if len(samples) > 10 else "")
        raise NonFiniteError(
            f"the {what} of {len(samples)} of {len(index)} samples is NaN or infinite (index {names}); "
            "look at these samples, or lower the learning rate",
            samples.cpu(),
        )


class EngineError(MetaweightError):
    """An engine cannot differentiate this student: the message names the part and an engine that can."""


REENTRANT = (
    "the student uses reentrant checkpointing, which hides its parameters from meta-gradients; "
    "call torch.utils.checkpoint.checkpoint(..., use_reentrant=False)"
)


def refuse_whole(able: bool, steps: int) -> None:
    """Raise EngineError for what takes a sharded student's parameters as a whole: engines that are not
    ``able`` and several inner ``steps``."""
    if steps > 1:
        raise EngineError(
            f"{steps} inner steps take a student's parameters as a whole, and fully_shard has sharded them: "
            "take one step (unroll=1)"
        )
    if not able:
        raise EngineError(
            "this engine takes a student's parameters as a whole, and fully_shard has sharded them: use "
            "engine='ghost', which is exact, or engine='difference'"
        )


def refuse_gradient_hooks(student: Student) -> None:
    """Raise EngineError where hooks change gradients of live parameters, which copies do not carry."""
    for name, parameter in student.parameters().items():
        if parameter._backward_hooks:
            raise EngineError(
                f"a hook on the parameter {name!r} may change its gradient, and copies of it carry none; use "
                "engine='double', which differentiates the hook too"
            )


def refuse_parted_states(student: Student, through_state: bool) -> None:
    """Raise EngineError where a gradient is to pass through states that lie in several processes."""
    if through_state and student.processes.size > 1:
        raise EngineError(
            "through_state=True takes one process: what a teacher sees of the others' units comes without a "
            "graph; leave it out, as the paper does"
        )


def couples(layer: nn.Module) -> bool:
    """Whether one sample's output depends on the others in its batch, as far as a class can tell."""
    normalises = isinstance(layer, nn.modules.batchnorm._BatchNorm)
    return normalises and (layer.training or layer.running_mean is None)


def refuse_parted_statistics(student: Student) -> None:
    """Raise MetaweightError where the statistics of a batch would be those of one process's part of it."""
    if student.processes.size == 1:
        return
    for _, part in student.moving.parts:
        if couples(part):
            raise MetaweightError(
                f"{described(student.module, part)} takes the mean over a batch, and each process has a part "
                "of it: another student than in one process. Use GroupNorm, or let its statistics stand, "
                ".eval() on that norm after .train() on the student"
            )


def refuse_changed_gradients(student: Student) -> None:
    """Raise EngineError for a part whose backward is no derivative: of the train loss's gradient that may be
    meant, but it changes the meta loss's and second derivatives as well."""
    for _, part in student.moving.parts:
        if part._backward_hooks or part._backward_pre_hooks:
            raise EngineError(
                f"the backward hook of {described(student.module, part)} may change gradients of every pass; "
                "remove it, or hook the parameter (register_hook) and use engine='double'"
            )
        if getattr(part, "scale_grad_by_freq", False):
            raise EngineError(
                f"{described(student.module, part)} has scale_grad_by_freq, which makes its backward another "
                "thing than the derivative of the meta loss; build it with scale_grad_by_freq=False"
            )


def refuse_moved_parameters(student: Student) -> None:
    """Raise EngineError where a pass changes trainable parameters in place: virtual ones would too."""
    moving = student.moving
    for name in moving.trainable | (moving.frozen & student.parameters().keys()):
        part = described(student.module, student.module.get_submodule(name.rpartition(".")[0]))
        raise EngineError(
            f"a pass changes the trainable parameter {name!r} of {part} in place, as an Embedding with "
            "max_norm does: no step from there can be differentiated; change it after the step instead"
        )


def first_line(error: Exception) -> str:
    """What torch says, short enough to quote in a message of ours."""
    return str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__


# as torch words it: "derivative for X is not implemented", of the second derivative
_NO_SECOND_DERIVATIVE = (
    "not implemented",
    "once_differentiable",
    "does not currently support double backward",  # a part, or the loss, went through torch.compile
    "A view was created in no_grad mode",  # the backward of a nested tensor
)


def way_out(error: Exception, otherwise: str) -> str:
    """The advice ``otherwise``, or that for a part which few engines take."""
    if "embedding_bag" not in str(error):
        return otherwise
    return (
        "engines 'ghost' and 'difference' take an EmbeddingBag; nn.Embedding and the mean over its vectors "
        "do the same, and every engine takes them"
    )


def refuse_compiled(student: Student) -> None:
    """Raise EngineError for a compiled student: torch has no second derivative of its passes."""
    if student.compiled is not None:
        raise EngineError(
            "a compiled student's passes have no second derivative; use engine='forward', 'difference' or "
            "'higher', which does not compile"
        )


@contextmanager
def double_backward() -> Iterator[None]:
    """Raise EngineError where an operator inside has no second derivative."""
    try:
        yield
    except RuntimeError as error:
        if not any(phrase in str(error) for phrase in _NO_SECOND_DERIVATIVE):
            raise
        advice = way_out(error, "try engine='forward' or 'difference', or replace it")
        raise EngineError(
            f"the student has an operator without double backward ({first_line(error)}); {advice}"
        ) from error


def described(module: nn.Module, part: nn.Module) -> str:
    """``part`` of ``module`` in a message: ``'name' (Class)``; without a name ``the student (Class)``."""
    name = next((name for name, submodule in submodules(module) if submodule is part), "")
    return f"{name!r} ({type(part).__name__})" if name else f"the student ({type(part).__name__})"
