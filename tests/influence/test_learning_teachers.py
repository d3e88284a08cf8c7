"""Teachers learnt through whole runs: against differences of runs written out, and what comes out."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from slowly import slowly
from torch import Tensor, nn
from whole_runs import SAMPLES, TRAIN, WRONG, Case, Rows, Stopped, planted, rows, stopping

import metaweight as mw
from metaweight.core.contracts import MetaweightError, StudentState
from metaweight.core.weights import auroc
from metaweight.influence.back import WayBack
from metaweight.influence.subjects import ByTeacher
from metaweight.influence.targets import Targets
from metaweight.teachers.base import Teacher
from metaweight.training.learning_rate import LearningRate

TAP = "1"
"""The activations of ``tapped()``."""
STEP = 2e-5
"""Of central differences."""


def tapped(**options: Any) -> Case:
    """A student with a hidden state to look at, and noise in it."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Dropout(0.2), nn.BatchNorm1d(5), nn.Linear(5, 3))

    return Case(build, Rows(rows((6,), SAMPLES, 3)), rows((6,), 7, 4), **{"epochs": 6, **options})


def student_of(module: nn.Module) -> mw.Student:
    return mw.Student(module, taps=(TAP,))


def teacher_for(case: Case, name: str, **options: Any) -> Teacher:
    """One that has learnt something: not all its weights are 1."""
    module, _ = case.start()
    teacher = mw.build_teacher(name, student_of(module).spec(case.source.whole), **options)
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in teacher.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=g, dtype=p.dtype))
    return teacher


def state_of(module: nn.Module, batch: mw.Batch, progress: float) -> tuple[Tensor, StudentState]:
    """Losses [U] with their graph, and what a teacher sees, written out."""
    hidden: list[Tensor] = []
    handle = module[1].register_forward_hook(lambda _m, _i, out: hidden.append(out))  # type: ignore[index]
    outputs = module(batch.args[0])
    handle.remove()
    loss = F.cross_entropy(outputs, batch.targets, reduction="none")
    state = StudentState(
        loss=loss.detach(),
        size=torch.ones_like(loss.detach()),
        outputs=outputs.detach(),
        features={TAP: hidden[0].detach()},
        targets=batch.targets,
        index=batch.index,
        progress=progress,
    )
    return loss, state


Seen = list[dict[str, Tensor]]


def written_out(case: Case, teacher: Teacher, seen: Seen | None = None) -> tuple[nn.Module, Seen]:
    """The module after a run that ``teacher`` weighs; ``seen``: what it remembers before each step, else it
    looks at the trusted rows itself."""
    module, optimizer = case.start()
    fresh = {name: v.clone() for name, v in teacher.named_buffers()}
    steps, each = case.epochs * len(case.source), len(case.source)
    first = optimizer.param_groups[0]["lr"]
    course = LearningRate(case.course, warmup_steps=10)
    remembered: Seen = []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = first * course.factor(step, steps=steps, steps_per_epoch=each)
        if seen is not None:
            teacher.load_state_dict(seen[step], strict=False)
        else:
            teacher.load_state_dict(fresh, strict=False)
            statistics = {name: v.clone() for name, v in module.named_buffers()}
            random = torch.get_rng_state()
            with torch.no_grad():
                teacher.observe(state_of(module, case.meta, 0.0)[1])
            module.load_state_dict(statistics, strict=False)
            torch.set_rng_state(random)
        remembered.append({name: v.clone() for name, v in teacher.named_buffers()})
        loss, state = state_of(module, case.source.batch(*divmod(step, each)), step / steps)
        optimizer.zero_grad()
        (teacher(state).detach() * loss).mean().backward()
        if case.max_norm is not None:
            torch.nn.utils.clip_grad_norm_(module.parameters(), case.max_norm)
        optimizer.step()
    return module, remembered


def loss_of(case: Case, module: nn.Module) -> float:
    """Of the trusted rows, by a student that evaluates."""
    module.eval()
    with torch.no_grad():
        return float(F.cross_entropy(module(case.meta.args[0]), case.meta.targets))


def move(teacher: Teacher, values: Tensor) -> None:
    torch.nn.utils.vector_to_parameters(values, [p for p in teacher.parameters() if p.requires_grad])


def by_differences(case: Case, teacher: Teacher, along: Tensor) -> float:
    """The slope along a direction of the teacher's parameters, what it remembers held fast."""
    there = torch.nn.utils.parameters_to_vector(p for p in teacher.parameters() if p.requires_grad).detach()
    seen = written_out(case, teacher)[1]

    def at(times: int) -> float:
        move(teacher, there + times * STEP * along)
        torch.manual_seed(7)
        return loss_of(case, written_out(case, teacher, seen)[0])

    near, far = at(1) - at(-1), at(2) - at(-2)
    move(teacher, there)
    return (8 * near - far) / (12 * STEP)


def by_adjoints(case: Case, teacher: Teacher, center: bool = False) -> Tensor:
    """dL/d(teacher's parameters), through the whole run."""
    teacher.centered = center  # type: ignore[misc]
    run = run_of(case)
    run.record()
    subject = ByTeacher(run.steps, teacher, [case.meta])
    recording = run._anew(subject.steps(subject.first()))
    recording.take()
    (said,) = Targets.of(case.meta, each=False, device=torch.device("cpu")).said(
        run.student, recording.end(), "eval"
    )
    way = WayBack(recording, [said])
    way.go()
    return way.taught[0]


def run_of(case: Case, **options: Any) -> mw.WholeRun:
    """Recorded as ``Case.recorded``, with a tap."""
    module, optimizer = case.start()
    return mw.WholeRun(
        student_of(module),
        case.source,
        optimizer,
        epochs=case.epochs,
        learning_rate=LearningRate(case.course, warmup_steps=10),
        max_norm=case.max_norm,
        **options,
    )


@pytest.mark.parametrize(
    ("name", "optimizer"),
    [
        ("mw-net", "sgd"),
        ("memory", "adam"),
        *slowly(("mw-net", "adamw"), ("surface", "sgd"), ("mlp", "adam"), ("attention", "sgd")),
    ],
)
def test_slopes_of_a_teacher_are_those_of_runs_written_out(name: str, optimizer: str) -> None:
    """Its weights depend on the student that they made, over all steps before."""
    case = tapped(optimizer=optimizer)
    teacher = teacher_for(case, name)
    found = by_adjoints(case, deepcopy(teacher))
    along = torch.randn(len(found), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    along /= along.norm()
    expected = by_differences(case, teacher, along)
    assert abs(expected) > 1e-5
    assert float(found @ along) == pytest.approx(expected, rel=1e-6)


def fresh(case: Case, name: str = "memory") -> Teacher:
    torch.manual_seed(9)
    return mw.build_teacher(name, student_of(case.start()[0]).spec(case.source.whole))


def test_a_teacher_learns_which_labels_are_wrong_and_the_student_is_better() -> None:
    case = planted()
    run, teacher = run_of(case), fresh(case)
    before = {name: p.clone() for name, p in teacher.named_parameters()}
    found = run.learn(case.meta, wrt=teacher, rounds=3, size=0.1)
    assert auroc(found.weights, torch.arange(TRAIN) < WRONG) > 0.8
    assert found.rounds[found.best].watched < 0.8 * found.rounds[0].watched
    assert found.weights.dtype == torch.float64
    assert any(not torch.equal(p, before[name]) for name, p in teacher.named_parameters())
    # the run itself, one for each round, and the way back from each that was accepted and went on
    assert found.cost >= 1 + 4 + 4


def test_the_student_stands_at_the_end_of_a_run_that_the_teacher_weighed() -> None:
    """And the teacher is the one of that run, whose weights are means over the visits."""
    case = planted(epochs=3)
    run, teacher = run_of(case), fresh(case)
    found = run.learn(case.meta, wrt=teacher, rounds=3, size=0.1)
    assert found.best > 0
    case.meta = case.meta.rows(torch.arange(0, 30, 2))  # those that drive are looked at
    again = fresh(case)
    again.load_state_dict(dict(teacher.named_parameters()), strict=False)
    there = written_out(case, again)[0].state_dict()
    assert all(torch.equal(v, there[name]) for name, v in run.student.module.state_dict().items())
    assert float(run.influence(case.meta).losses) == pytest.approx(case.loss_at_the_end(torch.ones(TRAIN)))


def test_weights_are_means_over_the_visits_of_a_sample() -> None:
    class Later(Teacher):
        """Weighs by how far the run has come."""

        def __init__(self) -> None:
            super().__init__()
            self.slope = nn.Parameter(torch.ones((), dtype=torch.float64))

        def forward(self, state: StudentState) -> Tensor:
            return (1 + self.slope * state.progress).expand(len(state))

    case = planted(epochs=2)
    case.source.size = 30  # of 48 samples 18 are left out in each epoch, other ones
    found = run_of(case).learn(case.meta, wrt=Later(), rounds=1, size=1e-9)
    progress: list[list[float]] = [[] for _ in range(TRAIN)]
    for step in range(2):
        for index in case.source.batch(step, 0).index.tolist():
            progress[index].append(1 + step / 2)
    expected = [sum(own) / len(own) if own else float("nan") for own in progress]
    assert 0 < sum(not own for own in progress) < 18
    assert found.weights == pytest.approx(expected, abs=1e-8, nan_ok=True)


def test_with_a_folder_a_learning_that_was_stopped_goes_on(tmp_path: Path) -> None:
    case, options = planted(epochs=2), {"rounds": 4, "size": 0.3, "patience": 1, "restarts": 1}
    taught = fresh(case)
    whole = run_of(case).learn(case.meta, wrt=taught, **options)
    assert len(whole.rounds) > 2
    for _ in whole.rounds[1:]:
        with pytest.raises(Stopped):
            run_of(case, folder=tmp_path).learn(case.meta, wrt=fresh(case), **options, tell=stopping(2))
    run, teacher = run_of(case, folder=tmp_path), fresh(case)
    last = run.learn(case.meta, wrt=teacher, **options)
    assert torch.equal(last.weights, whole.weights)
    assert (last.rounds, last.sentences) == (whole.rounds, whole.sentences)
    assert all(torch.equal(a, b) for a, b in zip(teacher.parameters(), taught.parameters(), strict=True))


@pytest.mark.slow
def test_another_teacher_has_a_learning_of_its_own(tmp_path: Path) -> None:
    case = planted(epochs=2)
    first = run_of(case, folder=tmp_path).learn(case.meta, wrt=fresh(case), rounds=1)
    other = run_of(case, folder=tmp_path).learn(case.meta, wrt=fresh(case, "surface"), rounds=1)
    assert other.rounds[1].loss != first.rounds[1].loss
    assert other.rounds == run_of(case).learn(case.meta, wrt=fresh(case, "surface"), rounds=1).rounds


def test_slopes_are_centred_as_a_reweighter_centres_them() -> None:
    """A teacher that gives all samples of a batch one weight then learns nothing."""

    class Same(Teacher):
        def __init__(self) -> None:
            super().__init__()
            self.level = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, state: StudentState) -> Tensor:
            return (2 * self.level.sigmoid()).expand(len(state))

    case = planted(epochs=2)
    assert abs(float(by_adjoints(case, Same()))) > 1e-3
    assert abs(float(by_adjoints(case, Same(), center=True))) < 1e-15


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("l2rw", "reads the meta-gradients of single steps"),
        ("jury", "reads the meta-gradients of single steps"),
        ("recall", "reads the meta-gradients of single steps"),
        ("knn", "has no parameter"),
    ],
)
def test_teachers_that_cannot_learn_so_are_refused_before_anything_is_trained(name: str, why: str) -> None:
    case = planted()
    spec = student_of(case.start()[0]).spec(case.source.whole, samples=TRAIN)
    run = run_of(case)
    with pytest.raises(MetaweightError, match=why):
        run.learn(case.meta, wrt=mw.build_teacher(name, spec))
    assert run.recording.taken == 0
    with pytest.raises(TypeError, match="wrt is a Teacher, got str"):
        run.learn(case.meta, wrt=name)  # type: ignore[arg-type]
