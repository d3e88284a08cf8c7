"""Whatever names and figures a comparison has, its files read back as they were written."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from hostile_text import HOSTILE, number, text
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metaweight.core.csv_text import csv_rows
from metaweight.core.markdown import Strong, escaped, markdown_table
from metaweight.core.records import read_record
from metaweight.report.publication import write_statistics, write_table
from metaweight.report.statistics.standings import Standings, standings_to_csv
from metaweight.report.tables import aggregate, runs_to_csv, to_csv, to_markdown
from metaweight.report.unknown import unknown_noises, unknown_note
from metaweight.tasks.figures import Column, Compared
from metaweight.tasks.outcome import Result

COLUMNS = (
    Column("BLEU", "bleu", digits=1, best="highest"),
    Column("cost | plain", "cost", digits=1, spread=False),
)
COMPARED = (Compared("bleu", "BLEU, last epoch", "BLEU"),)
GROUPS = {"uniform": "plain"}
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)


def unescaped(line: str) -> str:
    """What ``escaped`` was given, but for tabs and pairs of returns and line ends."""

    def one(found: re.Match[str]) -> str:
        if found[0] == "<br>":
            return "\n"
        return found[0].encode().decode("unicode_escape") if found[0][1] in "xur" else found[0][1]

    return re.sub(r"<br>|\\(?:x..|u....|r|.)", one, line)


@SLOW
@given(text)
def test_escaped_text_is_one_line_that_says_what_it_said(said: str) -> None:
    line = escaped(said)
    assert not set(line) & set("\n\r\x00\x1b\u202e\u2028\x85")
    assert unescaped(line) == said.replace("\r\n", "\n").replace("\t", " ")


@SLOW
@given(st.lists(st.tuples(text, text), min_size=1, max_size=4))
def test_a_table_of_markdown_has_the_cells_that_it_was_given(rows: Sequence[tuple[str, str]]) -> None:
    lines = markdown_table(("one", "two"), rows).split("\n")
    assert len(lines) == 2 + len(rows)
    for line, row in zip(lines[2:], rows, strict=True):
        assert line == f"| {escaped(row[0])} | {escaped(row[1])} |"
        bars = re.findall(r"(\\*)\|", line)
        assert sum(len(before) % 2 == 0 for before in bars) == 3  # every other bar is behind a backslash


def test_bold_is_a_mark_and_never_a_part_of_a_name() -> None:
    table = markdown_table(("a", "b"), [("**x**", Strong("1|2"))])
    assert table.split("\n")[2] == r"| \*\*x\*\* | **1\|2** |"
    assert to_markdown(aggregate([Result("a|b\nc`", "n|m", 0, {"bleu": 1.0})], COLUMNS)).split("\n")[:1] == [
        r"**Noise: n\|m**"
    ]


results = st.lists(
    st.builds(
        lambda arm, noise, bleu, cost: Result(arm, noise, 0, {"bleu": bleu, "cost": cost}),
        text,
        text,
        st.one_of(st.none(), st.floats(-1e6, 1e6), st.sampled_from([0.0, 1e-12])),
        number,
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda result: (result.arm, result.noise),
)


@SLOW
@given(results)
def test_runs_read_back_name_for_name_and_digit_for_digit(made: list[Result]) -> None:
    read = [
        Result(
            row["arm"],
            row["noise"],
            int(row["seed"]),
            {name: float(row[name]) if row[name] else None for name in ("bleu", "cost")},
        )
        for row in csv_rows(runs_to_csv(made, COLUMNS), "runs.csv")
    ]
    assert read == made
    for one, other in zip(read, made, strict=True):  # -0.0 and 0.0 are equal
        assert repr(one.figures) == repr(dict(other.figures))


@SLOW
@given(results)
def test_the_table_reads_back(made: list[Result]) -> None:
    table = aggregate(made, COLUMNS)
    rows = list(csv_rows(to_csv(table), "table.csv"))
    assert [(row["noise"], row["arm"], int(row["seeds"])) for row in rows] == [
        (row.noise, row.arm, row.seeds) for row in table.rows
    ]
    for row, own in zip(rows, table.rows, strict=True):
        for name, cell in (("bleu", row["bleu_mean"]), ("cost", row["cost"])):
            assert (float(cell) if cell else None) == (
                own.figures[name].mean if name in own.figures else None
            )
        assert row["bleu_spread"] == ""  # of one seed
    shown = to_markdown(table).split("\n")
    assert sum(line.startswith("| ") for line in shown) == len(table.rows) + 2 * len({r.noise for r in made})


@settings(SLOW, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(results)
def test_statistics_and_tables_on_disk_read_back(tmp_path: Path, made: list[Result]) -> None:
    write_table(tmp_path, "# x", aggregate(made, COLUMNS), made)
    assert len(list(csv_rows((tmp_path / "runs.csv").read_bytes().decode(), ""))) == len(made)
    base = [Result("uniform", noise, 0, {"bleu": 1.0}) for noise in {result.noise for result in made}]
    own = [result for result in made if result.arm != "uniform"]
    found = write_statistics(tmp_path, "# x", [*base, *own], COMPARED, groups=GROUPS)
    if found is None:
        assert not own
        return
    assert read_record(Standings, tmp_path / "statistics.json") == found
    rows = list(csv_rows(standings_to_csv(found), ""))
    assert [(row["noise"], row["arm"]) for row in rows] == [
        (noise, standing.arm) for standing in found.standings for noise in found.noises
    ]
    for row in rows:
        pair = next(s for s in found.standings if s.arm == row["arm"]).pairs.get(row["noise"])
        assert (row["difference"] == "") == (pair is None)
        assert pair is None or float(row["difference"]) == pair.mean


@pytest.mark.parametrize("name", HOSTILE)
def test_each_name_by_hand_goes_round(name: str) -> None:
    made = [Result(name, name, 0, {"bleu": 1e-12, "cost": 0.0})]
    (row,) = csv_rows(runs_to_csv(made, COLUMNS), "")
    assert (row["arm"], row["noise"], float(row["bleu"]), float(row["cost"])) == (name, name, 1e-12, 0.0)


def test_what_nobody_knows_is_said_once_and_zero_is_not_unknown() -> None:
    def run(noise: str, realised: float | None) -> Result:
        return Result("a", noise, 0, {"bleu": 1.0, "realised_noise": realised})

    assert unknown_note([run("none", 0.0)]) == unknown_note([]) == ""
    assert unknown_note([Result("a", "none", 0, {"bleu": 1.0})]) == ""
    assert unknown_noises([run("none", None), run("mixed@0.4", 0.4)]) == ["none"]
    assert unknown_note([run("none", None), run("mixed@0.4", 0.4)]).startswith(
        "Which training samples are bad is not known under none. What needs to know it is left out"
    )
    assert "not known. What" in unknown_note([run("none", None)])
    assert not math.isnan(aggregate([run("none", 0.0)], COLUMNS).rows[0].figures["realised_noise"].mean)
