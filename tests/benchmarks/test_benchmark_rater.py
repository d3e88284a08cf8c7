"""The benchmark of raters: its halves, its rules, its page, on tables of a moment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.own.sets import Case, Whole, case
from benchmarks.rater.run import main
from benchmarks.rater.tables import to_markdown
from benchmarks.rater.trial import halves, plain_accuracy, trials


def small(rows: int = 160) -> Case:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(600, 2))
    right = np.where(x.sum(axis=1) > 0, "b", "a")
    return case("spambase", Whole(pd.DataFrame(x, columns=["x", "y"]), right), 0, rows=rows, rate=0.3)


def test_no_row_is_in_both_halves() -> None:
    own = small()
    one, other = halves(own)
    assert (len(one), len(other)) == (80, 80)
    assert set(one).isdisjoint(other)
    assert {*one, *other} == set(own.train)
    assert set(own.train).isdisjoint([*own.meta, *own.test])


def test_rules_and_raters_stand_beside_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def share(own: Case, rows: np.ndarray, seed: int) -> float:
        """In place of a student: the share of right labels among its rows."""
        return 100 * float((own.given[rows] == own.right[rows]).mean())

    monkeypatch.setattr("benchmarks.rater.trial.plain_accuracy", share)
    done = list(trials(small(), "uniform", ("evidence",), 0.6, 0))
    assert all(one.accuracy == pytest.approx(100 * one.clean) for one in done)
    arms = {one.arm: one for one in done}
    assert list(arms) == ["all", "right", "random", "cleanlab", "loss, plain", "loss", "evidence"]
    assert arms["right"].clean == 1
    assert arms["all"].clean == pytest.approx(1 - arms["all"].share)
    for arm in ("cleanlab", "loss", "evidence"):
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
