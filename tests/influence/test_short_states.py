"""States in bfloat16, and what states take together."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from whole_runs import Case, Stopped, case, mlp, stopping

from metaweight.influence import InfluenceWarning, MismatchError, checks, record
from metaweight.influence.store import FOLDER


def words(**options: Any) -> Case:
    """Dropout, Adam, 20 steps in 4 parts unless said otherwise."""
    return case("words-dropout", optimizer="adam", **{"epochs": 5, **options})


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in (folder / FOLDER).iterdir())


def test_influences_are_a_rounding_off_and_the_end_is_where_it_was(tmp_path: Path) -> None:
    exact = words().recorded(folder=tmp_path / "exact")
    there = exact.influence(words().meta)
    short = words().recorded(folder=tmp_path / "short", states="bf16")
    here = short.influence(words().meta)
    off = (here.values - there.values).norm() / there.values.norm()
    assert 1e-5 < off < 5e-3
    assert torch.equal(here.losses, there.losses)
    expected = exact.student.module.state_dict()
    assert all(torch.equal(v, expected[n]) for n, v in short.student.module.state_dict().items())


@pytest.mark.parametrize("at", [5, 10, 15])
def test_a_killed_recording_goes_on_to_the_same_bits(
    at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "PAUSE", 0.0)
    expected = words().recorded(states="bf16").influence(words().meta)
    with pytest.raises(Stopped):
        words().recorded(folder=tmp_path, states="bf16").record(tell=stopping(at // 5))
    run = words().recorded(folder=tmp_path, states="bf16")
    assert run.recording.taken == at
    found = run.influence(words().meta)
    assert torch.equal(found.losses, expected.losses)
    assert torch.equal(found.values, expected.values)


def test_one_that_was_killed_before_a_state_was_rounded_does_so_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here: at once behind the newer state."""
    monkeypatch.setattr(record, "PAUSE", 0.0)
    expected = words().recorded(states="bf16").influence(words().meta)
    with pytest.raises(Stopped):
        words().recorded(folder=tmp_path, states="bf16").record(tell=stopping(2))
    with pytest.raises(Stopped):
        words().recorded(folder=tmp_path / "exact").record(tell=stopping(2))
    name = f"{5:08d}.pt"
    (tmp_path / "exact" / FOLDER / name).replace(tmp_path / FOLDER / name)
    run = words().recorded(folder=tmp_path, states="bf16")
    assert torch.equal(run.influence(words().meta).values, expected.values)


def test_states_that_are_further_off_than_their_rounding_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    built = mlp(epochs=5)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InfluenceWarning)
        built.recorded(states="bf16").influence(built.meta)
    monkeypatch.setattr(checks, "SHORT", 5e-3)
    with pytest.warns(InfluenceWarning, match=r"1 of 4 parts .* magnify what bf16 leaves out"):
        built.recorded(states="bf16").influence(built.meta)


def test_other_data_are_seen_where_a_part_begins(tmp_path: Path) -> None:
    built = mlp(epochs=5)
    built.recorded(folder=tmp_path, states="bf16").record()
    run = built.recorded(folder=tmp_path, states="bf16")
    built.source.whole.args[0].add_(1)
    with pytest.raises(MismatchError, match="the inputs changed"):
        run.influence(built.meta)


@pytest.mark.parametrize(("kept", "asked"), [("exact", "bf16"), ("bf16", "exact")])
def test_a_folder_has_the_states_that_it_has(kept: str, asked: str, tmp_path: Path) -> None:
    expected = words().recorded(folder=tmp_path, states=kept).influence(words().meta)
    for path in tmp_path.glob("back-*"):
        path.unlink()
    found = words().recorded(folder=tmp_path, states=asked).influence(words().meta)
    assert torch.equal(found.values, expected.values)


def test_other_digits_are_refused() -> None:
    with pytest.raises(ValueError, match="states is 'exact' or 'bf16', got 'fp8'"):
        words().recorded(states="fp8")


@pytest.mark.parametrize(("states", "count"), [("exact", 10), ("bf16", 31)])
def test_states_take_no_more_than_they_may(states: str, count: int, tmp_path: Path) -> None:
    """Adam's moments, which are not there when the run begins, count; of float64, a quarter is left."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(16, 1000), nn.GELU(), nn.Linear(1000, 3))

    built = replace(mlp(optimizer="adam", epochs=15), build=build)
    built.recorded(folder=tmp_path / "all", checkpoints="all").record()
    most = size_of(tmp_path / "all") // 6
    run = built.recorded(folder=tmp_path / "some", checkpoints=f"{most / 1e6:.6f}MB", states=states)
    run.record()
    assert len(run.recording.segments.places) == count
    assert 0.6 * most < size_of(tmp_path / "some") < 1.05 * most
