"""States for which memory has no room lie on the disk for a while, and nothing else changes."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from whole_runs import case

from metaweight.core.atomic import WriteError
from metaweight.influence import recording, tensor_file
from metaweight.influence.point import Point
from metaweight.influence.scratch import Scratch
from metaweight.student.student import Named


@pytest.mark.parametrize("room", [0, 3])
def test_the_influence_is_the_same_bit_for_bit(
    room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With batch statistics, moments and dropout's generators among the states."""
    built = case("batchnorm-resnet", optimizer="adam", epochs=4)
    expected = built.recorded().influence(built.meta).values
    run = built.recorded(folder=tmp_path)
    run.record()
    monkeypatch.setattr(recording, "ROOM", room * run.recording.end().size())
    assert torch.equal(run.influence(built.meta).values, expected)


@pytest.mark.parametrize("held", [0, 2, 4])
def test_a_pile_gives_back_what_was_laid_on_it(
    held: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Laid on and taken off in turn; however many of them are in memory, and the rest in a file."""
    monkeypatch.setattr(tensor_file, "LEAST", 1)
    built = case("batchnorm-resnet", optimizer="adam", epochs=1)
    run = built.recorded()
    student, optimizer = run.student, run.optimizer
    points = []
    for step in range(4):
        before, found = Point.of(student, optimizer), dict[str, Tensor]()

        def note(gradient: Named, losses: Tensor, found: dict[str, Tensor] = found) -> None:
            found |= {name: value.clone() for name, value in gradient.items()}

        losses = run.steps.take(student, optimizer, step, note)
        points.append(replace(before, gradient=found, losses=losses))
    room = sum(point.size() for point in points[:held])
    with Scratch(tmp_path, room) as pile:

        def lay(point: Point) -> None:
            """In two parts, the gradient in a tensor that changes afterwards."""
            assert point.losses is not None
            pile.add(replace(point, gradient={}, losses=None))
            gradient = {name: value.clone() for name, value in point.gradient.items()}
            pile.complete(gradient, point.losses)
            for value in gradient.values():
                value.zero_()

        for point in points[:3]:
            lay(point)
        assert pile.pop().differs(points[2]) is None
        for point in points[2:]:
            lay(point)
        assert len(pile) == 4
        away = [point.size() - len(point.generators.cpu) for point in points[held:]]
        assert (0 if pile._file is None else pile._file.size) == sum(away)
        for point in reversed(points):
            found = pile.pop()
            assert found.differs(point) is None
            assert found.losses is point.losses
            assert all(torch.equal(found.gradient[n], g) for n, g in point.gradient.items())
            assert found.gradient.keys() == point.gradient.keys() != set()
        assert len(pile) == 0
        assert pile._file is None or pile._file.size == 0
        with pytest.raises(IndexError):
            pile.pop()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = case("batchnorm-resnet", epochs=1).recorded()
    monkeypatch.setattr(tensor_file, "LEAST", 1)
    monkeypatch.setattr("os.pwrite", full)
    with Scratch(tmp_path, 0) as pile, pytest.raises(WriteError, match=f"{tmp_path}.*free space"):
        pile.add(Point.of(run.student, run.optimizer))
