"""The table of a comparison against figures by hand."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import statistics

import pytest
from rich.console import Console

from metaweight.report.tables import Result, aggregate, print_table, to_csv, to_markdown


def results() -> list[Result]:
    """Two kinds of noise: no AUROC where there is none, and ``memory`` lacks a seed under ``cluster``."""
    return [
        Result("uniform", "none", 0, 97.0, None, 1.0, {"seconds": 2.0}),
        Result("uniform", "none", 1, 98.0, None, None, {"seconds": 4.0}),
        Result("memory", "none", 0, 97.46, None, 3.55, {"seconds": 9.0}),
        Result("memory", "none", 1, 97.54, None, 3.65, {"seconds": 9.0}),
        Result("uniform", "cluster@0.8", 0, 70.0, 0.5, None, {"seconds": 2.0}),
        Result("uniform", "cluster@0.8", 1, 73.0, 0.5, None, {"seconds": 2.0}),
        Result("memory", "cluster@0.8", 0, 91.24, 0.984, None, {"seconds": math.nan}),
    ]


def test_aggregate_is_mean_and_sample_deviation_over_seeds() -> None:
    rows = aggregate(results())
    assert [(row.noise, row.teacher, row.seeds) for row in rows] == [
        ("none", "uniform", 2),
        ("none", "memory", 2),
        ("cluster@0.8", "uniform", 2),
        ("cluster@0.8", "memory", 1),
    ]
    assert rows[0].accuracy.mean == 97.5
    assert rows[0].accuracy.spread == pytest.approx(statistics.stdev([97, 98]), rel=1e-15)
    assert rows[0].auroc is None
    assert rows[0].cost == 1.0
    assert rows[1].cost == pytest.approx(3.6)
    assert (rows[2].auroc.mean, rows[2].auroc.spread) == (0.5, 0.0)
    assert rows[3].cost is None
    assert math.isnan(rows[3].accuracy.spread)
    assert rows[0].extra["seconds"].mean == 3.0
    assert "seconds" not in rows[3].extra


def test_order_is_that_of_first_appearance_whatever_ran_first() -> None:
    mixed = [Result(t, n, s, 90.0) for s in (0, 1) for n in ("b", "a") for t in ("z", "y")]
    assert [(row.noise, row.teacher) for row in aggregate(mixed)] == [
        ("b", "z"),
        ("b", "y"),
        ("a", "z"),
        ("a", "y"),
    ]


def test_auroc_undefined_for_one_seed_is_undefined() -> None:
    (row,) = aggregate([Result("a", "n", 0, 1.0, 0.9), Result("a", "n", 1, 1.0, None)])
    assert row.auroc is None


def test_markdown_word_for_word() -> None:
    assert to_markdown(aggregate(results())) == (
        "**Noise: none**\n\n"
        "| teacher | accuracy, % | AUROC of the weights | cost, plain steps | seeds |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| uniform | **97.5 ± 0.7** | - | 1.0 | 2 |\n"
        "| memory | **97.5 ± 0.1** | - | 3.6 | 2 |\n"
        "\n**Noise: cluster@0.8**\n\n"
        "| teacher | accuracy, % | AUROC of the weights | cost, plain steps | seeds |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| uniform | 71.5 ± 2.1 | 0.50 ± 0.00 | - | 2 |\n"
        "| memory | **91.2** | **0.98** | - | 1 |\n"
    )


def test_a_teacher_alone_is_not_the_best_of_anything() -> None:
    assert "**9" not in to_markdown(aggregate([Result("memory", "none", 0, 97.0, 0.9, 1.0)]))


def test_csv_has_every_digit_and_gaps_where_undefined() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(aggregate(results())))))
    assert float(rows[0]["accuracy_spread"]) == statistics.stdev([97.0, 98.0])
    assert (rows[0]["auroc_mean"], rows[0]["auroc_spread"]) == ("", "")
    assert (rows[3]["accuracy_spread"], rows[3]["seconds_mean"], rows[3]["cost"]) == ("", "", "")
    assert float(rows[1]["cost"]) == statistics.fmean([3.55, 3.65])
    assert [row["seeds"] for row in rows] == ["2", "2", "2", "1"]


def test_terminal_shows_the_cells_of_the_markdown() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    print_table(aggregate(results()), console=console)
    shown = console.file.getvalue()
    for text in ("none", "cluster@0.8", "97.5 ± 0.7", "0.50 ± 0.00", "91.2", "0.98", "3.6"):
        assert text in shown
    assert shown.count("uniform") == shown.count("memory") == 2
    assert "[bold]" not in shown


def test_a_run_given_twice_and_figures_that_are_not_finite_are_refused() -> None:
    first = results()[0]
    with pytest.raises(ValueError, match="uniform under none has seed 0 twice"):
        aggregate([first, first])
    for name in ("accuracy", "auroc", "cost"):
        with pytest.raises(ValueError, match=f"{name} of uniform under none is nan: give None"):
            dataclasses.replace(first, **{name: math.nan})


def test_nothing_gives_an_empty_table() -> None:
    assert aggregate([]) == []
    assert to_markdown([]) == ""
