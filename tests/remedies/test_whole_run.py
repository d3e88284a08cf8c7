"""Weights learnt through whole runs, then a run with them: the same bits, its cost, stopping, mistakes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from slowly import slowly
from torch import Tensor

from metaweight import remedies
from metaweight.core.errors import MetaweightError
from metaweight.core.processes import Processes
from metaweight.core.weights import auroc
from metaweight.influence import WholeRun
from metaweight.influence.learning import BACK, Learning, Learnt
from metaweight.remedies import Course
from metaweight.remedies.whole_run import GivenWeights, WholeRunTeacher, WholeRunWeights
from metaweight.tasks import tasks
from metaweight.tasks.config import ImageConfig, TranslationConfig
from metaweight.training import checkpoint
from metaweight.training.callbacks import Callback, Run
from metaweight.training.evaluation import evaluate
from metaweight.training.learning_rate import LearningRate
from metaweight.training.run_folder import RunFolder

ROUNDS = 2
REMEDIES = {
    "whole-run": {"rounds": ROUNDS, "size": 0.5},
    "whole-run-teacher": {"rounds": ROUNDS, "size": 0.1},
}


class Crash(Exception):
    """By hand."""


@pytest.fixture
def config(digits: ImageConfig) -> ImageConfig:
    return replace(
        digits,
        remedy="whole-run",
        remedy_options=REMEDIES["whole-run"],
        model="mlp",
        model_options={"width": 4},
        lr_schedule="cosine",
        valid_size=0,
        meta_size=200,
    )


def under(config: ImageConfig, remedy: str, **options: Any) -> ImageConfig:
    return replace(config, remedy=remedy, remedy_options={**REMEDIES[remedy], **options})


class Kept(list[tuple[Learnt, dict[str, Tensor]]]):
    """What was learnt, with the student where the learning left it."""


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> Kept:
    found, plain = Kept(), WholeRun.learn

    def learn(self: WholeRun, *args: Any, **options: Any) -> Learnt:
        result = plain(self, *args, **options)
        state = self.student.module.state_dict()
        found.append((result, {name: value.clone() for name, value in state.items()}))
        return result

    monkeypatch.setattr(WholeRun, "learn", learn)
    return found


def student_of(folder: RunFolder) -> dict[str, Tensor]:
    state = checkpoint.load(folder.path / "checkpoint.pt", {}, part="none")["reweighter"]["student"]
    return dict(state)


@pytest.mark.parametrize(("model", "moved"), [("mlp", True), ("convnet", False)])
def test_the_run_is_trained_with_the_weights_that_were_learnt(
    model: str, moved: bool, config: ImageConfig, learnt: Kept, tmp_path: Path
) -> None:
    config = replace(config, model=model, remedy_options={**config.remedy_options, "with_meta": False})
    prepared = tasks["image"].prepare(config)
    folder = RunFolder.create(tmp_path / "run", {})
    outcome = remedies.run(config, folder, prepared=prepared)
    ((found, state),) = learnt
    own = Course(config, prepared).pool.train
    weights = folder.read_weights()
    assert torch.equal(weights.index, own)
    assert torch.equal(weights.weights, found.weights[own].float().expand_as(weights.weights))
    assert bool((found.weights[own] != 1).any()) == moved  # of the convnet no round is better than the first
    # the student of the folder is that of the learning's last run, to the last bit
    assert all(torch.equal(value, state[name]) for name, value in student_of(folder).items())
    assert outcome.figures["auroc"] == pytest.approx(auroc(found.weights[own], prepared.noise.flipped))
    # the rounds, the run that the learning leaves the student after, and the one that was asked for
    assert found.cost == len(found.rounds) + BACK * (1 + sum(r.accepted for r in found.rounds[1:]))
    assert outcome.cost == found.cost + 2


@pytest.mark.parametrize("remedy", REMEDIES)
def test_the_last_run_has_the_trusted_rows_with_weight_1_too(
    remedy: str, config: ImageConfig, learnt: Kept, tmp_path: Path
) -> None:
    config = under(config, remedy)
    prepared = tasks["image"].prepare(config)
    folder = RunFolder.create(tmp_path / "run", {})
    remedies.run(config, folder, prepared=prepared)
    ((found, _),) = learnt
    course = Course(config, prepared)
    weights = found.weights.nan_to_num(1.0)  # of rows that teachers have never weighed
    assert bool((weights[course.pool.meta] == 1).all())
    assert len(weights[course.pool.train].unique()) > 1
    built, both = course.build(), torch.cat([course.pool.train, course.pool.meta])
    whole = WholeRun(
        built.student,
        course.batches(both),
        built.optimizer,
        epochs=config.epochs,
        learning_rate=LearningRate("cosine"),
        weights=weights,
    )
    whole.record()
    there = built.student.module.state_dict()
    assert all(torch.equal(value, there[name]) for name, value in student_of(folder).items())


def test_the_validation_set_chooses(config: ImageConfig, learnt: Kept) -> None:
    config = replace(config, valid_size=20)
    prepared = tasks["image"].prepare(config)
    remedies.run(config, prepared=prepared)
    ((found, state),) = learnt
    student = Course(config, prepared).build().student
    student.module.load_state_dict(state)
    valid = tasks["image"].evaluation(config, prepared).batches["valid"]
    assert -found.rounds[found.best].watched == evaluate(student, valid)["accuracy"]
    assert found.rounds[found.best].watched == min(r.watched for r in found.rounds if r.accepted)


class Crashing(Callback):
    def on_step(self, run: Run, *_: Any) -> None:
        if run.reweighter.steps == 4:
            raise Crash


@pytest.mark.parametrize("remedy", ["whole-run-teacher", *slowly("whole-run")])
def test_a_run_that_was_killed_goes_on(
    remedy: str, config: ImageConfig, learnt: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = under(config, remedy)
    whole = RunFolder.create(tmp_path / "whole", {})
    outcome = remedies.run(config, whole)
    path, trained = tmp_path / "killed", Learning._trained

    def crash(self: Learning, weights: Tensor) -> Any:
        if len(self.rounds) == 2:
            raise Crash
        return trained(self, weights)

    # in the second round of the learning
    folder = RunFolder.create(path, {})
    monkeypatch.setattr(Learning, "_trained", crash)
    with pytest.raises(Crash):
        remedies.run(config, folder)
    monkeypatch.setattr(Learning, "_trained", trained)
    # and in the last stage
    with pytest.raises(Crash):
        remedies.run(config, RunFolder.open(path), callbacks=(Crashing(),), resume=True)
    resumed = remedies.run(config, RunFolder.open(path), callbacks=(Callback(),), resume=True)
    assert torch.equal(learnt[-1][0].weights.nan_to_num(-1), learnt[0][0].weights.nan_to_num(-1))
    assert learnt[-1][0].rounds == learnt[0][0].rounds
    ours, theirs = student_of(RunFolder.open(path)), student_of(whole)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert (path / "weights.npz").read_bytes() == (tmp_path / "whole/weights.npz").read_bytes()
    assert RunFolder.open(path).read_steps() == whole.read_steps()
    assert resumed.cost == outcome.cost
    assert {n: v for n, v in resumed.figures.items() if n != "seconds"} == {
        n: v for n, v in outcome.figures.items() if n != "seconds"
    }


def test_given_weights_are_those_of_the_samples() -> None:
    teacher = GivenWeights(torch.tensor([0.5, 2.0, 0.0], dtype=torch.float64))
    state: Any = type("State", (), {"index": torch.tensor([2, 0, 0]), "loss": torch.zeros(3)})
    assert torch.equal(teacher(state), torch.tensor([0.0, 0.5, 0.5]))
    assert "weights" in teacher.state_dict()
    assert not list(teacher.parameters())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"rounds": 0}, ValueError, "rounds and patience are 1 or more, got 0 and 5"),
        ({"patience": 0}, ValueError, "rounds and patience are 1 or more, got 10 and 0"),
        ({"size": 1.5}, ValueError, r"size of a step lies in \(0, 1\], got 1.5"),
        ({"move": "sined"}, KeyError, "Did you mean 'signed'"),
    ],
)
def test_options_that_cannot_be_are_named(options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        WholeRunWeights(**options)


def test_what_it_cannot_do_is_refused(config: ImageConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="'whole-run' differentiates twice, which compiled passes cannot"):
        remedies.run(replace(config, compile="eager"))
    with pytest.raises(ValueError, match="give teacher uniform beside it, not 'mw-net'"):
        remedies.run(replace(config, teacher="mw-net"))
    with pytest.raises(KeyError, match="Did you mean 'memory'"):
        remedies.run(under(config, "whole-run-teacher", teacher="memmory"))
    with pytest.raises(MetaweightError, match="'l2rw' reads the meta-gradients of single steps"):
        remedies.run(under(config, "whole-run-teacher", teacher="l2rw"))
    facts: Any = SimpleNamespace(name="whole-run", config=config)
    monkeypatch.setattr(Processes, "at_hand", lambda: SimpleNamespace(size=2))
    with pytest.raises(ValueError, match="goes back through runs of one process: train in one"):
        WholeRunWeights().check(facts)
    with pytest.raises(ValueError, match="goes back through runs of one process: train in one"):
        WholeRunTeacher().check(facts)


@pytest.mark.slow
def test_sentence_pairs_get_weights(colours: TranslationConfig, tmp_path: Path) -> None:
    chosen = replace(colours, remedy="whole-run", remedy_options={"rounds": 2, "size": 0.4})
    folder = RunFolder.create(tmp_path / "run", {})
    remedies.run(chosen, folder)
    assert len(folder.read_weights().mean_weight().unique()) > 1


@pytest.mark.parametrize("teacher", ["mw-net", *slowly("surface", "mlp", "attention")])
def test_a_teacher_of_ones_choice_is_taught(teacher: str, config: ImageConfig, learnt: Kept) -> None:
    outcome = remedies.run(under(config, "whole-run-teacher", teacher=teacher, with_meta=False))
    ((found, _),) = learnt
    assert [r.size for r in found.rounds[:2]] == [0, 0.1]
    assert found.rounds[1].loss != found.rounds[0].loss
    assert outcome.cost == found.cost + 2
