"""What every task must hold: data from a seed, batches that fit, figures that its table names."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metaweight.core.contracts import Batch
from metaweight.core.randomness import forked_rng
from metaweight.reweighter import Reweighter
from metaweight.tasks import Outcome, Task, run, tasks
from metaweight.tasks.assembly import trains_on_meta
from metaweight.tasks.base import Prepared
from metaweight.tasks.config import RunConfig
from metaweight.testing.oracles import live_tensors
from metaweight.testing.rules import changed, require, require_all
from metaweight.training.history import Source
from metaweight.training.run_folder import RunFolder

ADVICE = "draw from derive(config.seed, ...)"


@dataclass(frozen=True)
class Subject:
    """A task and a config of it that runs in a moment."""

    task: Task[Any, Any]
    config: RunConfig

    @cached_property
    def prepared(self) -> Prepared:
        """The data of the run."""
        data: Prepared = self.task.prepare(self.config)
        return data

    def sources(self) -> Iterator[tuple[str, Source]]:
        """Training and trusted batches, by name."""
        yield from self.task.sources(self.config, self.prepared)._asdict().items()

    def built(self) -> Reweighter:
        """Student and teacher; what is drawn leaves no trace."""
        with torch.random.fork_rng(devices=[]):
            reweighter: Reweighter = self.task.build(self.config, self.prepared)
        return reweighter

    def kept(self) -> dict[str, bytes]:
        """What a run's folder holds from the start on, by name."""
        with tempfile.TemporaryDirectory() as scratch:
            self.task.keep(self.prepared, RunFolder(Path(scratch)))
            return {path.name: path.read_bytes() for path in Path(scratch).rglob("*") if path.is_file()}

    def outcome(self, folder: RunFolder | None = None) -> Outcome:
        """What a whole run gives."""
        with torch.random.fork_rng(devices=[]):
            return run(self.config, folder, prepared=self.prepared)


def check_task(task: str | Task[Any, Any], config: RunConfig | None = None) -> None:
    """Raise ContractError where a task, by name or object, breaks a rule of the contract.

    ``config``: a small run of it, which is trained twice; by default that of the config's defaults.
    """
    own = tasks[task] if isinstance(task, str) else task
    name = own.config.task
    filed = nullcontext() if name in tasks and tasks[name] is own else tasks.temporarily(name, own)
    with filed:
        require_all(f"task {name!r}", Subject(own, own.config() if config is None else config), RULES)


def the_config_is_its_own(subject: Subject) -> None:
    """The config is of the task's own class, a RunConfig, and passes its check."""
    kind, got = subject.task.config, type(subject.config)
    require(issubclass(kind, RunConfig), f"got {kind!r}; derive it from RunConfig")
    require(issubclass(got, kind), f"got a {got.__name__}; give a {kind.__name__}")
    subject.task.check(subject.config)


def data_follow_from_the_seed(subject: Subject) -> None:
    """Prepared twice, the data and their batches are the same, whatever was drawn before."""
    again = replace(subject)
    with forked_rng(torch.device("cpu")):
        torch.rand(1)
        pairs = list(zip(subject.sources(), again.sources(), strict=True))
    for what in ("title", "source", "samples"):
        first, second = getattr(subject.prepared, what), getattr(again.prepared, what)
        require(first == second, f"{what} is {first!r}, then {second!r}; {ADVICE}")
    for (name, one), (_, other) in pairs:
        apart = changed(batch_tensors(one.batch(0, 0)), batch_tensors(other.batch(0, 0)))
        require(not apart, f"the first {name} batch has other {', '.join(apart)}; {ADVICE}")


def batches_are_functions_of_their_place(subject: Subject) -> None:
    """A source has batches, each a function of epoch and position, whose index lies within the samples."""
    for name, source in subject.sources():
        require(len(source) >= 1, f"the {name} source is empty; an epoch has a batch at least")
        first, _ = source.batch(0, 0), source.batch(1, len(source) - 1)
        require(isinstance(first, Batch), f"the {name} source gives {type(first).__name__}; give a Batch")
        apart = changed(batch_tensors(first), batch_tensors(source.batch(0, 0)))
        require(not apart, f"asked for again, a {name} batch has other {', '.join(apart)}; {ADVICE}")
    seen, samples = {}, subject.prepared.samples
    for name, source in subject.sources():
        index = torch.cat([source.batch(0, position).index for position in range(len(source))])
        seen[name], low, high = set(index.tolist()), int(index.min()), int(index.max())
        require(low >= 0 and high < samples, f"got {name} indices {low} to {high} for samples = {samples}")
    both = seen["train"] & seen["meta"]
    if trains_on_meta(subject.config):
        require(bool(both), "train_on_meta is on, and no training batch has a sample of a meta batch")
    else:
        require(not both, f"train_on_meta is off, and {len(both)} samples have an index in train and in meta")


def students_follow_from_the_seed(subject: Subject) -> None:
    """Student and teacher start alike for a seed, the student otherwise for another, and take the batches."""
    built, again = subject.built(), subject.built()
    student = built.student.module.state_dict()
    apart = changed(student, again.student.module.state_dict())
    apart += changed(built.teacher.state_dict(), again.teacher.state_dict())
    require(not apart, f"{', '.join(apart)} start otherwise when built again; seed from the config before")
    other = replace(subject, config=replace(subject.config, seed=subject.config.seed + 1)).built()
    moved = changed(student, other.student.module.state_dict())
    require(bool(moved), "another seed gives the same student; seed from the config before it is built")
    for name, source in subject.sources():
        with torch.no_grad():
            loss = built.student(source.batch(0, 0)).loss
        require(bool(loss.isfinite().all()), f"the first loss on a {name} batch is NaN or infinite")


def measuring_leaves_the_student_alone(subject: Subject) -> None:
    """Evaluation gives finite figures, the same again, and leaves student and random state as they were."""
    evaluation, built = subject.task.evaluation(subject.config, subject.prepared), subject.built()
    student, before = built.student, live_tensors(built.student, built.live.optimizer)
    first, again = (
        {
            f"{split}_{figure}": value
            for split, batches in evaluation.batches.items()
            for figure, value in evaluation.function(student, batches).items()
        }
        for _ in range(2)
    )
    moved = changed(before, live_tensors(student, built.live.optimizer))
    require(not moved, f"it changes {', '.join(moved)}; measure inside evaluating(module) and no_grad")
    bad = [figure for figure, value in first.items() if not math.isfinite(value)]
    require(not bad, f"{', '.join(bad)} is not finite")
    require(first == again, f"got {first}, then {again}; batches are iterated over again and again")
    known = evaluation.monitor in first or "valid" not in evaluation.batches
    require(known, f"monitor {evaluation.monitor!r} is none of {', '.join(first)}")


def what_is_kept_follows_from_the_data(subject: Subject) -> None:
    """``keep`` writes the same files again, so that a resumed run can compare them."""
    first, again = subject.kept(), subject.kept()
    apart = [name for name in {**first, **again} if first.get(name) != again.get(name)]
    require(not apart, f"{', '.join(apart)} differ; write no time and nothing that is drawn")


def runs_repeat_and_give_what_the_table_names(subject: Subject) -> None:
    """A run repeats bit for bit, with a folder and without; its figures are those of table and curve."""
    with tempfile.TemporaryDirectory() as scratch:
        first = subject.outcome(RunFolder.create(Path(scratch) / "run", {"task": subject.config.task}))
    again = subject.outcome()
    figures = {name: value for name, value in first.figures.items() if name != "seconds"}
    apart = [name for name, value in figures.items() if not _same(value, again.figures[name])]
    require(not apart, f"{', '.join(apart)} differ in a second run; {ADVICE}")
    infinite = [name for name, value in figures.items() if math.isinf(value)]
    require(not infinite, f"{', '.join(infinite)} is infinite; give NaN for what is undefined")
    shown = [column.figure for column in subject.task.presentation.columns]
    shown += [compared.figure for compared in subject.task.presentation.compared]
    missing = sorted({*shown} - {*first.figures, "cost"})
    require(not missing, f"the table shows {', '.join(missing)}, conclude gives {', '.join(first.figures)}")
    row, curve = first.history.row(first.epoch), subject.task.presentation.curve.figure
    require(curve in row, f"the curve draws {curve!r}, an epoch has {', '.join(row)}")


def batch_tensors(batch: Batch) -> dict[str, Tensor]:
    """Every tensor of a batch by name."""
    named = [*enumerate(batch.args), *batch.kwargs.items()]
    inputs = {f"inputs[{name!r}]": value for name, value in named if isinstance(value, Tensor)}
    return {**inputs, "targets": batch.targets, "index": batch.index}


def _same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


RULES: tuple[Callable[[Subject], None], ...] = (
    the_config_is_its_own,
    batches_are_functions_of_their_place,
    data_follow_from_the_seed,
    students_follow_from_the_seed,
    measuring_leaves_the_student_alone,
    what_is_kept_follows_from_the_data,
    runs_repeat_and_give_what_the_table_names,
)
