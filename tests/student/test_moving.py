"""What passes move besides parameters: each training batch moves it once, virtual passes never."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from slowly import covering
from students import OPTIMIZERS, Unrepeatable, batch
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines import build_engine
from metaweight.testing.oracles import RealSteps, relative

ENGINES = ("higher", "reverse", "forward", "double", "ghost", "difference", "auto")


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.first(self.seen(x[:, 0]))))

    def seen(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class Streaming(Base):
    """A buffer that is assigned anew."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def seen(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.5 * self.mean + 0.5 * x.detach().mean(0)
        return x - self.mean


class Averaged(Base):
    """A copy of the first layer, in frozen parameters, that follows it."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = nn.Linear(8, 6).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        x = x[:, 0]
        slow = torch.tanh(self.slow(x))
        if self.training:
            with torch.no_grad():
                for own, fast in zip(self.slow.parameters(), self.first.parameters(), strict=True):
                    own.mul_(0.9).add_(fast.detach(), alpha=0.1)
        return self.head(torch.tanh(self.first(x)) + 0.5 * slow)


class Counting(Base):
    """A number, and a series, among its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.passes, self.series, self.last = 0, deque(maxlen=3), None

    def seen(self, x: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
            self.series.append(float(x.detach().mean()))
            self.last = x.detach().std(0)
        return x * (1 + 0.1 * self.passes) + sum(self.series)


class Drawing(Base):
    """Masks from generators of its own, Python's and NumPy's."""

    def __init__(self) -> None:
        super().__init__()
        self.own, self.array = random.Random(1), np.random.default_rng(2)

    def seen(self, x: Tensor) -> Tensor:
        scale = self.own.random() + random.random() + self.array.random() + np.random.random()
        return x * scale


class Elephant:
    """A loss that remembers the losses that it has seen."""

    def __init__(self) -> None:
        self.mean = torch.zeros(()).double()
        self.table = torch.zeros(6).double()

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = F.cross_entropy(outputs, targets, reduction="none")
        told = loss * (1 + self.mean) + 0.1 * self.table[: len(loss)].clone() * loss
        self.mean = 0.5 * self.mean + 0.5 * loss.detach().mean()
        self.table[: len(loss)].add_(loss.detach())
        return told


def closure() -> object:
    memory: list[float] = []

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        own = F.cross_entropy(outputs, targets, reduction="none")
        told = own * (1 + sum(memory))
        memory.append(float(own.detach().mean()))
        return told

    return loss


def state(student: mw.Student) -> list[object]:
    """All that its passes move, as numbers."""
    module, loss = student.module, student.loss
    found: list[object] = [b.tolist() for b in module.buffers()]
    found += [p.tolist() for p in module.parameters() if not p.requires_grad]
    for name in ("passes", "series", "last"):
        found.append(str(getattr(module, name, "")))
    if isinstance(module, Drawing):
        found += [module.own.getstate(), str(module.array.bit_generator.state)]
    if isinstance(loss, Elephant):
        found += [loss.mean.item(), loss.table.tolist()]
    if getattr(loss, "__closure__", None):
        found.append(list(loss.__closure__[0].cell_contents))
    return [*found, random.getstate(), str(np.random.get_state())]


CASES = {
    "streaming": (Streaming, None),
    "averaged": (Averaged, None),
    "counting": (Counting, None),
    "drawing": (Drawing, None),
    "loss": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(24, 3)), Elephant),
    "closure": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(24, 3)), closure),
}
TRAIN, META = batch((3, 8), 6, 1), batch((3, 8), 5, 2)


def built(case: str) -> tuple[mw.Student, torch.optim.Optimizer]:
    torch.manual_seed(0)
    make, loss = CASES[case]
    module = make().double()
    student = mw.Student(module, loss=mw.losses.cross_entropy if loss is None else loss())
    return student, torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.2, momentum=0.9)


def chosen(engine: str) -> object:
    return build_engine(engine, **({"replay": "snapshots"} if engine == "reverse" else {}))


@pytest.mark.parametrize(("case", "engine"), covering(CASES, ENGINES))
def test_one_batch_moves_it_once(case: str, engine: str) -> None:
    """As a plain loop does; ``spec`` and ``hypergradient`` leave it bit for bit."""
    student, optimizer = built(case)
    plain, own = built(case)
    start = state(student)
    teacher = mw.build_teacher("mw-net", student.spec(TRAIN))
    w = torch.ones(6).double().requires_grad_()
    mw.hypergradient(student, optimizer, TRAIN, META, lambda _s: w, [w], chosen(engine))
    assert state(student) == start
    reweighter = mw.Reweighter(student, teacher, optimizer=optimizer, engine=chosen(engine))
    random_start = random.getstate(), np.random.get_state()
    weights = [reweighter.step(TRAIN, META).weights for _ in range(3)]
    after = state(student)
    random.setstate(random_start[0])
    np.random.set_state(random_start[1])
    for each in weights:
        own.zero_grad()
        (each * plain.loss(TRAIN.call(plain.module), TRAIN.targets)).mean().backward()
        own.step()
    assert len(after) == len(state(plain))
    for ours, theirs in zip(
        student.module.state_dict().values(), plain.module.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    if case in ("counting", "drawing"):
        assert after == state(plain)


@pytest.mark.parametrize(("case", "engine"), covering(["streaming", "averaged", "counting"], ENGINES))
def test_the_meta_pass_starts_where_the_train_pass_ended(case: str, engine: str) -> None:
    student, optimizer = built(case)
    for k in range(3):
        optimizer.zero_grad()
        student.loss(batch((3, 8), 6, 10 + k).call(student.module), TRAIN.targets).mean().backward()
        optimizer.step()
    optimizer.zero_grad()
    w = torch.linspace(0.5, 1.5, 6).double()
    truth = RealSteps(student, optimizer, [TRAIN], META).slopes([w])[0]
    leaf = w.clone().requires_grad_()
    result = mw.hypergradient(student, optimizer, TRAIN, META, lambda _s: leaf, [leaf], chosen(engine))
    assert relative(result.grads[0], truth) <= 1e-6


def test_a_layer_that_is_dropped_by_pythons_random_is_replayed() -> None:
    for engine in ("forward", "double", "higher"):
        student, optimizer = built("drawing")
        w = torch.ones(6).double().requires_grad_()
        random.seed(3)
        before = random.getstate()
        one = mw.hypergradient(student, optimizer, TRAIN, META, lambda _s, w=w: w, [w], engine).grads[0]
        assert random.getstate() == before
        two = mw.hypergradient(student, optimizer, TRAIN, META, lambda _s, w=w: w, [w], "double").grads[0]
        assert relative(one, two) <= 1e-10


def test_what_nobody_can_draw_again_runs_where_no_second_pass_is() -> None:
    torch.manual_seed(0)
    module = Unrepeatable().double()
    student = mw.Student(module)
    teacher = mw.build_teacher("mw-net", student.spec(TRAIN))
    reweighter = mw.Reweighter(
        student, teacher, optimizer=OPTIMIZERS["momentum"](list(module.parameters())), engine="auto"
    )
    for _ in range(3):
        reweighter.step(TRAIN, META)
    assert reweighter.engine.chosen in ("ghost", "double")


def test_a_thing_that_moves_late_and_cannot_be_put_back_is_an_error() -> None:
    class Late(Base):
        def __init__(self) -> None:
            super().__init__()
            self.cache, self.on = torch.zeros(8).double(), False

        def seen(self, x: Tensor) -> Tensor:
            if self.on:
                self.cache.add_(1.0)
            return x + self.cache

    module = Late().double()
    student = mw.Student(module)
    student.spec(TRAIN)
    module.on = True
    with pytest.raises(
        mw.MetaweightError, match=r"changes cache in place, as none did before.*register_buffer"
    ):
        student.spec(TRAIN)


@pytest.mark.parametrize("around", ["autocast", "execution inside autocast(enabled=False)"])
@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_autocast_around_a_window_casts_each_step_s_own_weights(schedule: str, around: str) -> None:
    def moved(context: object, execution: mw.Execution | None) -> Tensor:
        torch.manual_seed(0)
        module = nn.Sequential(nn.Flatten(), nn.Linear(24, 32), nn.ReLU(), nn.Linear(32, 3))
        start = nn.utils.parameters_to_vector(module.parameters()).detach().clone()
        batches = [batch((3, 8), 16, k) for k in range(5)]
        batches = [mw.Batch((b.inputs[0].float(),), b.targets, b.index) for b in batches]
        student = mw.Student(module, execution=execution)
        teacher = mw.build_teacher("uniform", student.spec(batches[0]))
        reweighter = mw.Reweighter(
            student,
            teacher,
            optimizer=torch.optim.SGD(module.parameters(), lr=0.5, momentum=0.9),
            engine="reverse",
            unroll=4,
            schedule=schedule,
        )
        with context:
            reweighter.step(batches[:4], batches[4])
        return nn.utils.parameters_to_vector(module.parameters()).detach() - start

    exact = moved(torch.autocast("cpu", enabled=False), None)
    if around == "autocast":
        found = moved(torch.autocast("cpu", torch.bfloat16), None)
    else:
        found = moved(torch.autocast("cpu", enabled=False), mw.Execution(precision="bf16"))
    assert relative(found, exact) <= 0.03


def test_a_part_that_is_put_in_the_place_of_another_is_the_students() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    student = mw.Student(module)
    student.parameters(), student.buffers()
    module[2], module[1] = nn.Linear(4, 5), nn.Sequential(nn.BatchNorm1d(4))
    assert all(p is q for p, q in zip(student.parameters().values(), module.parameters(), strict=True))
    assert student.buffers().keys() == dict(module.named_buffers()).keys()
    assert student.parameters().keys() == dict(module.named_parameters()).keys()
