"""DataLoaders as torch's users write them, as Batches with positions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    IterableDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)

from metaweight.core.batch import Batch
from metaweight.data import Indexed, collate, numbered, pairs
from metaweight.data.loaders import LoaderBatches, rows_in

POINTS = torch.arange(20.0).reshape(10, 2)
LABELS = torch.arange(10) % 3
ROWS = TensorDataset(POINTS, LABELS)


def by_name(samples: list[Any]) -> dict[str, Any]:
    points, labels = default_collate(samples)
    return {"points": points, "labels": labels}


def moved(samples: list[Any]) -> Batch:
    return collate(samples).to("cpu")


def points_of(batch: Any) -> torch.Tensor:
    """The inputs of a batch; those of a Batch are of the rows that its index names."""
    if not isinstance(batch, Batch):
        points: torch.Tensor = batch["points"] if isinstance(batch, dict) else batch[0]
        return points
    (points,) = batch.args or (batch.kwargs["points"],)
    assert torch.equal(points, POINTS[batch.index])
    assert torch.equal(batch.targets, LABELS[batch.index])
    return points


CASES: dict[str, dict[str, Any]] = {
    "pairs": {"dataset": ROWS},
    "by name": {"dataset": ROWS, "collate_fn": by_name},
    "indexed": {"dataset": Indexed(ROWS), "collate_fn": collate},
    "indexed, collated as usual": {"dataset": Indexed(ROWS)},
    "indexed, Batches of its own": {"dataset": Indexed(ROWS), "collate_fn": moved},
    "part of the indexed": {"dataset": Subset(Indexed(ROWS), range(2, 10)), "collate_fn": collate},
    "workers": {"dataset": ROWS, "num_workers": 1},
    "drawn": {"dataset": ROWS, "shuffle": None, "sampler": WeightedRandomSampler([1.0] * 9 + [9.0], 12)},
}


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("name", CASES)
def test_batches_know_their_rows_in_the_order_of_the_loader(name: str) -> None:
    loader = DataLoader(**{"batch_size": 4, "shuffle": True, **CASES[name]})
    orders = []
    for batches in (numbered(loader), loader, numbered(loader)):
        torch.manual_seed(3)
        orders.append([points_of(one) for one in batches])
    for ours, theirs, again in zip(*orders, strict=True):
        assert torch.equal(ours, theirs)
        assert torch.equal(again, theirs)
    assert numbered(loader) is numbered(loader)  # whose workers then persist
    assert rows_in(loader) == 10


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("workers", "drawn")])
def test_a_trainers_batches_know_the_same_rows(name: str) -> None:
    batches = LoaderBatches(DataLoader(**{"batch_size": 4, "shuffle": True, **CASES[name]}), seed=1)
    assert sum(len(points_of(one)) for one in batches) == len(batches.dataset)


def test_positions_are_those_of_the_loaders_own_data_set() -> None:
    part = Subset(ROWS, [7, 2, 9])
    (only,) = numbered(DataLoader(part, batch_size=3))
    assert only.index.tolist() == [0, 1, 2]
    assert torch.equal(only.args[0], POINTS[[7, 2, 9]])
    assert rows_in(DataLoader(part)) == 3


def test_plain_loaders_are_paired() -> None:
    train, trusted = (DataLoader(Subset(ROWS, rows), batch_size=2) for rows in (range(6), range(6, 10)))
    met = [(one.index.tolist(), other.targets.tolist()) for one, other in pairs(train, trusted)]
    assert met == [([0, 1], [0, 1]), ([2, 3], [2, 0]), ([4, 5], [0, 1])]
    with pytest.raises(ValueError, match="training and meta set share 2 samples"):
        pairs(train, DataLoader(Subset(ROWS, [4, 5, 6])))


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(ROWS)


class InItsOwnWay(DataLoader[Any]):
    def __iter__(self) -> Any:
        return super().__iter__()


def test_loaders_that_cannot_be_numbered_stay_as_they_are() -> None:
    for loader in (DataLoader(Stream()), DataLoader(ROWS, batch_size=None), InItsOwnWay(ROWS)):
        assert numbered(loader) is loader
    with pytest.raises(TypeError, match="a stream has no positions"):
        rows_in(DataLoader(Stream()))


class AtOnce(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Rows that are only given several at a time, as some stores have it."""

    def __len__(self) -> int:
        return 10

    def __getitem__(self, position: int) -> tuple[Tensor, int]:
        raise AssertionError("one by one")

    def __getitems__(self, positions: list[int]) -> list[tuple[Tensor, int]]:
        return [(torch.full((2,), float(position)), position % 3) for position in positions]


def test_rows_are_read_at_once_where_a_data_set_can() -> None:
    loader = DataLoader(AtOnce(), batch_size=4, shuffle=True)
    for batch in (*numbered(loader), LoaderBatches(loader).batch(0, 0)):
        assert torch.equal(batch.args[0][:, 0], batch.index.float())
        assert torch.equal(batch.targets, batch.index % 3)
