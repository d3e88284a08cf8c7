"""Metaweight inside of other people's trainers; imported, and their package with them, when asked for."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["huggingface", "lightning"])
