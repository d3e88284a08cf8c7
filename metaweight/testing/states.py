"""Specs and states of students that do not exist: of classes, and of sentence pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.student.losses import TokenCrossEntropy

TAPS = {"low": 5, "middle": 7, "deep": 6}
"""Of students of classes: the last one is the deepest."""
PAIR_TAPS = {"low": 5, "source": 7, "deep": 6}
"""Of students of sentence pairs: two over the source, one over the target."""
SOURCE_TAPS = ("low", "source")
WORDS = 9
SAMPLES = 100_000
"""More than any index of a state."""


def class_spec(taps: Mapping[str, int] = TAPS, *, classes: int = 4, **chosen: Any) -> StateSpec:
    """Of a student of classes; ``chosen``: other fields."""
    return StateSpec(**{"features": dict(taps), "classes": classes, "samples": SAMPLES, **chosen})


def sentence_spec(taps: Mapping[str, int] = PAIR_TAPS, *, words: int = WORDS, **chosen: Any) -> StateSpec:
    """Of a student of sentence pairs; ``chosen``: other fields."""
    source = tuple(tap for tap in taps if tap in SOURCE_TAPS)
    return class_spec(taps, classes=words, **{"sentences": True, "source_taps": source, **chosen})


def class_state(
    units: int = 12,
    *,
    seed: int = 0,
    taps: Mapping[str, int] = TAPS,
    classes: int = 4,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    **given: Any,
) -> StudentState:
    """Logits [U, C], labels and hidden states at random, loss = cross-entropy; ``given``: other fields."""
    g = torch.Generator().manual_seed(seed)
    outputs = 2 * torch.randn(units, classes, generator=g, dtype=dtype)
    targets = torch.randint(classes, (units,), generator=g)
    state = StudentState(
        loss=F.cross_entropy(outputs, targets, reduction="none"),
        size=torch.ones(units, dtype=dtype),
        outputs=outputs,
        features={name: torch.randn(units, d, generator=g, dtype=dtype) for name, d in taps.items()},
        targets=targets,
        index=torch.arange(units) + 1000 * seed,
        progress=0.25,
    )
    return on_device(replace(state, **given), device)


def sentence_state(
    units: int = 12,
    *,
    seed: int = 0,
    steps: int = 7,
    taps: Mapping[str, int] = PAIR_TAPS,
    words: int = WORDS,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    **given: Any,
) -> StudentState:
    """Logits [U, T, V], padded targets and hidden states at random; T is less than ``steps`` at times."""
    g = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, steps + 1, (units,), generator=g)
    width = int(sizes.max())
    real = torch.arange(width) < sizes[:, None]
    targets = torch.randint(1, words, (units, width), generator=g) * real
    outputs = 2 * torch.randn(units, width, words, generator=g, dtype=dtype)
    unit = TokenCrossEntropy()(outputs, targets)
    source = torch.randint(1, steps + 1, (units,), generator=g).to(dtype)
    state = StudentState(
        loss=unit.loss,
        size=unit.size,
        outputs=outputs,
        features={name: torch.randn(units, d, generator=g, dtype=dtype) for name, d in taps.items()},
        targets=targets,
        index=torch.arange(units) + 1000 * seed,
        progress=0.25,
        real=real,
        lengths={tap: source for tap in SOURCE_TAPS if tap in taps},
    )
    return on_device(replace(state, **given), device)


def on_device(state: StudentState, device: str) -> StudentState:
    """The same state elsewhere."""
    return mapped(state, lambda value: value.to(device))


def reordered(state: StudentState, order: Tensor) -> StudentState:
    """The same units in another order."""
    return mapped(state, lambda value: value[order])


def mapped(state: StudentState, change: Callable[[Tensor], Tensor]) -> StudentState:
    """``change`` of every tensor of a state, each of which has a row a unit."""
    return replace(
        state,
        loss=change(state.loss),
        size=change(state.size),
        outputs=change(state.outputs),
        features={tap: change(value) for tap, value in state.features.items()},
        targets=change(state.targets),
        index=change(state.index),
        real=None if state.real is None else change(state.real),
        lengths={tap: change(value) for tap, value in state.lengths.items()},
    )


def tensors(state: StudentState) -> dict[str, Tensor]:
    """Every tensor of a state by name."""
    single = {name: getattr(state, name) for name in ("loss", "size", "outputs", "targets", "index")}
    return single | {f"features[{tap!r}]": value for tap, value in state.features.items()}


def padded(state: StudentState, before: int, after: int, *, logit: float, target: int) -> StudentState:
    """The same sentences between more columns, with this logit and target wherever padding is."""
    assert state.real is not None

    def wider(values: Tensor, fill: float) -> Tensor:
        left, right = (values.new_zeros(len(values), n, *values.shape[2:]) for n in (before, after))
        joined = torch.cat([left, values, right], dim=1)
        return joined.where(mask if joined.dim() == 2 else mask[..., None], torch.as_tensor(fill).to(joined))

    mask = F.pad(state.real, (before, after))
    return replace(
        state, outputs=wider(state.outputs, logit), targets=wider(state.targets, target), real=mask
    )


def extremes(state: StudentState) -> list[StudentState]:
    """The same units, with a student that is sure, sure of something else, or out of all measure."""
    classes = state.outputs.shape[-1]
    labels = state.targets[..., None]
    certain = torch.full_like(state.outputs, -1e4)
    right, wrong = certain.scatter(-1, labels, 1e4), certain.scatter(-1, (labels + 1) % classes, 1e4)
    huge = {name: 1e4 * value for name, value in state.features.items()}
    zero = {name: torch.zeros_like(value) for name, value in state.features.items()}
    long = {tap: torch.full_like(value, 1e4) for tap, value in state.lengths.items()}
    mixed = state.loss.new_tensor([0, 1e4, 0, 1e4, 1, 1e-30]).repeat(len(state))[: len(state)]
    return [
        replace(state, loss=torch.zeros_like(state.loss), outputs=right, features=zero, progress=0.0),
        replace(state, loss=torch.full_like(state.loss, 1e4), outputs=wrong, features=huge, progress=1.0),
        replace(state, loss=mixed, outputs=wrong, lengths=long),
        replace(state, lengths={}),
    ]
