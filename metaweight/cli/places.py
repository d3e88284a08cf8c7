"""Where a command puts its run."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path


def run_folder(out: str | None, name: str, *, resume: bool = False) -> Path:
    """``out``, or runs/NAME-TIME.  Raises ValueError where ``resume`` does not say with what to go on."""
    if resume and out is None:
        raise ValueError("--resume goes on in the folder of --out: name it")
    return Path(out) if out else Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
