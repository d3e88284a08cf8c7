"""What every engine must hold: the numbers, what it leaves alone, and what it says of itself."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from metaweight.core.contracts import Batch, NonFiniteError
from metaweight.core.randomness import RandomState
from metaweight.engines import Engine, EngineError, build_engine
from metaweight.engines.base import Recorded
from metaweight.student.student import Student
from metaweight.testing import ridge
from metaweight.testing.engine_subject import ADVICE, Subject
from metaweight.testing.oracles import live_tensors, relative
from metaweight.testing.problems import OPTIMIZERS, falling_rates, problem, samples, weights_for
from metaweight.testing.rules import changed, refused, require, require_all


def check_engine(engine: str | Engine) -> dict[str, str]:
    """Raise ContractError where an engine, by name or built, breaks a rule of the contract.

    An exact one is compared with real steps of torch's optimizers in float64; of one that is not exact only
    the ridge problem's numbers are.  Returns what it refuses where its abilities leave that open: problem ->
    words of its EngineError.
    """
    who = f"engine {engine!r}" if isinstance(engine, str) else f"engine {type(engine).__name__}"
    subject = Subject(build_engine(engine))
    with warnings.catch_warnings():
        if not subject.abilities.exact:
            warnings.simplefilter("ignore")  # an approximation may well say that it is rough here
        require_all(who, subject, RULES)
    return subject.refusals


def it_says_what_it_is(subject: Subject) -> None:
    """An engine has a summary of one line, and Abilities."""
    summary = getattr(subject.engine, "summary", "")
    require(bool(summary) and "\n" not in summary, f"got {summary!r}; say how, at what cost, for whom not")
    most = subject.abilities.steps
    require(most is None or most >= 1, f"got steps={most}; 1 or more, None for any number")


def nothing_live_is_touched(subject: Subject) -> None:
    """Module, buffers, gradients, optimizer and random state are left bit for bit."""
    steps = problem("batchnorm" if subject.abilities.coupled else "dropout")
    before = live_tensors(steps.student, steps.optimizer)
    with refused(EngineError, "BatchNorm", ADVICE):  # whether it may refuse is another rule's to say
        subject.answer(steps, weights_for(steps))
    moved = changed(before, live_tensors(steps.student, steps.optimizer))
    require(not moved, f"it changes {', '.join(moved)}; work on copies, on Student.functional")


def one_step_has_its_closed_form(subject: Subject) -> None:
    """The slope of one SGD step is -(lr / n) <grad meta(theta'), grad loss_i(theta)>, at zero weights too."""
    if not subject.abilities.exact:
        steps, w = ridge.at_optimum()
        ours = subject.answer(steps, [w]).grads[0]
        closed_forms = (ridge.slopes_of_a_step, ridge.slopes_of_the_optimum)
        off = min(relative(ours, slopes(*ridge.ridge())) for slopes in closed_forms)
        require(off <= 1e-3, f"ridge regression: off by {off:.1e} both of a step and of the optimum's slopes")
        return
    steps = problem("layers", warm=0)
    group, parameters = steps.optimizer.param_groups[0], list(steps.student.module.parameters())
    for weights in (weights_for(steps), [torch.zeros(len(steps.train[0])).double()]):
        losses = steps.student(steps.train[0]).loss
        each = [torch.autograd.grad(loss, parameters, retain_graph=True) for loss in losses]
        moved, _ = steps.taken(weights)
        meta = steps.loss(steps.meta.call(moved), steps.meta.targets).mean()
        slope = torch.autograd.grad(meta, list(moved.parameters()))
        products = [_inner_product(slope, one) for one in each]
        truth = -group["lr"] / len(each) * torch.stack(products)
        off = relative(subject.answer(steps, weights).grads[0], truth)
        require(off <= 1e-9, f"got slopes that are off by {off:.1e} of that")


def _inner_product(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return torch.cat([(one * other).flatten() for one, other in zip(a, b, strict=True)]).sum()


def every_optimizer_is_right_or_refused(subject: Subject) -> None:
    """A step of SGD, momentum, Nesterov, Adam or AdamW, warm or clipped, is right or refused."""
    for name in OPTIMIZERS:
        steps = problem("layers", name)
        for max_norm in (None, 0.05):
            subject.require_right(f"optimizer {name}", replace(steps, max_norm=max_norm), able=None)
    require("optimizer momentum" not in subject.refusals, "it refuses SGD with momentum; take that at least")


def random_masks_are_those_of_the_real_step(subject: Subject) -> None:
    """Dropout draws the masks that a plain pass would draw now."""
    subject.require_right("dropout", problem("dropout"))


def coupled_batches_are_right_where_it_says_so(subject: Subject) -> None:
    """BatchNorm couples a batch: right with abilities.coupled, refused without."""
    subject.require_right("BatchNorm", problem("batchnorm"), able=subject.abilities.coupled)


def tokens_are_right_where_it_says_so(subject: Subject) -> None:
    """A token of a sentence is a unit: right with abilities.tokens, refused without."""
    subject.require_right("tokens", problem("tokens"), able=subject.abilities.tokens)


def attention_is_right_or_refused(subject: Subject) -> None:
    """Attention, in the form that abilities.written_out_attention asks for, is right or refused."""
    subject.require_right("attention", problem("attention"), able=None)


def as_many_steps_as_it_says_are_right(subject: Subject) -> None:
    """The most steps that abilities.steps allows, three for None, are right at falling learning rates."""
    steps = problem("dropout", steps=subject.abilities.steps or 3)
    subject.require_right("inner steps", replace(steps, rates=falling_rates(steps)))


def what_is_out_of_scope_is_constant(subject: Subject) -> None:
    """Through ``scope`` alone: the step of all other parameters counts as constant."""
    subject.require_right("a scope", replace(problem("layers"), scope=["0"]))


def the_train_gradient_is_given(subject: Subject) -> None:
    """``gradient`` is that of the weighted loss; with abilities.weighs_again also at other weights."""
    steps = problem("layers")
    (weights,) = weights_for(steps)
    result = subject.answer(steps, [weights])

    def gradient_at(w: Tensor) -> dict[str, Tensor]:
        named = steps.student.parameters()
        loss = (w * steps.student(steps.train[0]).loss).mean()
        return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))

    _require_gradient("gradient", result.gradient, gradient_at(weights))
    if subject.abilities.weighs_again:
        require(result.gradient_at is not None, "gradient_at is None; set it, or say weighs_again=False")
        assert result.gradient_at is not None
        other = weights.flip(0)
        _require_gradient("gradient_at", result.gradient_at(other), gradient_at(other))


def _require_gradient(name: str, ours: Mapping[str, Tensor], truth: Mapping[str, Tensor]) -> None:
    require(truth.keys() <= ours.keys(), f"{name} lacks {', '.join(truth.keys() - ours.keys())}")
    wrong = [n for n, g in truth.items() if not torch.allclose(ours[n], g, rtol=1e-9, atol=1e-12)]
    require(not wrong, f"{name} is wrong for {', '.join(wrong)}")


def a_window_ends_where_real_steps_end(subject: Subject) -> None:
    """With abilities.ends_window the inner steps lead where the same real steps lead."""
    if not subject.abilities.ends_window:
        return
    steps = problem("dropout", steps=subject.abilities.steps or 3)
    weights = weights_for(steps)
    end = subject.answer(steps, weights).end
    require(end is not None, "end is None; set it, or say ends_window=False")
    assert end is not None
    random = RandomState.of(steps.student.device)
    module, own = steps.taken(weights)
    truth = live_tensors(Student(module), own)
    random.restore(steps.student.device)
    end.take_over(steps.student, steps.optimizer)
    here = live_tensors(steps.student, steps.optimizer)
    random.restore(steps.student.device)
    own_way = [name for name in truth if not name.endswith(".grad")]
    far = [n for n in own_way if not torch.allclose(here[n].double(), truth[n].double(), rtol=1e-9)]
    require(not far, f"{', '.join(far)} end elsewhere")


def a_pass_that_was_made_before_is_shared(subject: Subject) -> None:
    """A train pass made inside keeping(student) gives the same, and can still be backpropagated through."""
    steps = problem("dropout")
    weights = weights_for(steps)
    random = RandomState.of(steps.student.device)
    expected = subject.answer(steps, weights).grads[0]
    with subject.engine.keeping(steps.student) as kept:
        forward = steps.student(steps.train[0])
    recorded = Recorded(forward, steps.student.buffers(), random, kept=kept)
    ours = subject.answer(steps, weights, recorded).grads[0]
    random.restore(steps.student.device)
    off = relative(ours, expected)
    require(off <= 1e-9, f"got slopes off by {off:.1e} of those without")
    torch.autograd.grad(forward.loss.mean(), list(steps.student.parameters().values()))


def what_is_no_number_is_an_error(subject: Subject) -> None:
    """A loss or a weight that is NaN raises NonFiniteError, a negative weight or another shape ValueError."""
    steps = problem("layers")
    (weights,) = weights_for(steps)
    broken = samples(len(weights), 1).args[0] * float("nan")
    batch = Batch((broken,), steps.train[0].targets, steps.train[0].index)
    poisoned = replace(steps, train=[batch])
    _require_raised(NonFiniteError, "a loss of NaN", lambda: subject.answer(poisoned, [weights]))
    for error, what, bad in (
        (NonFiniteError, "weights of NaN", weights * float("nan")),
        (ValueError, "negative weights", -weights),
        (ValueError, "weights of another shape", weights[:-1]),
    ):
        _require_raised(error, what, lambda bad=bad: subject.answer(steps, [bad]))  # type: ignore[misc]


def an_optimizer_without_influence_is_refused(subject: Subject) -> None:
    """Where the meta loss depends on no parameter that the optimizer moves, an EngineError says so."""
    steps = problem("idle")
    module = steps.student.module.get_submodule("idle")
    steps = replace(steps, optimizer=torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.5))
    _require_raised(EngineError, "it", lambda: subject.answer(steps, weights_for(steps)))


def _require_raised(kind: type[Exception], what: str, call: Callable[[], object]) -> None:
    with refused(kind, what, "use metaweight.engines.checks") as answer:
        call()
    require(bool(answer), f"it takes {what}; raise {kind.__name__}, see metaweight.engines.checks")


RULES: tuple[Callable[[Subject], None], ...] = (
    it_says_what_it_is,
    nothing_live_is_touched,
    one_step_has_its_closed_form,
    every_optimizer_is_right_or_refused,
    random_masks_are_those_of_the_real_step,
    coupled_batches_are_right_where_it_says_so,
    tokens_are_right_where_it_says_so,
    attention_is_right_or_refused,
    as_many_steps_as_it_says_are_right,
    what_is_out_of_scope_is_constant,
    the_train_gradient_is_given,
    a_window_ends_where_real_steps_end,
    a_pass_that_was_made_before_is_shared,
    what_is_no_number_is_an_error,
    an_optimizer_without_influence_is_refused,
)
