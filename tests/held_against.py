"""How what several processes found is held against each other and against what one found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

EXACT = 1e-12
Found = Mapping[str, Tensor]


def require_equal(found: Sequence[Found], alone: Found, within: float = EXACT) -> None:
    """All of them alike to the bit, and like one process to ``within`` of the largest number."""
    first, *others = found
    for other in others:
        for name, value in first.items():
            assert torch.equal(value, other[name]), f"{name} drifts apart"
    require_near(first, alone, within)


def require_near(here: Found, there: Found, within: float = EXACT) -> None:
    """Each tensor to ``within`` of its largest number."""
    for name, value in there.items():
        assert _off(here[name], value) <= within, f"{name} is off by {_off(here[name], value):.1e}"


def _off(here: Tensor, there: Tensor) -> float:
    if not there.is_floating_point():
        return 0.0 if torch.equal(here, there) else 1.0
    return float((here - there).abs().max() / there.abs().max().clamp_min(1e-3))


def require_close(here: Found, there: Found, within: float = EXACT) -> None:
    """Number by number."""
    for name, value in there.items():
        torch.testing.assert_close(here[name], value, rtol=within, atol=within)
