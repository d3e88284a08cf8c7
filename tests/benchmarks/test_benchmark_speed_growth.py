"""The benchmark of growth."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.speed import growth


def test_rows_are_any_of_the_samples_and_none_twice() -> None:
    for samples in (40, 10**7):
        index = growth.rows(32, range(samples)).index
        assert len(index.unique()) == 32
        assert 0 <= index.min() <= index.max() < samples
    assert growth.rows(32, range(10**7)).index.max() > 10**6


def test_what_a_teacher_keeps_of_each_sample_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "SAMPLES", (100, 10_000, 10**9))
    monkeypatch.setattr(growth, "TEACHERS", ("mw-net", "recall"))
    few, many = growth.by_samples(growth.Options(rounds=1, most=10_000))
    assert (few[0], many[0]) == ("100", "10,000")
    assert few[1].split(", ")[1:] == many[1].split(", ")[1:]
    kept = [float(cell.split(", ")[1].removesuffix(" MB")) for cell in (few[2], many[2])]
    assert kept[1] > kept[0] + 0.05


@pytest.mark.slow
def test_the_command_writes_both_tables(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(growth, "SAMPLES", (100,))
    monkeypatch.setattr(growth, "LENGTHS", (16,))
    for name in ("VOCABULARIES", "BATCHES"):
        monkeypatch.setattr(growth, name, ())
    monkeypatch.setattr(growth, "WINDOWS", (2,))
    memory = {None: 10**6, "ghost": 2 * 10**6, "reverse": 2 * 10**6}
    monkeypatch.setattr(growth, "memory_in_fresh_process", lambda variant, _: memory[variant.engine])
    assert growth.main(["--rounds", "1", "--out", str(tmp_path / "run")]) == 0
    lines = (tmp_path / "run" / "table.md").read_text().splitlines()
    (length,) = [line for line in lines if line.startswith("| length")]
    (window,) = [line for line in lines if line.startswith("| window")]
    for line in (length, window):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert float(cells[2]) > 0
        assert float(cells[3].split()[0]) > 0
        assert cells[4] == "2.00 of 1 MB"
    with pytest.raises(SystemExit):
        growth.main(["--rounds", "0"])
    assert "at least 1" in capsys.readouterr().err
