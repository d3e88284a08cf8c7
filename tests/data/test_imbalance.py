from __future__ import annotations

import pytest
import torch

from metaweight.data import long_tail, step_imbalance

LABELS = (torch.arange(50_000) * 7) % 10


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def counts(cut, labels: torch.Tensor, factor: float, classes: int) -> list[int]:
    kept = cut(labels, factor, classes, generator=g())
    assert torch.equal(kept, kept.unique())  # sorted, each once
    return torch.bincount(labels[kept], minlength=classes).tolist()


@pytest.mark.parametrize(
    ("factor", "expected"),
    [  # the published class counts of CIFAR-10-LT
        (100, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        (10, [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]),
        (1, [5000] * 10),
    ],
)
def test_long_tail_has_the_published_counts(factor, expected):
    assert counts(long_tail, LABELS, factor, 10) == expected


def test_a_whole_number_is_not_rounded_down_by_its_last_bit():
    """32^(-k/10) is 1/4 at k = 4, which floating point misses from below."""
    assert counts(long_tail, torch.arange(11_000) % 11, 32, 11)[4] == 250


def test_step_keeps_the_first_half_and_cuts_the_last():
    assert counts(step_imbalance, LABELS, 20, 10) == [5000] * 5 + [250] * 5
    assert counts(step_imbalance, torch.arange(300) % 3, 10, 3) == [100, 100, 10]


@pytest.mark.parametrize("cut", [long_tail, step_imbalance])
def test_the_ratio_holds_where_the_classes_are_not_equal(cut):
    labels = torch.cat([torch.full((n,), k) for k, n in enumerate((90, 100, 40, 9))])
    kept = counts(cut, labels, 10, 4)
    assert kept[0] == 90
    assert kept[-1] == 9
    scarce = torch.cat([torch.full((n,), k) for k, n in enumerate((90, 100, 40, 5))])
    kept = counts(cut, scarce, 10, 4)  # the last class decides
    assert (kept[0], kept[-1]) == (50, 5)


def test_long_tail_takes_no_more_than_the_scarcest_class_in_the_middle_allows():
    labels = torch.cat([torch.full((n,), k) for k, n in enumerate((1000, 20, 1000))])
    assert counts(long_tail, labels, 4, 3) == [40, 20, 10]


@pytest.mark.parametrize("cut", [long_tail, step_imbalance])
def test_the_kept_samples_are_random_within_a_class(cut):
    one, other = (cut(LABELS, 50, 10, generator=g(seed)) for seed in (0, 1))
    assert torch.equal(one, cut(LABELS, 50, 10, generator=g(0)))
    assert not torch.equal(one, other)
    last = one[LABELS[one] == 9]
    assert len(last) == 100
    assert abs(float(last.double().mean()) / 50_000 - 0.5) < 5 * 12**-0.5 / 10  # spread over the whole set


@pytest.mark.parametrize("cut", [long_tail, step_imbalance])
@pytest.mark.parametrize(
    ("labels", "factor", "classes", "complaint"),
    [
        (LABELS, 0.5, 10, ">= 1, got 0.5"),
        (LABELS, float("nan"), 10, ">= 1, got nan"),
        (LABELS, 2, 1, "at least 2 classes"),
        (LABELS, 2, 9, "from 0 to 8"),
        (torch.arange(30) % 3, 11, 3, "class 2 has 10 samples and would keep none"),
        (torch.zeros(5, dtype=torch.int64), 2, 2, "samples of at least 2 classes, got those of \\[0\\]"),
    ],
)
def test_what_cannot_be_cut_is_refused(cut, labels, factor, classes, complaint):
    with pytest.raises(ValueError, match=complaint):
        cut(labels, factor, classes, generator=g())
