"""The order of suspects and what it finds, against hand counts and scikit-learn."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score, precision_score

from metaweight.data.origins import Origins
from metaweight.report.suspects import Overlap, Suspects, label_issues, overlap_at, precision_at
from metaweight.training.sample_weights import SampleWeights

SAMPLES = SampleWeights(
    index=torch.tensor([40, 10, 30, 20, 50]),
    weights=torch.tensor([[0.5, 2.0, 0.25, math.nan, math.nan], [0.5, 1.0, 0.75, 0.125, math.nan]]),
    loss=torch.zeros(2, 5),
    given=torch.tensor([0, 1, 2, 0, 1]),
    clean=torch.tensor([1, 1, 2, 2, 1]),
    flipped=torch.tensor([True, False, False, True, False]),
    probabilities=torch.eye(3)[[1, 1, 2, 2, 0]],
)


def written(samples: SampleWeights, *names: Any, **options: Any) -> str:
    """The list as a file."""
    file = io.BytesIO()
    Suspects(samples).write(file, *names, **options)
    return file.getvalue().decode()


def test_the_order_is_mean_weight_then_index_and_the_unseen_are_left_out() -> None:
    """Means by index: 10 1.5, 20 0.125, 30 0.5, 40 0.5; 50 was never seen."""
    found = Suspects(SAMPLES)
    assert SAMPLES.index[found.order].tolist() == [20, 30, 40, 10]
    assert [found.precision(k) for k in (1, 2, 3, 4)] == [1.0, 0.5, 2 / 3, 0.5]
    assert found.precision(5) is None
    assert found.places() == [2]


def test_csv_by_hand() -> None:
    """The valley lies between 0.5 and 1.5; of the three below it two are not what the student says."""
    losses = torch.tensor([[8.0, 1, 1, 0, 0], [3.0, 1, 2, 4, 0]])
    samples = dataclasses.replace(SAMPLES, loss=losses, probabilities=SAMPLES.probabilities * 0.75)
    rows = written(samples, ("cat", "=1+1", 'a "dog", wet')).splitlines()
    assert rows == [
        "file,row,name,index,given_label,suggested_label,share,mean_weight,loss,is_suspect",
        ',,,20,cat,"a ""dog"", wet",0.75,0.125,2,1',
        ",,,40,cat,=1+1,0.75,0.5,5.5,1",
        ',,,30,"a ""dog"", wet","a ""dog"", wet",0.75,0.5,1.5,0',
        ",,,10,=1+1,=1+1,0.75,1.5,1,0",
    ]
    assert written(samples).splitlines()[1] == ",,,20,0,2,0.75,0.125,2,1"


def test_the_warm_up_says_nothing_and_equal_weights_are_ordered_by_loss() -> None:
    weights = torch.tensor([[0.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.25, math.nan]])
    losses = torch.tensor([[9.0, 0.0, 0.0, 0.0], [1.0, 2.0, 0.0, math.nan]])
    samples = SampleWeights(torch.arange(4), weights, losses, warmup=1)
    assert Suspects(samples).order.tolist() == [2, 1, 0]
    assert Suspects(dataclasses.replace(samples, warmup=0)).order.tolist() == [0, 2, 1, 3]


def test_suspects_without_labels_are_those_of_two_groups_alone() -> None:
    two = torch.cat([torch.linspace(0, 0.1, 10), torch.linspace(0.9, 1, 40)])[None]
    samples = SampleWeights(torch.arange(50), two, two)
    assert Suspects(samples).is_suspect.nonzero().flatten().tolist() == list(range(10))
    flat = dataclasses.replace(samples, weights=torch.linspace(0, 1, 50)[None])
    assert not Suspects(flat).is_suspect.any()
    equal = dataclasses.replace(samples, weights=torch.ones(1, 50))
    assert not Suspects(equal).is_suspect.any()


def probed(shift: float) -> SampleWeights:
    """150 rows, a third of them wrong, and 60 probes; wrong ones weigh ``shift`` less."""
    draw = torch.Generator().manual_seed(0)
    wrong = torch.arange(210) % 3 == 0
    probe = torch.zeros(210, dtype=torch.int8)
    probe[150:] = 1 + wrong[150:].to(torch.int8)
    weights = (1 + 0.2 * torch.rand(210, generator=draw) - shift * wrong)[None]
    return SampleWeights(torch.arange(210), weights, 2 - weights, flipped=wrong, probe=probe)


def test_probes_give_the_cut_and_are_nobodys_suspects() -> None:
    found = Suspects(probed(0.5))
    assert found.belief is not None
    means = found.samples.mean_weight()
    assert torch.equal(found.is_suspect, means <= found.belief.cutoff)
    assert bool(found.is_suspect[found.samples.flipped].float().mean() > 0.7)
    assert sorted(found.columns()["index"]) == list(range(150))
    assert found.precision(20) == 1.0
    blind, turned = Suspects(probed(0.0)), Suspects(probed(-0.5))
    assert not blind.is_suspect.any()
    assert not turned.is_suspect.any()


def test_numbers_are_suggested_for_numbers() -> None:
    given = torch.tensor([1.5, 20.0, 0.1])
    weights = torch.tensor([[1.0, 0.2, 0.9]])
    samples = SampleWeights(torch.arange(3), weights, 1 - weights, given=given, said=given + 0.25)
    rows = written(samples, own={"file": ["a", "b", "c"], "city": ["Ulm", "", "Kiel"]}).splitlines()
    assert rows[0] == (
        "file,row,name,index,own_file,city,given_label,suggested_label,mean_weight,loss,is_suspect"
    )
    assert rows[1] == ",,,1,b,,20.0,20.25,0.2,0.8,1"
    assert Suspects(samples).columns()["given_label"] == [20.0, np.float32(0.1), 1.5]


def test_each_row_leads_with_where_its_owner_finds_it() -> None:
    origins = Origins.of_files([f"cats/{index}.png" for index in SAMPLES.index.tolist()])
    rows = list(csv.DictReader(io.StringIO(written(dataclasses.replace(SAMPLES, origins=origins)))))
    assert [row["file"] for row in rows] == [f"cats/{row['index']}.png" for row in rows]


def test_sentences_are_written_as_they_are() -> None:
    pairs = {index: (f"=cmd|' /C calc'!A{index}", 'say "hi",\nthen go') for index in (10, 20, 30, 40, 50)}
    own = {
        name: [pairs[index][side] for index in SAMPLES.index.tolist()]
        for side, name in enumerate(("source", "target"))
    }
    bare = dataclasses.replace(SAMPLES, probabilities=None, given=None)
    text = written(bare, own=own)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [int(row["index"]) for row in rows] == [20, 30, 40, 10]
    assert [(row["source"], row["target"]) for row in rows] == [pairs[int(row["index"])] for row in rows]


@pytest.mark.parametrize("k", [1, 10, 37, 50])
def test_precision_and_overlap_are_those_of_scikit_learn(k: int) -> None:
    draw = torch.Generator().manual_seed(k)
    flipped = torch.rand(50, generator=draw) < 0.4
    orders = [torch.randperm(50, generator=draw) for _ in range(2)]
    masks = [torch.zeros(50, dtype=torch.bool).index_fill(0, order[:k], True) for order in orders]
    expected = precision_score(flipped.numpy(), masks[0].numpy(), zero_division=0.0)
    assert precision_at(orders[0], flipped, k) == pytest.approx(expected, rel=1e-12)
    found = overlap_at(*orders, k)
    assert found is not None
    assert found.jaccard == pytest.approx(
        jaccard_score(*(m.numpy() for m in masks), zero_division=0.0), rel=1e-12
    )
    assert found.shared == int((masks[0] & masks[1]).sum()) / k


def test_overlap_wants_k_of_both() -> None:
    order = torch.arange(4)
    assert overlap_at(order, order.flip(0), 4) == Overlap(1.0, 1.0)
    assert overlap_at(order, order.flip(0), 2) == Overlap(0.0, 0.0)
    assert overlap_at(order, order[:3], 4) is None
    assert precision_at(order, None, 1) is None


def test_what_has_diverged_is_refused() -> None:
    with pytest.raises(ValueError, match="probabilities hold NaN"):
        Suspects(dataclasses.replace(SAMPLES, probabilities=torch.full((5, 3), math.nan)))
    with pytest.raises(ValueError, match="no sample has a weight"):
        Suspects(dataclasses.replace(SAMPLES, weights=torch.full((2, 5), math.nan)))


@pytest.mark.filterwarnings("ignore")  # cleanlab's own imports
def test_cleanlab_finds_the_planted_issues() -> None:
    pytest.importorskip("cleanlab")
    clean = torch.arange(60) % 3
    given = clean.clone()
    given[[7, 20, 33]] = (clean[[7, 20, 33]] + 1) % 3
    sure = torch.full((60, 3), 0.05)
    sure[torch.arange(60), clean] = 0.9
    samples = SampleWeights(
        torch.arange(60), torch.ones(1, 60), torch.ones(1, 60), given, clean, given != clean, sure
    )
    assert set(label_issues(samples).tolist()) == {7, 20, 33}
    with pytest.raises(ValueError, match="cleanlab needs given labels"):
        label_issues(dataclasses.replace(samples, probabilities=None))


class Counted(io.BytesIO):
    """A file that keeps nothing but its size."""

    size = 0

    def write(self, content: Any) -> int:
        self.size += len(content)
        return len(content)


@pytest.mark.slow
def test_a_list_of_many_takes_no_memory_of_their_text() -> None:
    """By row it took 132 MB, all cells as Python's own; now columns of numbers, and a block of cells."""
    n, epochs = 150_000, 6
    weights = torch.rand(epochs, n)
    samples = SampleWeights(
        torch.arange(n),
        weights,
        1 - weights,
        given=torch.arange(n) % 3,
        probabilities=torch.rand(n, 3),
        origins=Origins.of("a.csv", range(1, n + 1)),
    )
    file = Counted()
    tracemalloc.start()
    try:
        found = Suspects(samples)
        found.write(file, ("cat", "dog", "hen"), {"note": ["a, b"] * n})
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert file.size > 50 * n
    assert peak < 60e6
    assert found.kept.weights.shape == (1, n)
