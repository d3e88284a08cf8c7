"""A task that breaks a rule is caught by that rule; those that are registered keep them all."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import tiny_images
import tiny_translation
import torch
from slowly import slowly
from torch import nn

import metaweight as mw
from metaweight.tasks import Outcome, Sources, tasks
from metaweight.tasks.config import ImageConfig, RunConfig, TabularConfig, TextConfig, TokensConfig
from metaweight.tasks.image.data import PreparedImages
from metaweight.tasks.image.task import ImageTask
from metaweight.testing import ContractError, check_task
from metaweight.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def configs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, RunConfig]:
    """A run of a moment of every task."""
    text = tiny_translation.write(tmp_path_factory.mktemp("text") / "a.tsv", tiny_translation.pairs(0, 200))
    translation = tiny_translation.config(f"tsv:{text}", epochs=1, teacher="mw-net")
    small: dict[str, Any] = {"epochs": 1, "warmup_epochs": 0, "meta_size": 20, "valid_size": 20}
    return {
        "image": tiny_images.config(epochs=1, teacher="mw-net"),
        "tabular": TabularConfig(train_size=60, **small),
        "text": TextConfig(train_size=60, **small),
        "tokens": TokensConfig(train_size=60, **small),
        "translation": translation,
    }


GIVEN = "module"
"""The task whose module and data are objects: no config makes one."""


def test_every_task_has_a_run_here(configs: Mapping[str, RunConfig]) -> None:
    assert configs.keys() == {*tasks.names()} - {GIVEN}


ELSEWHERE = ("text", "tokens")
"""Whose contract is tried beside their own tests, too."""


@pytest.mark.parametrize(
    "name",
    [name for name in tasks.names() if name not in (GIVEN, *ELSEWHERE)] + slowly(*ELSEWHERE),
)
def test_a_task_keeps_its_contract(name: str, configs: Mapping[str, RunConfig]) -> None:
    check_task(name, configs[name])


@dataclass(frozen=True, kw_only=True)
class OddConfig(ImageConfig):
    """Of an image task under another name."""

    task: ClassVar[str] = "odd"


ODD = OddConfig(**dataclasses.asdict(tiny_images.config(epochs=1, teacher="uniform", noise="uniform")))


class Odd(ImageTask):
    """Images under another name; each of its children breaks one rule."""

    config = OddConfig


def test_a_task_that_is_not_registered_is_checked_and_stays_so() -> None:
    check_task(Odd(), ODD)
    assert "odd" not in tasks


class Unseeded(Odd):
    def prepare(self, config: OddConfig) -> PreparedImages:
        return super().prepare(dataclasses.replace(config, seed=int(torch.randint(1000, ()))))


class Renamed(Odd):
    numbers: ClassVar[Iterator[int]] = itertools.count()

    def prepare(self, config: OddConfig) -> PreparedImages:
        prepared = super().prepare(config)
        images = dataclasses.replace(prepared.images, name=f"digits {next(self.numbers)}")
        return dataclasses.replace(prepared, images=images)


class Changed:
    """A source whose batches are those of another, changed."""

    def __init__(self, source: Any, change: Any) -> None:
        self.source, self.change = source, change

    def __len__(self) -> int:
        return len(self.source)

    def batch(self, epoch: int, position: int) -> mw.Batch:
        return self.change(self.source.batch(epoch, position))


class Empty(Changed):
    def __len__(self) -> int:
        return 0


def noisy(batch: mw.Batch) -> mw.Batch:
    return mw.Batch((batch.inputs[0] + torch.rand(1),), batch.targets, batch.index)


def beyond(batch: mw.Batch) -> mw.Batch:
    return mw.Batch(batch.inputs, batch.targets, batch.index + 10_000)


def infinite(batch: mw.Batch) -> mw.Batch:
    return mw.Batch((batch.inputs[0] + float("inf"),), batch.targets, batch.index)


class WithTrain(Odd):
    """Training batches changed."""

    def __init__(self, change: Any, kind: type[Changed] = Changed) -> None:
        self.change, self.kind = change, kind

    def sources(self, config: OddConfig, prepared: PreparedImages) -> Sources:
        train, meta = super().sources(config, prepared)
        return Sources(self.kind(train, self.change), meta)


class Restless(Odd):
    """Students that start anew each time."""

    def build(self, config: OddConfig, prepared: PreparedImages) -> mw.Reweighter:
        reweighter = super().build(config, prepared)
        torch.seed()
        for parameter in reweighter.student.module.parameters():
            nn.init.normal_(parameter)
        return reweighter


class Rigid(Odd):
    """Students that start alike whatever the seed."""

    def build(self, config: OddConfig, prepared: PreparedImages) -> mw.Reweighter:
        return super().build(dataclasses.replace(config, seed=0), prepared)


class Measured(Odd):
    """Another way to measure."""

    def __init__(self, **chosen: Any) -> None:
        self.chosen = chosen

    def evaluation(self, config: OddConfig, prepared: PreparedImages) -> Any:
        return dataclasses.replace(super().evaluation(config, prepared), **self.chosen)


def training_on(student: mw.Student, batches: Sequence[mw.Batch]) -> dict[str, float]:
    with torch.no_grad():
        return {"accuracy": float(student(next(iter(batches))).loss.mean())}  # moves the running statistics


def undefined(student: mw.Student, batches: Sequence[mw.Batch]) -> dict[str, float]:
    return {"accuracy": float("nan")}


def at_random(numbers: Iterator[int]) -> Any:
    return lambda student, batches: {"accuracy": float(next(numbers))}


class Keeping(Odd):
    """Keeps something else each time."""

    numbers: ClassVar[Iterator[int]] = itertools.count()

    def keep(self, prepared: PreparedImages, folder: RunFolder) -> None:
        (folder.path / "number.txt").write_text(str(next(self.numbers)))


class Concluding(Odd):
    """Concludes with other figures."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def conclude(
        self, config: OddConfig, prepared: PreparedImages, trained: Any, folder: RunFolder | None
    ) -> Outcome:
        outcome = super().conclude(config, prepared, trained, folder)
        return dataclasses.replace(outcome, figures=self.change(dict(outcome.figures)))


class Named(Odd):
    config = int  # type: ignore[assignment]


SOURCE, STUDENT = "batches_are_functions_of_their_place", "students_follow_from_the_seed"
MEASURED, RUN = "measuring_leaves_the_student_alone", "runs_repeat_and_give_what_the_table_names"
COUNT = itertools.count()
BROKEN: list[tuple[str, Odd, str, str]] = [
    ("unseeded", Unseeded(), "data_follow_from_the_seed", "first train batch has other inputs"),
    ("title", Renamed(), "data_follow_from_the_seed", "title is 'digits 0', then 'digits 1'"),
    ("empty", WithTrain(None, Empty), SOURCE, "train source is empty"),
    ("no batch", WithTrain(lambda batch: batch.inputs), SOURCE, "gives tuple; give a Batch"),
    ("noisy", WithTrain(noisy), SOURCE, r"asked for again, a train batch has other inputs\[0\]"),
    ("beyond", WithTrain(beyond), SOURCE, "got train indices 1.* for samples ="),
    ("NaN", WithTrain(infinite), STUDENT, "first loss on a train batch is NaN"),
    ("restless", Restless(), STUDENT, "start otherwise when built again"),
    ("rigid", Rigid(), STUDENT, "another seed gives the same student"),
    ("training", Measured(function=training_on), MEASURED, "running_mean.*; measure inside evaluating"),
    ("undefined", Measured(function=undefined), MEASURED, "valid_accuracy.* is not finite"),
    ("random", Measured(function=at_random(itertools.count())), MEASURED, "accuracy.*, then .*accuracy"),
    ("monitor", Measured(monitor="valid_loss_of_all"), MEASURED, "'valid_loss_of_all' is none of"),
    ("kept", Keeping(), "what_is_kept_follows_from_the_data", "number.txt differ"),
    ("clock", Concluding(lambda f: f | {"accuracy": next(COUNT)}), RUN, "accuracy differ in a second run"),
    ("infinite", Concluding(lambda f: f | {"accuracy": float("inf")}), RUN, "accuracy is infinite"),
    ("no figure", Concluding(lambda f: {"seconds": f["seconds"]}), RUN, "table shows accuracy.*auroc"),
]


@pytest.mark.parametrize(
    ("task", "rule", "told"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN]
)
def test_a_broken_rule_is_named_with_what_was_got(task: Odd, rule: str, told: str) -> None:
    with pytest.raises(ContractError, match=told) as caught:
        check_task(task, ODD)
    assert caught.value.rule == rule
    assert str(caught.value).startswith("task 'odd': ")
    assert "odd" not in tasks


def test_the_config_of_another_task_is_refused() -> None:
    with pytest.raises(ContractError, match="got a ImageConfig; give a OddConfig"):
        check_task(Odd(), tiny_images.config())
