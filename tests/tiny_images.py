"""An image run of a moment, for tests of what is around it."""

from __future__ import annotations

from typing import Any

from metaweight.tasks.config import ImageConfig


def config(**options: Any) -> ImageConfig:
    """Three batches an epoch, from the first one on with the teacher."""
    return ImageConfig(
        train_size=60,
        meta_size=20,
        valid_size=20,
        batch_size=20,
        meta_batch_size=10,
        model_options={"width": 4},
        **{"warmup_epochs": 0, **options},
    )
