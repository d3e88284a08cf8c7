from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from metaweight.data import corrupt, load_images
from metaweight.data.structured import OF_INPUTS, kmeans


def g(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def test_kmeans_ends_in_a_fixed_point(digits):
    points = digits.train_images[:300].flatten(1).double()
    cluster = kmeans(points, 4, generator=g())
    means = torch.stack([points[cluster == k].mean(0) for k in range(4)])
    assert torch.equal(torch.cdist(points, means).argmin(1), cluster)


def test_kmeans_finds_blobs_that_lie_apart():
    blobs = torch.arange(30) % 3
    points = 100 * torch.eye(3)[blobs] + torch.randn(30, 3, generator=g())
    cluster = kmeans(points, 3, generator=g(1))
    assert len({*zip(blobs.tolist(), cluster.tolist(), strict=True)}) == 3
    assert set(cluster.tolist()) == {0, 1, 2}


def test_cluster_noise_turns_one_cluster_of_each_class_to_the_next_class(digits):
    """The same draws, with scikit-learn's k-means and a loop over the samples."""
    images, labels = digits.train_images, digits.train_labels
    noisy = corrupt("cluster", labels, rate=0.8, classes=10, inputs=images, generator=g(5))
    draws = g(5)
    coins = torch.rand(len(labels), generator=draws, dtype=torch.float64).tolist()
    expected = labels.tolist()
    for label in range(10):
        members = [i for i, given in enumerate(labels.tolist()) if given == label]
        seed = int(torch.rand(1, generator=draws, dtype=torch.float64) * 2**31)
        points = images[members].flatten(1).double().numpy()
        cluster = KMeans(3, n_init=1, random_state=seed).fit(points).labels_
        chosen = int(3 * torch.rand(1, generator=draws, dtype=torch.float64))
        for i, cell in zip(members, cluster, strict=True):
            if cell == chosen and coins[i] < 0.8:
                expected[i] = (label + 1) % 10
    assert noisy.labels.tolist() == expected
    assert noisy.nominal == pytest.approx(0.8 / 3)


def test_cluster_noise_of_rate_08_flips_about_27_percent_of_digits(digits):
    realised = [
        corrupt(
            "cluster", digits.train_labels, rate=0.8, classes=10, inputs=digits.train_images, generator=g(s)
        ).realised
        for s in range(12)
    ]
    assert abs(sum(realised) / 12 - 0.8 / 3) < 0.025
    assert len(set(realised)) > 6


def test_cluster_rate_is_the_probability_inside_the_chosen_cluster(digits):
    images, labels = digits.train_images, digits.train_labels

    def flipped(rate: float) -> torch.Tensor:
        return corrupt("cluster", labels, rate=rate, classes=10, inputs=images, generator=g(2)).flipped

    cell, some = flipped(1.0), flipped(0.7)  # the same draws choose the same cells
    assert not (some & ~cell).any()
    n = int(cell.sum())
    assert abs(int(some.sum()) - 0.7 * n) < 5 * (n * 0.7 * 0.3) ** 0.5


def test_cluster_noise_takes_classes_of_one_and_of_no_sample():
    images = torch.randint(256, (4, 1, 2, 2), generator=g(), dtype=torch.uint8)
    labels = torch.tensor([0, 0, 0, 3])
    noisy = corrupt("cluster", labels, rate=1.0, classes=4, inputs=images, generator=g())
    assert noisy.labels[3] == 0  # a class of one is one cluster


def test_instance_noise_gives_the_wrong_label_that_the_scorer_likes_best(digits):
    images, labels = digits.train_images, digits.train_labels
    noisy = corrupt("instance", labels, rate=1.0, classes=10, inputs=images, generator=g(7))
    assert noisy.flipped.all()
    scorer = torch.randn(64, 10, generator=g(7)).double()
    points = images.flatten(1).double()
    for position, (point, label) in enumerate(zip(points - points.mean(0), labels.tolist(), strict=True)):
        ranked = (point @ scorer).argsort(descending=True).tolist()
        ranked.remove(label)
        assert int(noisy.labels[position]) == ranked[0]
    assert (
        noisy.transition.gt(0.02).sum(1).min() >= 3
    )  # the label depends on the image, not on the class alone


def test_instance_noise_flips_its_share_of_samples(digits):
    images, labels = digits.train_images, digits.train_labels
    noisy = corrupt("instance", labels, rate=0.4, classes=10, inputs=images, generator=g())
    sure = corrupt("instance", labels, rate=1.0, classes=10, inputs=images, generator=g())
    n = len(labels)
    assert abs(noisy.realised - 0.4) < 5 * (0.24 / n) ** 0.5
    assert noisy.nominal == 0.4
    assert torch.equal(noisy.labels[noisy.flipped], sure.labels[noisy.flipped])


def test_instance_scores_do_not_depend_on_the_chunk(digits, monkeypatch):
    def labels() -> torch.Tensor:
        return corrupt(
            "instance",
            digits.train_labels,
            rate=0.4,
            classes=10,
            inputs=digits.train_images.double(),
            generator=g(),
        ).labels

    monkeypatch.setattr("metaweight.data.structured._points", lambda x: x.flatten(1).float())
    whole = labels()
    monkeypatch.setattr("metaweight.data.structured.CHUNK", 100)
    assert torch.equal(labels(), whole)


def test_region_noise_gives_other_labels_to_the_third_of_the_samples_about_a_random_one(digits):
    """The same draws, with numpy's distances and a loop over the samples."""
    images, labels = digits.train_images, digits.train_labels
    noisy = corrupt("region", labels, rate=0.7, classes=10, inputs=images, generator=g(3))
    draws = g(3)
    coins, centre, others = (
        torch.rand(size, generator=draws, dtype=torch.float64).numpy()
        for size in (len(labels), 1, len(labels))
    )
    points = images.flatten(1).numpy().astype(np.int64)  # distances between bytes are whole numbers
    apart = ((points - points[int(centre[0] * len(labels))]) ** 2).sum(axis=1)
    nearest = sorted(range(len(labels)), key=lambda i: (apart[i], i))[: round(len(labels) / 3)]
    expected = labels.tolist()
    for i in nearest:
        if coins[i] < 0.7:
            rest = [(expected[i] + step) % 10 for step in range(1, 10)]
            expected[i] = rest[int(9 * others[i])]
    assert noisy.labels.tolist() == expected
    assert noisy.nominal == pytest.approx(0.7 / 3, abs=1e-3)
    assert len(set(labels[noisy.flipped].tolist())) >= 3  # whatever the class


def test_region_noise_of_one_sample_is_about_itself():
    noisy = corrupt(
        "region",
        torch.zeros(1, dtype=torch.int64),
        rate=1.0,
        classes=3,
        inputs=torch.ones(1, 2),
        generator=g(),
    )
    assert noisy.flipped.all()
    assert noisy.nominal == 1.0


@pytest.mark.parametrize("kind", OF_INPUTS)
def test_noise_that_looks_at_samples_needs_them(kind, digits):
    with pytest.raises(ValueError, match="looks at the samples"):
        corrupt(kind, digits.train_labels, rate=0.4, classes=10, generator=g())
    with pytest.raises(ValueError, match="but 7 inputs"):
        corrupt(
            kind, digits.train_labels, rate=0.4, classes=10, inputs=digits.train_images[:7], generator=g()
        )


@pytest.mark.parametrize("kind", OF_INPUTS)
def test_noise_is_a_function_of_the_generator(kind, digits):
    def labels(seed: int) -> torch.Tensor:
        clean = digits.train_labels
        return corrupt(
            kind, clean, rate=0.5, classes=10, inputs=digits.train_images, generator=g(seed)
        ).labels

    assert torch.equal(labels(1), labels(1))
    assert not torch.equal(labels(1), labels(2))
