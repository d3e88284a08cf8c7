"""An engine that breaks a rule is caught by that rule; ours keep them all and refuse what is written here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import metaweight as mw
from metaweight.core.contracts import MetaweightError
from metaweight.engines import Abilities, Engine, EngineError, Reverse
from metaweight.engines.base import Problem, Solution
from metaweight.engines.forward import ForwardMode
from metaweight.engines.ghost import Ghost
from metaweight.engines.higher_copy import HigherCopy
from metaweight.testing import ContractError, check_engine

OF_GHOST = {"BatchNorm": "couples the samples", "tokens": "no slopes for tokens"}
REFUSALS: dict[str, dict[str, str]] = {
    "ghost": OF_GHOST,
    "first-order": OF_GHOST,
    "implicit": {"optimizer adamw": "decoupled weight decay"},
    "reverse": {
        "optimizer sgd": "nothing to undo its steps by",
        "optimizer nesterov": "Nesterov step",
        "optimizer adam": "Adam steps cannot be undone",
        "optimizer adamw": "AdamW steps cannot be undone",
    },
}
"""What an engine refuses where its abilities leave that open, with some of its words; all other is right."""


def require_refusals(found: dict[str, str], expected: dict[str, str]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name, words in expected.items() if words not in found[name]] == []


@pytest.mark.parametrize("name", mw.engines.names())
def test_an_engine_keeps_its_contract(name: str) -> None:
    require_refusals(check_engine(name), REFUSALS.get(name, {}))


def test_reverse_with_snapshots_refuses_nothing() -> None:
    assert check_engine(Reverse("snapshots")) == {}


class Changed(HigherCopy):
    """``higher``, but for one thing."""

    def __init__(self, change: Callable[[Solution], Solution]) -> None:
        super().__init__()
        self.change = change

    def solve(self, problem: Problem) -> Solution:
        return self.change(super().solve(problem))


class Touching(HigherCopy):
    """Changes something live on its way."""

    def __init__(self, touch: Callable[[Problem], object]) -> None:
        super().__init__()
        self.touch = touch

    def solve(self, problem: Problem) -> Solution:
        solution = super().solve(problem)
        with torch.no_grad():
            self.touch(problem)
        return solution


class Deaf(HigherCopy):
    """Solves another problem than the one it was given."""

    def __init__(self, hear: Callable[[Problem], Problem]) -> None:
        super().__init__()
        self.hear = hear

    def solve(self, problem: Problem) -> Solution:
        return super().solve(self.hear(problem))


class Saying(HigherCopy):
    """``higher`` with other abilities."""

    def __init__(self, abilities: Abilities) -> None:
        super().__init__()
        self.abilities = abilities


class Refusing(HigherCopy):
    """Refuses students or optimizers by a test on the problem."""

    def __init__(self, refuses: Callable[[Problem], bool], error: Exception | None = None) -> None:
        super().__init__()
        self.refuses = refuses
        self.error = error or EngineError("this engine has no rule for that; use engine='higher'")

    def solve(self, problem: Problem) -> Solution:
        if self.refuses(problem):
            raise self.error
        return super().solve(problem)


class Silent(HigherCopy):
    summary = ""


class Unchecked(HigherCopy):
    """Takes any weights and losses, and gives slopes of 0 for what it cannot solve."""

    def solve(self, problem: Problem) -> Solution:
        try:
            return super().solve(problem)
        except (MetaweightError, ValueError):
            plain = replace(problem, weigh=lambda state: torch.ones_like(state.loss, requires_grad=True))
            solution = super().solve(replace(plain, train=(problem.meta,)))
            weights = torch.ones(6, requires_grad=True, dtype=torch.float64)
            return replace(
                solution, weights=(weights,), slopes=(torch.zeros(6).double(),), index=(torch.arange(6),)
            )


class TakesWeights(HigherCopy):
    """Takes weights as they are, below zero too."""

    def solve(self, problem: Problem) -> Solution:
        return super().solve(replace(problem, weigh=lambda state: problem.weigh(state).clamp_min(0)))


class WithoutInfluence(HigherCopy):
    def solve(self, problem: Problem) -> Solution:
        try:
            return super().solve(problem)
        except EngineError:
            weights = torch.ones(6, requires_grad=True, dtype=torch.float64)
            zeros, meta = weights.detach() * 0, problem.student(problem.meta)
            return Solution((weights,), (zeros,), meta, (torch.arange(6),), {})


class Rough(ForwardMode):
    """Says that it is an approximation, and is none of anything."""

    abilities = Abilities(exact=False)

    def solve(self, problem: Problem) -> Solution:
        solution = super().solve(problem)
        return replace(solution, slopes=(-solution.slopes[0],))


class Spent(ForwardMode):
    """Uses up the graph of a pass that it shares."""

    def solve(self, problem: Problem) -> Solution:
        solution = super().solve(problem)
        if problem.recorded is not None and problem.recorded.keep_graph:
            torch.autograd.grad(problem.recorded.forward.loss.sum(), [*problem.student.parameters().values()])
        return solution


class OwnMasks(ForwardMode):
    """Solves on masks of its own."""

    def solve(self, problem: Problem) -> Solution:
        torch.rand(1)
        return super().solve(problem)


class Late(Ghost):
    """Gives the gradient at the weights that it has seen, whatever it is asked."""

    def solve(self, problem: Problem) -> Solution:
        solution = super().solve(problem)
        return replace(solution, gradient_at=lambda _weights: solution.gradient)


def scaled(solution: Solution, factor: float) -> Solution:
    return replace(solution, slopes=tuple(factor * slope for slope in solution.slopes))


def bad_gradient(solution: Solution) -> Solution:
    return replace(solution, gradient={name: 2 * g for name, g in solution.gradient.items()})


def wrong_end(solution: Solution) -> Solution:
    assert solution.end is not None
    moved = {name: p + 1e-3 for name, p in solution.end.parameters.items()}
    return replace(solution, end=replace(solution.end, parameters=moved))


def momentum_of(problem: Problem) -> Tensor:
    return next(iter(problem.optimizer.state.values()))["momentum_buffer"]


def with_kind(*names: str) -> Callable[[Problem], bool]:
    return lambda problem: any(type(part).__name__ in names for part in problem.student.module.modules())


def by_token(problem: Problem) -> bool:
    return problem.train[0].targets.dim() == 2


def first(problem: Problem) -> Tensor:
    return next(problem.student.module.parameters())


ANY = Abilities(steps=None, ends_window=True)
DROPOUT = "random_masks_are_those_of_the_real_step"
LIVE = "nothing_live_is_touched"
BROKEN: list[tuple[str, Engine, str, str]] = [
    ("silent", Silent(), "it_says_what_it_is", "got ''; say how"),
    ("no step", Saying(Abilities(steps=0)), "it_says_what_it_is", "got steps=0"),
    ("factor", Changed(lambda s: scaled(s, 1 + 1e-6)), "one_step_has_its_closed_form", "off by 1.0e-06"),
    ("rough", Rough(), "one_step_has_its_closed_form", "both of a step and of the optimum"),
    (
        "no clipping",
        Deaf(lambda p: replace(p, max_norm=None)),
        "every_optimizer_is_right_or_refused",
        "off by .* of central differences",
    ),
    (
        "no momentum",
        Refusing(lambda p: bool(p.optimizer.defaults.get("momentum")) and p.max_norm is not None),
        "every_optimizer_is_right_or_refused",
        "take that at least",
    ),
    (
        "no words",
        Refusing(lambda p: isinstance(p.optimizer, torch.optim.Adam), EngineError("no")),
        "every_optimizer_is_right_or_refused",
        r"refuses optimizer adam with EngineError\('no'\)",
    ),
    (
        "another error",
        Refusing(lambda p: isinstance(p.optimizer, torch.optim.Adam), RuntimeError("this is not for me")),
        "every_optimizer_is_right_or_refused",
        "it raised RuntimeError: this is not for me",
    ),
    ("masks", OwnMasks(), DROPOUT, "dropout: off by"),
    (
        "BatchNorm",
        Refusing(with_kind("BatchNorm1d")),
        "coupled_batches_are_right_where_it_says_so",
        "refuses BatchNorm .* says that it can",
    ),
    (
        "modest",
        Saying(Abilities(steps=None, coupled=False)),
        "coupled_batches_are_right_where_it_says_so",
        "takes BatchNorm, and says that it cannot",
    ),
    ("tokens", Refusing(by_token), "tokens_are_right_where_it_says_so", "refuses tokens .* says that it can"),
    (
        "no tokens",
        Saying(Abilities(steps=None, tokens=False)),
        "tokens_are_right_where_it_says_so",
        "takes tokens, and says that it cannot",
    ),
    (
        "attention",
        Refusing(with_kind("MultiheadAttention"), NotImplementedError("no derivative")),
        "attention_is_right_or_refused",
        "it raised NotImplementedError: no derivative",
    ),
    (
        "rates",
        Deaf(lambda p: replace(p, rates=None)),
        "as_many_steps_as_it_says_are_right",
        "inner steps: off",
    ),
    (
        "short",
        Refusing(lambda p: len(p.train) > 2),
        "as_many_steps_as_it_says_are_right",
        "refuses inner steps",
    ),
    ("scope", Deaf(lambda p: replace(p, scope=None)), "what_is_out_of_scope_is_constant", "a scope: off by"),
    ("parameter", Touching(lambda p: first(p).mul_(1.5)), LIVE, r"changes 0\.weight"),
    ("statistics", Touching(lambda p: p.student(p.meta)), LIVE, r"1\.running_mean"),
    ("mode", Touching(lambda p: p.student.module[1].eval()), LIVE, "training mode"),
    ("momentum", Touching(lambda p: momentum_of(p).add_(1)), LIVE, "momentum_buffer"),
    ("gradient", Changed(bad_gradient), "the_train_gradient_is_given", "gradient is wrong for 0.weight"),
    (
        "no gradient",
        Changed(lambda s: replace(s, gradient={})),
        "the_train_gradient_is_given",
        "gradient lacks",
    ),
    (
        "weighs not again",
        Saying(replace(ANY, weighs_again=True)),
        "the_train_gradient_is_given",
        "gradient_at is None",
    ),
    ("late", Late(), "the_train_gradient_is_given", "gradient_at is wrong"),
    ("no end", Changed(lambda s: replace(s, end=None)), "a_window_ends_where_real_steps_end", "end is None"),
    ("end", Changed(wrong_end), "a_window_ends_where_real_steps_end", "0.weight.* end elsewhere"),
    (
        "new pass",
        Deaf(lambda p: replace(p, recorded=None)),
        "a_pass_that_was_made_before_is_shared",
        "off by .* of those without",
    ),
    ("spent", Spent(), "a_pass_that_was_made_before_is_shared", "RuntimeError"),
    (
        "unchecked",
        Unchecked(),
        "what_is_no_number_is_an_error",
        "takes weights of another shape; raise ValueError",
    ),
    ("negative", TakesWeights(), "what_is_no_number_is_an_error", "takes negative weights; raise ValueError"),
    (
        "no influence",
        WithoutInfluence(),
        "an_optimizer_without_influence_is_refused",
        "takes it; raise EngineError",
    ),
]


@pytest.mark.parametrize(
    ("engine", "rule", "told"),
    [
        pytest.param(*case, id=name, marks=[pytest.mark.slow] if number % 5 else [])
        for number, (name, *case) in enumerate(BROKEN)
    ],
)
def test_a_broken_rule_is_named_with_what_was_got(engine: Engine, rule: str, told: str) -> None:
    with pytest.raises(ContractError, match=told) as caught:
        check_engine(engine)
    assert caught.value.rule == rule
    assert str(caught.value).startswith(f"engine {type(engine).__name__}")
