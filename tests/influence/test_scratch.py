"""States for which memory has no room lie on the disk for a while, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from whole_runs import case

from metaweight.influence import scratch
from metaweight.influence.point import Point
from metaweight.influence.scratch import Scratch


@pytest.mark.parametrize("room", [0, 3])
def test_the_influence_is_the_same_bit_for_bit(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batch statistics, moments and dropout's generators among the states."""
    built = case("batchnorm-resnet", optimizer="adam", epochs=4)
    expected = built.recorded().influence(built.meta).values
    run = built.recorded(folder=tmp_path)
    run.record()
    monkeypatch.setattr(scratch, "ROOM", room * run.recording.end().size())
    assert torch.equal(run.influence(built.meta).values, expected)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("scratch-")]


def test_a_pile_gives_back_what_was_laid_on_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    built = case("batchnorm-resnet", epochs=1)
    run = built.recorded()
    student, optimizer = run.student, run.optimizer
    points = []
    for step in range(4):
        points.append(Point.of(student, optimizer))
        run.steps.take(student, optimizer, step)
    monkeypatch.setattr(scratch, "ROOM", 2 * points[-1].size())
    with Scratch(student.device, tmp_path) as pile:
        for point in points:
            pile.add(point)
        assert len(pile) == 4
        (folder,) = tmp_path.iterdir()
        assert len(list(folder.rglob("*.pt"))) == 2
        for point in reversed(points):
            assert pile.pop().differs(point) is None
        assert len(pile) == 0
        with pytest.raises(IndexError):
            pile.pop()
    assert list(tmp_path.iterdir()) == []
