"""The table of a comparison against figures by hand."""

from __future__ import annotations

import csv
import io
import json
import math
import statistics
from pathlib import Path

import pytest

from metaweight.comparison.arms import arm_options, group_of
from metaweight.core.console import Terminal
from metaweight.report.statistics.standings import standings, standings_to_markdown
from metaweight.report.tables import Spread, aggregate, print_table, runs_to_csv, to_csv, to_markdown
from metaweight.tasks import tasks
from metaweight.tasks.figures import Column
from metaweight.tasks.outcome import Result

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


COLUMNS = (
    Column("accuracy, %", "accuracy", digits=1, best="highest"),
    Column("AUROC of the weights", "auroc", digits=2, best="highest"),
    Column("cost, plain steps", "cost", digits=1, spread=False),
)


def result(
    arm: str,
    noise: str,
    seed: int,
    accuracy: float,
    auroc: float | None = None,
    cost: float | None = None,
    **others: float | None,
) -> Result:
    return Result(arm, noise, seed, {"accuracy": accuracy, "auroc": auroc, **others, "cost": cost})


def results() -> list[Result]:
    """Two kinds of noise: no AUROC where there is none, and ``memory`` lacks a seed under ``cluster``."""
    return [
        result("uniform", "none", 0, 97.0, None, 1.0, seconds=2.0),
        result("uniform", "none", 1, 98.0, None, None, seconds=4.0),
        result("memory", "none", 0, 97.46, None, 3.55, seconds=9.0),
        result("memory", "none", 1, 97.54, None, 3.65, seconds=9.0),
        result("uniform", "cluster@0.8", 0, 70.0, 0.5, None, seconds=2.0),
        result("uniform", "cluster@0.8", 1, 73.0, 0.5, None, seconds=2.0),
        result("memory", "cluster@0.8", 0, 91.24, 0.984, None, seconds=None),
    ]


def test_aggregate_is_mean_and_sample_deviation_over_seeds() -> None:
    rows = aggregate(results(), COLUMNS).rows
    assert [(row.noise, row.arm, row.seeds) for row in rows] == [
        ("none", "uniform", 2),
        ("none", "memory", 2),
        ("cluster@0.8", "uniform", 2),
        ("cluster@0.8", "memory", 1),
    ]
    assert rows[0].figures["accuracy"].mean == 97.5
    assert rows[0].figures["accuracy"].spread == pytest.approx(statistics.stdev([97, 98]), rel=1e-15)
    assert "auroc" not in rows[0].figures
    assert rows[0].figures["cost"].mean == 1.0
    assert rows[1].figures["cost"].mean == pytest.approx(3.6)
    assert rows[2].figures["auroc"] == Spread(0.5, 0.0)
    assert "cost" not in rows[3].figures
    assert math.isnan(rows[3].figures["accuracy"].spread)
    assert rows[0].figures["seconds"].mean == 3.0
    assert "seconds" not in rows[3].figures


def test_order_is_that_of_first_appearance_whatever_ran_first() -> None:
    mixed = [result(t, n, s, 90.0) for s in (0, 1) for n in ("b", "a") for t in ("z", "y")]
    assert [(row.noise, row.arm) for row in aggregate(mixed, COLUMNS).rows] == [
        ("b", "z"),
        ("b", "y"),
        ("a", "z"),
        ("a", "y"),
    ]


def test_auroc_undefined_for_one_seed_is_undefined() -> None:
    (row,) = aggregate([result("a", "n", 0, 1.0, 0.9), result("a", "n", 1, 1.0, None)], COLUMNS).rows
    assert "auroc" not in row.figures


def test_markdown_word_for_word() -> None:
    assert to_markdown(aggregate(results(), COLUMNS)) == (
        "**Noise: none**\n\n"
        "| arm | accuracy, % | AUROC of the weights | cost, plain steps | seeds |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| uniform | **97.5 ± 0.7** | - | 1.0 | 2 |\n"
        "| memory | **97.5 ± 0.1** | - | 3.6 | 2 |\n"
        "\n**Noise: cluster@0.8**\n\n"
        "| arm | accuracy, % | AUROC of the weights | cost, plain steps | seeds |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| uniform | 71.5 ± 2.1 | 0.50 ± 0.00 | - | 2 |\n"
        "| memory | **91.2** | **0.98** | - | 1 |\n"
    )


def test_an_arm_alone_is_not_the_best_of_anything() -> None:
    assert "**9" not in to_markdown(aggregate([result("memory", "none", 0, 97.0, 0.9, 1.0)], COLUMNS))


def test_csv_has_every_digit_and_gaps_where_undefined() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(aggregate(results(), COLUMNS)))))
    assert float(rows[0]["accuracy_spread"]) == statistics.stdev([97.0, 98.0])
    assert (rows[0]["auroc_mean"], rows[0]["auroc_spread"]) == ("", "")
    assert (rows[3]["accuracy_spread"], rows[3]["seconds_mean"], rows[3]["cost"]) == ("", "", "")
    assert float(rows[1]["cost"]) == statistics.fmean([3.55, 3.65])
    assert [row["seeds"] for row in rows] == ["2", "2", "2", "1"]


def test_terminal_shows_the_cells_of_the_markdown() -> None:
    console = Terminal()
    console.file, console.width = io.StringIO(), 120
    print_table(aggregate(results(), COLUMNS), console=console)
    shown = console.file.getvalue()
    for text in ("none", "cluster@0.8", "97.5 ± 0.7", "0.50 ± 0.00", "91.2", "0.98", "3.6"):
        assert text in shown
    assert shown.count("uniform") == shown.count("memory") == 2
    assert "[bold]" not in shown


def test_a_run_given_twice_and_figures_that_are_not_finite_are_refused() -> None:
    first = results()[0]
    with pytest.raises(ValueError, match="uniform under none has seed 0 twice"):
        aggregate([first, first], COLUMNS)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match=f"auroc of uniform under none is {value}: give None"):
            Result(first.arm, first.noise, first.seed, {"auroc": value})


def test_nothing_gives_an_empty_table() -> None:
    nothing = aggregate([], COLUMNS)
    assert nothing.rows == ()
    assert to_markdown(nothing) == ""


def test_a_task_names_its_own_columns_and_which_end_is_best() -> None:
    columns = (Column("loss", "loss", digits=2, best="lowest"), Column("BLEU", "bleu", digits=1))
    runs = [Result(t, "none", 0, {"loss": v, "bleu": 30.0, "beam": 5.0}) for t, v in (("a", 2.0), ("b", 1.5))]
    table = aggregate(runs, columns)
    assert to_markdown(table).splitlines()[2:] == [
        "| arm | loss | BLEU | seeds |",
        "| --- | ---: | ---: | ---: |",
        "| a | 2.00 | 30.0 | 1 |",
        "| b | **1.50** | 30.0 | 1 |",
    ]
    header = "noise,arm,seeds,loss_mean,loss_spread,bleu_mean,bleu_spread,beam_mean,beam_spread"
    assert to_csv(table).splitlines()[:2] == [header, "none,a,1,2.0,,30.0,,5.0,"]
    assert runs_to_csv(runs, columns).splitlines() == [
        "noise,arm,seed,loss,bleu,beam",
        "none,a,0,2.0,30.0,5.0",
        "none,b,0,1.5,30.0,5.0",
    ]


@pytest.mark.parametrize("folder", sorted(RESULTS.glob("image-*")), ids=lambda folder: folder.name)
def test_the_kept_tables_are_what_their_runs_give(folder: Path) -> None:
    """Each committed table again, word for word, from the figures of its runs."""
    with (folder / "runs.csv").open(newline="") as file:
        kept = list(csv.DictReader(file))
    runs = [
        Result(
            row.pop("arm"),
            row.pop("noise"),
            int(row.pop("seed")),
            {name: float(value) if value else None for name, value in row.items()},
        )
        for row in kept
    ]
    shown = tasks["image"].presentation
    manifest = json.loads(next(iter(sorted(folder.glob("manifest*.json")))).read_text(encoding="utf-8"))
    overrides = manifest["config"].get("overrides", {})
    groups = {run.arm: group_of(run.arm, arm_options(run.arm, overrides.get(run.arm, {}))) for run in runs}
    found = standings(runs, shown.compared, groups=groups)
    assert found is not None
    statistics = (folder / "statistics.md").read_text(encoding="utf-8")
    assert statistics.endswith(f"\n\n{standings_to_markdown(found)}")
    # times that were measured beside other work were not kept
    columns = tuple(c for c in shown.columns if any(c.figure in run.figures for run in runs))
    table = aggregate(runs, columns)
    assert (folder / "table.md").read_text(encoding="utf-8").endswith(f"\n\n{to_markdown(table)}")
    assert to_csv(table) == (folder / "table.csv").read_text()
    # older ones have line ends of two characters
    assert runs_to_csv(runs, columns) == (folder / "runs.csv").read_text(encoding="utf-8")
