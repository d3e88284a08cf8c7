"""What the tests of translation runs share."""

from __future__ import annotations

import pytest
from tiny_translation import config, pairs, write

from metaweight.tasks.config import TranslationConfig


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> TranslationConfig:
    """A run of half a second on 100 pairs."""
    path = write(tmp_path_factory.mktemp("text") / "colours.tsv", pairs(0, 200))
    return config(f"tsv:{path}")
