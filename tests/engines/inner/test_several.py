"""Several optimizers for one student."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from run_parts import Batches
from students import SHAPE, batch
from torch import Tensor, nn
from torch.optim import Optimizer

import metaweight as mw
from metaweight.engines import Engine, ReplayError, Reverse
from metaweight.engines.inner import InnerStep, Observer, as_one, members
from metaweight.testing.oracles import RealSteps, live_tensors, plain_step, relative
from metaweight.training.learning_rate import LearningRate
from metaweight.training.trainer import Trainer

SIX = torch.ones(6, dtype=torch.float64)


def layers() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3)).double()


def pair(module: nn.Module) -> list[Optimizer]:
    """SGD in two groups for the first layer, Adam for the head."""
    first, head = module.get_submodule("0"), module.get_submodule("2")
    sgd = torch.optim.SGD(
        [{"params": [first.weight]}, {"params": [first.bias], "lr": 0.1}], lr=0.3, momentum=0.8
    )
    return [sgd, torch.optim.Adam(head.parameters(), lr=0.05, eps=1e-3)]


def warmed(steps: int = 2) -> tuple[nn.Module, list[Optimizer]]:
    module = layers()
    optimizers = pair(module)
    for number in range(steps):
        plain_step(module, as_one(optimizers), batch((8,), 6, 30 + number), SIX)
    return module, optimizers


ENGINES: dict[str, Callable[[], str | Engine]] = {
    "forward": lambda: "forward",
    "double": lambda: "double",
    "ghost": lambda: "ghost",
    "auto": lambda: "auto",
    "reverse": lambda: Reverse("snapshots"),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_the_hypergradient_goes_through_the_steps_of_all(engine: str) -> None:
    module, optimizers = warmed()
    count = 3 if engine == "reverse" else 1
    train = [batch((8,), 6, 1 + number) for number in range(count)]
    rates = [[0.3 * 0.9**number, 0.2, 0.05 * 0.5**number] for number in range(count)]
    one = as_one(optimizers)
    steps = RealSteps(mw.Student(module), one, train, batch((8,), 5, 9), 0.3, rates)
    leaves = [(SIX * 0.7).requires_grad_() for _ in range(count)]
    queue = iter(leaves)
    before = live_tensors(steps.student, one)
    result = mw.hypergradient(
        steps.student,
        optimizers,
        train,
        steps.meta,
        lambda _: next(queue),
        leaves,
        ENGINES[engine](),
        max_norm=0.3,
        rates=rates,
    )
    truth = torch.cat(steps.slopes([w.detach() for w in leaves]))
    assert relative(torch.cat(result.grads), truth) < 1e-6
    assert all(torch.equal(v, before[n]) for n, v in live_tensors(steps.student, one).items())


@pytest.mark.parametrize(
    ("schedule", "unroll", "engine"),
    [("lookahead", 1, "auto"), ("online", 1, "auto"), ("online", 1, "ghost"), ("online", 3, "reverse")],
)
def test_real_steps_are_those_of_all(schedule: str, unroll: int, engine: str) -> None:
    module, optimizers = warmed()
    other, own = copy.deepcopy((module, optimizers))
    student = mw.Student(module)
    train = [batch((8,), 6, 11 + number) for number in range(unroll)]
    teacher = mw.build_teacher("mw-net", spec=student.spec(train[0]))
    reweighter = mw.Reweighter(
        student,
        teacher,
        optimizer=optimizers,
        engine=ENGINES[engine](),
        schedule=schedule,
        unroll=unroll,
        max_norm=0.4,
    )
    assert reweighter.optimizer is optimizers
    for _ in range(2):
        report = reweighter.step(train, batch((8,), 5, 9))
        for one, weights in zip(train, report.weights.split(6), strict=True):
            plain_step(other, as_one(own), one, weights, 0.4)
    for a, b in zip(module.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_as_one_reads_and_writes_what_the_optimizers_hold() -> None:
    module, optimizers = warmed()
    one = as_one(optimizers)
    assert members(one) == tuple(optimizers)
    assert [id(g) for g in one.param_groups] == [id(g) for o in optimizers for g in o.param_groups]
    assert len(one.state) == len(list(one.state)) == 4
    head = module.get_submodule("2").weight
    assert one.state[head] is optimizers[1].state[head]
    one.param_groups[2]["lr"] = 7.0
    assert optimizers[1].param_groups[0]["lr"] == 7.0
    assert one.step(lambda: 3) == 3
    one.zero_grad()
    assert all(p.grad is None for p in module.parameters())
    with pytest.raises(KeyError, match="no step"):
        one.state[torch.zeros(1)]
    with pytest.raises(TypeError, match="to one of the optimizers"):
        one.add_param_group({"params": [torch.zeros(1)]})
    single = optimizers[0]
    assert as_one(single) is single
    assert as_one([single]) is single
    assert as_one((as_one(optimizers),)).param_groups == one.param_groups


class Looking(Observer):
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __call__(self, optimizer: Optimizer, *_: Any) -> None:
        self.seen.append(optimizer)


def test_hooks_are_those_of_all_and_one_that_only_looks_is_no_obstacle() -> None:
    module, optimizers = warmed()
    one, look, live = as_one(optimizers), Looking(), dict(module.named_parameters())
    handles = one.register_step_pre_hook(look), one.register_step_post_hook(look)
    one.step()
    assert look.seen == [optimizers[0], optimizers[0], optimizers[1], optimizers[1]]
    InnerStep.of(optimizers, live)
    change = one.register_step_post_hook(lambda *_: None)
    with pytest.raises(ValueError, match="SGD has a step hook"):
        InnerStep.of(optimizers, live)
    for handle in (*handles, change):
        handle.remove()
    one.step()
    InnerStep.of(optimizers, live)
    assert len(look.seen) == 4


def test_states_of_all_are_saved_and_loaded() -> None:
    module, optimizers = warmed()
    state = copy.deepcopy(as_one(optimizers).state_dict())
    fresh = pair(module)
    as_one(fresh).load_state_dict(state)
    inner, again = (InnerStep.of(o, dict(module.named_parameters())) for o in (optimizers, fresh))
    for name, own in inner.states.items():
        for key, value in own.items():
            assert torch.equal(value, again.states[name][key])
    with pytest.raises(ValueError, match=r"of 1 optimizer\(s\), not of 2"):
        as_one(fresh).load_state_dict(optimizers[0].state_dict())


def test_what_cannot_be_one_optimizer_is_refused() -> None:
    module = layers()
    sgd = torch.optim.SGD(module.parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"two optimizers hold one parameter of shape \(3, 4\)"):
        as_one([sgd, torch.optim.Adam([module.get_submodule("2").weight])])
    with pytest.raises(ValueError, match="two optimizers hold"):
        as_one([sgd, sgd])
    with pytest.raises(ValueError, match="empty sequence"):
        as_one([])
    with pytest.raises(TypeError, match=r"one of torch.optim, or several"):
        as_one("sgd")
    with pytest.raises(TypeError, match=r"one of torch.optim, or several"):
        as_one([sgd, module])


def test_momentum_is_undone_only_where_all_have_it() -> None:
    module, optimizers = warmed()
    w = SIX.clone().requires_grad_()
    with pytest.raises(ReplayError, match="Adam steps cannot be undone"):
        mw.hypergradient(
            mw.Student(module), optimizers, batch((8,), 6, 1), batch((8,), 5, 2), lambda _: w, [w], "reverse"
        )


@pytest.mark.parametrize("maximize", [False, True])
def test_momentum_is_undone_of_two_optimizers(maximize: bool) -> None:
    module = layers()
    options: dict[str, Any] = {"momentum": 0.8, "weight_decay": 0.1, "maximize": maximize}
    parts = [module.get_submodule(name).parameters() for name in ("0", "2")]
    optimizers = [torch.optim.SGD(p, lr=lr, **options) for p, lr in zip(parts, (0.05, 0.02), strict=True)]
    train = [batch((8,), 6, 1 + number) for number in range(3)]
    steps = RealSteps(mw.Student(module), as_one(optimizers), train, batch((8,), 5, 9))
    leaves = [(SIX * 0.7).requires_grad_() for _ in train]
    queue = iter(leaves)
    result = mw.hypergradient(
        steps.student, optimizers, train, steps.meta, lambda _: next(queue), leaves, "reverse"
    )
    truth = torch.cat(steps.slopes([w.detach() for w in leaves]))
    assert relative(torch.cat(result.grads), truth) < 1e-6


def trained(folder: Path, epochs: int) -> Trainer:
    module = nn.Sequential(nn.Flatten(), layers_of(SHAPE)).double()
    student = mw.Student(module)
    weight, bias = module.get_submodule("1").parameters()
    optimizers = [torch.optim.SGD([weight], lr=0.2, momentum=0.5), torch.optim.NAdam([bias], lr=0.1)]
    torch.manual_seed(6)
    teacher = mw.build_teacher("mw-net", spec=student.spec(batch(SHAPE, 6, 1)))
    reweighter = mw.Reweighter(student, teacher, optimizer=optimizers)
    return Trainer(
        reweighter, Batches(3, 1), Batches(2, 2), epochs=epochs, learning_rate=LearningRate("cosine")
    )


def layers_of(shape: Sequence[int]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return nn.Linear(int(torch.tensor(shape).prod()), 3)


def test_a_trainer_sets_the_rates_of_all_and_resumes_them(tmp_path: Path) -> None:
    whole = trained(tmp_path, 2)
    whole.fit()
    rates = [group["lr"] for group in whole.reweighter.live.optimizer.param_groups]
    assert rates[0] / rates[1] == pytest.approx(2.0)
    assert rates[0] < 0.1
    state = copy.deepcopy(whole.state_dict())
    again = trained(tmp_path, 2)
    again.load_state_dict(state)
    assert whole._shapes()["optimizer"] == "SGD and NAdam"
    for a, b in zip(_tensors(whole), _tensors(again), strict=True):
        assert torch.equal(a, b)


def _tensors(run: Trainer) -> list[Tensor]:
    states = run.reweighter.live.optimizer.state.values()
    own = [v for s in states for v in s.values() if isinstance(v, Tensor)]
    return [*run.reweighter.student.module.state_dict().values(), *own]


def test_parameters_that_no_optimizer_holds_are_named_and_stay() -> None:
    module = layers()
    head = torch.optim.SGD(module.get_submodule("2").parameters(), lr=0.1)
    live = dict(module.named_parameters())
    inner = InnerStep.of(head, live, max_norm=0.1)
    assert inner.trainable == tuple(live)
    assert list(inner.options) == ["2.weight", "2.bias"]
    plain = {name: p.detach() for name, p in live.items()}
    gradients = {name: torch.ones_like(p) * (100 if name.startswith("0") else 1) for name, p in plain.items()}
    moved, _ = inner(plain, gradients)
    assert torch.equal(moved["0.weight"], plain["0.weight"])
    # 15 numbers of 1 have the norm 15 ** 0.5; those of the first layer do not count
    expected = plain["2.bias"] - 0.1 * 0.1 / (15**0.5 + 1e-6)
    torch.testing.assert_close(moved["2.bias"], expected, rtol=1e-12, atol=0)
