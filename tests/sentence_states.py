"""Specs and states of students of sentence pairs that do not exist, and ways to pad them otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.student.losses import TokenCrossEntropy

TAPS = {"low": 5, "source": 7, "deep": 6}
SOURCE_TAPS = ("low", "source")
WORDS = 9


def sentence_spec(taps: Mapping[str, int] = TAPS, *, words: int = WORDS, **chosen: object) -> StateSpec:
    """Two taps over the source, one over the target."""
    source = tuple(tap for tap in taps if tap in SOURCE_TAPS)
    fields = {"sentences": True, "source_taps": source, **chosen}
    return StateSpec(features=dict(taps), classes=words, samples=100_000, **fields)


def sentence_state(
    units: int = 12,
    *,
    seed: int = 0,
    steps: int = 7,
    taps: Mapping[str, int] = TAPS,
    words: int = WORDS,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    **given: object,
) -> StudentState:
    """Logits [U, T, V], padded targets and hidden states at random; T is less than ``steps`` at times."""
    g = torch.Generator().manual_seed(seed)
    sizes = torch.randint(1, steps + 1, (units,), generator=g)
    width = int(sizes.max())
    real = torch.arange(width) < sizes[:, None]
    targets = torch.randint(1, words, (units, width), generator=g) * real
    outputs = 2 * torch.randn(units, width, words, generator=g, dtype=dtype)
    seen = TokenCrossEntropy()(outputs, targets)
    source = torch.randint(1, steps + 1, (units,), generator=g).to(dtype)
    fields = {
        "loss": seen.loss,
        "size": seen.size,
        "outputs": outputs,
        "features": {name: torch.randn(units, d, generator=g, dtype=dtype) for name, d in taps.items()},
        "targets": targets,
        "index": torch.arange(units) + 1000 * seed,
        "progress": 0.25,
        "real": real,
        "lengths": {tap: source for tap in SOURCE_TAPS if tap in taps},
    }
    fields.update(given)
    for name in ("loss", "size", "outputs", "targets", "index", "real"):
        fields[name] = fields[name].to(device)
    for name in ("features", "lengths"):
        fields[name] = {tap: value.to(device) for tap, value in fields[name].items()}
    return StudentState(**fields)


def padded(state: StudentState, before: int, after: int, *, logit: float, target: int) -> StudentState:
    """The same sentences between more columns, with this logit and target wherever padding is."""
    assert state.real is not None

    def wider(values: Tensor, fill: object) -> Tensor:
        left, right = (values.new_zeros(len(values), n, *values.shape[2:]) for n in (before, after))
        joined = torch.cat([left, values, right], dim=1)
        return joined.where(mask if joined.dim() == 2 else mask[..., None], torch.as_tensor(fill).to(joined))

    mask = torch.nn.functional.pad(state.real, (before, after))
    return replace(
        state, outputs=wider(state.outputs, logit), targets=wider(state.targets, target), real=mask
    )


def reordered(state: StudentState, order: Tensor) -> StudentState:
    """The same units in another order."""
    assert state.real is not None
    one_each = {name: getattr(state, name)[order] for name in ("loss", "size", "outputs", "targets", "index")}
    by_tap = {
        name: {tap: value[order] for tap, value in getattr(state, name).items()}
        for name in ("features", "lengths")
    }
    return replace(state, **one_each, **by_tap, real=state.real[order])
