"""Noise that depends on the image: a cluster of each class, or a random scorer."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.data.noise import Clean, noises, uniform_draws

CLUSTERS = 3
CHUNK = 4096
"""Images that are scored at a time: bounds the float copy of large sets."""


@noises.register("cluster")
def cluster_noise(clean: Clean) -> tuple[Tensor, float]:
    """In each class one of three pixel clusters gets the next class's label with probability ``rate``.

    The cluster is drawn at random; all other samples stay clean, so the nominal rate is rate / 3 and the
    realised one rate times the share of the chosen clusters (0.8 gives about 27 % on ``digits``).
    A class of fewer than three samples has as many clusters.
    """
    images, labels = _images(clean), clean.labels
    hits = clean.hits()
    given = labels.clone()
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        clusters = min(CLUSTERS, len(members))
        cluster = kmeans(_points(images[members.to(images.device)]), clusters, generator=clean.generator)
        target_cluster = int(uniform_draws(1, clean.generator) * clusters)
        turned = members[(cluster.to(members.device) == target_cluster) & hits[members]]
        given[turned] = (label + 1) % clean.classes
    return given, clean.rate / CLUSTERS


@noises.register("instance")
def instance_noise(clean: Clean) -> tuple[Tensor, float]:
    """With probability ``rate`` a sample gets the wrong label that a random linear scorer likes best.

    The scorer has one standard normal weight for each pixel and class; scores are centred over the
    images, or else the mean image alone would decide.  Every image has the same rate; in Xia et al.
    (NeurIPS 2020) it varies, the scorer has a part for each class, and the label is drawn by softmax.
    """
    images, labels = _images(clean), clean.labels
    device = clean.generator.device
    size = (images[0].numel(), clean.classes)
    scorer = torch.randn(size, generator=clean.generator, device=device).to(images.device)
    # a difference of scores is all that counts: centring them equals centring the images
    scores = torch.cat([_points(chunk) @ scorer for chunk in images.split(CHUNK)]).to(labels.device)
    scores = scores - scores.mean(dim=0)
    wrong = scores.scatter(1, labels.unsqueeze(1), -torch.inf).argmax(dim=1)
    return torch.where(clean.hits(), wrong, labels), clean.rate


def _images(clean: Clean) -> Tensor:
    if clean.images is None:
        raise ValueError("this noise looks at the images: give corrupt(..., images=[N, ...])")
    return clean.images


def _points(images: Tensor) -> Tensor:
    """[n, ...] of any type -> [n, d]; bytes become floats of the default type."""
    points = images.flatten(1)
    return points if points.is_floating_point() else points.to(torch.get_default_dtype())


def kmeans(points: Tensor, clusters: int, *, generator: torch.Generator) -> Tensor:
    """The cluster of each point: [n, d] -> [n] int64 in 0..clusters-1; n >= clusters.

    scikit-learn's k-means from one k-means++ start.
    """
    from sklearn.cluster import KMeans

    seed = int(uniform_draws(1, generator) * 2**31)
    model = KMeans(clusters, n_init=1, random_state=seed).fit(points.double().cpu().numpy())
    return torch.from_numpy(model.labels_.astype("int64"))
