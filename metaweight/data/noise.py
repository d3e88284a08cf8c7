"""Label noise: what a corruption is, its registry, and the kinds that a transition matrix describes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from metaweight.core.registry import Registry
from metaweight.student.losses import check_labels


@dataclass(frozen=True, eq=False)
class Clean:
    """Right labels, and all that a kind of noise may look at; N samples, C classes."""

    labels: Tensor
    """[N] int64."""
    rate: float
    """Nominal rate, 0 to 1."""
    classes: int
    """C, at least 2."""
    generator: torch.Generator
    inputs: Tensor | None = None
    """[N, ...], the samples as noise that looks at them sees them."""
    human: Tensor | None = None
    """[N] int64."""
    class_map: Mapping[int, int] | None = None
    """Class -> another class."""

    def hits(self, rate: float | None = None) -> Tensor:
        """A coin for each sample: [N] bool, True with probability ``rate`` (default: the nominal one)."""
        rate = self.rate if rate is None else rate
        return uniform_draws(len(self.labels), self.generator).to(self.labels.device) < rate


Noise = Callable[[Clean], tuple[Tensor, float]]
"""Given labels [N] int64 and the nominal rate."""
noises: Registry[Noise] = Registry("noise")


@dataclass(frozen=True, eq=False)
class Noisy:
    """Labels as given, wrong ones among them."""

    labels: Tensor
    """[N] int64."""
    flipped: Tensor
    """[N] bool: the given label is not the clean one."""
    kind: str
    nominal: float
    """What was asked for; see each kind for what it means."""
    realised: float
    """Share of flipped samples."""
    transition: Tensor
    """[C, C] float64, measured: row k is the distribution of given labels in class k; a class without
    samples has its row of the identity."""


def corrupt(
    kind: str,
    labels: Tensor,
    *,
    rate: float,
    classes: int,
    inputs: Tensor | None = None,
    human: Tensor | None = None,
    class_map: Mapping[int, int] | None = None,
    generator: torch.Generator,
) -> Noisy:
    """Give some of the clean ``labels`` [N] a wrong value, by the noise ``kind`` (``noises.names()``).

    ``rate`` in 0..1 is the nominal rate (``none`` and ``human`` do not use it); ``inputs`` [N, ...], images
    or other points, are needed by ``cluster``, ``instance`` and ``region``, ``human`` [N] by ``human``;
    ``class_map`` goes to ``asymmetric``.
    Raises KeyError for an unknown kind, ValueError for a rate, label, map or length out of range.
    """
    noise = noises[kind]
    _check(labels, classes, rate)
    for what, value in (("inputs", inputs), ("human labels", human)):
        if value is not None and len(value) != len(labels):
            raise ValueError(f"there are {len(labels)} labels but {len(value)} {what}; give one for each")
    clean = Clean(labels, rate, classes, generator, inputs, human, class_map)
    given, nominal = noise(clean)
    check_labels(given, classes)
    flipped = given != labels
    return Noisy(
        labels=given,
        flipped=flipped,
        kind=kind,
        nominal=nominal,
        realised=int(flipped.sum()) / len(labels),
        transition=transition_matrix(labels, given, classes),
    )


def check_rate(rate: float) -> None:
    """Raise ValueError for a rate of noise outside [0, 1]."""
    if not (math.isfinite(rate) and 0 <= rate <= 1):
        raise ValueError(f"a noise rate lies between 0 and 1, got {rate}")


def _check(labels: Tensor, classes: int, rate: float) -> None:
    check_rate(rate)
    if classes < 2:
        raise ValueError(f"label noise needs at least 2 classes, got {classes}")
    if labels.dim() != 1 or labels.dtype != torch.int64 or len(labels) == 0:
        got = f"{labels.dtype} of shape {tuple(labels.shape)}"
        raise ValueError(f"labels are int64 of shape [N] with N > 0, got {got}")
    check_labels(labels, classes)


def transition_matrix(clean: Tensor, given: Tensor, classes: int) -> Tensor:
    """Measured distribution of the given label by clean class: [C, C] float64, rows sum to 1."""
    counts = torch.bincount(clean * classes + given, minlength=classes**2).view(classes, classes).double()
    total = counts.sum(dim=1, keepdim=True)
    return torch.where(total > 0, counts / total, torch.eye(classes).to(counts))


def draw_labels(matrix: Tensor, labels: Tensor, generator: torch.Generator) -> Tensor:
    """One categorical draw for each label from its row of ``matrix`` [C, C]: [N] -> [N] int64."""
    cumulative = matrix.cumsum(dim=1)
    cumulative = (cumulative / cumulative[:, -1:]).to(labels.device)
    draws = uniform_draws(len(labels), generator).to(labels.device)
    return (draws.unsqueeze(1) >= cumulative[labels]).sum(dim=1)


def uniform_draws(size: int, generator: torch.Generator) -> Tensor:
    """[size] float64 in [0, 1), on the generator's device."""
    return torch.rand(size, generator=generator, device=generator.device, dtype=torch.float64)


def by_matrix(matrix: Callable[[Clean], Tensor]) -> Noise:
    """The noise that draws every label from a transition matrix [C, C] float64."""

    def noise(clean: Clean) -> tuple[Tensor, float]:
        return draw_labels(matrix(clean), clean.labels, clean.generator), clean.rate

    return noise


def uniform_matrix(clean: Clean) -> Tensor:
    """T = (1 - p) I + p / C, so a label is wrong with probability p (1 - 1/C)."""
    c, p = clean.classes, clean.rate
    return (1 - p) * torch.eye(c, dtype=torch.float64) + p / c


def _flip_matrix(clean: Clean, targets: int) -> Tensor:
    """Each class goes to ``targets`` other classes, drawn once per class, with p / targets each."""
    c, p = clean.classes, clean.rate
    if c <= targets:
        raise ValueError(f"a flip to {targets} other classes needs more than {targets} classes, got {c}")
    device = clean.generator.device
    steps = [torch.randperm(c - 1, generator=clean.generator, device=device)[:targets] + 1 for _ in range(c)]
    others = (torch.arange(c).unsqueeze(1) + torch.stack(steps).cpu()) % c
    matrix = (1 - p) * torch.eye(c, dtype=torch.float64)
    return matrix.scatter_(1, others, p / targets)


def flip_matrix(clean: Clean) -> Tensor:
    """With probability p to one other class, drawn once for each class."""
    return _flip_matrix(clean, 1)


def flip2_matrix(clean: Clean) -> Tensor:
    """With probability p / 2 to each of two other classes, drawn once for each class (MW-Net)."""
    return _flip_matrix(clean, 2)


def asymmetric_matrix(clean: Clean) -> Tensor:
    """With probability p to the class that ``class_map`` names; None or empty: to the next, k + 1 mod C.

    Classes that the map leaves out stay clean.
    """
    c, p = clean.classes, clean.rate
    class_map = clean.class_map or {k: (k + 1) % c for k in range(c)}
    probability = torch.eye(c, dtype=torch.float64)
    for source, target in class_map.items():
        if not (0 <= source < c and 0 <= target < c) or source == target:
            raise ValueError(
                f"class_map takes a class of 0..{c - 1} to another one, got {source} -> {target}"
            )
        probability[source, source], probability[source, target] = 1 - p, p
    return probability


@noises.register("asymmetric")
def asymmetric_noise(clean: Clean) -> tuple[Tensor, float]:
    """Labels drawn from ``asymmetric_matrix``; the nominal rate is p times the share of mapped samples."""
    matrix = asymmetric_matrix(clean)
    mapped = (matrix.diagonal() < 1).to(clean.labels.device)[clean.labels]
    nominal = clean.rate * float(mapped.double().mean())
    return draw_labels(matrix, clean.labels, clean.generator), nominal


@noises.register("none")
def no_noise(clean: Clean) -> tuple[Tensor, float]:
    """The clean labels; nominal rate 0."""
    return clean.labels.clone(), 0.0


noises.add("uniform", by_matrix(uniform_matrix))
noises.add("flip", by_matrix(flip_matrix))
noises.add("flip2", by_matrix(flip2_matrix))


@noises.register("human")
def human_noise(clean: Clean) -> tuple[Tensor, float]:
    """Labels that people gave; nothing is drawn, the nominal rate is the realised one."""
    if clean.human is None:
        raise ValueError("noise 'human' takes the labels that people gave: human=images.human['worse']")
    given = clean.human.to(clean.labels).clone()
    return given, int((given != clean.labels).sum()) / len(given)
