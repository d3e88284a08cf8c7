"""What decides a run, task by task, and how a mapping becomes options."""

from metaweight.tasks.config.image import ImageConfig
from metaweight.tasks.config.run import RunConfig, config_from, kept_options, with_options
from metaweight.tasks.config.translation import TranslationConfig

__all__ = ["ImageConfig", "RunConfig", "TranslationConfig", "config_from", "kept_options", "with_options"]
