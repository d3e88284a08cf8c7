"""Specs and states of students that do not exist, for tests of teachers; Accelerate with no state yet.

Collections of garbage look through what a module of tests makes, and not through all that is there.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import accelerate_state
import pytest
import torch

from metaweight.core.contracts import StateSpec, StudentState
from metaweight.testing.states import class_spec, class_state


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """A command that was called in this process leaves its --threads: too many slow all tests after."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def _frozen() -> None:
    """Imported libraries are millions of objects: to look through them takes longer than most tests."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def make_spec() -> Callable[..., StateSpec]:
    """``make_spec(taps=..., classes=4, ...)``; three taps by default."""
    return class_spec


@pytest.fixture(scope="session")
def make_state() -> Callable[..., StudentState]:
    """``make_state(units, seed=...)``: logits, labels and hidden states at random, loss = cross-entropy."""
    return class_state


@pytest.fixture
def accelerator() -> Iterator[Callable[..., Any]]:
    """Builds an ``Accelerator``; its state is the process's: that of other tests is dropped first."""
    accelerate = pytest.importorskip("accelerate")
    with accelerate_state.fresh():
        yield lambda **options: accelerate.Accelerator(cpu=True, **options)
