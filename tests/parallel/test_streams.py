"""Streams in one process and in several: one order, one position for each row, from wherever they stopped."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any

import parted_runs as runs
import pytest
import torch
from several_processes import Ranks
from torch.utils.data import DataLoader, IterableDataset

from metaweight.data import Stream

ROWS, BATCH = 45, 8


class Counted(IterableDataset[tuple[torch.Tensor, int]]):
    """Rows by their number; ``begun`` are those that were passed over."""

    def __init__(self) -> None:
        self.begun: list[int] = []

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        for number in range(ROWS):
            self.begun.append(number)
            yield torch.tensor([float(number)]), number


class Stateful(Counted):
    """One that can begin in the middle."""

    def __init__(self) -> None:
        super().__init__()
        self.place, self.first = 0, 0

    def __iter__(self) -> Iterator[tuple[torch.Tensor, int]]:
        first, self.first = self.first, 0
        for self.place in range(first + 1, ROWS + 1):
            self.begun.append(self.place - 1)
            yield torch.tensor([float(self.place - 1)]), self.place - 1

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.first = state["place"]


def rows_of(shards: list[int]) -> Iterator[dict[str, float]]:
    """Shard s has the numbers 100 s, 100 s + 1, ...; the last one is short."""
    for shard in shards:
        for number in range(9 if shard == 3 else 12):
            SEEN.append(100 * shard + number)
            yield {"x": float(100 * shard + number), "label": 100 * shard + number}


SEEN: list[int] = []


def hugging_face() -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.IterableDataset.from_generator(rows_of, gen_kwargs={"shards": [0, 1, 2, 3]})


KINDS = {"plain": Counted, "stateful": Stateful, "shards": hugging_face, "one lane": hugging_face}


def stream(kind: str) -> tuple[Stream, list[int]]:
    """One of 45 rows, and the list of those that are read of it here."""
    rows = KINDS[kind]()
    SEEN.clear()
    made = Stream(rows, batch_size=BATCH, lanes=1 if kind == "one lane" else None)
    return made, getattr(rows, "begun", SEEN)


Seen = list[tuple[list[int], list[int], bool]]


def read(
    rank: int, size: int, kind: str, batches: int | None, state: Any
) -> tuple[Seen, dict[str, Any], list[int], int]:
    """Targets and index of so many parts, whether they stand in, the state then, the rows that were read."""
    made, begun = stream(kind)
    if state is not None:
        made.load_state_dict(state)
        assert made.state_dict() == state  # as long as nothing was read
    found: Seen = []
    if batches != 0:
        for batch in made:
            found.append((batch.targets.tolist(), batch.index.tolist(), batch.stands_in))
            if len(found) == batches:
                break
    return found, made.state_dict(), list(begun), made.epoch


def joined(parts: list[Seen]) -> list[tuple[list[int], list[int]]]:
    """The joined batches of the parts by rank."""
    together = []
    for turn in zip(*parts, strict=True):
        real = [(targets, index) for targets, index, stands_in in turn if not stands_in]
        targets, index = (list(chain.from_iterable(one)) for one in zip(*real, strict=True))
        together.append((targets, index))
    return together


@pytest.mark.parametrize("kind", KINDS)
def test_any_number_of_processes_sees_one_order(ranks: Ranks, kind: str) -> None:
    """Whole epochs, and in the middle of one another number goes on."""
    alone, ended, _, epoch = read(0, 1, kind, None, None)
    whole = joined([alone])
    assert sorted(number for targets, _ in whole for number in targets) == sorted(
        targets for targets in (range(ROWS) if kind in ("plain", "stateful") else numbers())
    )
    positions = [place for _, index in whole for place in index]
    assert len(set(positions)) == ROWS
    assert epoch == ended["epoch"] == 1
    for first, later in ((2, 3), (3, 1), (1, 2)):
        begun = ranks.run(first, read, kind, 2, None) if first > 1 else [read(0, 1, kind, 2, None)]
        states = [state for _, state, _, _ in begun]
        assert states == [states[0]] * first
        rest = (
            ranks.run(later, read, kind, None, states[0])
            if later > 1
            else [read(0, 1, kind, None, states[0])]
        )
        assert joined([seen for seen, *_ in begun]) + joined([seen for seen, *_ in rest]) == whole
        assert {epoch for *_, epoch in rest} == {1}


def numbers() -> list[int]:
    return [100 * shard + number for shard in range(4) for number in range(9 if shard == 3 else 12)]


class Rows(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        whole = runs.batch(runs.SAMPLES, 1)
        return zip(whole.args[0], whole.targets, strict=True)


def trained(rank: int, size: int) -> dict[str, torch.Tensor]:
    """A loop of the user's; the last batch of 60 rows has 2, fewer than there are processes."""
    live, rows = runs.reweighter(runs.Case(), rank, size), Stream(Rows(), batch_size=29)
    for epoch in range(3):
        for step, batch in enumerate(rows):
            live.step(batch, runs.batch(runs.META, 5000 + 10 * epoch + step).part(rank, size))
    found = {name: p.detach() for name, p in live.student.module.named_parameters()}
    return {**found, **{f"teacher.{name}": value for name, value in live.teacher.state_dict().items()}}


def test_training_on_a_stream_is_that_of_one_process(ranks: Ranks) -> None:
    alone = trained(0, 1)
    for found in ranks.run(3, trained):
        for name, value in alone.items():
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)


def test_each_process_reads_its_own_shards(ranks: Ranks) -> None:
    """And of a stream that knows where it stands nothing twice."""
    found = ranks.run(2, read, "shards", None, None)
    for rank, (_, _, begun, _) in enumerate(found):
        assert {number // 100 for number in begun} == {2 * rank, 2 * rank + 1}
    _, state, *_ = read(0, 1, "stateful", 2, None)
    assert read(0, 1, "stateful", None, state)[2] == list(range(2 * BATCH, ROWS))
    _, state, *_ = read(0, 1, "plain", 2, None)
    assert read(0, 1, "plain", None, state)[2] == list(range(ROWS))


def test_an_iteration_goes_on_where_the_last_one_stopped_and_then_begins_anew() -> None:
    for kind in KINDS:
        made, _ = stream(kind)
        first = next(iter(made))
        rest = [batch.index.tolist() for batch in made]
        again = [batch.index.tolist() for batch in made]
        assert [first.index.tolist(), *rest] == again
        assert made.epoch == 2


def test_positions_stay_where_a_shard_is_short() -> None:
    """As if none ended before another: a row keeps its position whatever the others hold."""
    made, _ = stream("shards")
    places = {int(t): int(i) for batch in made for t, i in zip(batch.targets, batch.index, strict=True)}
    assert places[0] == 0
    assert places[301] == 7
    assert places[2] == 8
    assert places[11] == 5 * BATCH + 1
    assert places[211] == 5 * BATCH + 5


def test_shuffled_streams_have_an_order_for_each_epoch_where_it_is_asked_for() -> None:
    rows = hugging_face().shuffle(seed=3, buffer_size=5)
    for reshuffle in (False, True):
        made = Stream(rows, batch_size=BATCH, reshuffle=reshuffle)
        epochs = [[int(label) for batch in made for label in batch.targets] for _ in range(2)]
        assert sorted(epochs[0]) == sorted(epochs[1]) == numbers()
        assert (epochs[0] == epochs[1]) != reshuffle


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is 1 or more"),
        ({"batch_size": 8, "lanes": 3}, "lanes divide it and the 1 shards .*batch_size=8 and lanes=3"),
    ],
)
def test_numbers_that_do_not_go_together(options: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stream(Counted(), **options)


def test_what_is_no_stream_is_refused() -> None:
    with pytest.raises(TypeError, match="a generator cannot be: give what has an __iter__"):
        Stream((row for row in Counted()), batch_size=2)
    with pytest.raises(TypeError, match="give the DataLoader's data set"):
        Stream(DataLoader(Counted()), batch_size=2)
    _, state, *_ = read(0, 1, "plain", 1, None)
    with pytest.raises(ValueError, match="batch_size=8 and lanes=1, this one has 4 and 1"):
        Stream(Counted(), batch_size=4).load_state_dict(state)


def too_many(rank: int, size: int) -> str:
    with pytest.raises(ValueError, match="3 processes share 2 lanes") as caught:
        Stream(hugging_face(), batch_size=6)
    return str(caught.value)


def test_more_processes_than_lanes_are_told_what_to_do(ranks: Ranks) -> None:
    assert all("or lanes=1, with which every process" in said for said in ranks.run(3, too_many))
