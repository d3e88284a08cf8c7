"""What every engine and schedule asks of losses, weights and slopes."""

from __future__ import annotations

from torch import Tensor

from metaweight.contracts import NonFiniteError


def checked_weights(weights: Tensor, index: Tensor) -> Tensor:
    """``weights`` [U] if they can be those of the units ``index`` [U]: shape, finite, non-negative.

    Raises TypeError for what is no floating tensor, ValueError for others.
    """
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        got = f"a tensor of {weights.dtype}" if isinstance(weights, Tensor) else type(weights).__name__
        raise TypeError(f"a teacher gives a floating tensor of weights [{len(index)}], got {got}")
    if weights.shape != index.shape:
        raise ValueError(f"a teacher gives weights of shape [{len(index)}], got {tuple(weights.shape)}")
    require_finite("weight", weights, index)
    if bool((weights.detach() < 0).any()):
        raise ValueError(f"weights are non-negative, got a minimum of {float(weights.detach().min()):.3g}")
    return weights


def require_finite(what: str, values: Tensor, index: Tensor) -> None:
    """Raise NonFiniteError, with the samples' indices, where one of ``values`` [U] is NaN or infinite."""
    bad = ~values.detach().isfinite()
    if bool(bad.any()):
        found = index[bad.to(index.device)]
        shown = ", ".join(str(int(i)) for i in found[:10]) + (", ..." if len(found) > 10 else "")
        raise NonFiniteError(
            f"the {what} of {len(found)} of {len(index)} samples is NaN or infinite (index {shown}); "
            "look at these samples, or lower the learning rate",
            found.cpu(),
        )
