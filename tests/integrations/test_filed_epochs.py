"""Epochs that are over lie in a file beside a loop of somebody else's, and its checkpoints refer to them."""

from __future__ import annotations

import copy
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from slowly import covering, slowly
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import metaweight as mw
from metaweight.training.checkpoint import CheckpointError
from metaweight.training.epoch_file import BY_EPOCH

State = dict[str, Any]
ROWS = 24


def rows(count: int, seed: int) -> TensorDataset:
    points = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return TensorDataset(points, (points[:, 0] > 0).long())


def looped(folder: Path | None, epochs: int, before: State | None = None, count: int = ROWS) -> list[State]:
    """The checkpoint after each epoch, as it comes out of a file; the loop of the last one beside it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Dropout(0.2), nn.Linear(6, 2)).double()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2, momentum=0.9)
    train = DataLoader(rows(count, 1), batch_size=count // 4, shuffle=True)
    trusted = DataLoader(rows(12, 2), batch_size=4)
    loop = mw.Loop(net, optimizer, train, trusted, teacher="recall", engine="double", folder=folder)
    if before is not None:
        net.load_state_dict(before["net"])
        optimizer.load_state_dict(before["optimizer"])
        loop.load_state_dict(before["loop"])
        torch.set_rng_state(before["draws"])
    states = []
    for _ in range(epochs):
        for x, y, weights in loop:
            optimizer.zero_grad()
            (weights * F.cross_entropy(net(x), y, reduction="none")).mean().backward()
            optimizer.step()
        state = {"net": net.state_dict(), "optimizer": optimizer.state_dict(), "loop": loop.state_dict()}
        kept = io.BytesIO()
        torch.save({**state, "draws": torch.get_rng_state()}, kept)
        size = len(kept.getvalue())
        kept.seek(0)
        states.append(torch.load(kept, weights_only=True) | {"size": size, "made": loop})
    return states


def both(state: State) -> Tensor:
    """Weights and losses of all epochs that its loop knows."""
    history = state["made"].weighing.history
    assert float(history.weights.nan_to_num().std()) > 1e-4
    return torch.stack([history.weights, history.loss]).clone()


@pytest.mark.slow
def test_a_state_is_as_large_after_many_epochs_as_after_one(tmp_path: Path) -> None:
    count = 1000
    filed, whole = looped(tmp_path / "run", 8, count=count), looped(None, 8, count=count)
    epoch = 2 * count * 4
    assert whole[7]["size"] - whole[1]["size"] > 6 * epoch
    assert abs(filed[7]["size"] - filed[1]["size"]) < 2000
    assert (tmp_path / "run" / BY_EPOCH).stat().st_size == 7 * epoch
    assert torch.equal(both(filed[7]), both(whole[7]))
    assert filed[7]["made"].weights().equals(whole[7]["made"].weights())
    assert filed[7]["made"].report(tmp_path / "page.html").is_file()


@pytest.mark.parametrize(
    ("where", "after"),
    [
        *(("same", 1), ("moved", 2)),
        *slowly(("same", 2), ("same", 3), ("moved", 1), ("moved", 3)),
        *slowly(*((where, after) for where in ("another", "none") for after in (1, 2, 3))),
    ],
)
def test_a_loop_goes_on_from_any_of_its_states(tmp_path: Path, where: str, after: int) -> None:
    """The first run was killed in its fifth epoch: epochs lie in the file that the state does not know."""
    whole = both(looped(None, 6)[5])
    states = looped(tmp_path / "run", 5)
    place = {"same": tmp_path / "run", "none": None}.get(where, tmp_path / where)
    if where == "moved":
        shutil.move(tmp_path / "run", tmp_path / "moved")
    resumed = looped(place, 6 - after, states[after - 1])
    assert torch.equal(both(resumed[-1]), whole)
    if place is not None:
        assert (place / BY_EPOCH).stat().st_size == 5 * 2 * ROWS * 4
        assert torch.equal(both(looped(place, 1, resumed[-2])[-1]), whole)


def test_a_state_of_before_is_taken_up_into_a_file(tmp_path: Path) -> None:
    older = looped(None, 3)[2]
    assert older["loop"]["history"]["weights"].shape == (3, ROWS)
    resumed = looped(tmp_path / "run", 3, older)
    assert torch.equal(both(resumed[-1]), both(looped(None, 6)[5]))
    assert len(resumed[-1]["loop"]["history"]["filed"]) == 5


def test_without_a_folder_a_state_has_all(tmp_path: Path) -> None:
    first = looped(None, 2)[1]
    place = first["made"].report(tmp_path / "page.html") and first["made"]._folder()
    first["made"].load_state_dict(copy.deepcopy(first["loop"]))
    for _ in first["made"]:
        pass
    assert len(first["made"].state_dict()["history"]["weights"]) == 3
    assert not (place / BY_EPOCH).exists()
    shutil.rmtree(place)
    assert torch.equal(both(looped(None, 2, first)[1]), both(looped(None, 4)[3]))


def test_a_state_in_memory_stays_as_it_was(tmp_path: Path) -> None:
    loop = looped(tmp_path, 2)[1]["made"]
    state = loop.state_dict()["history"]
    before = copy.deepcopy(state)
    for _ in range(2):
        for _ in loop:
            pass
    loop.weights()
    assert torch.equal(state.pop("begun"), before.pop("begun"))
    assert state == before


@pytest.mark.parametrize(
    ("left", "where"), covering(["a part", "nothing", "another run's"], ["run", "another", None])
)
def test_a_file_that_is_gone_is_refused(tmp_path: Path, left: str, where: str | None) -> None:
    state = looped(tmp_path / "run", 4)[3]
    file = tmp_path / "run" / BY_EPOCH
    content = file.read_bytes()
    file.unlink()
    if left != "nothing":
        file.write_bytes(content[:-1] if left == "a part" else content[::-1])
    place = None if where is None else tmp_path / where
    with pytest.raises(CheckpointError, match=rf"{BY_EPOCH} has not the 3 epochs .*put a copy of it back"):
        looped(place, 1, state)
    assert not (tmp_path / "another" / BY_EPOCH).exists()
    file.write_bytes(content)
    assert torch.equal(both(looped(place, 2, state)[1]), both(looped(None, 6)[5]))


def test_two_runs_in_a_folder_do_not_mix(tmp_path: Path) -> None:
    first = looped(tmp_path, 3)[2]["made"]
    looped(tmp_path, 3, count=48)
    with pytest.raises(CheckpointError, match=r"has no more the 2 epochs of this run.*a folder of its own"):
        first.weights()
    list(first)
    with pytest.raises(OSError, match=r"epochs before this one have gone from it.*a folder of its own"):
        first.state_dict()
