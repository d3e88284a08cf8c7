"""One pool for all tests of a worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from several_processes import Ranks


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    pool = Ranks()
    yield pool
    pool.stop()
