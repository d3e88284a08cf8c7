"""Weights learnt through whole runs: against runs written out, slopes by influence, torch's Adam."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from whole_runs import TRAIN, WRONG, Stopped, planted, stopping, three_classes

import metaweight as mw
from metaweight.core.errors import NonFiniteError
from metaweight.core.weights import auroc
from metaweight.influence.halves import driving_and_watching
from metaweight.influence.learning import Learning, Learnt
from metaweight.influence.moves import Signed, moves

DOUBLE = torch.float64


def without_cost(learnt: Learnt) -> tuple[Any, ...]:
    return learnt.rounds, learnt.best, learnt.sentences


@pytest.fixture(scope="module")
def learnt() -> Learnt:
    return planted().recorded().learn(planted().meta, rounds=4)


def test_wrong_labels_get_lower_weights(learnt: Learnt) -> None:
    wrong = torch.arange(TRAIN) < WRONG
    assert auroc(learnt.weights, wrong) > 0.8
    assert learnt.weights.dtype == DOUBLE
    assert float(learnt.weights.min()) >= 0
    assert float(learnt.weights.max()) <= 2
    assert learnt.rounds[learnt.best].watched < 0.9 * learnt.rounds[0].watched


def test_an_accepted_round_has_a_lower_loss_and_another_halves_the_step(learnt: Learnt) -> None:
    # steps so large that some fail
    wild = planted(epochs=3).recorded().learn(planted().meta, rounds=5, size=1.0)
    assert not all(r.accepted for r in wild.rounds)
    for found in (learnt, wild):
        now = found.rounds[0].loss
        for before, after in zip(found.rounds[1:], found.rounds[2:], strict=False):
            assert before.accepted == (before.loss < now)
            now = min(now, before.loss)
            assert before.accepted or after.size == before.size / 2
    assert bool(((wild.weights >= 0) & (wild.weights <= 2)).all())
    assert [r.number for r in wild.rounds] == list(range(6))
    best = min((r for r in wild.rounds if r.accepted), key=lambda r: r.watched)
    assert wild.best == best.number


def test_the_student_stands_at_the_end_of_a_run_with_the_weights() -> None:
    case = planted(epochs=2)
    run = case.recorded()
    found = run.learn(case.meta, rounds=3, size=0.4)
    assert found.best > 0
    there = case.written_out(found.weights).state_dict()
    assert all(torch.equal(v, there[name]) for name, v in run.student.module.state_dict().items())
    # and the run itself is still the one that it was
    ones = torch.ones(TRAIN, dtype=DOUBLE)
    assert torch.equal(run.steps.weights, ones)
    assert float(run.influence(case.meta).losses) == pytest.approx(case.loss_at_the_end(ones), rel=1e-12)


def test_a_signed_step_is_the_influence_of_the_half_that_drives() -> None:
    case = planted()
    driving, watching = case.meta.rows(torch.arange(0, 30, 2)), case.meta.rows(torch.arange(1, 30, 2))
    found = case.recorded().learn(case.meta, rounds=1, size=0.1)
    influence = case.recorded().influence(driving).values
    weights = 1 - 0.1 * (influence - influence.mean()).sign()
    case.meta = driving
    assert found.rounds[1].loss == pytest.approx(case.loss_at_the_end(weights), rel=1e-12)
    case.meta = watching
    assert found.rounds[1].watched == pytest.approx(case.loss_at_the_end(weights), rel=1e-12)
    assert found.best == 1
    assert torch.equal(found.weights, weights)


@pytest.mark.parametrize("sizes", [[5], [1, 1], [3, 1, 4, 2], [2, 2, 3]])
def test_the_halves_are_disjoint_and_together_all(sizes: list[int]) -> None:
    whole = three_classes(sum(sizes), 5)
    parts = [whole.rows(rows) for rows in torch.arange(len(whole)).split(sizes)]

    class Source:
        def __len__(self) -> int:
            return len(parts)

        def batch(self, epoch: int, position: int) -> mw.Batch:
            return parts[position]

    halves = driving_and_watching(Source(), None, torch.device("cpu"))
    found = []
    for half in halves:
        assert not callable(half)
        found.append(torch.cat([batch.index for batch in half.sets[0]]).tolist())
    assert found == [list(range(0, len(whole), 2)), list(range(1, len(whole), 2))]


def test_rows_that_are_learnt_by_heart_are_said_to_be() -> None:
    nonsense = three_classes(8, 6)
    nonsense = mw.Batch(nonsense.inputs, (nonsense.targets + 1) % 3, nonsense.index)
    case = planted(epochs=2)
    by_heart = case.recorded().learn(nonsense, valid=case.meta, rounds=4, size=0.1)
    assert [s for s in by_heart.sentences if "From round 1 on" in s and "by heart" in s]
    assert by_heart.best == 0
    sound = case.recorded().learn(case.meta, rounds=4, size=0.1)
    assert not [s for s in sound.sentences if "by heart" in s]
    assert "more rounds may give more" in sound.sentences[-1]


def test_no_weight_moves_further_than_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    case = planted(epochs=2)
    expected = case.recorded().learn(case.meta, rounds=2)
    monkeypatch.setattr(Signed, "direction", lambda _self, slopes: -3 * slopes.sign())
    assert torch.equal(case.recorded().learn(case.meta, rounds=2).weights, expected.weights)


def options_that_begin_again() -> dict[str, Any]:
    return {"rounds": 7, "move": "adam", "size": 0.8, "patience": 1, "restarts": 2}


@pytest.mark.parametrize("move", moves.names())
def test_with_a_folder_a_learning_that_was_stopped_goes_on(move: str, tmp_path: Path) -> None:
    case, options = planted(epochs=2), {**options_that_begin_again(), "move": move}
    whole = case.recorded().learn(case.meta, **options)
    assert len(whole.rounds) > 3
    assert len({r.size for r in whole.rounds[1:]}) > 1
    for _ in whole.rounds[1:]:
        run, tell = case.recorded(folder=tmp_path), stopping(2)  # after each further round
        with pytest.raises(Stopped):
            run.learn(case.meta, **options, tell=tell)
    run = case.recorded(folder=tmp_path)
    last = run.learn(case.meta, **options)
    assert torch.equal(last.weights, whole.weights)
    assert without_cost(last) == without_cost(whole)
    there = case.written_out(whole.weights).state_dict()
    assert all(torch.equal(v, there[name]) for name, v in run.student.module.state_dict().items())


def test_another_question_has_a_learning_of_its_own(tmp_path: Path) -> None:
    case = planted(epochs=2)
    first = case.recorded(folder=tmp_path).learn(case.meta, rounds=1)
    other = case.recorded(folder=tmp_path).learn(case.meta, rounds=1, valid=three_classes(9, 8))
    assert other.rounds[0].watched != first.rounds[0].watched
    more = case.recorded(folder=tmp_path).learn(case.meta, rounds=2)
    assert more.rounds[:2] == first.rounds
    assert without_cost(more) == without_cost(case.recorded().learn(case.meta, rounds=2))


def test_a_function_is_asked_of_the_student_of_the_round() -> None:
    case = planted(epochs=2)
    asked: list[dict[str, Tensor]] = []

    def valid(student: mw.Student) -> float:
        asked.append({name: v.clone() for name, v in student.module.state_dict().items()})
        student.module.eval()  # and leaves it so
        return -float(len(asked))

    found = case.recorded().learn(case.meta, valid=valid, rounds=2, size=0.05)
    assert [r.accepted for r in found.rounds] == [True] * 3
    assert [r.watched for r in found.rounds] == [-1, -2, -3]
    for state, weights in ((asked[0], torch.ones(TRAIN, dtype=DOUBLE)), (asked[-1], found.weights)):
        there = case.written_out(weights).state_dict()
        assert all(torch.equal(state[name], value) for name, value in there.items())
    # all trusted rows drive
    assert found.rounds[0].loss == pytest.approx(case.loss_at_the_end(torch.ones(TRAIN, dtype=DOUBLE)))


def test_a_function_may_leave_the_student_evaluating() -> None:
    """Dropout stays on in the runs that follow."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.GELU(), nn.Linear(8, 3))

    case = planted(epochs=2)
    case.build = build

    def valid(student: mw.Student) -> float:
        student.module.eval()
        return -float(len(student.module(case.meta.args[0])))

    run = case.recorded()
    found = run.learn(case.meta, valid=valid, rounds=1)
    there = case.written_out(found.weights).state_dict()
    assert all(torch.equal(v, there[name]) for name, v in run.student.module.state_dict().items())
    assert run.student.module.training


@pytest.mark.parametrize("move", moves.names())
def test_a_restart_is_at_the_best_weights_with_half_the_step(move: str) -> None:
    """Adam's first step is the slopes' sign, too."""
    case = planted(epochs=2)
    worse = iter(range(100))  # the first round stays the best
    found = case.recorded().learn(
        case.meta, valid=lambda _: float(next(worse)), rounds=10, move=move, size=0.1, patience=2, restarts=1
    )
    assert [r.size for r in found.rounds] == [0, 0.1, 0.1, 0.05, 0.05]
    assert found.best == 0
    influence = case.recorded().influence(case.meta).values
    sign = (influence - influence.mean()).sign()
    for r in found.rounds[1::2]:
        assert r.loss == pytest.approx(case.loss_at_the_end(1 - r.size * sign), rel=1e-12)
    # 5 rounds and the one at the best weights again; back from all but those that are followed by an end
    assert found.cost == 6 + 4 * 4


def test_patience_is_as_long_after_a_restart() -> None:
    case = planted(epochs=2)
    watched = iter([5.0, 6, 7, 6, 4, 5, 6, 7, 8])
    found = case.recorded().learn(
        case.meta, valid=lambda _: next(watched), rounds=10, size=0.02, patience=2, restarts=1
    )
    # two rounds without a fall, a restart, one more, one that falls, and two that do not
    assert [r.watched for r in found.rounds] == [5, 6, 7, 6, 4, 5, 6]
    assert found.best == 4


def test_weights_with_which_a_run_gets_lost_are_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    case, trained = planted(epochs=2), Learning._trained
    calls: list[int] = []

    def lost(self: Learning, weights: Tensor) -> Any:
        calls.append(len(calls))
        if len(calls) == 1:
            raise NonFiniteError("the train loss is NaN")
        return trained(self, weights)

    monkeypatch.setattr(Learning, "_trained", lost)
    found = case.recorded().learn(case.meta, rounds=2)
    assert [(r.accepted, r.size) for r in found.rounds] == [(True, 0), (False, 0.2), (True, 0.1)]


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"move": "sgn"}, KeyError, "signed"),
        ({"size": 1.5}, ValueError, "size.*got 1.5"),
        ({"patience": 0}, ValueError, "patience is 1 or more"),
        ({"restarts": -1}, ValueError, "restarts 0 or more"),
        ({"valid": lambda _: float("nan")}, ValueError, "gave NaN"),
        ({"valid": [three_classes(2, 1), three_classes(2, 2)]}, ValueError, "valid has 2"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], error: type[Exception], said: str) -> None:
    run = planted(epochs=1).recorded()
    with pytest.raises(error, match=said):
        run.learn(planted().meta, **options)
    assert run.recording.taken == (0 if "NaN" not in said else 4)


def test_more_mistakes_are_named() -> None:
    case = planted(epochs=1)
    with pytest.raises(ValueError, match="one trusted row cannot be halved"):
        case.recorded().learn(case.meta.rows(torch.arange(1)))
    with pytest.raises(ValueError, match="meta has 2"):
        case.recorded().learn([case.meta, case.meta])
    with pytest.raises(ValueError, match="some outside: begin within"):
        case.recorded(torch.full((TRAIN,), 2.5, dtype=DOUBLE)).learn(case.meta)
