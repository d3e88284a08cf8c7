"""The way back some rows at a time: the same slopes, and fewer rows in a graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from opened_runs import OPTIONS, trained
from tiny_images import config
from torch import Tensor, nn
from whole_runs import BATCH, Case, Rows, case, mlp, rows
from whole_translations import translator

from metaweight.engines.checks import EngineError
from metaweight.influence import WholeRun, back, pieces, recording
from metaweight.influence.part_draws import DrawnForAll, NotInPartsError
from metaweight.influence.pieces import Piece
from metaweight.influence.scratch import ROOM, Scratch

PARTS = 3
"""Of ``BATCH`` rows: two rows at least."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each pass that is differentiated twice, no student having blocks; of a whole batch -1."""
    monkeypatch.setattr(back, "blocks_of", lambda module: [])
    graph, at_once, noted = pieces.GradientGraph, Piece.at_once, list[int]()

    def of_part(forward: Any, *args: Any, **options: Any) -> Any:
        noted.append(len(forward.index.unique()))
        return graph(forward, *args, **options)

    def whole(self: Piece) -> Any:
        noted.append(-1)
        return at_once(self)

    monkeypatch.setattr(pieces, "GradientGraph", of_part)
    monkeypatch.setattr(Piece, "at_once", whole)
    return noted


def apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


class Doubled(nn.Module):
    """A draw beside each row and one for all of them; a mask of two rows to a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(16, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0.1 * torch.randn(x.shape, dtype=x.dtype) + 0.1 * torch.randn(1, 16, dtype=x.dtype)
        both = torch.dropout(torch.cat([x[:, None], -x[:, None]], 1).flatten(0, 1), 0.3, self.training)
        return self.head(torch.tanh(self.first(both.unflatten(0, (-1, 2)).sum(1))))


def own(module: Callable[[], nn.Module], shape: tuple[int, ...] = (16,)) -> Case:
    return Case(module, Rows(rows(shape, 24, 3)), rows(shape, 5, 4), epochs=3)


ALONE: dict[str, Callable[[], Case]] = {
    "mlp": lambda: mlp(epochs=3),
    "groupnorm": lambda: case("groupnorm-resnet", epochs=3),
    "dropout": lambda: case("words-dropout", optimizer="adam", epochs=3),
    "attention with dropout": lambda: case("encoder-dropout", optimizer="adamw", epochs=3),
    "recurrent": lambda: case("gru", optimizer="two", epochs=3),
    "tied and frozen": lambda: case("tied-and-frozen", epochs=3),
    "sentences": lambda: translator("adam", epochs=3),
    "tokens": lambda: translator("sgd", "token", epochs=3),
    "own draws": lambda: own(Doubled),
}


@pytest.mark.parametrize("name", ALONE)
def test_rows_that_know_nothing_of_each_other(name: str, seen: list[int], tmp_path: Path) -> None:
    built = ALONE[name]()
    expected = built.recorded().influence(built.meta)
    steps = len(seen)
    seen.clear()
    found = built.recorded(low_memory=True, folder=tmp_path).influence(built.meta)
    assert apart(found.values, expected.values) < 1e-11
    assert torch.equal(found.losses, expected.losses)
    assert len(seen) == PARTS * steps / 2
    assert set(seen) == {BATCH // PARTS}


def test_several_losses_and_epochs(seen: list[int]) -> None:
    built = case("words-dropout", epochs=3)
    asked = {"each": True, "by_epoch": True}
    expected = built.recorded().influence(built.meta, **asked)
    seen.clear()
    found = built.recorded(low_memory=True).influence(built.meta, **asked)
    assert found.by_epoch is not None
    assert expected.by_epoch is not None
    assert found.by_epoch.shape == (5, 3, 24)
    assert apart(found.by_epoch, expected.by_epoch) < 1e-11
    assert set(seen) == {BATCH // PARTS}


class Centred(nn.Module):
    """Each row sees the mean of all, and no layer says so."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(16, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.first(x))
        return self.head(x - x.mean(0))


class Sideways(nn.Module):
    """Dropout where the rows are the second dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.dropout(torch.tanh(self.first(x.transpose(0, 1))), 0.3, self.training)
        return self.head(x.sum(0))


class ByValue(nn.Module):
    """A draw whose chances are the student's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(16, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.first(x))
        return self.head(x * torch.bernoulli(x.detach()))


class AtLeastThree(nn.Module):
    """Takes no fewer rows."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) < 3:
            raise ValueError("three rows or more")
        return self.head(torch.tanh(x))


TOGETHER: dict[str, Callable[[], Case]] = {
    "batchnorm": lambda: case("batchnorm-resnet", epochs=3),
    "own mean": lambda: own(Centred),
    "rows in the second dimension": lambda: own(Sideways, (6, 8)),
    "draws by values": lambda: own(ByValue),
    "no small batch": lambda: own(AtLeastThree),
}


@pytest.mark.parametrize("name", TOGETHER)
def test_rows_that_know_of_each_other_stay_together(name: str, seen: list[int]) -> None:
    """What parts said before that was found out is not in the answer; it is found out once."""
    built = TOGETHER[name]()
    expected = built.recorded().influence(built.meta)
    whole = list(seen)
    seen.clear()
    found = built.recorded(low_memory=True).influence(built.meta)
    assert torch.equal(found.values, expected.values)
    assert seen.count(-1) == whole.count(-1) == 12
    assert len(seen) - len(whole) <= PARTS


@pytest.mark.parametrize("teacher", ["uniform", "mw-net"])
def test_a_finished_run_whose_weights_change_from_step_to_step(
    teacher: str, seen: list[int], tmp_path: Path
) -> None:
    options = {**OPTIONS, "model": "mlp", "engine": "double", "teacher": teacher}
    folder = trained(tmp_path / "run", config(**options))
    run = WholeRun.opened(folder, on_difference="recorded")
    meta = run.rows()
    expected = run.influence(meta)
    for path in (folder / "whole").glob("back-*.pt"):
        path.unlink()
    seen.clear()
    run = WholeRun.opened(folder, on_difference="recorded", low_memory=True)
    found = run.influence(meta)
    assert torch.equal(found.values.isnan(), expected.values.isnan())
    assert apart(found.values.nan_to_num(), expected.values.nan_to_num()) < 1e-5
    assert seen == [3, 3, 3, 3, 2, 2, 2, 2] * len(run.steps)


def test_weights_are_learnt_alike() -> None:
    built = mlp(epochs=3)
    expected = built.recorded().learn(built.meta, rounds=3)
    found = built.recorded(low_memory=True).learn(built.meta, rounds=3)
    assert apart(found.weights, expected.weights) < 1e-9


def test_states_lie_on_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    rooms: list[int] = []

    def scratch(folder: Path | None, room: int) -> Scratch:
        rooms.append(room)
        return Scratch(folder, room)

    monkeypatch.setattr(recording, "Scratch", scratch)
    built = mlp(epochs=1)
    for low_memory in (True, False):
        built.recorded(low_memory=low_memory).influence(built.meta)
    assert rooms == [0, 0, ROOM, ROOM]


def test_what_is_no_yes_or_no_is_refused() -> None:
    with pytest.raises(TypeError, match="low_memory is True or False, got 'yes'"):
        mlp().recorded(low_memory="yes")


DRAWS: dict[str, Callable[[int], Tensor]] = {
    "uniform_": lambda n: torch.empty(n, 5).uniform_(),
    "normal_, by keyword": lambda n: torch.empty(n, 5).normal_(mean=1.0, std=2.0),
    "bernoulli_": lambda n: torch.empty(n, 5).bernoulli_(0.3),
    "exponential_": lambda n: torch.empty(n, 5).exponential_(),
    "randn": lambda n: torch.randn(n, 5),
    "rand of three to a row": lambda n: torch.rand(3 * n, 2).unflatten(0, (n, 3)),
    "randint": lambda n: torch.randint(0, 9, (n, 5)),
    "like": lambda n: torch.randn_like(torch.empty(n, 5)),
    "dropout": lambda n: torch.dropout(torch.ones(n, 5), 0.4, True),
    "dropout of a GPU": lambda n: torch.native_dropout(torch.ones(n, 5), 0.4, True)[0],
    "laid otherwise": lambda n: torch.empty(4, n, 5).transpose(0, 1).bernoulli_(0.3),
    "like what is laid otherwise": lambda n: torch.rand_like(torch.empty(4, 5, n).permute(2, 0, 1)),
    "for all": lambda n: torch.randn(1, 5).expand(n, 5),
}


@pytest.mark.parametrize("name", DRAWS)
def test_draws_for_some_rows_are_those_of_all(name: str) -> None:
    draw = DRAWS[name]
    torch.manual_seed(3)
    expected, after = draw(7), torch.rand(3)
    found = []
    for part in torch.arange(7).tensor_split(3):
        torch.manual_seed(3)
        with DrawnForAll(int(part[0]), len(part), 7):
            found.append(draw(len(part)))
        assert torch.equal(torch.rand(3), after)
    assert torch.equal(torch.cat(found), expected)
    assert len(expected.unique()) > 1


def test_draws_by_values_are_refused() -> None:
    for draw in (
        lambda: torch.bernoulli(torch.full((2, 5), 0.5)),
        lambda: torch.empty(2, 5).bernoulli_(torch.full((2, 5), 0.5)),
        lambda: torch.multinomial(torch.ones(2, 5), 1),
    ):
        with DrawnForAll(0, 2, BATCH), pytest.raises(NotInPartsError):
            draw()


@pytest.mark.parametrize("low_memory", [False, True])
def test_a_wrong_second_derivative_of_torch_is_refused(low_memory: bool) -> None:
    def build() -> nn.Module:
        first = nn.utils.parametrizations.weight_norm(nn.Linear(16, 6))
        return nn.Sequential(first, nn.Tanh(), nn.Linear(6, 3))

    built = own(build)
    with pytest.raises(EngineError, match="weight_norm has a wrong second derivative"):
        built.recorded(low_memory=low_memory).influence(built.meta)
