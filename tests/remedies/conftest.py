"""What the tests of remedies share."""

from __future__ import annotations

import pytest
import tiny_images
from tiny_translation import config, pairs, write

from metaweight.tasks.config import ImageConfig, TranslationConfig


@pytest.fixture
def digits() -> ImageConfig:
    """A run of a moment: 3 batches an epoch, 40 % uniform noise."""
    return tiny_images.config(epochs=2, noise="uniform", teacher="uniform")


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> TranslationConfig:
    """A run of half a second on 100 pairs."""
    path = write(tmp_path_factory.mktemp("text") / "colours.tsv", pairs(0, 200))
    return config(f"tsv:{path}", teacher="uniform", beam=1)
