"""Compiled passes, autocast and channels-last: the same numbers, or near enough and said so."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from slowly import one_in, slowly
from students import BatchNormResNet, Encoder, Tied, agreement, batch, make
from torch import Tensor, nn

import metaweight as mw
from metaweight.student.execution import Execution
from metaweight.testing.oracles import plain_step, relative, twin

# the graphs of torch.compile without code generation: seconds instead of minutes
COMPILED = Execution(compile="aot_eager")


def weights() -> Tensor:
    return torch.rand(6, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5


def slopes(engine: str, student: mw.Student, *problem: object) -> Tensor:
    w = weights().to(next(student.module.parameters()).dtype).requires_grad_()
    torch.manual_seed(7)
    return mw.hypergradient(student, *problem, lambda _s: w, [w], engine).grads[0]


TAKES_COMPILED = ("higher", "forward", "difference", "auto")


@pytest.mark.parametrize("engine", ["forward", *slowly(*(e for e in TAKES_COMPILED if e != "forward"))])
@pytest.mark.parametrize(
    "kind", ["batchnorm-resnet", *slowly("tied-and-frozen", "groupnorm-resnet", "words")]
)
def test_compiled_passes_give_the_same_hypergradient(engine: str, kind: str) -> None:
    eager, *problem = make(kind, "momentum")
    compiled = mw.Student(eager.module, taps=eager.taps, execution=COMPILED)
    assert relative(slopes(engine, compiled, *problem), slopes(engine, eager, *problem)) <= agreement(engine)


@pytest.mark.parametrize("engine", one_in(3, sorted(set(mw.engines.names()) - set(TAKES_COMPILED)), 1))
def test_the_other_engines_refuse_a_compiled_student(engine: str) -> None:
    eager, *problem = make("words", "momentum")
    compiled = mw.Student(eager.module, taps=eager.taps, execution=COMPILED)
    with pytest.raises(mw.engines.EngineError, match=r"compiled student.*engine='forward'"):
        slopes(engine, compiled, *problem)


@pytest.mark.slow
def test_several_steps_of_a_compiled_student_are_those_of_an_eager_one() -> None:
    eager, own, train, meta = make("words", "momentum")
    compiled = mw.Student(eager.module, taps=eager.taps, execution=COMPILED)
    w = weights().requires_grad_()

    def found(student: mw.Student) -> Tensor:
        grads = mw.hypergradient(student, own, [train, train], meta, lambda _s: w, [w], "auto").grads
        return grads[0]

    assert relative(found(compiled), found(eager)) <= 1e-9


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["online", "lookahead"])
def test_a_compiled_student_trains_as_an_eager_one(schedule: str) -> None:
    """Parameters, running statistics and weights, over steps: the graph takes the live parameters."""
    found = []
    for execution in (Execution(), COMPILED):
        torch.manual_seed(5)
        module = BatchNormResNet().double()
        student = mw.Student(module, taps=("bn2", "head"), execution=execution)
        teacher = mw.build_teacher("mlp", spec=student.spec(batch((1, 4, 4), 6, 1)))
        reweighter = mw.Reweighter(
            student,
            teacher,
            optimizer=torch.optim.SGD(module.parameters(), lr=0.2, momentum=0.9),
            teacher_optimizer=torch.optim.Adam(teacher.parameters(), lr=0.01),
            engine="forward",
            schedule=schedule,
        )
        for step in range(3):
            report = reweighter.step(batch((1, 4, 4), 6, step), batch((1, 4, 4), 6, 10 + step))
        state = [*module.parameters(), *module.buffers(), *teacher.parameters(), report.weights]
        found.append(torch.cat([t.detach().double().flatten() for t in state]))
    assert relative(found[1], found[0]) <= 1e-9


def test_compiled_dropout_draws_the_masks_that_the_dual_pass_replays() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.4), nn.Tanh(), nn.Linear(8, 3)).double()
    own = torch.optim.SGD(module.parameters(), lr=0.3)
    problem = own, batch((8,), 6, 1), batch((8,), 5, 2)
    eager = mw.Student(module)
    compiled = mw.Student(module, execution=COMPILED)
    assert relative(slopes("forward", compiled, *problem), slopes("forward", eager, *problem)) <= 1e-9


def test_modes_and_frozen_parameters_are_those_of_the_live_module() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).double()
    module[0].requires_grad_(False)
    student, one = mw.Student(module, execution=COMPILED), batch((8,), 6, 1)
    student(one)
    module.eval()
    with torch.no_grad():
        module[0].weight.mul_(3.0)
        expected = F.cross_entropy(module(*one.inputs), one.targets, reduction="none")
    torch.testing.assert_close(student(one).loss.detach(), expected, rtol=1e-12, atol=0)


def test_taps_are_those_of_the_eager_pass() -> None:
    torch.manual_seed(0)
    module, one = Tied().double(), batch((3, 8), 6, 1)
    taps = ("head", "second")
    eager, compiled = (
        mw.Student(module, taps=taps)(one),
        mw.Student(module, taps=taps, execution=COMPILED)(one),
    )
    assert list(compiled.features) == ["head", "second"]
    for name in taps:
        torch.testing.assert_close(compiled.features[name], eager.features[name], rtol=1e-12, atol=0)

    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.Linear(8, 3), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    with pytest.raises(ValueError, match="tap 'idle' is never called"):
        mw.Student(Idle().double(), taps=("idle",), execution=COMPILED)(batch((8,), 6, 1))


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["lookahead", "online"])
def test_inductor_agrees_in_float32(schedule: str) -> None:
    torch.manual_seed(5)
    module = BatchNormResNet()
    problem = (
        torch.optim.SGD(module.parameters(), lr=0.1),
        batch((1, 4, 4), 6, 1, dtype=torch.float32),
        batch((1, 4, 4), 6, 2, dtype=torch.float32),
    )
    eager, compiled = mw.Student(module), mw.Student(module, execution=Execution(compile=True))
    assert relative(slopes("forward", compiled, *problem), slopes("forward", eager, *problem)) <= 1e-4


@pytest.mark.parametrize("engine", ["higher", "forward", "double", "difference"])
@pytest.mark.parametrize("kind", [BatchNormResNet, Encoder])
def test_bf16_agrees_with_float32_to_its_own_precision(engine: str, kind: type[nn.Module]) -> None:
    torch.manual_seed(5)
    module = kind()
    shape = (1, 4, 4) if kind is BatchNormResNet else (3, 8)
    problem = (
        torch.optim.SGD(module.parameters(), lr=0.1),
        batch(shape, 6, 1, dtype=torch.float32),
        batch(shape, 5, 2, dtype=torch.float32),
    )
    bf16 = mw.Student(module, taps=("head",), execution=Execution(precision="bf16"))
    forward = bf16(problem[1])
    assert {forward.loss.dtype, forward.outputs.dtype, forward.features["head"].dtype} == {torch.float32}
    assert not torch.equal(forward.outputs, mw.Student(module)(problem[1]).outputs)
    found, truth = slopes(engine, bf16, *problem), slopes("higher", mw.Student(module), *problem)
    assert relative(found, truth) <= 0.1


@pytest.mark.parametrize("compiled", [False, *slowly("aot_eager")])
def test_differences_under_autocast_are_taken_in_full_precision(compiled: bool | str) -> None:
    """The train and the meta pass are bf16's, the slopes along the direction that they give float32's."""
    torch.manual_seed(5)
    module = BatchNormResNet()
    problem = (
        torch.optim.SGD(module.parameters(), lr=0.1),
        batch((1, 4, 4), 6, 1, dtype=torch.float32),
        batch((1, 4, 4), 5, 2, dtype=torch.float32),
    )
    student = mw.Student(module, execution=Execution(precision="bf16", compile=compiled))
    assert relative(slopes("difference", student, *problem), slopes("forward", student, *problem)) <= 5e-3


def test_channels_last_changes_the_layout_and_nothing_else() -> None:
    eager, own, train, meta = make("batchnorm-resnet", "momentum")
    module, optimizer = twin(eager.module, own)
    laid_out = mw.Student(module, execution=Execution(memory_format="channels_last"))
    assert module.conv.weight.is_contiguous(memory_format=torch.channels_last)
    found = slopes("forward", laid_out, optimizer, train, meta)
    assert relative(found, slopes("forward", eager, own, train, meta)) <= 1e-12
    plain_step(module, optimizer, train, torch.ones(6).double())
    assert module.conv.weight.is_contiguous(memory_format=torch.channels_last)


def test_unknown_options_name_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"unknown precision 'bf61'.*Did you mean 'bf16'"):
        Execution(precision="bf61")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown memory_format 'channel_last'.*'channels_last'"):
        Execution(memory_format="channel_last")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"unknown backend 'inducter'.*Did you mean 'inductor'"):
        Execution(compile="inducter")
