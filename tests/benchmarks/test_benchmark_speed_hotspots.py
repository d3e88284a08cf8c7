"""The operators' times: every one counted once, a variant's beside the plain step's, mistakes in words."""

from __future__ import annotations

import pytest

from benchmarks.speed.hotspots import main, operators, to_markdown
from benchmarks.speed.variants import PLAIN, Setting, Variant

TINY = Setting("mlp", batch=6, meta_batch=4, threads=1)


def test_forward_mode_runs_the_products_of_the_dual_pass() -> None:
    plain, ours = (operators(v, TINY, 2) for v in (PLAIN, Variant("forward", "online")))
    assert plain["aten::addmm"] > 0
    # the loss's second derivative in forward mode: the plain step has none of it
    assert "aten::_make_dual" in ours
    assert "aten::_make_dual" not in plain


def test_rows_are_the_longest_and_every_column_sums_up() -> None:
    found = {"plain step": {"a": 3.0, "b": 1.0, "c": 0.5}, "forward": {"a": 4.0, "d": 9.0}}
    assert to_markdown(found, 2).splitlines() == [
        "| operator | plain step, ms | forward, ms |",
        "| --- | ---: | ---: |",
        "| `d` | 0 | 9 |",
        "| `a` | 3 | 4 |",
        "| all others | 2 | 0 |",
        "| sum | 4 | 13 |",
    ]


def test_an_unknown_pattern_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "mlp", "--only", "forwrad, online"]) == 2
    assert "Did you mean 'forward, online'" in " ".join(capsys.readouterr().err.split())
