"""The documentation's own steps and pages, for tests."""

from __future__ import annotations

import sys
from pathlib import Path

HOME = Path(__file__).parent.parent
DOCS = HOME / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

from evidence import pages as evidence_pages  # noqa: E402
from kept import figure, tables  # noqa: E402
from made import GENERATED  # noqa: E402

__all__ = ["DOCS", "HOME", "evidence_pages", "figure", "pages", "tables"]


def pages() -> list[Path]:
    """Those that people write."""
    return sorted(p for p in DOCS.rglob("*.md") if not any(made in p.parents for made in GENERATED))
