from __future__ import annotations

import math

import pytest
import torch

from metaweight.data import corrupt, noises
from metaweight.data.noise import draw_labels, transition_matrix

N, C = 20_000, 5
LABELS = torch.arange(N) % C
DRAWN = ("uniform", "flip", "flip2", "asymmetric")


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def within(count: int, n: int, p: float) -> bool:
    """Whether a binomial count lies within 5 standard deviations (false alarm: 6e-7)."""
    return abs(count - n * p) <= 5 * math.sqrt(n * p * (1 - p)) + 1e-9


@pytest.mark.parametrize("rate", [0.0, 0.35, 1.0])
def test_uniform_has_its_transition_matrix_in_closed_form(rate):
    noisy = corrupt("uniform", LABELS, rate=rate, classes=C, generator=g())
    for clean in range(C):
        for given in range(C):
            expected = (1 - rate) * (clean == given) + rate / C
            count = int((noisy.labels[clean == LABELS] == given).sum())
            assert within(count, N // C, expected), (clean, given)
    assert within(round(noisy.realised * N), N, rate * (1 - 1 / C))
    assert noisy.nominal == rate


@pytest.mark.parametrize(("kind", "targets"), [("flip", 1), ("flip2", 2)])
def test_flips_go_in_equal_parts_to_so_many_other_classes(kind, targets):
    noisy = corrupt(kind, LABELS, rate=0.3, classes=C, generator=g(4))
    reached = set()
    for clean in range(C):
        counts = torch.bincount(noisy.labels[clean == LABELS], minlength=C)
        others = [k for k in range(C) if k != clean and counts[k] > 0]
        assert len(others) == targets
        assert all(within(int(counts[k]), N // C, 0.3 / targets) for k in others)
        reached |= {(k - clean) % C for k in others}
    assert len(reached) > targets  # the targets are random, not one fixed shift
    assert within(round(noisy.realised * N), N, 0.3)


def test_flip_targets_are_uniform_over_the_other_classes():
    counts = torch.zeros(3, 3)
    for seed in range(600):
        noisy = corrupt("flip", torch.arange(3), rate=1.0, classes=3, generator=g(seed))
        counts[torch.arange(3), noisy.labels] += 1
    assert counts.diagonal().tolist() == [0, 0, 0]
    assert all(within(int(counts[k, (k + 1) % 3]), 600, 0.5) for k in range(3))


def test_asymmetric_follows_the_class_map_and_leaves_other_classes_clean():
    noisy = corrupt("asymmetric", LABELS, rate=0.4, classes=C, class_map={0: 3, 4: 1}, generator=g())
    assert not noisy.flipped[(LABELS != 0) & (LABELS != 4)].any()
    for source, target in ((0, 3), (4, 1)):
        given = noisy.labels[source == LABELS]
        assert set(given.tolist()) == {source, target}
        assert within(int((given == target).sum()), N // C, 0.4)
    assert noisy.nominal == pytest.approx(0.4 * 2 / C, rel=1e-12)
    assert within(round(noisy.realised * N), N * 2 // C, 0.4)
    everywhere = corrupt("asymmetric", LABELS, rate=0.4, classes=C, generator=g())
    assert everywhere.nominal == 0.4


@pytest.mark.parametrize("class_map", [None, {}])
def test_asymmetric_without_a_map_goes_to_the_next_class(class_map):
    noisy = corrupt("asymmetric", LABELS, rate=1.0, classes=C, class_map=class_map, generator=g())
    assert torch.equal(noisy.labels, (LABELS + 1) % C)


def test_none_changes_nothing_whatever_the_rate():
    noisy = corrupt("none", LABELS, rate=0.4, classes=C, generator=g())
    assert torch.equal(noisy.labels, LABELS)
    assert noisy.labels is not LABELS
    assert (noisy.nominal, noisy.realised) == (0.0, 0.0)


def test_human_labels_are_taken_as_they_are():
    people = LABELS.clone()
    people[:1000] = (people[:1000] + 1) % C
    noisy = corrupt("human", LABELS, rate=0.9, classes=C, human=people, generator=g())
    assert torch.equal(noisy.labels, people)
    assert noisy.nominal == noisy.realised == 1000 / N
    assert torch.equal(noisy.flipped.nonzero().flatten(), torch.arange(1000))


@pytest.mark.parametrize("kind", DRAWN)
def test_noise_is_a_function_of_the_generator(kind):
    def labels(seed: int) -> torch.Tensor:
        return corrupt(kind, LABELS, rate=0.4, classes=C, generator=g(seed)).labels

    assert torch.equal(labels(1), labels(1))
    assert not torch.equal(labels(1), labels(2))


@pytest.mark.parametrize("kind", DRAWN)
def test_what_is_reported_agrees_with_the_labels(kind):
    noisy = corrupt(kind, LABELS, rate=0.4, classes=C, generator=g(3))
    wrong = [int(a != b) for a, b in zip(noisy.labels.tolist(), LABELS.tolist(), strict=True)]
    assert noisy.flipped.tolist() == [bool(w) for w in wrong]
    assert noisy.realised == sum(wrong) / N
    assert noisy.kind == kind
    assert noisy.labels.dtype == torch.int64


def test_samples_are_drawn_one_by_one():
    """Which of two neighbours is flipped is independent: the pairs have the product's counts."""
    flipped = corrupt("flip", LABELS, rate=0.5, classes=C, generator=g()).flipped.view(-1, 2)
    assert within(int(flipped.all(dim=1).sum()), N // 2, 0.25)


def test_transition_matrix_is_a_count_and_an_empty_class_stays_the_identity():
    clean, given = torch.tensor([0, 0, 0, 0, 2, 2]), torch.tensor([0, 0, 0, 2, 2, 1])
    matrix = transition_matrix(clean, given, 4)
    expected = [[0.75, 0, 0.25, 0], [0, 1, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]]
    assert matrix.tolist() == expected


def test_a_draw_never_takes_a_class_of_probability_zero(monkeypatch):
    """At the very ends of the unit interval too."""
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    monkeypatch.setattr("metaweight.data.noise.uniform_draws", lambda size, generator: ends)
    matrix = torch.tensor([[0, 0.3, 0.7, 0], [0.1, 0.2, 0.7, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).double()
    assert draw_labels(matrix, torch.tensor([0, 0]), g()).tolist() == [1, 2]
    assert draw_labels(matrix, torch.tensor([2, 2]), g()).tolist() == [2, 2]


@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan, math.inf])
@pytest.mark.parametrize("kind", ["none", "uniform"])
def test_a_rate_outside_0_to_1_is_refused(kind, rate):
    with pytest.raises(ValueError, match="between 0 and 1"):
        corrupt(kind, LABELS, rate=rate, classes=C, generator=g())


@pytest.mark.parametrize(
    ("labels", "classes", "complaint"),
    [
        (torch.tensor([0, 1, 5]), 5, "from 0 to 4, got 5 at position 2"),
        (torch.tensor([0, -1]), 5, "got -1 at position 1"),
        (torch.tensor([0.0, 1.0]), 2, "int64"),
        (torch.tensor([[0, 1]]), 2, "shape"),
        (torch.tensor([], dtype=torch.int64), 2, "N > 0"),
        (torch.tensor([0, 0]), 1, "at least 2 classes"),
    ],
)
def test_bad_labels_are_refused(labels, classes, complaint):
    with pytest.raises(ValueError, match=complaint):
        corrupt("uniform", labels, rate=0.4, classes=classes, generator=g())


@pytest.mark.parametrize("class_map", [{0: 0}, {0: 5}, {-1: 0}, {7: 0}])
def test_a_bad_class_map_is_refused(class_map):
    with pytest.raises(ValueError, match="class_map takes a class"):
        corrupt("asymmetric", LABELS, rate=0.4, classes=C, class_map=class_map, generator=g())


def test_what_a_kind_needs_and_did_not_get_is_named():
    with pytest.raises(ValueError, match="more than 2 classes"):
        corrupt("flip2", torch.tensor([0, 1]), rate=0.4, classes=2, generator=g())
    with pytest.raises(ValueError, match="labels that people gave"):
        corrupt("human", LABELS, rate=0.4, classes=C, generator=g())
    with pytest.raises(ValueError, match=f"{N} labels but 3 human labels"):
        corrupt("human", LABELS, rate=0.4, classes=C, human=LABELS[:3], generator=g())
    with pytest.raises(ValueError, match="got 9 at position 0"):
        corrupt("human", LABELS, rate=0.4, classes=C, human=torch.full((N,), 9), generator=g())
    with pytest.raises(KeyError, match="Did you mean 'uniform'"):
        corrupt("unifrom", LABELS, rate=0.4, classes=C, generator=g())


def test_all_kinds_are_there():
    assert set(noises.names()) == {*DRAWN, "none", "human", "cluster", "instance", "region"}
