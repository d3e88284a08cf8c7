"""Workers read ahead what the source gives, to the bit, and nobody else notices."""

from __future__ import annotations

import gc
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from slowly import slowly
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import metaweight as mw
from metaweight.core.batch import Batch
from metaweight.data import Indexed
from metaweight.data.ahead import ReadAhead
from metaweight.data.epochs import Epochs
from metaweight.data.loaders import LoaderBatches, as_source
from metaweight.remedies.glc import Marked
from metaweight.remedies.trusted import Cycled

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
ROWS, SIZE, WORKERS = 23, 5, 2


class Drawn(Dataset[tuple[Tensor, int]]):
    """Rows that are drawn anew each time, and say how many were read and by which process."""

    def __init__(self, wrong: int | None = None) -> None:
        self.reads: Any = multiprocessing.Value("i", 0)
        self.wrong = wrong

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        if place == self.wrong:
            raise OSError(f"row {place} is not to be read")
        with self.reads.get_lock():
            self.reads.value += 1
        drawn = [float(torch.rand(())), np.random.rand(), random.random()]
        return torch.tensor([place, *drawn]), os.getpid()


def loader(dataset: Any, workers: int, **options: Any) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=SIZE, num_workers=workers, **options)


def both(dataset: Any = None, **options: Any) -> tuple[LoaderBatches, ReadAhead]:
    dataset = Drawn() if dataset is None else dataset
    alone, ahead = (as_source(loader(dataset, workers, **options), seed=3) for workers in (0, WORKERS))
    assert isinstance(alone, LoaderBatches)
    assert isinstance(ahead, ReadAhead)
    return alone, ahead


def assert_alike(ours: Batch, theirs: Batch) -> None:
    assert torch.equal(ours.args[0], theirs.args[0])
    assert torch.equal(ours.index, theirs.index)
    assert type(ours) is type(theirs)


def in_order(source: Epochs) -> list[Batch]:
    return [source.batch(epoch, position) for epoch in range(2) for position in range(len(source))]


def anywhere(source: Epochs) -> list[Batch]:
    return [source.batch(epoch, position) for epoch, position in ((1, 3), (0, 0), (0, 1), (0, 4), (7, 2))]


def of_a_process(source: Epochs) -> list[Batch]:
    return [source.part(0, position, 1, 2) for position in range(len(source))] + [source.part(1, 4, 6, 7)]


def in_turn(source: Epochs) -> list[Batch]:
    return [source.turn(epoch, turn, 1, 2) for epoch in range(2) for turn in range(3)]


def in_mixed_ways(source: Epochs) -> list[Batch]:
    return [source.batch(0, 2), source.part(0, 2, 0, 2), source.turn(0, 1, 0, 2), source.batch(0, 2)]


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("asked", [in_mixed_ways, *slowly(in_order, anywhere, of_a_process, in_turn)])
def test_batches_are_those_of_the_source_to_the_bit(
    asked: Callable[[Epochs], list[Batch]], shuffle: bool
) -> None:
    alone, ahead = both(shuffle=shuffle)
    for ours, theirs in zip(asked(ahead), asked(alone), strict=True):
        assert_alike(ours, theirs)
        assert os.getpid() not in ours.targets
        assert os.getpid() in theirs.targets


def test_the_global_generators_are_left_alone() -> None:
    _, ahead = both()
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate()
    in_order(ahead)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def waited_for(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def test_rows_are_read_before_they_are_asked_for_and_only_so_far() -> None:
    dataset = Drawn()
    ahead = as_source(loader(dataset, WORKERS, prefetch_factor=3))
    ahead.batch(0, 0)
    far = SIZE * (1 + 3 * WORKERS)
    assert waited_for(lambda: dataset.reads.value >= far - 2 * SIZE)
    time.sleep(0.2)
    # rows whose draws are found out are read twice, once by each worker
    assert dataset.reads.value <= far + WORKERS * SIZE


def test_in_order_nothing_is_read_twice_and_elsewhere_what_was_read_ahead_is_lost() -> None:
    dataset = Drawn()
    ahead = as_source(loader(dataset, WORKERS, persistent_workers=True))
    for _ in range(4):
        list(ahead)
    found_out = WORKERS * SIZE
    ahead_of_it = WORKERS * 2 * SIZE
    time.sleep(0.2)
    assert dataset.reads.value <= 4 * ROWS + found_out + ahead_of_it
    before = dataset.reads.value
    ahead.batch(9, 0)
    time.sleep(0.2)
    assert dataset.reads.value - before <= 2 * ahead_of_it + SIZE


def test_a_row_that_cannot_be_read_matters_where_it_is_asked_for() -> None:
    _, ahead = both(Drawn(wrong=7))
    assert_alike(ahead.batch(0, 0), both()[0].batch(0, 0))
    with pytest.raises(OSError, match="row 7 is not to be read"):
        ahead.batch(0, 1)
    assert_alike(ahead.batch(0, 2), both()[0].batch(0, 2))
    ahead.batch(0, 0)
    assert_alike(ahead.batch(0, 3), both()[0].batch(0, 3))  # batch 1 was read ahead, and is left out
    with pytest.raises(IndexError, match=r"batches 0\.\.4"):
        ahead.batch(0, 5)


def test_who_was_interrupted_goes_on_where_he_asks() -> None:
    """What had come just then may be lost, and nobody knows which."""
    alone, ahead = both()
    ahead.batch(0, 0)

    def interrupted() -> Iterator[Any]:
        raise KeyboardInterrupt
        yield

    ahead._coming = interrupted()
    with pytest.raises(KeyboardInterrupt):
        ahead.batch(0, 1)
    for epoch, position in ((0, 2), (0, 3), (1, 0)):
        assert_alike(ahead.batch(epoch, position), alone.batch(epoch, position))


class Dying(Drawn):
    """Rows of which one ends the worker that reads it, once, when told to; nothing is under way then."""

    def __init__(self) -> None:
        super().__init__()
        self.told, self.done = multiprocessing.Event(), multiprocessing.Event()

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        if place == SIZE and torch.utils.data.get_worker_info() is not None and not self.done.is_set():
            self.told.wait()
            self.done.set()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(place)


def test_a_worker_that_was_killed_is_an_error_once() -> None:
    dataset = Dying()
    alone = as_source(loader(dataset, 0))
    ahead = as_source(loader(dataset, 1, prefetch_factor=1))
    assert_alike(ahead.batch(0, 0), alone.batch(0, 0))
    later = threading.Timer(0.5, dataset.told.set)  # torch's own handler may raise as soon as it is dead
    later.start()
    with pytest.raises(RuntimeError, match=r"killed|exited"):
        ahead.batch(0, 1)
    later.join()
    assert_alike(ahead.batch(0, 1), alone.batch(0, 1))
    for ours, theirs in zip(in_order(ahead), in_order(alone), strict=True):
        assert_alike(ours, theirs)


class Changing(Dataset[tuple[Tensor, int]]):
    """Rows that are what somebody has set."""

    value = 0

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return torch.tensor([self.value]), place


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_end_with_an_epoch_and_see_what_has_changed_since(persistent: bool) -> None:
    dataset = Changing()
    before = set(multiprocessing.active_children())
    source = as_source(loader(dataset, WORKERS, persistent_workers=persistent))
    seen = []
    for value in (1, 2):
        dataset.value = value
        seen.append({int(batch.args[0][0]) for batch in source})
        gc.collect()
        assert len(set(multiprocessing.active_children()) - before) == (WORKERS if persistent else 0)
    assert seen == ([{1}, {1}] if persistent else [{1}, {2}])
    source.rest()
    gc.collect()
    assert set(multiprocessing.active_children()) <= before
    assert {int(batch.args[0][0]) for batch in source} == {2}


@pytest.mark.parametrize("wrapped", [lambda source: Cycled(source, 3), lambda s: Marked(s, torch.arange(2))])
def test_what_wraps_a_source_lets_it_rest(wrapped: Callable[[Epochs], Epochs]) -> None:
    before = set(multiprocessing.active_children())
    source = wrapped(as_source(loader(Changing(), WORKERS, persistent_workers=True)))
    source.batch(0, 0)
    assert len(set(multiprocessing.active_children()) - before) == WORKERS
    source.rest()
    gc.collect()
    assert set(multiprocessing.active_children()) <= before


def opened(_worker: int) -> None:
    info = torch.utils.data.get_worker_info()
    assert info is not None
    info.dataset.value = 7  # type: ignore[attr-defined]


@pytest.mark.parametrize("indexed", [False, True])
def test_who_begins_a_worker_finds_the_data_set(indexed: bool) -> None:
    dataset = Changing()
    given = loader(dataset, 1, worker_init_fn=opened)
    if indexed:
        given = DataLoader(Indexed(dataset), SIZE, num_workers=1, worker_init_fn=opened_beneath)
    assert {int(batch.args[0][0]) for batch in as_source(given)} == {7}


def opened_beneath(_worker: int) -> None:
    info = torch.utils.data.get_worker_info()
    assert info is not None
    info.dataset.dataset.value = 7  # type: ignore[attr-defined]


class Filed(Dataset[tuple[Tensor, int]]):
    """Rows of a file that is opened with the first of them."""

    def __init__(self, path: Path, rows: int) -> None:
        self.path, self.rows = path, rows
        self.file: Any = None

    def __del__(self) -> None:
        if self.file is not None:
            self.file.close()

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        if self.file is None:
            self.file = self.path.open("rb", buffering=0)
        self.file.seek(4 * place)
        time.sleep(1e-4)
        (value,) = np.frombuffer(self.file.read(4), np.float32)
        assert value == place
        return torch.tensor([value, 1.0, value % 3, value % 2]), place % 3


@pytest.mark.slow
def test_each_worker_of_fit_opens_a_file_for_itself(tmp_path: Path) -> None:
    """Processes that were forked from one that has it open share its place in it."""
    np.arange(200, dtype=np.float32).tofile(tmp_path / "rows")
    ends = []
    for workers in (0, 2):
        train = loader(Filed(tmp_path / "rows", 200), workers, shuffle=True)
        result = mw.fit(
            student(), train, Filed(tmp_path / "rows", 9), epochs=2, warmup_epochs=0, verbose=False
        )
        ends.append(result.weights)
    assert np.array_equal(ends[0], ends[1])


def test_no_worker_is_refused() -> None:
    with pytest.raises(ValueError, match="workers is 1 or more, got 0"):
        ReadAhead(both()[0], workers=0)


class Points(Dataset[tuple[Tensor, int]]):
    """A task with rows that are drawn anew each time they are read."""

    def __init__(self, first: int, rows: int) -> None:
        self.first, self.rows = first, rows

    def __len__(self) -> int:
        return self.rows

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        label = (self.first + place) % 3
        return nn.functional.one_hot(torch.tensor(label), 4) + 0.3 * torch.randn(4), label


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def loaders(workers: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    return loader(Points(0, 40), workers, shuffle=True), loader(Points(40, 12), workers, shuffle=True)


@pytest.mark.parametrize("workers", [2, *slowly(1)])
def test_fit_gives_the_same_model_with_workers(workers: int) -> None:
    ends = []
    for count in (0, workers):
        train, trusted = loaders(count)
        result = mw.fit(student(), train, trusted, trusted, epochs=2, warmup_epochs=0, verbose=False)
        ends.append((result.weights, result.figures, list(result.model.state_dict().values())))
    (weights, figures, ours), (others, their_figures, theirs) = ends
    assert np.array_equal(weights, others)
    assert figures["accuracy"] == their_figures["accuracy"]
    assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.gpu
def test_workers_that_were_forked_leave_the_gpu_to_this_process() -> None:
    train, trusted = loaders(2)
    result = mw.fit(student(), train, trusted, epochs=1, warmup_epochs=0, device="cuda", verbose=False)
    assert np.isfinite(result.weights).all()


def test_a_loop_has_the_trusted_rows_read_by_workers_too() -> None:
    ends = []
    for workers in (0, 2):
        _, trusted = loaders(workers)
        module = student()
        optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
        loop = mw.Loop(module, optimizer, loader(Plain(), 0, shuffle=False), trusted)
        assert isinstance(loop._trusted, ReadAhead if workers else LoaderBatches)
        for x, y, weights in loop:
            losses = nn.functional.cross_entropy(module(x), y, reduction="none")
            optimizer.zero_grad()
            (weights * losses).mean().backward()
            optimizer.step()
        ends.append(list(module.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


class Plain(Dataset[tuple[Tensor, int]]):
    """Rows that are what they are."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return nn.functional.one_hot(torch.tensor(place % 3), 4).float(), place % 3


def test_a_batch_is_pinned_and_copied_without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    pinned: list[Tensor] = []

    def pin_memory(value: Tensor) -> Tensor:
        pinned.append(value)
        return value

    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    asked: list[Tensor] = []

    def is_pinned(value: Tensor) -> bool:
        asked.append(value)
        return any(value is one for one in pinned)

    monkeypatch.setattr(Tensor, "is_pinned", is_pinned)
    waits: list[bool] = []
    before = Tensor.to

    def to(value: Tensor, *args: Any, non_blocking: bool = False, **options: Any) -> Tensor:
        if args == ("meta",):
            waits.append(non_blocking)
        return before(value, *args, **options)

    monkeypatch.setattr(Tensor, "to", to)
    batch = Batch((torch.ones(2, 3), (torch.zeros(2), 4)), torch.tensor([0, 1]), torch.tensor([5, 6]))
    batch.to("meta")
    assert waits == [False] * 4
    waits.clear()
    batch.pin_memory().to("meta")
    assert waits == [True] * 4
    asked.clear()
    same = batch.to("cpu")
    assert not asked  # a forked process must not
    assert torch.equal(same.args[0], batch.args[0])
    assert torch.equal(same.index, batch.index)
