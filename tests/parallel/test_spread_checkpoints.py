"""Checkpoints that all processes write: a run goes on from them with any number of processes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import sharded_runs
import torch
from held_against import require_close
from several_processes import Ranks
from torch.optim import SGD, AdamW

import metaweight as mw


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", [AdamW, SGD])
def test_a_run_goes_on_with_another_number_of_processes(
    ranks: Ranks, tmp_path: Path, optimizer: type
) -> None:
    whole, *_ = ranks.run(3, sharded_runs.resumed, True, str(tmp_path / "whole"), (0, 5), optimizer)
    ranks.run(3, sharded_runs.resumed, True, str(tmp_path / "half"), (0, 3), optimizer)
    for size, shard, within in ((3, True, 0.0), (2, True, 1e-12), (4, True, 1e-12), (2, False, 1e-12)):
        copy = tmp_path / f"{size} {shard}"
        shutil.copytree(tmp_path / "half", copy)
        again, *_ = ranks.run(size, sharded_runs.resumed, shard, str(copy), (3, 5), optimizer)
        require_close(again, whole, within)
    copy = tmp_path / "alone"
    shutil.copytree(tmp_path / "half", copy)
    require_close(sharded_runs.resumed(0, 1, False, str(copy), (3, 5), optimizer), whole, 1e-12)
    assert [path.name for path in copy.glob("step-*")] == ["step-5"]  # the one before is gone
    back, *_ = ranks.run(2, sharded_runs.resumed, True, str(copy), (5, 6), optimizer)
    assert back["steps"] == 6


def test_a_checkpoint_that_is_torn_is_not_used(ranks: Ranks, tmp_path: Path) -> None:
    for said in ranks.run(2, sharded_runs.damaged, str(tmp_path / "run")):
        assert "is damaged or incomplete" in said


def test_what_is_half_written_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live, folder = sharded_runs.built("pictures", False), tmp_path / "run"
    with pytest.raises(mw.MetaweightError, match="no checkpoint in"):
        mw.load_checkpoint(live, folder)
    mw.save_checkpoint(live, folder)
    before = sharded_runs.state(live)
    live.step(sharded_runs.runs.batch(8, 1), sharded_runs.runs.batch(4, 2))
    monkeypatch.setattr("metaweight.training.checkpoint.save", _dies)
    with pytest.raises(KeyboardInterrupt):
        mw.save_checkpoint(live, folder)
    monkeypatch.undo()
    mw.load_checkpoint(live, folder)
    require_close(sharded_runs.state(live), before, 0.0)
    mw.save_checkpoint(live, folder)
    mw.save_checkpoint(live, folder)  # twice at one step
    mw.load_checkpoint(live, folder)


def _dies(*_args: object) -> None:
    raise KeyboardInterrupt


def test_of_another_student_it_is_refused(tmp_path: Path) -> None:
    mw.save_checkpoint(sharded_runs.built("pictures", False), tmp_path / "run")
    with pytest.raises(mw.MetaweightError, match="is of another architecture"):
        mw.load_checkpoint(sharded_runs.built("translator", False), tmp_path / "run")


def test_a_state_keeps_a_type_other_than_its_parameters(tmp_path: Path) -> None:
    live, again = (sharded_runs.built("pictures", False) for _ in range(2))
    live.step(sharded_runs.runs.batch(8, 1), sharded_runs.runs.batch(4, 2))
    for state in live.live.optimizer.state.values():
        state["exp_avg"] = state["exp_avg"].float()
    mw.save_checkpoint(live, tmp_path / "run")
    mw.load_checkpoint(again, tmp_path / "run")
    ours, theirs = (list(one.live.optimizer.state.values()) for one in (again, live))
    for here, there in zip(ours, theirs, strict=True):
        assert here["exp_avg"].dtype == torch.float32
        assert torch.equal(here["exp_avg"], there["exp_avg"])
        assert torch.equal(here["exp_avg_sq"], there["exp_avg_sq"])
