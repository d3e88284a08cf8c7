from __future__ import annotations

import pytest
import torch

from metaweight.data import Splits, check_disjoint, check_meta, make_splits
from metaweight.data.splits import draw_per_class

LABELS = torch.randint(7, (2000,), generator=torch.Generator().manual_seed(9))


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def split(labels: torch.Tensor = LABELS, **changed: object) -> Splits:
    options = {"meta_size": 70, "valid_size": 200, "train_size": None, "classes": 7, "generator": g()}
    return make_splits(labels, **{**options, **changed})


def test_the_sets_are_disjoint_sorted_and_use_every_sample():
    parts = split()
    together = torch.cat([parts.train, parts.meta, parts.valid])
    assert sorted(together.tolist()) == list(range(2000))
    assert [len(parts.train), len(parts.meta), len(parts.valid)] == [1730, 70, 200]
    for part in (parts.train, parts.meta, parts.valid):
        assert part.tolist() == sorted(part.tolist())


@pytest.mark.parametrize("meta_size", [70, 73, 76, 5])
def test_the_meta_set_is_balanced_to_within_one(meta_size):
    counts = torch.bincount(LABELS[split(meta_size=meta_size).meta], minlength=7)
    assert counts.sum() == meta_size
    assert counts.max() - counts.min() == (1 if meta_size % 7 else 0)


def test_the_odd_samples_go_to_random_classes():
    favoured = {
        tuple(torch.bincount(LABELS[split(meta_size=71, generator=g(s)).meta], minlength=7).tolist())
        for s in range(30)
    }
    assert len(favoured) > 3


def test_a_train_size_takes_so_many_of_the_rest():
    parts, whole = split(train_size=300), split()
    assert len(parts.train) == 300
    assert set(parts.train.tolist()) <= set(whole.train.tolist())
    assert torch.equal(parts.meta, whole.meta)
    assert float(parts.train.double().mean()) == pytest.approx(1000, abs=5 * 2000 / (12 * 300) ** 0.5)


def test_a_split_is_a_function_of_the_generator():
    assert torch.equal(split().train, split().train)
    for name in ("train", "meta", "valid"):
        assert not torch.equal(getattr(split(), name), getattr(split(generator=g(1)), name))


def test_no_validation_set_is_a_choice():
    assert len(split(valid_size=0).valid) == 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"meta_size": 0}, "it is empty"),
        ({"meta_size": 1}, "all 1 are of class"),
        ({"meta_size": 1990, "valid_size": 0}, r"class \d has \d+ samples, asked for 28\d"),
        ({"valid_size": 1930}, "leave 0 to train, asked for all"),
        ({"valid_size": 3000}, "leave 0 to train"),
        ({"train_size": 1731}, "leave 1730 to train, asked for 1731"),
        ({"train_size": 0}, "asked for 0"),
        ({"train_size": -1}, "sizes are 0 or more"),
        ({"meta_size": -7}, "sizes are 0 or more"),
        ({"valid_size": -1}, "sizes are 0 or more"),
        ({"classes": 6}, "from 0 to 5"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, complaint):
    with pytest.raises(ValueError, match=complaint):
        split(**options)


def test_a_meta_set_of_one_class_is_refused():
    labels = torch.tensor([0, 1, 1, 1])
    with pytest.raises(ValueError, match="all 2 are of class 1"):
        check_meta(labels, torch.tensor([1, 3]))
    with pytest.raises(ValueError, match="it is empty"):
        check_meta(labels, torch.tensor([], dtype=torch.int64))
    check_meta(labels, torch.tensor([0, 3]))


def test_an_overlap_is_named_with_its_size_and_first_positions():
    check_disjoint(torch.tensor([1, 3]), torch.tensor([2, 4]))
    with pytest.raises(ValueError, match=r"training and meta set share 1 samples \(positions 3\)"):
        check_disjoint(torch.tensor([1, 3, 3]), torch.tensor([3, 4]))
    with pytest.raises(ValueError, match=r"share 9 samples \(positions 1, 2, 3, 4, 5, \.\.\.\)"):
        check_disjoint(torch.arange(10), torch.arange(1, 20))


@pytest.mark.parametrize("pair", [("train", "meta"), ("train", "valid"), ("meta", "valid")])
def test_splits_that_overlap_cannot_be_built(pair):
    parts = {"train": torch.tensor([0]), "meta": torch.tensor([1]), "valid": torch.tensor([2])}
    parts[pair[0]] = parts[pair[1]]
    with pytest.raises(ValueError, match="share 1 samples"):
        Splits(**parts)


def test_a_draw_per_class_has_its_counts_and_every_sample_the_same_chance():
    labels = torch.tensor([2, 0, 2, 0, 2, 0, 2, 1])
    chosen = torch.zeros(8)
    for seed in range(400):
        kept = draw_per_class(labels, torch.tensor([1, 0, 2]), generator=g(seed))
        assert torch.bincount(labels[kept], minlength=3).tolist() == [1, 0, 2]
        chosen[kept] += 1
    assert chosen[7] == 0
    assert (chosen[labels == 0] / 400 - 1 / 3).abs().max() < 0.12  # 5 standard errors
    assert (chosen[labels == 2] / 400 - 1 / 2).abs().max() < 0.125


def test_a_meta_set_that_is_not_balanced_has_the_shares_of_all_and_one_of_each_class():
    labels = torch.tensor([0] * 900 + [1] * 97 + [2] * 3)
    counts = torch.zeros(3)
    for seed in range(40):
        meta = make_splits(
            labels,
            meta_size=50,
            valid_size=10,
            classes=3,
            balanced=False,
            generator=torch.Generator().manual_seed(seed),
        ).meta
        own = torch.bincount(labels[meta], minlength=3)
        assert own.sum() == 50
        assert (own > 0).all()
        counts += own
    shares = counts / counts.sum()
    assert shares[:2].tolist() == pytest.approx([0.885, 0.095], abs=0.02)  # one of each 50 is class 2's
