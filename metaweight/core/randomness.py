"""What a second pass needs to be like the first: the generators' state, and a form of attention.

Both belong to the process, so one thread at a time works on them: ``alone``.
"""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

_LOCK = threading.RLock()


@contextmanager
def alone() -> Iterator[None]:
    """Other threads that come here wait: generators, attention's switches and dual levels are a process's."""
    with _LOCK:
        yield


@contextmanager
def forked_rng(device: torch.device) -> Iterator[None]:
    """Random draws inside leave the global generators (torch's for the CPU and the student's device, NumPy's
    and Python's) as they were."""
    before = RandomState.of(device)
    try:
        yield
    finally:
        before.restore(device)


@dataclass(frozen=True)
class RandomState:
    """The global generators at one moment, to draw the same dropout masks again."""

    cpu: Tensor
    cuda: Tensor | None
    python: Any
    numpy: Any

    @staticmethod
    def of(device: torch.device) -> RandomState:
        """Take the state of all of them."""
        cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        return RandomState(torch.get_rng_state(), cuda, random.getstate(), np.random.get_state(legacy=False))

    def restore(self, device: torch.device) -> None:
        """Put them back."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, device)
        random.setstate(self.python)
        np.random.set_state(self.numpy)

    def stands(self) -> bool:
        """Whether nothing was drawn from those for the CPU since."""
        now = RandomState.of(torch.device("cpu"))
        same = torch.equal(self.cpu, now.cpu) and self.python == now.python
        return same and pickle.dumps(self.numpy) == pickle.dumps(now.numpy)


@contextmanager
def differentiable() -> Iterator[None]:
    """Attention in a form with double backward and forward-mode AD; fused kernels have neither."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
