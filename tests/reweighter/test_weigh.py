"""``weigh``: the weights of a batch for a loop of the user's own, beside ``step``."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from slowly import covering
from step_parts import ByLoss
from students import Dropped, batch
from torch import Tensor, nn

import metaweight as mw
from metaweight.engines import build_engine
from metaweight.reweighter.spent import Spent

ENGINES = ("higher", "forward", "double", "ghost", "difference", "auto")


def losses(module: nn.Module, one: mw.Batch) -> Tensor:
    return F.cross_entropy(one.call(module), one.targets, reduction="none")


def layered(norm: bool = False) -> nn.Module:
    torch.manual_seed(0)
    parts = [nn.Flatten(), nn.Linear(24, 8), nn.BatchNorm1d(8) if norm else nn.LayerNorm(8), nn.Tanh()]
    return nn.Sequential(*parts, nn.Dropout(0.3), nn.Linear(8, 3)).double()


def pair(module: nn.Module, engine: str = "double", rate: float = 0.05, **options: object) -> mw.Reweighter:
    torch.manual_seed(1)
    teacher = ByLoss().double()
    return mw.Reweighter(
        mw.Student(module),
        teacher,
        optimizer=torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9),
        teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=rate),
        engine=engine,
        **options,
    )


def data(count: int, size: int = 6, seed: int = 0) -> list[tuple[mw.Batch, mw.Batch]]:
    return [(batch((3, 8), size, seed + k), batch((3, 8), 5, 50 + seed + k)) for k in range(count)]


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize("engine", ENGINES)
def test_weigh_and_the_rest_is_step(engine: str, schedule: str) -> None:
    """Parameters, teacher, running statistics, masks: three iterations of either."""
    norm = engine != "ghost"
    ours = pair(layered(norm), engine, schedule=schedule, max_norm=0.5)
    own = pair(layered(norm), engine, schedule=schedule, max_norm=0.5)
    module = own.student.module
    torch.manual_seed(2)
    reports = [ours.step(train, meta) for train, meta in data(3)]
    torch.manual_seed(2)
    for report, (train, meta) in zip(reports, data(3), strict=True):
        weights = own.weigh(train, meta)
        assert not weights.requires_grad
        torch.testing.assert_close(weights, report.weights, rtol=1e-11, atol=1e-12)
        own.optimizer.zero_grad()
        (weights * losses(module, train)).mean().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.5)
        own.optimizer.step()
    for theirs, value in zip(
        module.state_dict().values(), ours.student.module.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(theirs, value, rtol=1e-11, atol=1e-12)
    for theirs, value in zip(own.teacher.parameters(), ours.teacher.parameters(), strict=True):
        torch.testing.assert_close(theirs, value, rtol=1e-11, atol=1e-12)
    assert (own.steps, own.windows) == (ours.steps, ours.windows) == (3, 3)


@pytest.mark.parametrize("engine", ENGINES)
def test_nothing_of_the_student_is_moved(engine: str) -> None:
    module = layered(norm=engine != "ghost")
    reweighter = pair(module, engine)
    train, meta = data(1)[0]
    losses(module, train).mean().backward()
    before = {**module.state_dict(), **{n: p.grad for n, p in module.named_parameters()}}
    before = {name: value.clone() for name, value in before.items()}
    torch.manual_seed(3)
    random = torch.get_rng_state()
    reweighter.weigh(train, meta)
    after = {**module.state_dict(), **{n: p.grad for n, p in module.named_parameters()}}
    assert all(torch.equal(before[name], value) for name, value in after.items())
    assert torch.equal(random, torch.get_rng_state())
    assert not reweighter.optimizer.state


class Given(mw.Teacher):
    """One weight a sample, as it is told."""

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights.clone())
        self.slopes: dict[int, Tensor] = {}

    def forward(self, state: mw.StudentState) -> Tensor:
        return self.weights[state.index]

    def take_hypergradient(self, index: Tensor, hypergradient: Tensor) -> None:
        self.slopes.update(zip(index.tolist(), hypergradient, strict=True))


def still(module: nn.Module, engine: str, weights: Tensor) -> tuple[mw.Reweighter, Given]:
    teacher = Given(weights)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9)
    own = torch.optim.SGD(teacher.parameters(), lr=0.0)
    return mw.Reweighter(
        mw.Student(module), teacher, optimizer=optimizer, teacher_optimizer=own, engine=engine
    ), teacher


@pytest.mark.parametrize(
    ("scale", "engine"),
    covering([1.0, 1024.0], ["higher", "reverse", "forward", "double", "ghost", "difference"]),
)
def test_four_micro_batches_are_one_batch(engine: str, scale: float) -> None:
    """The step, and of the last micro-batch, which sees all of the step's gradient, the slopes."""
    chosen = build_engine(engine, **({"replay": "snapshots"} if engine == "reverse" else {}))
    whole, meta = batch((3, 8), 24, 1), batch((3, 8), 5, 2)
    whole = mw.Batch(whole.inputs, whole.targets, torch.arange(24))
    weights = torch.rand(24, generator=torch.Generator().manual_seed(4)).double() + 0.3
    results = []
    for parts in (1, 4):
        module = layered().eval()
        module.train()
        for part in module.modules():
            if isinstance(part, nn.Dropout):
                part.p = 0.0
        reweighter, teacher = still(module, chosen, weights)
        for _ in range(2):  # the second step begins with the first one's gradients left where they are
            for rows in torch.arange(24).split(24 // parts):
                micro = whole.rows(rows)
                w = reweighter.weigh(micro, meta, micro_batches=parts, loss_scale=scale)
                if rows[0] == 0:
                    reweighter.optimizer.zero_grad()
                (scale * (w * losses(module, micro)).mean() / parts).backward()
            for p in module.parameters():
                p.grad /= scale
            reweighter.optimizer.step()
        results.append(
            (
                copy.deepcopy(list(module.parameters())),
                torch.stack([teacher.slopes[i] for i in range(18, 24)]),
            )
        )
    (one, slopes), (four, last) = results
    for a, b in zip(one, four, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)
    # a unit's slope is that of its own weight: 1 / 24 of the whole batch, 1 / 6 of a quarter of it
    tolerance = 1e-6 if engine == "difference" else 1e-12
    torch.testing.assert_close(last, slopes, rtol=tolerance, atol=1e-15)


def test_a_gradient_that_was_gathered_is_part_of_the_step() -> None:
    """An extra loss before ``step``: torch would add its gradient, and so does the virtual step."""
    train, meta = data(1)[0]
    moved = []
    for engine in ("higher", "ghost", "forward"):
        module = layered()
        reweighter = pair(module, engine)
        reweighter.step(train, meta)  # leaves its own gradients behind: they are used up
        extra = sum(p.square().sum() for p in module.parameters())
        plain = copy.deepcopy((module, reweighter.optimizer))
        extra.backward()
        torch.manual_seed(5)
        report = reweighter.step(train, meta)
        twin, own = plain
        own.zero_grad()
        sum(p.square().sum() for p in twin.parameters()).backward()
        torch.manual_seed(5)
        (report.weights * losses(twin, train)).mean().backward()
        own.step()
        for a, b in zip(module.parameters(), twin.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)
        moved.append(torch.cat([p.detach().flatten() for p in reweighter.teacher.parameters()]))
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(moved[0], moved[2], rtol=1e-9, atol=1e-12)


def test_used_gradients_are_told_from_gathered_ones() -> None:
    module = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    spent = Spent(optimizer, module.parameters())
    parameters = dict(module.named_parameters())
    module(torch.ones(1, 2)).sum().backward()
    assert set(spent.gathered(parameters)) == {"weight", "bias"}
    optimizer.step()
    assert not spent.gathered(parameters)
    module(torch.ones(1, 2)).sum().backward()  # onto what the step has left: the user's to clear or to keep
    assert set(spent.gathered(parameters)) == {"weight", "bias"}
    optimizer.step()
    spent.drop(parameters)
    assert module.weight.grad is None


@pytest.mark.parametrize("schedule", ["lookahead", "online"])
@pytest.mark.parametrize("engine", ["higher", "ghost", "forward", "double", "auto"])
def test_a_second_optimizer_that_the_user_steps_gets_its_gradients(engine: str, schedule: str) -> None:
    module = layered()
    module[4].p = 0.0
    matrices = [p for p in module.parameters() if p.dim() == 2]
    rest = [p for p in module.parameters() if p.dim() < 2]
    teacher = ByLoss().double()
    reweighter = mw.Reweighter(
        mw.Student(module),
        teacher,
        optimizer=torch.optim.SGD(matrices, lr=0.1),
        teacher_optimizer=torch.optim.SGD(teacher.parameters(), lr=0.1),
        engine=engine,
        schedule=schedule,
    )
    second = torch.optim.AdamW(rest, lr=1e-2)
    twin = copy.deepcopy(module)
    own = torch.optim.SGD([p for p in twin.parameters() if p.dim() == 2], lr=0.1)
    other = torch.optim.AdamW([p for p in twin.parameters() if p.dim() < 2], lr=1e-2)
    for train, meta in data(3):
        report = reweighter.step(train, meta)
        second.step()
        twin.zero_grad()
        (report.weights * losses(twin, train)).mean().backward()
        own.step()
        other.step()
    for a, b in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_a_loop_with_a_gradient_scaler_and_float16() -> None:
    module = layered().float()
    module[4].p = 0.0
    torch.manual_seed(1)
    teacher = ByLoss()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9)
    own = torch.optim.SGD(teacher.parameters(), lr=1.0)
    reweighter = mw.Reweighter(
        mw.Student(module), teacher, optimizer=optimizer, teacher_optimizer=own, engine="double"
    )
    exact = pair(layered().float(), "double", rate=1.0)
    exact.teacher.float()
    exact.student.module.load_state_dict(module.state_dict())
    exact.student.module[4].p = 0.0
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    for number, (train, meta) in enumerate(data(3)):
        train, meta = (mw.Batch((b.inputs[0].float(),), b.targets, b.index) for b in (train, meta))
        with torch.autocast("cpu", torch.float16):
            weights = reweighter.weigh(train, meta, loss_scale=scaler.get_scale())
            outputs = train.call(module)
            assert outputs.dtype == torch.float16
            loss = (weights * F.cross_entropy(outputs.float(), train.targets, reduction="none")).mean()
        optimizer.zero_grad()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        if number == 0:
            torch.testing.assert_close(weights, exact.weigh(train, meta), rtol=1e-5, atol=1e-6)
    assert all(bool(p.isfinite().all()) for p in module.parameters())
    assert any(bool(p.any()) for p in teacher.parameters())


def test_what_weigh_refuses() -> None:
    train, meta = data(1)[0]
    with pytest.raises(ValueError, match=r"unrolls 2.*unroll=1"):
        pair(layered(), "reverse", unroll=2).weigh(train, meta)
    reweighter = pair(layered())
    with pytest.raises(ValueError, match="needs a meta batch"):
        reweighter.weigh(train)
    with pytest.raises(ValueError, match="micro_batches is 1 or more"):
        reweighter.weigh(train, meta, micro_batches=0)
    with pytest.raises(TypeError, match="one Batch or a list"):
        reweighter.weigh("train", meta)
    assert torch.equal(reweighter.weigh(train, teach=False), torch.ones(6).double())


@pytest.mark.parametrize("name", ["uniform", "l2rw", "mw-net", "surface"])
def test_teachers_of_all_kinds_weigh(name: str) -> None:
    module = layered()
    student = mw.Student(module)
    train, meta = data(1)[0]
    optimizer = torch.optim.SGD(module.parameters(), lr=0.2)
    ours = mw.Reweighter(student, mw.build_teacher(name, student.spec(train)), optimizer=optimizer)
    module.zero_grad()
    twin = copy.deepcopy(ours)
    torch.manual_seed(7)
    weights = ours.weigh(train, meta)
    torch.manual_seed(7)
    torch.testing.assert_close(weights, twin.step(train, meta).weights, rtol=1e-11, atol=1e-12)


def test_the_teachers_state_goes_without_the_students() -> None:
    """For a loop that saves student and optimizer itself."""
    ours, own = pair(layered()), pair(layered())
    for train, meta in data(2):
        ours.weigh(train, meta)
    state = ours.teaching_state()
    assert not state.keys() & {"student", "optimizer"}
    own.load_teaching_state(state)
    assert (own.steps, own.windows) == (2, 2)
    train, meta = data(1, seed=9)[0]
    torch.manual_seed(3)
    weights = ours.weigh(train, meta)
    torch.manual_seed(3)
    assert torch.equal(own.weigh(train, meta), weights)
    assert torch.equal(own.last.weights, weights)
    assert own.last.meta_loss == ours.last.meta_loss


def test_two_threads_leave_attention_as_it_was() -> None:
    def switches() -> tuple[bool, ...]:
        backends = torch.backends
        return (
            backends.mha.get_fastpath_enabled(),
            backends.cuda.flash_sdp_enabled(),
            backends.cuda.mem_efficient_sdp_enabled(),
        )

    def made(engine: str) -> mw.Reweighter:
        module = layered(norm=True)
        module[4].p = 0.0
        return pair(module, engine)

    def run(reweighter: mw.Reweighter, seed: int) -> None:
        for train, meta in data(20, seed=seed):
            reweighter.step(train, meta)

    before = switches()
    for engine in ("double", "forward"):
        alone, together = ([made(engine), made(engine)] for _ in range(2))
        for seed, reweighter in enumerate(alone):
            run(reweighter, 100 * seed)
        threads = [
            threading.Thread(target=run, args=(reweighter, 100 * seed))
            for seed, reweighter in enumerate(together)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert switches() == before
        for one, other in zip(alone, together, strict=True):
            for a, b in zip(one.student.module.parameters(), other.student.module.parameters(), strict=True):
                assert torch.equal(a, b)


def test_a_group_of_one_process_changes_no_bit() -> None:
    train, meta = data(1)[0]
    alone, grouped = pair(layered()), pair(layered())
    torch.manual_seed(2)  # of dropout
    expected = alone.step(train, meta)
    torch.manual_seed(2)
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        report = grouped.step(train, meta)
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(report.weights, expected.weights)
    for one, other in zip(
        alone.student.module.parameters(), grouped.student.module.parameters(), strict=True
    ):
        assert torch.equal(one, other)


def test_dropped_is_a_student_with_both_kinds_of_state() -> None:
    """Virtual passes of ``weigh`` draw the masks that the user's own pass draws next."""
    module = Dropped().double()
    reweighter = pair(module, "forward")
    train, meta = batch((1, 4, 4), 6, 1), batch((1, 4, 4), 5, 2)
    torch.manual_seed(9)
    state = copy.deepcopy(module.state_dict())
    reweighter.weigh(train, meta)
    seen = reweighter.teacher.tracked[-1].loss
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())
    torch.testing.assert_close(losses(module, train).detach(), seen, rtol=0, atol=0)
