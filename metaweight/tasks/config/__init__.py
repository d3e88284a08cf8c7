"""What decides a run, task by task, and how text becomes options."""

from metaweight.tasks.config.image import ImageConfig
from metaweight.tasks.config.run import RunConfig, config_from, fits, parse_values, spelt, with_options
from metaweight.tasks.config.translation import TranslationConfig

__all__ = [
    "ImageConfig",
    "RunConfig",
    "TranslationConfig",
    "config_from",
    "fits",
    "parse_values",
    "spelt",
    "with_options",
]
