"""Noise that depends on the sample: a cluster of each class, a random scorer, or a region of all classes."""

from __future__ import annotations

import torch
from torch import Tensor

from metaweight.data.noise import Clean, noises, uniform_draws

OF_INPUTS = ("cluster", "instance", "region")
"""Kinds of noise that look at the samples."""
CLUSTERS = 3
REGION = 1 / 3
"""Share of the samples that the region holds."""
CHUNK = 4096
"""Samples that are looked at at a time: bounds the float copy of large sets."""


@noises.register("cluster")
def cluster_noise(clean: Clean) -> tuple[Tensor, float]:
    """In each class one of three clusters gets the next class's label with probability ``rate``.

    The cluster is drawn at random; all other samples stay clean, so the nominal rate is rate / 3 and the
    realised one rate times the share of the chosen clusters (0.8 gives about 27 % on ``digits``).
    A class of fewer than three samples has as many clusters.
    """
    inputs, labels = _inputs(clean), clean.labels
    hits = clean.hits()
    given = labels.clone()
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().flatten()
        clusters = min(CLUSTERS, len(members))
        cluster = kmeans(_points(inputs[members.to(inputs.device)]), clusters, generator=clean.generator)
        target_cluster = int(uniform_draws(1, clean.generator) * clusters)
        turned = members[(cluster.to(members.device) == target_cluster) & hits[members]]
        given[turned] = (label + 1) % clean.classes
    return given, clean.rate / CLUSTERS


@noises.register("instance")
def instance_noise(clean: Clean) -> tuple[Tensor, float]:
    """With probability ``rate`` a sample gets the wrong label that a random linear scorer likes best.

    The scorer has one standard normal weight for each number of an input and class; scores are centred over
    the samples, or else the mean sample alone would decide.  Every sample has the same rate; in Xia et al.
    (NeurIPS 2020) it varies, the scorer has a part for each class, and the label is drawn by softmax.
    """
    inputs, labels = _inputs(clean), clean.labels
    device = clean.generator.device
    size = (inputs[0].numel(), clean.classes)
    scorer = torch.randn(size, generator=clean.generator, device=device).to(inputs.device)
    # a difference of scores is all that counts: centring them equals centring the inputs
    scores = torch.cat([(points := _points(chunk)) @ scorer.to(points) for chunk in inputs.split(CHUNK)])
    scores = scores.to(labels.device)
    scores = scores - scores.mean(dim=0)
    wrong = scores.scatter(1, labels.unsqueeze(1), -torch.inf).argmax(dim=1)
    return torch.where(clean.hits(), wrong, labels), clean.rate


@noises.register("region")
def region_noise(clean: Clean) -> tuple[Tensor, float]:
    """In one region of the input space, whatever the class, labels become another with probability ``rate``.

    The region is a third of the samples: those nearest to a random one by Euclidean distance.  The other
    label is any, each as likely; all other samples stay clean, so the nominal rate is rate / 3, rounded to
    whole samples.
    """
    inputs, labels = _inputs(clean), clean.labels
    hits = clean.hits()
    centre = int(uniform_draws(1, clean.generator) * len(labels))
    middle = _points(inputs[centre : centre + 1])
    apart = torch.cat([(_points(chunk) - middle).square().sum(dim=1) for chunk in inputs.split(CHUNK)])
    size = max(1, round(REGION * len(labels)))
    inside = torch.zeros_like(hits)
    inside[apart.argsort(stable=True)[:size].to(hits.device)] = True
    steps = 1 + (uniform_draws(len(labels), clean.generator) * (clean.classes - 1)).long().to(labels.device)
    given = torch.where(inside & hits, (labels + steps) % clean.classes, labels)
    return given, clean.rate * size / len(labels)


def _inputs(clean: Clean) -> Tensor:
    if clean.inputs is None:
        raise ValueError("this noise looks at the samples: give corrupt(..., inputs=[N, ...])")
    return clean.inputs


def _points(inputs: Tensor) -> Tensor:
    """[n, ...] of any type -> [n, d]; bytes become floats of the default type."""
    points = inputs.flatten(1)
    return points if points.is_floating_point() else points.to(torch.get_default_dtype())


def kmeans(points: Tensor, clusters: int, *, generator: torch.Generator) -> Tensor:
    """The cluster of each point: [n, d] -> [n] int64 in 0..clusters-1; n >= clusters.

    scikit-learn's k-means from one k-means++ start.
    """
    from sklearn.cluster import KMeans

    seed = int(uniform_draws(1, generator) * 2**31)
    model = KMeans(clusters, n_init=1, random_state=seed).fit(points.double().cpu().numpy())
    return torch.from_numpy(model.labels_.astype("int64"))
