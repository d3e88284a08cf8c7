"""What stands beneath a table: the figures of the differences, in Markdown, CSV and the terminal."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.console import Console

from metaweight.comparison.arms import Group
from metaweight.core.records import read_record, write_record
from metaweight.report.statistics.differences import paired, ranks
from metaweight.report.statistics.standings import (
    Standings,
    print_standings,
    standings,
    standings_to_csv,
    standings_to_markdown,
)
from metaweight.tasks.figures import Compared
from metaweight.tasks.outcome import Result

LAST = Compared("accuracy", "last epoch", "points")
BEST = Compared("accuracy_at_best", "best on validation", "points", digits=2)


def result(arm: str, noise: str, seed: int, accuracy: float | None, best: float | None = None) -> Result:
    return Result(arm, noise, seed, {"accuracy": accuracy, "accuracy_at_best": best})


GROUPS: dict[str, Group] = {"uniform": "plain", "memory": "internal", "knn": "remedy"}
RESULTS = [
    result("uniform", "none", 0, 97.0, 97.5),
    result("uniform", "none", 1, 96.0, 97.5),
    result("memory", "none", 0, 97.0, 97.0),
    result("memory", "none", 1, 98.0, 98.0),
    result("uniform", "a@0.4", 0, 70.0, 80.0),
    result("memory", "a@0.4", 0, 80.0, 81.25),
]


def test_markdown_word_for_word() -> None:
    found = standings(RESULTS, (LAST, BEST), groups=GROUPS)
    assert found is not None
    # t(1) at 0.975 is 12.706; the differences are 0 and 2, then -0.5 and 0.5: half ranges 12.7 and 6.35
    assert standings_to_markdown(found).split("\n\n", 1)[1] == (
        "**Noise: none**\n\n"
        "| arm | last epoch, less uniform | seeds | best on validation, less uniform | seeds |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| memory | +1.0 [-11.7, +13.7] | 1 / 1 / 0 | +0.00 [-6.35, +6.35] | 1 / 0 / 1 |\n"
        "\n**Noise: a@0.4**\n\n"
        "| arm | last epoch, less uniform | seeds | best on validation, less uniform | seeds |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| memory | +10.0 | 1 / 0 / 0 | +1.25 | 1 / 0 / 0 |\n"
        "\n**All kinds of noise**\n\n"
        "| arm | last epoch, mean rank | kinds of noise | best on validation, mean rank "
        "| kinds of noise |\n"
        "| --- | ---: | ---: | ---: | ---: |\n"
        "| uniform | 1.8 | - | 1.7 | - |\n"
        "| memory | 1.2 | 0 / 2 / 0 | 1.3 | 0 / 2 / 0 |\n"
        "\nLess uniform: mean difference on the seeds that both have, with its 95 % t interval. Seeds: "
        "better / equal / worse. Kinds of noise: the whole interval better / holding 0 / worse.\n"
    )
    assert [line[:3] for line in standings_to_markdown(found).splitlines()[:3]] == ["1. ", "2. ", "3. "]


def test_csv_has_every_digit_and_gaps_where_undefined() -> None:
    found = standings(RESULTS, (LAST, BEST), groups=GROUPS)
    assert found is not None
    rows = list(csv.DictReader(io.StringIO(standings_to_csv(found))))
    assert [(row["figure"], row["arm"], row["noise"]) for row in rows[:4]] == [
        ("accuracy", "uniform", "none"),
        ("accuracy", "uniform", "a@0.4"),
        ("accuracy", "memory", "none"),
        ("accuracy", "memory", "a@0.4"),
    ]
    pair = paired(RESULTS, "accuracy", arm="memory", base="uniform", noise="none")
    assert pair is not None
    shown = [
        float(rows[2][name]) for name in ("difference", "low", "high", "bootstrap_low", "bootstrap_high")
    ]
    assert shown == [pair.mean, *(pair.interval or ()), *(pair.bootstrap or ())]
    assert (rows[3]["difference"], rows[3]["low"], rows[3]["seeds"]) == ("10.0", "", "1")
    assert (rows[0]["difference"], rows[0]["seeds_better"], rows[0]["kinds_better"]) == ("", "", "")
    assert float(rows[0]["mean_rank"]) == ranks(RESULTS, "accuracy")["uniform"]


def test_without_plain_training_there_are_ranks_alone() -> None:
    found = standings(
        [r for r in RESULTS if r.arm != "uniform"] + [result("knn", "none", 0, 1.0)], (LAST,), groups=GROUPS
    )
    assert found is not None
    text = standings_to_markdown(found)
    assert "**Noise:" not in text
    assert "**All kinds of noise (1 of 3 runs of an arm are those that every arm has)**" in text
    assert "| memory | 1.0 | - |" in text


def test_fewer_than_two_arms_or_no_figure_has_no_statistics() -> None:
    assert standings([], (LAST,), groups={}) is None
    assert standings([result("memory", "none", 0, 1.0)], (LAST,), groups={}) is None
    assert standings([result("a", "n", 0, None), result("b", "n", 0, None)], (LAST,), groups={}) is None
    found = standings(
        [result("a", "n", 0, None, 1.0), result("b", "n", 0, None, 2.0)], (LAST, BEST), groups={}
    )
    assert found is not None
    assert found.compared == (BEST,)


def test_the_terminal_shows_what_to_use_and_where_the_reasons_are() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=False)
    found = standings(RESULTS, (LAST, BEST), groups=GROUPS)
    assert found is not None
    print_standings(found, console=console)
    shown = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert shown.startswith(f"{found.advice} why")
    assert shown.endswith("statistics.md in the run folder")


def test_statistics_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = standings(RESULTS, (LAST, BEST), groups=GROUPS)
    assert found is not None
    assert {pair.interval for row in found.standings for pair in row.pairs.values()} > {None}
    write_record(tmp_path / "statistics.json", found)
    assert read_record(Standings, tmp_path / "statistics.json") == found
