"""What is said of trusted samples, by their places in the meta set: against a dict."""

from __future__ import annotations

import torch

from metaweight.teachers.trusted_means import TrustedMeans


def test_means_are_those_of_a_dict():
    """Batches of a few of 9 samples, room for all: plain means of the first visits, then exponential ones."""
    means, known = TrustedMeans(2, capacity=12, decay=0.75), dict[int, tuple[torch.Tensor, int]]()
    generator = torch.Generator().manual_seed(0)
    for _ in range(30):
        index = torch.randperm(9, generator=generator)[:4]
        values = torch.randn(4, 2, generator=generator)
        means.put(index, values)
        for place, value in zip(index.tolist(), values, strict=True):
            old, visits = known.get(place, (torch.zeros(2), 0))
            known[place] = (old + max(1 / (visits + 1), 0.25) * (value - old), visits + 1)
    places = torch.arange(11)
    found, visits = means.of(places)
    for place in range(9):
        torch.testing.assert_close(found[place], known[place][0])
        assert visits[place] == known[place][1]
    assert found[9:].tolist() == [[0.0, 0.0]] * 2
    assert visits[9:].tolist() == [0.0, 0.0]


def test_the_oldest_leave_and_nobody_is_held_twice():
    means = TrustedMeans(1, capacity=4, decay=0.5)
    for index in ([0, 1], [2, 3], [0, 4]):
        means.put(torch.tensor(index), torch.tensor(index)[:, None].float())
    assert means.index.tolist() == [0, 4, 2, 3]
    _, visits = means.of(torch.tensor([0, 1, 2, 3, 4]))
    assert visits.tolist() == [2.0, 0.0, 1.0, 1.0, 1.0]
    means.put(torch.tensor([9, 8, 7, 6, 5]), torch.zeros(5, 1))  # more than there is room for
    assert means.index.tolist() == [9, 8, 7, 6]


def test_a_batch_that_has_a_sample_twice_has_its_mean():
    means = TrustedMeans(1, capacity=4, decay=0.5)
    means.put(torch.tensor([3, 3]), torch.tensor([[1.0], [2.0]]))
    found, visits = means.of(torch.tensor([3]))
    assert (found.item(), visits.item()) == (1.5, 1.0)
