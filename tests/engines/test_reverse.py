"""Engine ``reverse`` over K steps: against ``higher``, central differences and Algorithm 1 written out."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from slowly import covering
from students import OPTIMIZERS, STUDENTS, Unrepeatable, batch, engine_for, make
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

import metaweight as mw
from metaweight.core.randomness import RandomState
from metaweight.engines import Engine, EngineError, ReplayError, ReplayWarning, Reverse
from metaweight.engines.base import Recorded
from metaweight.engines.higher_copy import HigherCopy
from metaweight.testing.oracles import RealSteps, differences, live_tensors, plain_step, relative, twin
from metaweight.testing.rules import changed

DECAY = 0.7


def window(student: str, steps: int) -> list[mw.Batch]:
    """K batches, each of its own."""
    return [batch(STUDENTS[student][1], 6, 100 + k) for k in range(steps)]


def decaying(optimizer: torch.optim.Optimizer, steps: int) -> list[list[float]]:
    """Learning rates that fall by a third from step to step."""
    return [[group["lr"] * DECAY**k for group in optimizer.param_groups] for k in range(steps)]


def weights_of(step: int) -> Tensor:
    return torch.rand(6, generator=torch.Generator().manual_seed(step), dtype=torch.float64) + 0.5


def slopes(engine: str | Engine, built: tuple[Any, ...], train: list[mw.Batch], **chosen: Any) -> Tensor:
    """dL_meta/dw [K U], w being the tensors themselves; the same masks each time."""
    student, optimizer, _, meta = built
    weights = [weights_of(k).requires_grad_() for k in range(len(train))]
    queue: Iterator[Tensor] = iter(weights)
    torch.manual_seed(3)
    result = mw.hypergradient(
        student, optimizer, train, meta, lambda _s: next(queue), weights, engine, **chosen
    )
    return torch.cat(result.grads)


def off_from_higher(student: str, optimizer: str, warm: int, steps: int, max_norm: float | None) -> float:
    """How far ``reverse`` is from it where the learning rate decays."""
    built, train = make(student, optimizer, warm=warm), window(student, steps)
    rates = decaying(built[1], steps)
    expected, ours = (
        slopes(e, built, train, rates=rates, max_norm=max_norm)
        for e in ("higher", engine_for("reverse", built[1]))
    )
    return relative(ours, expected)


@pytest.mark.parametrize(("student", "optimizer", "warm"), covering(STUDENTS, [("groups", 3), ("adamw", 0)]))
def test_every_student_equals_higher_where_the_learning_rate_decays(
    student: str, optimizer: str, warm: int
) -> None:
    assert off_from_higher(student, optimizer, warm, steps=3, max_norm=0.05) <= 1e-9


@pytest.mark.parametrize(
    ("optimizer", "warm", "steps", "max_norm"),
    covering(OPTIMIZERS, [0, 3], [(1, None), (2, None), (5, 0.05)]),
)
def test_every_optimizer_equals_higher_where_the_learning_rate_decays(
    optimizer: str, warm: int, steps: int, max_norm: float | None
) -> None:
    assert off_from_higher("batchnorm-resnet", optimizer, warm, steps, max_norm) <= 1e-9


@pytest.mark.parametrize(("student", "optimizer"), covering(STUDENTS, ["momentum", "groups"]))
def test_undone_steps_are_those_of_snapshots(student: str, optimizer: str) -> None:
    built, train = make(student, optimizer), window(student, 5)
    rates = decaying(built[1], 5)
    undone, kept = (
        slopes(Reverse(how), built, train, rates=rates, max_norm=0.05) for how in ("momentum", "snapshots")
    )
    assert relative(undone, kept) <= 1e-9


@pytest.mark.parametrize(
    ("engine", "optimizer", "student"),
    covering(
        ["reverse", "higher"],
        ["momentum", "groups", "adamw"],
        ["batchnorm-resnet", "encoder-dropout", "tied-and-frozen"],
    ),
)
def test_equals_central_differences_of_the_real_optimizer(engine: str, optimizer: str, student: str) -> None:
    built, train = make(student, optimizer), window(student, 2)
    rates = decaying(built[1], 2)
    torch.manual_seed(3)
    truth = RealSteps(built[0], built[1], train, built[3], rates=rates).slopes([weights_of(0), weights_of(1)])
    assert relative(slopes(engine_for(engine, built[1]), built, train, rates=rates), torch.cat(truth)) <= 1e-6


@pytest.mark.parametrize("exact", [True, False])
def test_algorithm_1_with_exact_indices_and_as_printed(exact: bool) -> None:
    """The paper's loop, written out: the printed eta_t of its last line is right while it is constant."""
    built, train = make("batchnorm-resnet", "groups"), window("batchnorm-resnet", 4)
    student, optimizer, _, meta = built
    rates = [[0.2 * 0.5**k] * 2 for k in range(4)]
    names, mu = list(student.parameters()), 0.9
    theta = [p.detach().clone() for p in student.parameters().values()]
    v = [optimizer.state[p]["momentum_buffer"].clone() for p in student.parameters().values()]

    def leaves() -> list[Tensor]:
        return [p.detach().requires_grad_() for p in theta]

    def loss_at(at: list[Tensor], one: mw.Batch) -> Tensor:
        return student.functional(one, dict(zip(names, at, strict=True)), student.buffers()).loss

    for t in range(4):
        at = leaves()
        g = torch.autograd.grad((weights_of(t) * loss_at(at, train[t])).mean(), at)
        v = [mu * b + a for a, b in zip(g, v, strict=True)]
        theta = [p - rates[t][0] * b for p, b in zip(theta, v, strict=True)]
    at = leaves()
    d_theta = list(torch.autograd.grad(loss_at(at, meta).mean(), at))
    d_v = [-rates[3][0] * d for d in d_theta]
    found: list[Tensor] = []
    for t in reversed(range(4)):
        theta = [p + rates[t][0] * b for p, b in zip(theta, v, strict=True)]
        at, w = leaves(), weights_of(t).requires_grad_()
        graph = torch.autograd.grad((w * loss_at(at, train[t])).mean(), at, create_graph=True)
        v = [(b - a.detach()) / mu for a, b in zip(graph, v, strict=True)]
        slope, *bent = torch.autograd.grad(graph, [w, *at], d_v)
        found.insert(0, slope)
        d_theta = [d + b for d, b in zip(d_theta, bent, strict=True)]
        rate = rates[t - 1 if exact else t][0]
        d_v = [mu * d - rate * p for d, p in zip(d_v, d_theta, strict=True)]
    off = relative(slopes("reverse", built, train, rates=rates), torch.cat(found))
    assert off <= 1e-9 if exact else off > 0.05


@pytest.mark.parametrize(
    ("steps", "max_norm", "optimizer"),
    covering([1, 3], [None, 0.05], ["momentum", "groups", "adam"], pairs=True),
)
def test_scope_counts_the_other_parameters_steps_as_constants(
    steps: int, max_norm: float | None, optimizer: str
) -> None:
    built, train = make("batchnorm-resnet", optimizer), window("batchnorm-resnet", steps)
    chosen = engine_for("reverse", built[1])
    inside = {"scope": ["conv", "head"], "max_norm": max_norm}
    expected, ours = (slopes(e, built, train, **inside) for e in ("higher", chosen))
    assert relative(ours, expected) <= 1e-9
    assert relative(ours, slopes(chosen, built, train, max_norm=max_norm)) > 1e-2


@pytest.mark.parametrize("engine", [Reverse(), Reverse("snapshots"), "higher"])
def test_nothing_live_is_touched(engine: str | Engine) -> None:
    for student in ("batchnorm-resnet", "encoder-dropout"):
        built, train = make(student, "momentum", warm=1), window(student, 3)
        torch.manual_seed(3)
        before = live_tensors(built[0], built[1])
        slopes(engine, built, train, rates=decaying(built[1], 3))
        assert changed(before, live_tensors(built[0], built[1])) == []
        assert [group["lr"] for group in built[1].param_groups] == [0.2]


@pytest.mark.parametrize("steps", [1, 3])
def test_a_recorded_pass_is_the_first_one(steps: int) -> None:
    """Its masks are replayed and its statistics are not counted twice."""
    built, train = make("encoder-dropout", "momentum"), window("encoder-dropout", steps)
    student, optimizer, _, meta = built
    expected = slopes("reverse", built, train)
    weights = [weights_of(k).requires_grad_() for k in range(steps)]
    queue = iter(weights)
    torch.manual_seed(3)
    buffers, random = student.buffers(), RandomState.of(student.device)
    with sdpa_kernel(SDPBackend.MATH):
        recorded = Recorded(student(train[0]), buffers, random)
    found = mw.hypergradient(
        student, optimizer, train, meta, lambda _s: next(queue), weights, "reverse", recorded=recorded
    )
    assert relative(torch.cat(found.grads), expected) <= 1e-12
    recorded.forward.loss.mean().backward()  # its graph is still there


@pytest.mark.parametrize(
    ("engine", "optimizer", "warm"),
    covering(["reverse", "higher"], ["momentum", "groups", "nesterov", "adam", "amsgrad"], [0, 2]),
)
def test_the_window_ends_where_real_steps_end(engine: str, optimizer: str, warm: int) -> None:
    for name in ("batchnorm-resnet", "encoder-dropout"):
        student, own, _, meta = make(name, optimizer, warm=warm)
        train, rates = window(name, 3), decaying(own, 3)
        module, real = twin(student.module, own)
        torch.manual_seed(3)
        with sdpa_kernel(SDPBackend.MATH):
            for k, one in enumerate(train):
                for group, rate in zip(real.param_groups, rates[k], strict=True):
                    group["lr"] = rate
                plain_step(module, real, one, weights_of(k), 0.5)
        random = torch.get_rng_state()
        queue = iter([weights_of(k).requires_grad_() for k in range(3)])
        torch.manual_seed(3)
        result = mw.hypergradient(
            student,
            own,
            train,
            meta,
            lambda _s, queue=queue: next(queue),
            [],
            engine_for(engine, own),
            max_norm=0.5,
            rates=rates,
        )
        assert result.end is not None
        result.end.take_over(student, own)
        for group, rate in zip(own.param_groups, rates[-1], strict=True):
            group["lr"] = rate
        assert torch.equal(torch.get_rng_state(), random)
        for a, b in zip(student.module.state_dict().values(), module.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
        ours, theirs = own.state_dict()["state"], real.state_dict()["state"]
        assert ours.keys() == theirs.keys()
        for place, state in theirs.items():
            assert ours[place].keys() == state.keys()
            for key, value in state.items():
                torch.testing.assert_close(ours[place][key], value, rtol=1e-12, atol=1e-14)
        for each, net in ((own, student.module), (real, module)):
            torch.manual_seed(4)
            each.param_groups[0]["lr"] = 0.05
            with sdpa_kernel(SDPBackend.MATH):
                plain_step(net, each, meta, torch.ones(5).double())  # and they go on alike
        for a, b in zip(student.module.state_dict().values(), module.state_dict().values(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


class Late(nn.Module):
    """A branch that only inputs with a positive first entry go through."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.branch, self.head = nn.Linear(8, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.trunk(x))
        return self.head(torch.tanh(self.branch(hidden)) if float(x[0, 0]) > 0 else hidden)


@pytest.mark.parametrize("optimizer", ["momentum", "adam"])
@pytest.mark.parametrize("used", [(0, 1, 0, 1), (0, 0, 1, 0), (1, 0, 0, 0), (0, 0, 0, 1)])
def test_a_part_that_some_steps_leave_out(optimizer: str, used: tuple[int, ...]) -> None:
    """Its first momentum buffer appears within the window, or is left alone for a while."""
    torch.manual_seed(0)
    module = Late().double()
    own = OPTIMIZERS[optimizer](list(module.parameters()))

    def marked(seed: int, on: int) -> mw.Batch:
        one = batch((8,), 6, seed)
        x = one.inputs[0].clone()
        x[0, 0] = 1.0 if on else -1.0
        return mw.Batch((x,), one.targets, one.index)

    built = mw.Student(module), own, None, marked(2, 1)
    train = [marked(10 + k, on) for k, on in enumerate(used)]
    ours, expected = (slopes(e, built, train) for e in (engine_for("reverse", own), "higher"))
    assert relative(ours, expected) <= 1e-9


def two_layers(teacher: nn.Module) -> Callable[[mw.StudentState], Tensor]:
    def weigh(state: mw.StudentState) -> Tensor:
        (feature,) = state.features.values()
        seen = torch.stack([state.loss, feature.sum(1), state.outputs.square().sum(1)], dim=1)
        return 2 * teacher(seen).squeeze(1).sigmoid()

    return weigh


@pytest.mark.parametrize(
    ("optimizer", "student"), covering(["momentum", "adamw"], ["batchnorm-resnet", "encoder-dropout"])
)
def test_through_the_state_equals_central_differences_over_the_teacher(optimizer: str, student: str) -> None:
    built, own, _, meta = make(student, optimizer)
    train, rates = window(student, 3), decaying(own, 3)
    torch.manual_seed(9)
    teacher = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()
    weigh, wrt = two_layers(teacher), list(teacher.parameters())

    def real_meta_loss() -> float:
        """K real steps with weights that the teacher gives at each of them."""
        module, optim = twin(built.module, own)
        live = mw.Student(module, taps=built.taps)
        torch.manual_seed(3)
        with sdpa_kernel(SDPBackend.MATH):
            for k, one in enumerate(train):
                for group, rate in zip(optim.param_groups, rates[k], strict=True):
                    group["lr"] = rate
                forward = live(one)
                optim.zero_grad()
                with torch.no_grad():
                    weights = weigh(forward.state())
                (weights * forward.loss).mean().backward()
                optim.step()
            with torch.no_grad():
                return float(live(meta).loss.mean())

    def meta_loss_at(values: Tensor) -> float:
        nn.utils.vector_to_parameters(values, wrt)
        return real_meta_loss()

    here = nn.utils.parameters_to_vector(wrt).detach()
    expected = differences(meta_loss_at, here, h=1e-3)
    nn.utils.vector_to_parameters(here, wrt)

    def flat_grads(engine: Engine) -> Tensor:
        torch.manual_seed(3)
        result = mw.hypergradient(built, own, train, meta, weigh, wrt, engine, rates=rates)
        return torch.cat([g.flatten() for g in result.grads])

    replay = "momentum" if optimizer == "momentum" else "snapshots"
    ours = flat_grads(Reverse(replay, through_state=True))
    assert relative(ours, expected) <= 1e-7
    assert relative(ours, flat_grads(HigherCopy(through_state=True))) <= 1e-9
    # and the path is there: without it the gradient is another
    assert relative(flat_grads(Reverse(replay)), expected) > 1e-4


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        ("sgd", r"momentum 0 in parameter group 0.*replay='snapshots'"),
        ("nesterov", r"Nesterov.*parameter group 0.*replay='snapshots'"),
        ("adam", r"Adam steps cannot be undone.*replay='snapshots'"),
        ("adamw", r"AdamW steps cannot be undone.*replay='snapshots'"),
    ],
)
def test_steps_that_cannot_be_undone_are_refused(optimizer: str, said: str) -> None:
    built = make("batchnorm-resnet", optimizer)
    for steps in (1, 2):
        with pytest.raises(ReplayError, match=said):
            slopes("reverse", built, window("batchnorm-resnet", steps))


def test_options_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"unknown replay 'snapshot'. Did you mean 'snapshots'"):
        Reverse("snapshot")
    with pytest.raises(TypeError, match="through_state is True or False, got 'yes'"):
        Reverse(through_state="yes")
    with pytest.raises(TypeError, match="through_state is True or False"):
        HigherCopy(through_state=1)
    with pytest.raises(TypeError, match=r"engine 'reverse' has no option 'reply'. Did you mean 'replay'"):
        mw.engines.build_engine("reverse", reply="snapshots")
    built = make("batchnorm-resnet", "groups")
    for rates in ([[0.1, 0.1]], [[0.1], [0.1]], [[0.1, 0.1]] * 3):
        with pytest.raises(ValueError, match=r"each of 2 inner step\(s\) and each of 2 parameter group"):
            slopes("reverse", built, window("batchnorm-resnet", 2), rates=rates)


def linear(dtype: torch.dtype, lr: float = 0.05) -> tuple[Any, ...]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3)).to(dtype)
    own = torch.optim.SGD(module.parameters(), lr=lr, momentum=0.9)
    return mw.Student(module), own, None, batch((8,), 6, 2, dtype=dtype)


@pytest.mark.parametrize(("dtype", "steps"), [(torch.float32, 50), (torch.float64, 60)])
def test_no_warning_where_the_way_back_is_good(dtype: torch.dtype, steps: int) -> None:
    train = [batch((8,), 6, k, dtype=dtype) for k in range(steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slopes("reverse", linear(dtype), train)


def test_a_long_way_back_in_single_precision_warns_with_the_expected_error() -> None:
    train = [batch((8,), 6, k, dtype=torch.float32) for k in range(51)]
    with pytest.warns(ReplayWarning, match=r"51 momentum steps.*float32.*eps \* mu\^-K = 2\.6e-05"):
        slopes("reverse", linear(torch.float32), train)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slopes(Reverse("snapshots"), linear(torch.float32), train)


@pytest.mark.parametrize(("replay", "grows"), [("momentum", False), ("snapshots", True)])
def test_momentum_replay_keeps_nothing_of_the_parameters_size_per_step(replay: str, grows: bool) -> None:
    """Live tensors as large as the one big weight, at their most, over the passes of out and back."""
    most: list[int] = []
    for steps in (2, 8):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(37, 41), nn.Tanh(), nn.Linear(41, 3)).double()
        own = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
        student, seen = mw.Student(module), [0]
        plain = student.functional

        def counted(*given: Any, plain: Any = plain, seen: list[int] = seen, **more: Any) -> Any:
            alive = {
                t.untyped_storage().data_ptr()
                for t in gc.get_objects()
                if issubclass(type(t), Tensor) and t.numel() == 37 * 41
            }
            seen[0] = max(seen[0], len(alive))
            return plain(*given, **more)

        student.functional = counted  # type: ignore[method-assign]
        built = student, own, None, batch((37,), 5, 2)
        gc.collect()
        gc.freeze()  # what was there before is not looked through again and again
        try:
            slopes(Reverse(replay), built, [batch((37,), 6, 10 + k) for k in range(steps)])
        finally:
            gc.unfreeze()
        most.append(seen[0])
    assert (most[1] - most[0] >= 6) if grows else (most[1] == most[0])


def test_masks_that_cannot_be_replayed_are_seen() -> None:
    module = Unrepeatable().double()
    own = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9)
    built = mw.Student(module), own, None, batch((3, 8), 5, 2)
    for steps in (1, 3):
        with pytest.raises(EngineError, match="random numbers outside"):
            slopes("reverse", built, [batch((3, 8), 6, k) for k in range(steps)])
