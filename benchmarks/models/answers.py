"""Right or refused: every engine's answer in float64 beside real steps of the real optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

import metaweight as mw
from benchmarks.models.zoo import BATCH, Model
from metaweight.testing.oracles import relative

STEPS = (1e-5, 1e-6, 1e-7)
"""Of central differences: small, for a ReLU or a maximum has kinks; the first that is SURE is taken."""
SURE = 1e-6
"""How far differences of steps of h and 2 h may differ, relatively."""
EXACT, SINGLE, LOOSE = 1e-6, 1e-4, 1e-3
"""Relative errors that exact engines, these in models with parts in float32, and ``difference`` may have."""


@dataclass(frozen=True)
class Answer:
    """What an engine makes of a model."""

    kind: str
    """right, wrong, refused or fails."""
    error: float | None = None
    """Relative, of the slopes or of the student's gradient, whichever is worse."""
    words: str = ""
    """The reason of a refusal or failure; the engine that ``auto`` took."""


@dataclass(frozen=True)
class Problem:
    """A student two steps old with its batches, and what a real step comes to."""

    model: Model
    module: nn.Module
    optimizer: torch.optim.Optimizer
    train: mw.Batch
    meta: mw.Batch
    weights: Tensor
    slopes: Tensor
    """dL_meta/dw [U] by central differences of order 4."""
    doubt: float
    """How far plain ones of steps of h and 2 h differ, relatively."""
    gradient: Mapping[str, Tensor]
    single: bool
    """Whether the model computes some of it in float32, though its parameters are float64."""


def problem_of(model: Model, seed: int) -> Problem:
    """The model in float64 after two real steps, in training mode, dropout as configured."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    module = model.build("tiny").double().train()
    units = BATCH["tiny"]
    optimizer = model.optimizer([p for p in module.parameters() if p.requires_grad])
    first, train, meta = (
        in_double(model.batch("tiny", size, 10 * number, generator))
        for number, size in enumerate((units, units, units - 1))
    )
    weights = torch.rand(units, generator=generator, dtype=torch.float64) + 0.5
    for _ in range(2):
        step(model, module, optimizer, first, torch.ones_like(weights))
    optimizer.zero_grad()

    def meta_loss(moved: Tensor) -> float:
        torch.manual_seed(seed)
        own, its = copy.deepcopy((module, optimizer))
        with sdpa_kernel(SDPBackend.MATH):
            step(model, own, its, train, moved)
            with torch.no_grad():
                return float(losses(model, own, meta).mean())

    with InDouble() as double:
        slopes, doubt = min(_differences(meta_loss, weights), key=lambda tried: tried[1])
        torch.manual_seed(seed)
        own, its = copy.deepcopy((module, optimizer))
        step(model, own, its, train, weights)
    gradient = {name: p.grad for name, p in own.named_parameters() if p.grad is not None}
    return Problem(
        model, module, optimizer, train, meta, weights, slopes, doubt, gradient, double.asked_for_single
    )


def _differences(function: Callable[[Tensor], float], at: Tensor) -> Iterator[tuple[Tensor, float]]:
    """Slopes of order 4 with their doubt, of ever smaller steps until one is sure."""
    for h in STEPS:
        near, far = _central(function, at, h), _central(function, at, 2 * h)
        doubt = relative(far, near)
        yield (4 * near - far) / 3, doubt
        if doubt <= SURE:
            return


def _central(function: Callable[[Tensor], float], at: Tensor, h: float) -> Tensor:
    units = h * torch.eye(len(at), dtype=at.dtype)
    return torch.tensor([(function(at + u) - function(at - u)) / (2 * h) for u in units], dtype=at.dtype)


class InDouble(TorchFunctionMode):
    """Whatever asks for float32 gets float64, for differences drown in the rounding of norms in float32.

    ``asked_for_single``: whether anything did.
    """

    def __init__(self) -> None:
        super().__init__()
        self.asked_for_single = False

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.float:
            func, self.asked_for_single = Tensor.double, True
        if torch.float32 in [*_dtypes(args), *_dtypes(kwargs.values())]:
            self.asked_for_single = True
            args = tuple(_raised(value) for value in args)
            kwargs = {key: _raised(value) for key, value in kwargs.items()}
        return func(*args, **kwargs)


def _dtypes(values: Iterable[Any]) -> list[torch.dtype]:
    return [value for value in values if isinstance(value, torch.dtype)]


def _raised(value: Any) -> Any:
    return torch.float64 if isinstance(value, torch.dtype) and value == torch.float32 else value


def losses(model: Model, module: nn.Module, batch: mw.Batch) -> Tensor:
    """The unit losses as a user computes them, without metaweight's Student."""
    outputs = module(**batch.inputs)
    found = model.loss(outputs if isinstance(outputs, Tensor) else outputs.logits, batch.targets)
    return found if isinstance(found, Tensor) else found.loss


def step(
    model: Model, module: nn.Module, optimizer: torch.optim.Optimizer, batch: mw.Batch, weights: Tensor
) -> None:
    """A weighted step."""
    optimizer.zero_grad()
    (weights * losses(model, module, batch)).mean().backward()
    optimizer.step()


def in_double(batch: mw.Batch) -> mw.Batch:
    """The batch with its real-valued inputs in float64."""
    inputs = {k: v.double() if v.is_floating_point() else v for k, v in batch.inputs.items()}
    return mw.Batch(inputs=inputs, targets=batch.targets, index=batch.index)


def engine_for(name: str, optimizer: torch.optim.Optimizer) -> mw.engines.Engine:
    """``reverse`` keeps snapshots where there is no momentum to undo."""
    undone = isinstance(optimizer, torch.optim.SGD) and all(g["momentum"] for g in optimizer.param_groups)
    options = {"replay": "snapshots"} if name == "reverse" and not undone else {}
    return mw.engines.build_engine(name, **options)


def answer(problem: Problem, name: str, seed: int) -> Answer:
    """Of the engine ``name``, which finds the same masks as the real step."""
    engine = engine_for(name, problem.optimizer)
    leaf = problem.weights.clone().requires_grad_()
    torch.manual_seed(seed)
    try:
        found = mw.hypergradient(
            problem.model.student(problem.module),
            problem.optimizer,
            problem.train,
            problem.meta,
            lambda _state: leaf,
            [leaf],
            engine,
        )
    except (mw.MetaweightError, ValueError, TypeError) as error:
        return Answer("refused", words=line(error))
    except Exception as error:  # the table says so of any other error
        return Answer("fails", words=f"{type(error).__name__}: {line(error)}")
    error = max(relative(found.grads[0], problem.slopes), _off(found.gradient, problem.gradient))
    allowed = (SINGLE if problem.single else EXACT) if engine.abilities.exact else LOOSE
    return Answer("right" if error <= allowed else "wrong", error, engine.choice.split(":")[0])


def _off(found: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> float:
    names = sorted(right)
    ours = [found[n] if n in found else torch.zeros_like(right[n]) for n in names]
    return relative(torch.cat([g.flatten() for g in ours]), torch.cat([right[n].flatten() for n in names]))


def line(error: Exception) -> str:
    """Its first line, short enough for a table."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
