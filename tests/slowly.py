"""Variants of a test that ``make test`` leaves out and ``make test-all`` runs."""

from __future__ import annotations

from typing import Any

import pytest


def slowly(*variants: Any) -> list[Any]:
    """Each as a parameter of its own, marked; a tuple is one of several arguments."""
    every = (one if isinstance(one, tuple) else (one,) for one in variants)
    return [pytest.param(*one, marks=pytest.mark.slow) for one in every]
