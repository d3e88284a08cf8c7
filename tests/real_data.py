"""The folder of real data that METAWEIGHT_DATA names; tests of it skip without."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

DATA = Path(os.environ.get("METAWEIGHT_DATA", ""))


def needs(file: str) -> pytest.MarkDecorator:
    """Skip where the folder lacks ``file``."""
    there = "METAWEIGHT_DATA" in os.environ and (DATA / file).is_file()
    return pytest.mark.skipif(not there, reason=f"METAWEIGHT_DATA names no folder with {file}")
