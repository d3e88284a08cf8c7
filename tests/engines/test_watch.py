"""The check of the whole run: when it is made, what it catches, and where ``auto`` goes then."""

from __future__ import annotations

import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from slowly import one_in
from students import Outside, batch, make
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines import EngineError, build_engine, watch
from metaweight.engines.graph import Graph
from metaweight.engines.verification import Verification
from metaweight.engines.watch import Watch
from metaweight.testing.oracles import RealSteps, differences, relative

WEIGHTS = torch.tensor([0.1, 1.9, 0.3, 1.7, 0.2, 1.4]).double()


class Changing(nn.Module):
    """A plain student, until something is switched on that its layers' shares do not see."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.hidden, self.head = nn.Embedding(9, 6), nn.Linear(8, 6), nn.Linear(6, 3)
        self.mixing, self.strength = False, 0.0

    def forward(self, x: Tensor) -> Tensor:
        rows = x[:, 0]
        h = torch.tanh(self.hidden(rows)) + self.words((rows[:, 0].abs() * 4).long().clamp(max=8))
        if self.mixing:
            h = 0.5 * h + 0.5 * h[torch.tensor([3, 4, 5, 0, 1, 2])]
        return self.head(h + self.strength * (h - h.mean(0)))


class Packed(nn.Module):
    """Computes on real rows only; each sample's are as many as its first number says."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(8, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        real = torch.arange(3) < x[:, 0, :1]
        owner = torch.arange(len(x))[:, None].expand(-1, 3)[real]
        return self.head(
            torch.zeros(len(x), 5).double().index_add(0, owner, torch.tanh(self.hidden(x[real])))
        )


def lengths(*counts: int, seed: int = 1) -> mw.Batch:
    one = batch((3, 8), len(counts), seed)
    one.inputs[0][:, 0, 0] = torch.tensor(counts).double()
    return mw.Batch(one.inputs, one.targets, torch.arange(len(counts)))


def in_batch(module: Changing) -> object:
    """A loss of one's own with a term over the batch, as strong as the student says."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        own = F.cross_entropy(outputs, targets, reduction="none")
        return own + module.strength * (outputs - outputs.mean(0)).square().sum(1)

    return loss


def mix(module: Changing) -> None:
    module.mixing = True


def strengthen(module: Changing) -> None:
    module.strength = 0.3


def thaw(module: Changing) -> None:
    module.words.weight.requires_grad_(True)


def nothing(_module: nn.Module) -> None:
    pass


FIRST, SECOND, META = (lengths(2, 2, 2, 2, 2, 2, seed=k) for k in (1, 2, 3))
LATER = {
    "mixup": (Changing, None, FIRST, mix, SECOND),
    "coupled by hand": (Changing, None, FIRST, strengthen, SECOND),
    "a term over the batch": (Changing, in_batch, FIRST, strengthen, SECOND),
    "packed, as many rows in all": (Packed, None, FIRST, nothing, lengths(3, 1, 2, 3, 1, 2)),
    "packed, other rows": (Packed, None, FIRST, nothing, lengths(3, 1, 2, 3, 1, 3)),
}


def asked(engine: object, student: mw.Student, optimizer: torch.optim.Optimizer, train: mw.Batch) -> Tensor:
    w = WEIGHTS.clone().requires_grad_()
    return mw.hypergradient(student, optimizer, train, META, lambda _s: w, [w], engine).grads[0]


@pytest.mark.parametrize(
    ("case", "engine"), one_in(2, [(c, e) for c in LATER for e in ("ghost", "auto", "double", "forward")])
)
def test_what_comes_later_is_right_or_refused(case: str, engine: str) -> None:
    build, make_loss, first, change, second = LATER[case]
    torch.manual_seed(0)
    module = build().double()
    loss = F.cross_entropy if make_loss is None else make_loss(module)
    if make_loss is None:
        loss = mw.losses.cross_entropy
    student, chosen = mw.Student(module, loss=loss), build_engine(engine)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    for step, train in ((nothing, first), (change, second)):
        step(module)
        truth = RealSteps(student, optimizer, [train], META, loss=loss).slopes([WEIGHTS])[0]
        if engine == "ghost" and train is second:
            with pytest.raises(EngineError, match="engine='"):
                asked(chosen, student, optimizer, train)
        else:
            assert relative(asked(chosen, student, optimizer, train), truth) <= 1e-6
    if engine == "auto":
        assert chosen.chosen == "double"


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize("case", ["mixup", "packed, as many rows in all", "packed, other rows"])
def test_auto_moves_on_in_mid_run_and_says_so(
    case: str, schedule: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The student's own step too is the one that a plain loop takes."""
    build, _, first, change, second = LATER[case]
    torch.manual_seed(0)
    module = build().double()
    student = mw.Student(module)
    teacher = mw.build_teacher("mw-net", student.spec(first))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    reweighter = mw.Reweighter(student, teacher, optimizer=optimizer, engine="auto", schedule=schedule)
    with caplog.at_level(logging.WARNING):
        reweighter.step(first, META)
        assert reweighter.engine.chosen == "ghost"
        assert not caplog.messages
        change(module)
        before = [p.detach().clone().requires_grad_() for p in module.parameters()]
        names = [name for name, _ in module.named_parameters()]
        report = reweighter.step(second, META)
    assert reweighter.engine.chosen == "double"
    assert any("gives up ghost" in message for message in caplog.messages)
    outputs = torch.func.functional_call(module, dict(zip(names, before, strict=True)), second.inputs)
    loss = (report.weights * F.cross_entropy(outputs, second.targets, reduction="none")).mean()
    for p, old, g in zip(module.parameters(), before, torch.autograd.grad(loss, before), strict=True):
        torch.testing.assert_close(p, old - 0.3 * g, rtol=1e-10, atol=1e-12)
    reweighter.step(second, META)


@pytest.mark.parametrize("engine", ["ghost", "auto", "double", "forward", "higher", "reverse", "difference"])
def test_a_penalty_that_the_loss_puts_on_the_module_s_own_weights(engine: str) -> None:
    """It moves with the virtual step, from the batch on in which it is there."""
    torch.manual_seed(0)
    module, on = Changing().double(), [False]

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        own = F.cross_entropy(outputs, targets, reduction="none")
        return own + 0.3 * module.hidden.weight.square().sum() if on[0] else own

    def meta_loss(weights: Tensor) -> float:
        start = copy.deepcopy(module.state_dict())
        step = torch.optim.SGD(module.parameters(), lr=0.3)
        step.zero_grad()
        (weights * loss(FIRST.call(module), FIRST.targets)).mean().backward()
        step.step()
        value = float(loss(META.call(module), META.targets).mean().detach())
        module.load_state_dict(start)
        module.zero_grad()
        return value

    options = {"replay": "snapshots"} if engine == "reverse" else {}
    student, chosen = mw.Student(module, loss=loss), build_engine(engine, **options)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    for on[0] in (False, True):
        if (
            engine == "ghost" and on[0]
        ):  # once all parameters were seen in layers' calls, it looks there alone
            with pytest.raises(EngineError, match="where torch does not show it"):
                asked(chosen, student, optimizer, FIRST)
            continue
        found = asked(chosen, student, optimizer, FIRST)
        assert relative(found, differences(meta_loss, WEIGHTS)) <= 1e-6


def test_a_layer_that_is_thawed_takes_part() -> None:
    for engine in ("ghost", "auto", "double"):
        torch.manual_seed(0)
        module = Changing().double()
        module.words.weight.requires_grad_(False)
        student, chosen = mw.Student(module), build_engine(engine)
        optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
        for change in (nothing, thaw):
            change(module)
            truth = RealSteps(student, optimizer, [FIRST], META).slopes([WEIGHTS])[0]
            assert relative(asked(chosen, student, optimizer, FIRST), truth) <= 1e-6


class Fused(nn.Module):
    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        self.first, self.norm, self.head = nn.Linear(8, 6), norm(6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(Outside.apply(self.norm(self.first(x[:, 0]))))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("engine", ["higher", "reverse", "double", "forward", "auto"])
def test_a_backward_without_a_graph_is_refused_by_name(engine: str, steps: int) -> None:
    torch.manual_seed(0)
    module = Fused(nn.BatchNorm1d).double()
    student = mw.Student(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9)
    if steps > 1 and engine in ("double", "forward"):
        return
    w = [WEIGHTS.clone().requires_grad_() for _ in range(steps)]
    queue = iter(w)
    trains = [lengths(2, 2, 2, 2, 2, 2, seed=k) for k in range(steps)]
    with pytest.raises(EngineError, match=r"'Outside'|jvp function"):
        mw.hypergradient(student, optimizer, trains, META, lambda _s: next(queue), w, engine)


def test_ghost_takes_a_backward_without_a_graph() -> None:
    torch.manual_seed(0)
    module = Fused(nn.LayerNorm).double()
    student = mw.Student(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3)
    truth = RealSteps(student, optimizer, [FIRST], META).slopes([WEIGHTS])[0]
    auto = build_engine("auto")
    assert relative(asked(auto, student, optimizer, FIRST), truth) <= 1e-6
    assert auto.chosen == "ghost"


@pytest.mark.parametrize("engine", ["higher", "reverse", "ghost", "forward", "difference", "double", "auto"])
def test_gradient_hooks_are_differentiated_or_refused(engine: str) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(), nn.Linear(24, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)
    ).double()
    if engine == "ghost":
        module[2] = nn.LayerNorm(6).double()
    mask = (torch.arange(6) < 2).double()[:, None]
    module[1].weight.register_hook(lambda g: g * mask)
    student = mw.Student(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9)
    if engine in ("double", "auto"):
        # without momentum's first step, and by a mask that the optimizer sees as zeros
        found = asked(engine, student, optimizer, FIRST)
        hooked = asked("double", student, optimizer, FIRST)
        assert relative(found, hooked) <= 1e-12
        free = nn.Sequential(
            nn.Flatten(), nn.Linear(24, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3)
        ).double()
        free.load_state_dict(module.state_dict())
        own = torch.optim.SGD(free.parameters(), lr=0.3, momentum=0.9)
        assert relative(asked("double", mw.Student(free), own, FIRST), found) > 1e-3
    else:
        with pytest.raises(EngineError):
            asked(engine, student, optimizer, FIRST)


def test_frequencies_of_an_embedding_are_refused_by_name() -> None:
    torch.manual_seed(0)
    module = Changing().double()
    module.words.scale_grad_by_freq = True
    student = mw.Student(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.3, momentum=0.9)
    for engine in ("higher", "reverse", "double", "forward", "difference", "ghost", "auto"):
        with pytest.raises(EngineError, match="scale_grad_by_freq"):
            asked(engine, student, optimizer, FIRST)


def test_a_hook_on_a_modules_backward_is_refused() -> None:
    built, own, train, meta = make("words", "momentum")
    built.module.head.register_full_backward_hook(lambda _m, given, _o: tuple(2 * g for g in given))
    w = torch.ones(6).double().requires_grad_()
    for engine in ("higher", "forward", "ghost", "difference", "auto"):
        with pytest.raises(EngineError, match=r"backward hook of 'head' \(Linear\)"):
            mw.hypergradient(built, own, train, meta, lambda _s: w, [w], engine)


def test_when_a_check_is_due() -> None:
    seen = Watch()
    due = []
    for _ in range(30):
        due.append(seen.due("kind", ("shape", 0), 10))
        seen.passed("kind", ("shape", 0), checked=due[-1])
    assert [n for n, checked in enumerate(due) if checked] == [0, 1, 3, 7, 17, 27]
    assert seen.due("another kind", ("shape", 0), 10)
    assert not seen.due("kind", ("shape", 0), 100)
    assert not seen.due("another kind", "shape", 0)  # switched off
    fresh = [seen.due("kind", ("shape", k), 1000) for k in range(1, 4)]
    assert all(fresh)  # the first shapes
    for k in range(1, 9):
        seen.passed("kind", ("shape", k), checked=True)
    assert not seen.due("kind", ("shape", 9), 1000)  # one after the other: in turn
    for _ in range(watch.APART):
        seen.passed("kind", ("shape", 1), checked=False)
    assert seen.due("kind", ("shape", 9), 1000)


def test_the_check_is_made_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    whole = Verification.require
    monkeypatch.setattr(
        Verification, "require", lambda self, *a, **k: (made.append(a[0]), whole(self, *a, **k))[1]
    )
    torch.manual_seed(0)
    module = Changing().double()
    student = mw.Student(module)
    teacher = mw.build_teacher("mw-net", student.spec(FIRST))
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for every, expected in ((2, 7), (5, 4), (1, 12), (1000, 4)):
        made.clear()
        reweighter = mw.Reweighter(
            student, teacher, optimizer=optimizer, engine=build_engine("forward"), check_every=every
        )
        for _ in range(12):
            reweighter.step(FIRST, META)
        assert len(made) == expected


def test_a_graph_tells_its_kind() -> None:
    x = torch.randn(4, 3, requires_grad=True)
    plain, other = Graph.of((x * 2).sum(1)), Graph.of((x * 3).sum(1))
    assert (plain.kind, plain.numbers, other.numbers) == (other.kind, (2.0,), (3.0,))
    assert plain.kind != Graph.of((x * 2 + x).sum(1)).kind
    in_order, turned = (Graph.of((x * 2)[torch.tensor(rows)].sum(1)) for rows in ([0, 1, 2, 3], [1, 0, 2, 3]))
    assert in_order.kind == turned.kind
    assert in_order.moves == plain.moves != turned.moves
    assert Graph.of((x * 2).bfloat16().float().sum(1)).lowest == torch.bfloat16
    assert Graph.of(Outside.apply(x.double()).sum(1)).functions == ("Outside",)
    assert Graph.of((x.to(torch.complex64) * 2).abs().sum(1)).lowest == torch.float32
