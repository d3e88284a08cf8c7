"""metaweight inside other libraries: each in a room of its own, which imports that library when asked for."""

import lazy_loader

_ROOMS = ("huggingface", "lightning", "sklearn")
__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=_ROOMS)
