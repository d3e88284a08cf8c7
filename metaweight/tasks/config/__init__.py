"""What decides a run, task by task, and how a mapping becomes options."""

from metaweight.tasks.config.image import ImageConfig
from metaweight.tasks.config.module import ModuleConfig
from metaweight.tasks.config.own import OwnData, check_overlap, check_own
from metaweight.tasks.config.rows import RowsConfig
from metaweight.tasks.config.run import RunConfig, config_from, kept_options, with_options
from metaweight.tasks.config.tabular import TabularConfig
from metaweight.tasks.config.text import TextConfig
from metaweight.tasks.config.tokens import TokensConfig
from metaweight.tasks.config.translation import TranslationConfig

__all__ = [
    "ImageConfig",
    "ModuleConfig",
    "OwnData",
    "RowsConfig",
    "RunConfig",
    "TabularConfig",
    "TextConfig",
    "TokensConfig",
    "TranslationConfig",
    "check_overlap",
    "check_own",
    "config_from",
    "kept_options",
    "with_options",
]
