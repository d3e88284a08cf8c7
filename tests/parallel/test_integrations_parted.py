"""Integrations in several processes come to what one process comes to on the joined batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import parted_integrations as runs
import pytest
import torch
from several_processes import Ranks

TABLES = ("history", "history.loss")
"""What is kept in float32."""


def require_one_run(found: list[runs.Found], alone: runs.Found, exact: float = 1e-12) -> None:
    """All alike to the bit, and like one process."""
    for other in found[1:]:
        assert all(
            torch.equal(value.nan_to_num(), other[name].nan_to_num()) for name, value in found[0].items()
        )
    for name, value in alone.items():
        within = 1e-6 if name in TABLES else exact
        torch.testing.assert_close(found[0][name], value, rtol=within, atol=within, equal_nan=True)


LOOPS = {
    # a share of each batch that is no whole number, and a last one that is smaller
    "uneven": (3, runs.Looped(runs.Shares(47, 3, 13))),
    "padded": (2, runs.Looped(runs.Distributed(47, 2, 12), spread_trusted=True)),
    "gathering": (2, runs.Looped(runs.Shares(39, 2, 13), micro_batches=3)),
    "auto": (2, runs.Looped(runs.Distributed(48, 2, 12), teacher="auto")),
}


@pytest.mark.parametrize("name", list(LOOPS))
def test_a_loop_of_the_users(ranks: Ranks, name: str, tmp_path: Path) -> None:
    size, plan = LOOPS[name]
    alone, loop, _ = runs.looped(0, 1, plan, tmp_path / "one")
    tables = runs.told(loop)
    found = ranks.run(size, runs.loop_in_a_process, plan, tmp_path)
    # Adam divides the small gradients of a large teacher by their size, and rounding with them
    require_one_run([one for one, _ in found], alone, 1e-9 if plan.teacher == "auto" else 1e-12)
    for _, theirs in found:
        assert [list(part["index"]) for part in theirs] == [list(part["index"]) for part in tables]
        for ours, expected in zip(theirs, tables, strict=True):
            np.testing.assert_allclose(ours["mean_weight"], expected["mean_weight"], rtol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.html", "run-0"]


def test_a_loop_goes_on_from_what_the_first_process_kept(ranks: Ranks, tmp_path: Path) -> None:
    for resumed, whole in ranks.run(2, runs.looped_on, tmp_path):
        assert whole["history"].shape == (4, 24)
        assert all(torch.equal(resumed[name], value) for name, value in whole.items())


def test_what_a_loop_refuses(ranks: Ranks) -> None:
    for bare, shared in ranks.run(2, runs.loop_refusals):
        assert "give Loop, and call, DistributedDataParallel(module)" in bare
        assert "share 12 samples" in shared


@pytest.mark.parametrize("model", ["tabular-mlp", "module"])
def test_fit(ranks: Ranks, model: str, tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    alone = runs.fitted(0, 1, model, tmp_path / "alone" / "one")
    found = ranks.run(3, runs.fitted, model, tmp_path / "run")
    for one in found:
        assert one["folder"] == (tmp_path / "run", tmp_path / "page.html")
        for name in ("weights", "said"):
            assert np.array_equal(one[name], found[0][name])
            np.testing.assert_allclose(one[name], alone[name], rtol=1e-4, atol=1e-4)  # in float32
        assert one["figures"]["accuracy"] == alone["figures"]["accuracy"]
    names = [
        {path.name for path in folder.iterdir()} for folder in (tmp_path / "run", tmp_path / "alone" / "one")
    ]
    assert names[0] == names[1]


def test_what_fit_refuses(ranks: Ranks, tmp_path: Path) -> None:
    for rows, options, plain, place in ranks.run(2, runs.fit_refusals, tmp_path):
        assert "metaweight.fit was given other training rows in one of the 2 processes" in rows
        assert "was given other options in one" in options
        assert "a plain run beside a run takes one process" in plain
        assert "taken" in place


def test_estimators(ranks: Ranks) -> None:
    alone = runs.estimated(0, 1)
    found = ranks.run(2, runs.estimated)
    assert [one.pop("printed") for one in found] == [alone.pop("printed"), 0]
    for one in found:
        for name, value in alone.items():
            assert np.array_equal(one[name], found[0][name])
            np.testing.assert_allclose(one[name], value, rtol=1e-4, atol=1e-4)  # in float32
    for refused in ranks.run(2, runs.estimator_refusal):
        assert "random_state (None is another in each)" in refused
