"""What is written is what is read, and nothing else is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from metaweight.core.records import Record, read_record, write_record


class Score(Record, frozen=True):
    name: str
    values: Mapping[str, float | None]
    best: int = 0


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = Score("a/b", {"tenth": 0.1, "third": 1 / 3, "none": None}, 2)
    write_record(tmp_path / "score.json", record)
    assert read_record(Score, tmp_path / "score.json") == record


def test_a_number_that_is_not_finite_is_null(tmp_path: Path) -> None:
    write_record(tmp_path / "score.json", Score("a", {"nan": math.nan, "inf": math.inf}))
    assert read_record(Score, tmp_path / "score.json").values == {"nan": None, "inf": None}


def test_a_byte_of_a_files_name_that_is_no_text_is_spelt_out(tmp_path: Path) -> None:
    write_record(tmp_path / "score.json", Score("tr\udcff.tsv", {"\ud800": 0.1, "nan": math.nan}, 3))
    found = read_record(Score, tmp_path / "score.json")
    assert found == Score("tr\\udcff.tsv", {"\\ud800": 0.1, "nan": None}, 3)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('{"name": "a"}', "missing required field `values`"),
        ('{"name": "a", "values": {}, "worst": 1}', "unknown field `worst`"),
        ('{"name": "a", "values": {"x": "1"}}', "got `str`"),
        ('{"name": "a", "values": {}, "best": 1.5}', "got `float`"),
        ('{"name": "a", "val', "truncated"),
        ("", "truncated"),
        ("[]", "got `array`"),
    ],
)
def test_what_is_no_such_record_is_refused_with_the_file(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "score.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"score\.json(, line 1)? is damaged, or is another version's: "
    ) as error:
        read_record(Score, tmp_path / "score.json")
    assert what in str(error.value)


def test_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_record(Score, tmp_path / "score.json")
