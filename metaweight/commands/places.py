"""Where a command puts its run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path


def new_folder(out: str | None, name: str) -> Path:
    """``out``, or runs/NAME-TIME."""
    return Path(out) if out else Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
