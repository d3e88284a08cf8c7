"""Specs and states of students that do not exist, for tests of teachers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F

from metaweight.core.contracts import StateSpec, StudentState

TAPS = {"low": 5, "middle": 7, "deep": 6}


SAMPLES = 100_000
"""More than any index of ``make_state``."""


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., StateSpec]:
    """``make_spec(taps=..., classes=4, ...)``; three taps by default."""

    def make(taps: Mapping[str, int] = TAPS, *, classes: int = 4, **chosen: object) -> StateSpec:
        known = {"samples": SAMPLES, **chosen}
        return StateSpec(features=dict(taps), classes=classes, **known)

    return make


@pytest.fixture(scope="session")
def make_state() -> Callable[..., StudentState]:
    """``make_state(units, seed=...)``: logits, labels and hidden states at random, loss = cross-entropy."""

    def make(
        units: int = 12,
        *,
        seed: int = 0,
        taps: Mapping[str, int] = TAPS,
        classes: int = 4,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        **given: object,
    ) -> StudentState:
        g = torch.Generator().manual_seed(seed)
        outputs = 2 * torch.randn(units, classes, generator=g, dtype=dtype)
        targets = torch.randint(classes, (units,), generator=g)
        fields = {
            "loss": F.cross_entropy(outputs, targets, reduction="none"),
            "size": torch.ones(units, dtype=dtype),
            "outputs": outputs,
            "features": {name: torch.randn(units, d, generator=g, dtype=dtype) for name, d in taps.items()},
            "targets": targets,
            "index": torch.arange(units) + 1000 * seed,
            "progress": 0.25,
        }
        fields.update(given)
        for name in ("loss", "size", "outputs", "targets", "index"):
            fields[name] = fields[name].to(device)
        fields["features"] = {name: value.to(device) for name, value in fields["features"].items()}
        return StudentState(**fields)

    return make
