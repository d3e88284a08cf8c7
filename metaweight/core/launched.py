"""What a launcher of several processes, torchrun or another that says so alike, tells each of them."""

from __future__ import annotations

import os


def started_as() -> tuple[int, int]:
    """Which of how many processes this is: (0, 1) where it was started alone.  Imports no torch."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    return (int(os.environ.get("RANK", "0")), size) if size > 1 else (0, 1)
