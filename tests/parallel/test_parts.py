"""What each process has of a batch: units of any kind, none at all, a broken row; and what it sends."""

from __future__ import annotations

import parted_runs as runs
import pytest
import torch
from held_against import require_close
from several_processes import Ranks
from slowly import covering, slowly

from benchmarks.parallel.scaling import COSTS


@pytest.mark.parametrize(
    ("unit", "teacher", "engine"),
    [
        *slowly(("sentence", "surface", "forward"), ("sentence", "mlp", "double")),
        # of tokens many are alike: by the loss alone, for ranks of equal losses are rounding's
        ("token", "mw-net", "double"),
        *slowly(("token", "mw-net", "forward")),
    ],
)
def test_sentences_of_other_lengths(ranks: Ranks, unit: str, teacher: str, engine: str) -> None:
    here, *_ = ranks.run(3, runs.trained_on_sentences, unit, teacher, engine)
    require_close(here, runs.trained_on_sentences(0, 1, unit, teacher, engine))


@pytest.mark.parametrize(
    ("size", "rows", "no_sync"),
    [
        *((2, 12, True), (4, 3, False)),
        *slowly((2, 12, False), (3, 13, False), (3, 13, True), (4, 12, True), (4, 12, False), (4, 3, True)),
    ],
)
def test_a_loop_of_the_users_that_gathers_gradients(
    ranks: Ranks, size: int, rows: int, no_sync: bool
) -> None:
    """DistributedDataParallel takes the mean of means, of other numbers of rows too."""
    alone = runs.loop_of_the_users(0, 1, no_sync, rows)
    found = ranks.run(size, runs.loop_of_the_users, no_sync, rows)
    own = torch.cat([one.pop("own") for one in found])
    assert rows % size or torch.equal(own, found[0]["weights"])
    alone.pop("own")
    require_close(found[0], alone)


@pytest.mark.parametrize("where", ["train", "meta"])
def test_a_broken_row_of_one_process_is_named_in_all(ranks: Ranks, where: str) -> None:
    batch = runs.batch(runs.ROWS, 100) if where == "train" else runs.batch(runs.META, 5000)
    for named, still in ranks.run(3, runs.broken_row, where):
        assert named == [int(batch.index[-1])]
        assert still


def test_what_parts_of_a_batch_cannot_do_is_refused(ranks: Ranks) -> None:
    for norm, state in ranks.run(2, runs.refusals):
        assert "'1' (BatchNorm1d) takes the mean over a batch" in norm
        assert "through_state=True takes one process" in state


@pytest.mark.parametrize(
    ("schedule", "engine", "copies"),
    [
        ("online", "forward", 2),
        ("lookahead", "ghost", 3),
        *slowly(("online", "ghost", 2), ("lookahead", "forward", 3)),
    ],
)
def test_gradients_that_an_iteration_sends(ranks: Ranks, schedule: str, engine: str, copies: int) -> None:
    """Those of the real step, of the meta loss, and with ``lookahead`` of the virtual step."""
    for sent in ranks.run(2, runs.bytes_sent, runs.Case(engine=engine, schedule=schedule)):
        assert all(copies <= summed < copies * 1.05 and gathered == 0 for summed, gathered in sent)


@pytest.mark.parametrize(("engine", "schedule"), covering(["ghost", "difference"], ["online", "lookahead"]))
def test_what_shards_send(ranks: Ranks, engine: str, schedule: str) -> None:
    """Parameters for each pass and each backward, and the direction of ``ghost``; gradients as above."""
    cost = COSTS[f"{engine}, {schedule}"]
    sums, gathers = cost.sums, cost.gathers + cost.exact
    case = runs.Case(engine=engine, schedule=schedule, sharded=True)
    for sent in ranks.run(2, runs.bytes_sent, case):
        for summed, gathered in sent[2:]:
            assert sums <= summed < sums * 1.1
            # what belongs to no part but the whole stays gathered between a pass and its backward
            assert gathers - 0.6 < gathered < gathers * 1.1


def test_a_batch_is_parted_in_order_and_no_part_is_empty() -> None:
    batch = runs.batch(3, 1)
    parts = [batch.part(rank, 5) for rank in range(5)]
    assert [one.stands_in for one in parts] == [False, False, False, True, True]
    assert torch.equal(torch.cat([one.index for one in parts if not one.stands_in]), batch.index)
    assert torch.equal(parts[4].args[0], batch.args[0][:1])


def test_gradients_travel_while_the_backward_goes_on(ranks: Ranks) -> None:
    for events in ranks.run(2, runs.overlap):
        assert events.index("first layer") >= 2
        assert events.count("sum") > 2
