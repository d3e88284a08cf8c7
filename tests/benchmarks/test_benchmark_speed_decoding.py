"""The benchmark of beam search."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.speed import decoding


def test_each_row_says_its_time_and_what_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding.importlib.util, "find_spec", lambda name: None)
    options = decoding.Options("transformer-tiny", (60,), (2, 3), rounds=2, out=str(tmp_path / "run"))
    table = (decoding.run(options) / "table.md").read_text()
    rows = [line.split("|")[1:-1] for line in table.splitlines() if line.startswith("| 60")]
    assert [row[1].strip() for row in rows] == ["2", "3", "2", "3"]
    assert all(float(row[3].split("[")[0]) > 0 and "not installed" in row[4] for row in rows)


def test_the_end_comes_sooner_where_it_is_likelier() -> None:
    source = torch.randint(4, 60, (5, 20), generator=torch.Generator().manual_seed(0))
    lengths = [
        sum(map(len, decoding.of_metaweight(decoding.translator("transformer-tiny", 60, ends))(source)))
        for ends in (0.0, 8.0)
    ]
    assert lengths[0] > lengths[1]


def test_ctranslate2_finds_the_same_translations(tmp_path: Path) -> None:
    pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed")
    source = torch.randint(4, 60, (5, 20), generator=torch.Generator().manual_seed(0))
    model = decoding.translator("transformer-tiny", 60, 0.0)  # the two count an end into a length differently
    assert decoding.of_ctranslate2(model, str(tmp_path))(source) == decoding.of_metaweight(model)(source)
