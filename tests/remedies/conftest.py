"""What the tests of remedies share."""

from __future__ import annotations

import pytest
from tiny_translation import config, pairs, write

from metaweight.config import ImageConfig, TranslationConfig


@pytest.fixture
def digits() -> ImageConfig:
    """A run of a moment: 3 batches an epoch, 40 % uniform noise."""
    return ImageConfig(
        train_size=60,
        meta_size=20,
        valid_size=20,
        epochs=2,
        warmup_epochs=0,
        batch_size=20,
        meta_batch_size=10,
        model_options=("width=4",),
        noise="uniform",
        teacher="uniform",
    )


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> TranslationConfig:
    """A run of half a second on 100 pairs."""
    path = write(tmp_path_factory.mktemp("text") / "colours.tsv", pairs(0, 200))
    return config(f"tsv:{path}", teacher="uniform", beam=1)
