"""What tests of several engines start from."""

from __future__ import annotations

import pytest

from metaweight.engines.ghost import first_order


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut every weight that has thin products, however small, and say nothing of it."""
    monkeypatch.setattr(first_order, "pays", lambda shape, rank, rows: rows > 0)
    monkeypatch.setattr(first_order, "LEAST", -1.0)
