"""Each process reads its own rows of every batch, and they are what they are in one process."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from metaweight.core.batch import Batch
from metaweight.data.epochs import Epochs
from metaweight.data.loader import ImageLoader
from metaweight.data.loaders import LoaderBatches
from metaweight.data.rows.collated import CollatedRows
from metaweight.data.rows.loader import IGNORED, Inputs, RowsLoader, TensorRows
from metaweight.data.text.loader import TextLoader
from metaweight.data.text.padded import MaskedRows, PaddedRows, Ragged
from metaweight.remedies.glc import Marked
from metaweight.remedies.trusted import Cycled

G = torch.Generator().manual_seed(4)
ROWS = 23
LENGTHS = torch.randint(1, 9, (ROWS,), generator=G).tolist()
WORDS = [torch.randint(4, 30, (n,), generator=G).tolist() for n in LENGTHS]
IMAGES = torch.randint(256, (ROWS, 1, 6, 6), generator=G, dtype=torch.uint8)
LABELS = torch.arange(ROWS) % 3
TAGS = torch.where(torch.arange(9) < torch.tensor(LENGTHS)[:, None], LABELS[:, None], IGNORED)


class Drawing(Dataset[tuple[Tensor, int]]):
    """Rows that are drawn anew each time they are read, by all three libraries; ``read`` are their places."""

    def __init__(self, draws: bool = True) -> None:
        self.draws = draws
        self.read: list[int] = []

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        self.read.append(place)
        noise = [float(torch.rand(())), np.random.rand(), random.random()] if self.draws else [0.0] * 3
        return torch.tensor([place, *noise]), place % 3


class DrawingAtOnce(Drawing):
    def __getitems__(self, places: list[int]) -> list[tuple[Tensor, int]]:
        return [self[place] for place in places]


def masked_at_random(samples: list[tuple[Tensor, int]]) -> Any:
    x, y = default_collate(samples)
    return x * (torch.rand(len(x), 1) < 0.5), y


def of_rows(inputs: Inputs, targets: Tensor = LABELS) -> RowsLoader:
    return RowsLoader(inputs, targets, torch.arange(1, ROWS), batch_size=9, seed=3)


def of_loader(dataset: Any, collate_fn: Any = None) -> LoaderBatches:
    return LoaderBatches(DataLoader(dataset, batch_size=9, shuffle=True, collate_fn=collate_fn), seed=3)


def images() -> ImageLoader:
    return ImageLoader(IMAGES, LABELS, torch.arange(ROWS), batch_size=9, augment=True, padding=2)


MASKED = MaskedRows(Ragged.of(WORDS, padding=3), places=Ragged.of([range(n) for n in LENGTHS], padding=-1))
SOURCES: dict[str, Callable[[], Epochs]] = {
    "images": images,
    "rows": lambda: of_rows(TensorRows((IMAGES.float(),))),
    "texts": lambda: of_rows(PaddedRows(Ragged.of(WORDS))),
    "tokens": lambda: of_rows(MASKED, TAGS),
    "pairs": lambda: TextLoader(WORDS, WORDS[::-1], torch.arange(ROWS), batch_size=9),
    "loader": lambda: of_loader(Drawing(False)),
    "drawn by row": lambda: of_loader(Drawing()),
    "drawn by row of a part": lambda: of_loader(Subset(Drawing(), range(2, ROWS))),
    "drawn at once": lambda: of_loader(DrawingAtOnce()),
    "drawn when collated": lambda: of_loader(Drawing(False), masked_at_random),
    "module's rows": lambda: of_rows(CollatedRows.of([Drawing()], default_collate)),
    "module's rows, drawn when collated": lambda: of_rows(
        CollatedRows.of([Drawing(False)], masked_at_random)
    ),
    "begun anew": lambda: Cycled(images(), 4),
    "marked": lambda: Marked(images(), torch.arange(5)),
}


def tensors(batch: Batch) -> list[Tensor]:
    return [*batch.args, *batch.kwargs.values(), batch.targets, batch.index]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("name", SOURCES)
def test_a_part_is_that_of_the_whole_batch(name: str, size: int) -> None:
    """Bit for bit, whatever was read before; the last batch has fewer rows than seven processes."""
    whole, parts = SOURCES[name](), [SOURCES[name]() for _ in range(size)]
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for epoch, position in ((1, len(whole) - 1), (0, 0), (1, 0)):
        batch = whole.batch(epoch, position)
        for rank, source in enumerate(parts):
            ours, theirs = source.part(epoch, position, rank, size), batch.part(rank, size)
            assert ours.stands_in == theirs.stands_in
            assert all(torch.equal(a, b) for a, b in zip(tensors(ours), tensors(theirs), strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(IndexError):
        parts[0].part(0, len(whole), 0, size)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_processes_take_whole_batches_in_turn(size: int) -> None:
    source = images()
    for turn in range(-(-len(source) // size)):
        for rank in range(size):
            place = min(turn * size + rank, len(source) - 1)
            got, expected = source.turn(2, turn, rank, size), source.batch(2, place)
            assert all(torch.equal(a, b) for a, b in zip(tensors(got), tensors(expected), strict=True))


@pytest.mark.parametrize("name", ["drawn by row", "drawn at once", "module's rows"])
def test_rows_that_are_drawn_differ_among_each_other_and_by_epoch(name: str) -> None:
    batches = SOURCES[name]()
    seen = [batches.batch(epoch, place).args[0] for epoch in range(2) for place in range(len(batches))]
    drawn = torch.cat(seen)[:, 1:]
    assert len(drawn.unique(dim=0)) == len(drawn) >= 2 * (ROWS - 1)


@pytest.mark.parametrize("draws", [False, True])
@pytest.mark.parametrize("size", [1, 2, 4])
def test_rows_read_fall_with_the_number_of_processes(size: int, draws: bool) -> None:
    """Once a batch has told whether rows are drawn: that one is read twice where they are."""
    read = []
    for rank in range(size):
        dataset = Drawing(draws)
        batches = LoaderBatches(DataLoader(dataset, batch_size=8, shuffle=True, drop_last=True))
        batches.part(0, 0, rank, size)
        dataset.read.clear()
        for epoch in range(1, 3):
            for position in range(len(batches)):
                batches.part(epoch, position, rank, size)
        read.append(dataset.read)
    assert [len(rows) for rows in read] == [2 * 2 * 8 // size] * size


class Wide(Drawing):
    """Rows of a picture's size."""

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return torch.zeros(3, 224, 224), place % 3


@pytest.mark.parametrize(("dataset", "rows"), [(Drawing(), 4096), (Wide(), 55)])
def test_few_large_rows_are_evaluated_at_once(dataset: Any, rows: int) -> None:
    assert CollatedRows.of([dataset], default_collate).at_once == rows
