"""Engine ``implicit``: the implicit function theorem at an optimum of the weighted loss."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from metaweight.core.contracts import Forward
from metaweight.core.registry import did_you_mean
from metaweight.engines.abilities import Abilities
from metaweight.engines.adjoint import leaves_of
from metaweight.engines.base import Problem, registry
from metaweight.engines.checks import EngineError
from metaweight.engines.double import DoubleBackward, Graph
from metaweight.engines.inner.rules import Options
from metaweight.engines.one_step import NO_INFLUENCE, Differentiated, TrainPass, meta_pass
from metaweight.student.student import Named

SOLVERS = ("cg", "neumann")


class ImplicitWarning(UserWarning):
    """The linear system was not solved: the batch's loss is not convex here, or the iterations ran out."""


@registry.register("implicit")
class Implicit(DoubleBackward):
    """dL/dw_i = -<x, grad loss_i> / U, where (H + damping) x = grad L_meta at the present theta.

    H is the Hessian of mean(w * loss) + decay |theta|^2 / 2 on the train batch, with the optimizer's weight
    decay: theta must be near that loss's minimum, as after an inner problem solved to its end; the
    learning rate, the momentum and clipping do not matter.  ``solver``: conjugate gradient ("cg") or the
    Neumann series ("neumann"), whose terms shrink while ``rate`` * H < 2 (None: 1 / the largest eigenvalue
    of H, by ten power steps).  Each of up to ``iterations`` costs one Hessian-vector product; done when
    the residual is below ``accuracy`` of the right side.  Lorraine et al. (2020), Rajeswaran et al. (2019).
    Raises ValueError for options out of range, EngineError for decoupled weight decay (AdamW).
    """

    abilities = Abilities(exact=False, gathers=False)
    summary = "at an optimum of the inner loss; implicit function theorem, conjugate gradient or Neumann"

    def __init__(
        self,
        solver: Literal["cg", "neumann"] = "cg",
        iterations: int = 20,
        damping: float = 0.0,
        accuracy: float = 1e-6,
        rate: float | None = None,
    ) -> None:
        if solver not in SOLVERS:
            raise ValueError(f"unknown solver {solver!r}.{did_you_mean(solver, SOLVERS)}")
        if iterations < 1 or damping < 0 or accuracy <= 0 or (rate is not None and rate <= 0):
            raise ValueError(
                "iterations is 1 or more, damping 0 or more, accuracy and rate are positive, got "
                f"{iterations}, {damping}, {accuracy} and {rate}"
            )
        super().__init__()
        self.solver, self.iterations, self.damping = solver, iterations, damping
        self.accuracy, self.rate = accuracy, rate
        self._warned = False

    def direction(
        self, problem: Problem, train: TrainPass, differentiated: Differentiated
    ) -> tuple[Forward, dict[str, Tensor]]:
        """See ``OneStep``: u = -x."""
        assert isinstance(differentiated, Graph)
        parameters = train.student.parameters()
        here = leaves_of(parameters)
        meta, right = meta_pass(problem, here, train.recorded.buffers, train.inner)
        right = {name: g for name, g in right.items() if name in differentiated.gradient}
        if not right:
            raise EngineError(NO_INFLUENCE)
        decay = {name: _decay(train.inner.options[name]) + self.damping for name in right}

        def hessian(v: Named) -> dict[str, Tensor]:
            product = train.whole(differentiated.hessian_product(v))
            return {name: product[name] + decay[name] * v[name] for name in v}

        x = self._conjugate_gradient(hessian, right) if self.solver == "cg" else self._neumann(hessian, right)
        return meta, {name: -value for name, value in x.items()}

    def _conjugate_gradient(self, hessian: Product, right: Named) -> Named:
        x = {name: torch.zeros_like(b) for name, b in right.items()}
        residual, towards = right, right
        square = start = _dot(right, right)
        for _ in range(self.iterations):
            if bool(square <= self.accuracy**2 * start):
                return x
            product = hessian(towards)
            curvature = _dot(towards, product)
            if bool(curvature <= 0):
                self._warn("the inner loss curves down along a search direction: raise damping")
                return x if bool(_dot(x, x) > 0) else right
            length = square / curvature
            x = _sum(x, towards, length)
            residual = _sum(residual, product, -length)
            before, square = square, _dot(residual, residual)
            towards = _sum(residual, towards, square / before)
        self._report_residual(square, start)
        return x

    def _neumann(self, hessian: Product, right: Named) -> Named:
        rate = self.rate if self.rate is not None else 1 / _largest_eigenvalue(hessian, right)
        x = term = {name: rate * b for name, b in right.items()}
        start = square = _dot(term, term)
        for _ in range(self.iterations):
            term = _sum(term, hessian(term), -rate)
            square = _dot(term, term)
            if not bool(square <= 4 * start):
                raise EngineError(
                    f"the Neumann series grows: rate {float(rate):.3g} is above 2 / the largest eigenvalue "
                    "of the Hessian, or the loss curves down; lower rate, raise damping, or use solver='cg'"
                )
            x = _sum(x, term, 1.0)
            if bool(square <= self.accuracy**2 * start):
                return x
        self._report_residual(square, start)
        return x

    def _report_residual(self, square: Tensor, start: Tensor) -> None:
        residual = float((square / start).sqrt())
        if residual > self.accuracy:
            self._warn(
                f"{self.iterations} iterations leave a residual of {residual:.1e} of the right side: "
                "raise iterations or damping"
            )

    def _warn(self, message: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(f"engine implicit: {message}", ImplicitWarning, stacklevel=7)


Product = Callable[[Named], dict[str, Tensor]]


def _decay(options: Options) -> float:
    """The weight decay, and that of ASGD, as a penalty decay |theta|^2 / 2 of the inner loss."""
    if options.get("maximize"):
        raise EngineError("an inner loss that is maximized has no minimum to be at: negate the loss")
    decay = float(options.get("weight_decay", 0.0)) + float(options.get("lambd", 0.0))
    if decay and options.get("decoupled_weight_decay", False):
        raise EngineError(
            "decoupled weight decay (AdamW, Muon, Adafactor) is no part of any inner loss: use adam or sgd "
            "with weight_decay, or another engine"
        )
    return decay


def _largest_eigenvalue(hessian: Product, start: Named) -> Tensor:
    v, norm = start, _dot(start, start).sqrt()
    for _ in range(10):
        v = hessian({name: value / norm for name, value in v.items()})
        norm = _dot(v, v).sqrt()
    return norm


def _dot(a: Named, b: Named) -> Tensor:
    return torch.stack([(a[n].conj() * b[n]).real.sum() for n in a]).sum()


def _sum(a: Named, b: Named, factor: Tensor | float) -> dict[str, Tensor]:
    return {name: value + factor * b[name] for name, value in a.items()}
