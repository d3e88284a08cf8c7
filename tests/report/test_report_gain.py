"""What a run gains over plain training, in sentences that can be checked by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from metaweight.report.statistics.gain import gain_of
from metaweight.tasks import tasks
from metaweight.tasks.outcome import RunResult


def result(figures: Mapping[str, float | None], arm: str = "memory", **more: Any) -> RunResult:
    row = {"epoch": 1, "train_loss": 0.5, **more.pop("row", {})}
    return RunResult(arm, "none", 0, figures, history=(row,), **more)


@pytest.mark.parametrize(
    ("taught", "plain", "said"),
    [
        (
            87.44,
            83.1,
            "reaches 87.4 % test accuracy, with plain training on the same rows 83.1: 4.3 points of",
        ),
        (80.0, 83.1, "rows 83.1: 3.1 points of accuracy less."),
        (83.12, 83.1, "rows 83.1: no difference."),
    ],
)
def test_more_less_and_no_difference(taught: float, plain: float, said: str) -> None:
    presentation = tasks["image"].presentation
    found = gain_of(result({"accuracy": taught}), result({"accuracy": plain}, "uniform"), presentation)
    assert found.sentences[0].startswith("With memory the student reaches ")
    assert said in found.sentences[0]
    assert found.difference == pytest.approx(taught - plain)
    assert "one seed" in found.sentences[1]
    assert "--arms uniform memory" in found.sentences[1]


def test_numbers_are_compared_by_their_own_figure_and_auto_is_named() -> None:
    figures = {"accuracy": None, "r2": 0.8125, "rmse": 4.0}
    taught = result(figures, "auto", details={"teacher": "knn"})
    found = gain_of(taught, result({**figures, "r2": 0.75}, "uniform"), tasks["tabular"].presentation)
    assert found.sentences[0] == (
        "With auto (knn) the student reaches an R² of 0.812 on the test rows, with plain training on the "
        "same rows 0.750: 0.062 of R² more."
    )
    assert "--arms uniform auto " in found.sentences[1]


def test_what_was_measured_on_validation_samples_stands_in_for_a_test() -> None:
    """In the epoch whose student is handed out, the first of two here."""
    rows = ({"epoch": 1, "valid_accuracy": 70.0}, {"epoch": 2, "valid_accuracy": 60.0})
    taught = RunResult("memory", "none", 0, {"accuracy": None}, history=rows, epoch=1)
    plain = result({"accuracy": None}, "uniform", row={"valid_accuracy": 65.0})
    found = gain_of(taught, plain, tasks["image"].presentation)
    assert found.sentences[0].startswith(
        "With memory the student reaches 70.0 % validation accuracy, with plain"
    )
    assert found.difference == 5.0


@pytest.mark.parametrize("figure", [None, 80.0])
def test_nothing_is_claimed_of_what_is_not_known(figure: float | None) -> None:
    found = gain_of(result({"accuracy": None}), result({"accuracy": figure}), tasks["image"].presentation)
    assert found.difference is None
    assert found.sentences[0].startswith("Whether memory is better than plain training cannot be said")
